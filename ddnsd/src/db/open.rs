//! Opening: whichever database the configuration names, its schema brought up to date. Nothing is written to a
//! database that another daemon owns, another program made or a newer ddnsd changed.

use super::connection::{Conn, ReadPool};
use super::error::OpenError;
use super::mariadb::open::MariaDbServer;
use super::sqlite::open::OwnerLock;
use super::{mariadb, sqlite};
use crate::config::Database;
use sqlx::migrate::Migrator;
use std::sync::Arc;

/// An open database.
pub(super) struct Opened {
    pub(super) readers: ReadPool,
    pub(super) writer: Conn,
    /// Where a lost connection is made again.
    pub(super) origin: Origin,
}

/// What a database is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenFor {
    /// To run on it.
    Daemon,
    /// Only to make or migrate the schema.
    Schema,
}

/// What a database is opened from.
pub(super) enum Origin {
    /// A file that is ours alone.
    File {
        /// Held until the daemon ends: another one must not open the file before.
        _owner: OwnerLock,
    },
    /// A server that others may use too.
    MariaDbServer(Arc<MariaDbServer>),
}

impl Origin {
    /// Whether nobody else changes the rows.
    pub(super) fn is_exclusive(&self) -> bool {
        matches!(self, Origin::File { .. })
    }
}

pub(super) async fn open(config: &Database, purpose: OpenFor) -> Result<Opened, OpenError> {
    match config {
        Database::Sqlite { path, pool_size } => sqlite::open::open(path, *pool_size).await,
        Database::Mariadb(config) => mariadb::open::open(config, purpose).await,
    }
}

/// The first migration that a database has seen: its description tells ours from another program's.
pub(super) const FIRST_MIGRATION: &str =
    "SELECT description FROM _sqlx_migrations ORDER BY version LIMIT 1";

/// Refuses a database that sqlx migrated for another program.
pub(super) fn refuse_other_migrations(
    database: &str,
    first: Option<&str>,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let ours = migrations.iter().next().map(|migration| &*migration.description);
    // none at all: the first one broke off
    if first.is_none() || first == ours {
        return Ok(());
    }
    let table = "_sqlx_migrations".to_owned();
    Err(OpenError::Foreign { database: database.to_owned(), table })
}

/// Refuses a schema version that these migrations do not know.
pub(super) fn refuse_newer(
    database: &str,
    found: Option<i64>,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    match found {
        Some(found) if found > known => {
            Err(OpenError::Newer { database: database.to_owned(), found, known })
        }
        _ => Ok(()),
    }
}
