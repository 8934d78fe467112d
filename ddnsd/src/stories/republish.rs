//! What DNS is not known to hold is sent again, at start and on a timer, until it is acknowledged. Who
//! killed the daemon, or how long the name server was away, does not matter here.

mod run;

use super::host_locks::HostLocks;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::db::{Db, DbError};
use crate::dns;
use crate::model::time::Millis;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

/// `meta.target` while the records move to another server: no start takes it for its own.
const MOVING: &str = "moving";

/// The republishing story; clones share what is known of the target's name.
#[derive(Clone)]
pub struct Republish {
    db: Db,
    publisher: Publisher,
    host_locks: HostLocks,
    clock: Clock,
    /// Whether `meta.target` names the server that is published to. Held while that becomes another one.
    is_named: Arc<Mutex<bool>>,
    /// Told when it has become another one.
    moved: Arc<Notify>,
}

/// Another way to publish, ready to be used. Dropped, all is published as before.
#[must_use = "it is used when it is committed"]
pub struct Prepared {
    dns: dns::PreparedDns,
    publisher: Publisher,
    /// If it is another server.
    moving: Option<(OwnedMutexGuard<bool>, Arc<Notify>)>,
}

impl Prepared {
    /// Publishes so from now on; see [`dns::PreparedDns::commit`].
    pub fn commit(self) {
        self.dns.commit();
        self.publisher.forget_refusals();
        if let Some((is_named, moved)) = self.moving {
            drop(is_named);
            moved.notify_one();
        }
    }
}

impl Republish {
    /// The story over these handles.
    pub fn new(db: Db, publisher: Publisher, host_locks: HostLocks, clock: Clock) -> Self {
        let is_named = Arc::new(Mutex::new(true));
        Self { db, publisher, host_locks, clock, is_named, moved: Arc::default() }
    }

    /// Gets ready to publish in another way. If it is another server, every live record is unpublished
    /// when this returns, and nothing is sent before the commit: so nothing that the server of before
    /// acknowledges is taken for published on the new one.
    ///
    /// # Errors
    /// The database failed. All is published as before; some of it once more, perhaps.
    pub async fn prepare(&self, config: &Rfc2136, now: Millis) -> Result<Prepared, DbError> {
        let dns = self.publisher.prepare(config.clone()).await;
        if !dns.is_elsewhere() {
            let publisher = self.publisher.clone();
            return Ok(Prepared { dns, publisher, moving: None });
        }
        let mut is_named = Arc::clone(&self.is_named).lock_owned().await;
        *is_named = false;
        // whatever meta says: it may tell of a move that was stored and never carried out
        self.db.mark_all_unpublished(MOVING.to_owned(), now).await?;
        tracing::info!(now = %config.server, "another name server: every record is sent to it");
        let moving = Some((is_named, Arc::clone(&self.moved)));
        Ok(Prepared { dns, publisher: self.publisher.clone(), moving })
    }

    /// At the start, when nothing is sent yet: another server than that of the run before knows nothing,
    /// so every live record becomes unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn aim_at(&self, config: &Rfc2136, now: Millis) -> Result<(), DbError> {
        // what is unpublished since before this run must be seen to be, whatever the clock did since
        self.db.clamp_unpublished_since(now.plus_millis(-1)).await?;
        let target = target(config.server);
        let before = self.db.meta("target").await?;
        if before.as_ref() == Some(&target) {
            return Ok(());
        }
        self.db.mark_all_unpublished(target.clone(), now).await?;
        if let Some(before) = before {
            tracing::info!(%before, now = %target, "another name server: every record is sent to it");
        }
        Ok(())
    }

    /// Waits until the records have moved to another server, and a run is due at once.
    pub async fn has_moved(&self) {
        self.moved.notified().await;
    }

    /// Notes which server is published to, if that is not noted and not just changing.
    async fn name_target(&self) -> Result<(), DbError> {
        let Ok(mut is_named) = self.is_named.try_lock() else { return Ok(()) };
        if !*is_named {
            self.db.set_meta("target", target(self.publisher.server())).await?;
            *is_named = true;
        }
        Ok(())
    }
}

/// As `meta` names it.
fn target(server: SocketAddr) -> String {
    format!("rfc2136 {server}")
}
