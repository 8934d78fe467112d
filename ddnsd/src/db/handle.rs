//! The handle on the open database. Each file of `db` adds its queries to it.

use super::cache::Caches;
use super::connection::ReadPool;
use super::error::DbError;
use super::service_clock::ServiceClock;
use super::sqlite::file::DatabaseFile;
use super::sqlite::open::OwnerLock;
use super::unwritten::{Touch, Unwritten};
use super::writer::DbWriter;
use crate::clock::Clock;
use crate::model::last_request::LastRequest;
use std::sync::Arc;
use tokio::sync::Notify;

/// Which daemons use the database.
pub(super) enum Owner {
    /// This one only, while it holds the lock.
    Sole(OwnedFile),
    /// This one, by its name, and perhaps others.
    OneOfSeveral(Arc<str>),
}

/// A handle on the open database; clones share it.
#[derive(Clone)]
pub struct Db(pub(super) Arc<DbParts>);

pub(super) struct DbParts {
    pub(super) readers: ReadPool,
    pub(super) writer: DbWriter,
    pub(super) caches: Arc<Caches>,
    pub(super) touches: Unwritten<Touch>,
    pub(super) last_requests: Unwritten<LastRequest>,
    pub(super) uptime: ServiceClock,
    /// Notified when a mail is due now.
    pub(super) mail_queued: Notify,
    owner: Owner,
}

pub(super) struct OwnedFile {
    pub(super) file: Arc<DatabaseFile>,
    /// Held until the last handle is dropped.
    pub(super) _lock: OwnerLock,
}

impl Db {
    pub(super) fn new(
        readers: ReadPool,
        writer: DbWriter,
        caches: Arc<Caches>,
        owner: Owner,
    ) -> Self {
        let touches = Unwritten::default();
        let last_requests = Unwritten::default();
        let uptime = ServiceClock::default();
        Self(Arc::new(DbParts {
            readers,
            writer,
            caches,
            touches,
            last_requests,
            uptime,
            mail_queued: Notify::new(),
            owner,
        }))
    }

    /// Waits until a mail was queued by this daemon, or is to be tried again now.
    pub async fn mail_queued(&self) {
        self.0.mail_queued.notified().await;
    }

    /// Waits until the writer has ended, which is an error before [`Self::close`].
    pub async fn ended(&self) {
        self.0.writer.ended().await;
    }

    /// The number of writes that wait for the writer, and of touches that are not written yet.
    pub fn waiting(&self) -> (usize, usize) {
        (self.0.writer.waiting(), self.0.touches.len())
    }

    /// Flushes what is unwritten and closes every connection. Other handles fail from then on.
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

impl DbParts {
    /// Whether no other daemon can use the database.
    pub(super) fn is_sole_owner(&self) -> bool {
        self.owned().is_some()
    }

    fn owned(&self) -> Option<&OwnedFile> {
        match &self.owner {
            Owner::Sole(owned) => Some(owned),
            Owner::OneOfSeveral(_) => None,
        }
    }

    /// The name of this daemon, by which others know it; `None` if it is the only one.
    pub(super) fn daemon(&self) -> Option<&Arc<str>> {
        match &self.owner {
            Owner::Sole(_) => None,
            Owner::OneOfSeveral(daemon) => Some(daemon),
        }
    }

    /// # Errors
    /// The database file was moved away.
    pub(super) fn check_file(&self) -> Result<(), DbError> {
        self.owned().map_or(Ok(()), |owned| owned.file.check())
    }

    /// As the last [`Self::check_file`] found it.
    pub(super) fn last_file_check(&self) -> Result<(), DbError> {
        self.owned().map_or(Ok(()), |owned| owned.file.last_check())
    }
}
