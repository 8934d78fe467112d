//! The database. In: questions and changes in terms of the model. Out: rows as model types, after the
//! commit where something changed. SQL is nowhere else.
//!
//! One writer commits in groups; readers have a pool; a cache answers the update path. On SQLite the
//! daemon is the database's only owner (a lock on `PATH.lock`), which is what makes the cache right.

mod cache;
mod error;
mod expiring;
mod hosts;
mod open;
mod publishing;
mod requests;
mod rows;
mod touches;
mod users;
mod writer;

pub use error::{DbError, OpenError};
pub use expiring::{Due, LookAgain};
pub use hosts::{HostPage, NewHost};
pub use publishing::{Settle, Unpublished, Want};
pub use users::NewUser;

use crate::counters::DatabaseCounters;
use cache::Caches;
use requests::Requests;
use sqlx::SqlitePool;
use std::sync::Arc;
use touches::Touches;
use writer::Writer;

/// A handle on the open database; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    readers: SqlitePool,
    writer: Writer,
    caches: Arc<Caches>,
    touches: Touches,
    requests: Requests,
    // held until the last handle is gone: another daemon must not open the file before
    _owner: open::OwnerLock,
}

/// How many of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users.
    pub users: u64,
    /// Hosts.
    pub hosts: u64,
    /// Hosts whose records DNS is not known to hold.
    pub unpublished: u64,
}

impl Db {
    /// Opens, and makes or migrates as needed, the database the configuration names.
    ///
    /// # Errors
    /// It cannot be opened, another daemon owns it, or a newer ddnsd made it.
    pub async fn open(
        config: &crate::config::Database,
        counters: Arc<DatabaseCounters>,
    ) -> Result<Self, OpenError> {
        let opened = open::open(config).await?;
        let caches = Arc::new(Caches::default());
        let writer = Writer::start(opened.writer, Arc::clone(&caches), counters);
        Ok(Self(Arc::new(Inner {
            readers: opened.readers,
            writer,
            caches,
            touches: Touches::default(),
            requests: Requests::default(),
            _owner: opened.owner,
        })))
    }

    /// A value of `meta`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn meta(&self, name: &'static str) -> Result<Option<String>, DbError> {
        let value = sqlx::query_scalar("SELECT value FROM meta WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.0.readers)
            .await?;
        Ok(value)
    }

    /// Sets a value of `meta`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_meta(&self, name: &'static str, value: String) -> Result<(), DbError> {
        self.0.writer.run(SetMeta { name, value }).await
    }

    /// Counts users, hosts and what is unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn counts(&self) -> Result<Counts, DbError> {
        let (users, hosts, unpublished): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM hosts),
                    (SELECT COUNT(*) FROM hosts WHERE unpublished_since IS NOT NULL)",
        )
        .fetch_one(&self.0.readers)
        .await?;
        Ok(Counts {
            users: users.unsigned_abs(),
            hosts: hosts.unsigned_abs(),
            unpublished: unpublished.unsigned_abs(),
        })
    }

    /// Returns when the writer has ended, which it must not before [`Self::close`].
    pub async fn ended(&self) {
        self.0.writer.ended().await;
    }

    /// Jobs waiting for the writer, and touches not yet written.
    pub fn waiting(&self) -> (usize, usize) {
        (self.0.writer.waiting(), self.0.touches.len())
    }

    /// Flushes touches and last requests, ends the writer, closes every connection. Handles that are left fail after.
    pub async fn close(&self) {
        if let Err(error) = self.flush_touches().await {
            tracing::warn!("keepalives of the last seconds are not written: {error}");
        }
        if let Err(error) = self.flush_requests().await {
            tracing::warn!("the last requests are not written: {error}");
        }
        self.0.writer.stop().await;
        self.0.readers.close().await;
    }
}

struct SetMeta {
    name: &'static str,
    value: String,
}

impl writer::Work for SetMeta {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut writer::Conn) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(self.name)
        .bind(&self.value)
        .execute(conn)
        .await?;
        Ok(())
    }
}
