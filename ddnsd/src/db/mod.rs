//! The database. In: questions and changes in terms of the model. Out: rows as model types, after the
//! commit where something changed. SQL is nowhere else.
//!
//! One writer commits in groups; readers have a pool. On SQLite the daemon is the database's only owner (a
//! lock on `PATH.lock`), so a cache answers the update path; a MariaDB server may have other daemons.

mod cache;
mod connection;
mod doubting;
mod error;
mod expiry;
mod hosts;
mod last_requests;
mod last_seen;
mod mariadb;
mod open;
mod outbox;
mod publishing;
mod rows;
mod sqlite;
mod statement;
mod transfer;
mod ttls;
mod uptime;
mod users;
mod write;
mod write_connection;
mod writer;

pub use crate::model::change::Want;
pub use error::{DbError, OpenError};
pub use expiry::{DueHost, NextCheck};
pub use hosts::{HostPage, NewHost};
pub use publishing::{Page, Settle, UnpublishedHost, UnpublishedKind};
pub use statement::{Access, Statement};
pub use transfer::{Conflict, Existing, Import, ImportOutcome};
pub use ttls::SetTtls;
pub use users::NewUser;

use crate::clock::Clock;
use crate::counters::DatabaseCounters;
use cache::{Caches, Use};
use connection::{Conn, ReadPool};
use last_requests::UnwrittenRequests;
use last_seen::UnwrittenTouches;
use open::OpenFor;
use statement::{args, statements};
use std::sync::Arc;
use uptime::ServiceClock;
use write_connection::WriteConnection;
use writer::Writer;

statements! {
    META: Indexed = "SELECT value FROM meta WHERE name = ?";
    SET_META: Indexed =
        "INSERT INTO meta (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        mariadb
        "INSERT INTO meta (name, value) VALUES (?, ?)
         ON DUPLICATE KEY UPDATE value = VALUES(value)";
    COUNTS: FullScan =
        "SELECT (SELECT COUNT(*) FROM users) AS users, (SELECT COUNT(*) FROM hosts) AS hosts,
                (SELECT COUNT(*) FROM hosts WHERE unpublished_since IS NOT NULL) AS unpublished";
    // any of the reasons: they are mostly one
    PENDING: FullScan =
        "SELECT zone, COUNT(*) AS hosts, MAX(last_error) AS last_error FROM hosts
         WHERE unpublished_since IS NOT NULL GROUP BY zone ORDER BY zone";
}

/// Every statement there is, for the test that has both databases explain them.
pub fn all_statements() -> impl Iterator<Item = &'static Statement> {
    let files = [
        ALL,
        users::ALL,
        hosts::ALL,
        ttls::ALL,
        publishing::ALL,
        doubting::ALL,
        expiry::ALL,
        outbox::ALL,
        last_seen::ALL,
        last_requests::ALL,
        transfer::ALL,
        uptime::ALL,
    ];
    files.into_iter().flatten().copied()
}

/// A handle on the open database; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    readers: ReadPool,
    writer: Writer,
    caches: Arc<Caches>,
    touches: UnwrittenTouches,
    uptime: ServiceClock,
    // held until the last handle is gone
    _origin: Arc<open::Origin>,
    requests: UnwrittenRequests,
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

/// A zone with hosts that DNS is not known to hold as they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingZone {
    /// Its name.
    pub zone: String,
    /// How many such hosts it has.
    pub hosts: u64,
    /// Why one of them could not be published last.
    pub last_error: Option<String>,
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
        Ok(Self::on(open::open(config, OpenFor::Daemon).await?, counters))
    }

    /// Makes or migrates the database that the configuration names.
    ///
    /// # Errors
    /// It cannot be opened, a daemon uses it, or a newer ddnsd made it.
    pub async fn init(config: &crate::config::Database) -> Result<(), OpenError> {
        Self::on(open::open(config, OpenFor::Schema).await?, Arc::default()).close().await;
        Ok(())
    }

    fn on(opened: open::Opened, counters: Arc<DatabaseCounters>) -> Self {
        let origin = Arc::new(opened.origin);
        let used = if origin.is_exclusive() { Use::Full } else { Use::None };
        let caches = Arc::new(Caches::new(used));
        let session = WriteConnection::new(Some(opened.writer), Arc::clone(&origin));
        let writer = Writer::start(session, Arc::clone(&caches), counters);
        Self(Arc::new(Inner {
            readers: opened.readers,
            writer,
            caches,
            touches: UnwrittenTouches::default(),
            uptime: ServiceClock::default(),
            _origin: origin,
            requests: UnwrittenRequests::default(),
        }))
    }

    /// A value of `meta`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn meta(&self, name: &'static str) -> Result<Option<String>, DbError> {
        let row: Option<(String,)> = self.0.readers.optional(&META, args![name]).await?;
        Ok(row.map(|(value,)| value))
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
        let row: Option<(i64, i64, i64)> = self.0.readers.optional(&COUNTS, args![]).await?;
        let (users, hosts, unpublished) = row.unwrap_or_default();
        Ok(Counts {
            users: users.unsigned_abs(),
            hosts: hosts.unsigned_abs(),
            unpublished: unpublished.unsigned_abs(),
        })
    }

    /// The zones with unpublished hosts, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pending_zones(&self) -> Result<Vec<PendingZone>, DbError> {
        let rows: Vec<(String, i64, Option<String>)> =
            self.0.readers.all(&PENDING, args![]).await?;
        let zones = rows.into_iter().map(|(zone, hosts, last_error)| PendingZone {
            zone,
            hosts: hosts.unsigned_abs(),
            last_error,
        });
        Ok(zones.collect())
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
        if let Err(error) = self.tick_and_store(Clock.now(), 1).await {
            tracing::warn!("up to 10 s do not count toward expiry: {error}");
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

impl write::Write for SetMeta {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&SET_META, args![self.name, self.value.as_str()]).await?;
        Ok(())
    }
}
