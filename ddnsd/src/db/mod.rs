//! The database. In: queries and changes in terms of the model. Out: rows as model types; of a
//! change, after its commit. SQL is nowhere else.
//!
//! One writer commits in groups; readers have a pool. An SQLite file belongs to this daemon alone
//! (a lock on `PATH.lock`), so caches serve the update path. A MariaDB server may have other
//! clients: no cache.

mod cache;
mod checking;
mod connection;
mod counts;
mod delivery;
mod driver;
mod error;
mod existing;
mod expiry;
mod followers;
mod handle;
mod hosts;
mod import;
mod joint;
mod last_requests;
mod last_seen;
mod leases;
mod mariadb;
mod marking;
mod meta;
mod migrating;
mod outbox;
mod publishing;
mod row;
mod rows;
mod schema;
mod served;
mod service_clock;
mod sqlite;
mod statement;
mod suspension;
mod unpublished;
mod unwritten;
mod uptime;
mod user_rows;
mod users;
mod write;
mod write_connection;
mod writer;

pub use crate::model::change::Want;
pub use checking::CheckFinding;
pub use counts::{Counts, PendingZone, UnservedZone};
pub use delivery::{MailClaim, MailDrop};
pub use error::{DbError, OpenError};
pub use expiry::{AgingHost, DueHost, NextCheck};
pub use followers::LanChange;
pub use handle::Db;
pub use hosts::{HostPage, NewHost, SetTtls};
pub use import::{Conflict, Existing, Import, ImportOutcome};
pub use publishing::{PublishResult, Store};
pub use rows::Page;
pub use served::ServedHost;
pub use statement::{Access, Statement};
pub use unpublished::{UnpublishedHost, UnpublishedKind};
pub use users::NewUser;

use crate::clock::Clock;
use crate::config::{Database, MariaDb};
use crate::counters::DatabaseCounters;
use cache::Caches;
use connection::{Pool, ReadPool};
use handle::{OwnedFile, Owner};
use mariadb::open::OpenFor;
use mariadb::pool::MariaDbPool;
use std::path::Path;
use std::sync::Arc;
use write_connection::WriteConnection;
use writer::DbWriter;

/// Every statement, for the test that has both databases explain them.
pub fn all_statements() -> impl Iterator<Item = &'static Statement> {
    let files = [
        checking::STATEMENTS,
        counts::STATEMENTS,
        delivery::STATEMENTS,
        existing::STATEMENTS,
        expiry::STATEMENTS,
        followers::STATEMENTS,
        hosts::STATEMENTS,
        last_requests::STATEMENTS,
        last_seen::STATEMENTS,
        marking::STATEMENTS,
        meta::STATEMENTS,
        outbox::STATEMENTS,
        publishing::STATEMENTS,
        served::STATEMENTS,
        import::STATEMENTS,
        suspension::STATEMENTS,
        unpublished::STATEMENTS,
        uptime::STATEMENTS,
        users::STATEMENTS,
    ];
    files.into_iter().flatten().copied().flatten().copied()
}

impl Db {
    /// Opens the configured database, and creates or migrates its schema as needed. `daemon` is the
    /// name by which other daemons on a MariaDB know this one, also after a restart.
    ///
    /// # Errors
    /// It cannot be opened, another daemon owns it, or a newer ddnsd made it.
    pub async fn open(
        config: &Database,
        daemon: Arc<str>,
        counters: Arc<DatabaseCounters>,
    ) -> Result<Self, OpenError> {
        Self::open_for(OpenFor::Daemon(daemon), config, counters).await
    }

    /// Creates or migrates the schema of the configured database.
    ///
    /// # Errors
    /// It cannot be opened, a daemon uses it, or a newer ddnsd made it.
    pub async fn init(config: &Database) -> Result<(), OpenError> {
        Self::open_for(OpenFor::Schema, config, Arc::default()).await?.close().await;
        Ok(())
    }

    async fn open_for(
        open_for: OpenFor,
        config: &Database,
        counters: Arc<DatabaseCounters>,
    ) -> Result<Self, OpenError> {
        match config {
            Database::Sqlite { path, pool_size } => open_sqlite(path, *pool_size, counters).await,
            Database::Mariadb(config) => open_mariadb(open_for, config, counters).await,
        }
    }
}

async fn open_sqlite(
    path: &Path,
    pool_size: u32,
    counters: Arc<DatabaseCounters>,
) -> Result<Db, OpenError> {
    let mut opened = sqlite::open::open(path, pool_size).await?;
    let database = path.display().to_string();
    schema::refuse_incomplete(&database, &mut opened.writer, all_statements()).await?;
    let caches = Arc::new(Caches::enabled());
    let file = Arc::new(opened.file);
    let connection = WriteConnection::to_file(opened.writer, Arc::clone(&file));
    let writer = DbWriter::start(connection, Arc::clone(&caches), Arc::clone(&counters));
    let readers = ReadPool::new(Pool::Sqlite(opened.readers), counters);
    let owner = Owner::Sole(OwnedFile { file, _lock: opened.owner });
    Ok(Db::new(readers, writer, caches, owner))
}

async fn open_mariadb(
    open_for: OpenFor,
    config: &MariaDb,
    counters: Arc<DatabaseCounters>,
) -> Result<Db, OpenError> {
    let mut opened = mariadb::open::open(config, &open_for).await?;
    let database = mariadb::open::name_of(config);
    schema::refuse_incomplete(&database, &mut opened.writer, all_statements()).await?;
    let caches = Arc::new(Caches::disabled());
    let readers = MariaDbPool::new(Arc::clone(&opened.server), Clock);
    let readers = ReadPool::new(Pool::Mariadb(readers), Arc::clone(&counters));
    let connection = WriteConnection::to_server(opened.writer, opened.server, opened.lock);
    let writer = DbWriter::start(connection, Arc::clone(&caches), counters);
    let owner = Owner::OneOfSeveral(open_for.daemon());
    Ok(Db::new(readers, writer, caches, owner))
}
