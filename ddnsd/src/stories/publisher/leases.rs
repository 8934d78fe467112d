//! Several daemons on one database. The daemon that wants a change of a host holds a lease in its
//! row until the result is stored; others wait. What stays unpublished is sent again by that daemon
//! first, and by the others once it seems to be dead. They cannot know whether it got an answer to
//! its messages, so they treat them as unanswered.

use super::Publisher;
use crate::db::{DbError, LanChange, PublishResult, SetTtls, Store};
use crate::model::host::Host;
use crate::model::lease::Lease;
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pauses between two reads of a host that another daemon changes.
const PAUSES: std::ops::Range<u64> = 2..12;
/// What is left to the daemon that sent it first: the time of its retries when all goes well, added
/// to that of its messages.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);

/// A host that is read to be changed. The caller holds its lock.
pub(in crate::stories) enum ToChange {
    Free(Arc<Host>),
    /// It was deleted.
    Gone,
    /// Another daemon is changing it.
    Busy,
}

impl Publisher {
    /// The host of this name, once no other daemon is changing it. Waits until `deadline` at most.
    ///
    /// # Errors
    /// The database failed.
    pub(in crate::stories) async fn read_to_change(
        &self,
        name: &Fqdn,
        deadline: Instant,
    ) -> Result<ToChange, DbError> {
        loop {
            let Some(host) = self.db.host(name).await? else { return Ok(ToChange::Gone) };
            if !self.is_changed_elsewhere(&host) {
                return Ok(ToChange::Free(host));
            }
            let pause = Duration::from_millis(rand::random_range(PAUSES));
            if deadline <= self.clock.now().mono + pause {
                return Ok(ToChange::Busy);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether another daemon is changing the host.
    pub(in crate::stories) fn is_changed_elsewhere(&self, host: &Host) -> bool {
        let lease = self.db.others_lease(host.lease.as_deref());
        lease.is_some_and(|lease| lease.holds(self.clock.now().wall))
    }

    /// Whether an unpublished host is sent again by another daemon.
    pub(in crate::stories) fn is_left_to_another(&self, lease: Option<&Lease>) -> bool {
        let after = ABANDONED_AFTER + 4 * self.dns.timeout();
        let lease = self.db.others_lease(lease);
        lease.is_some_and(|lease| !lease.is_abandoned(self.clock.now().wall, after))
    }

    /// As [`crate::db::Db::mark_unpublished`], before the host is sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_unpublished(
        &self,
        host: Arc<Host>,
        at: Millis,
    ) -> Result<Option<Arc<Host>>, DbError> {
        self.expect_others_message(&host);
        self.db.mark_unpublished(host, at).await
    }

    /// As [`crate::db::Db::set_ttls`], before the host is sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_ttls(&self, ttls: SetTtls) -> Result<Option<Arc<Host>>, DbError> {
        self.expect_others_message(&ttls.host);
        self.db.set_ttls(ttls).await
    }

    /// As [`crate::db::Db::place`], before the host is sent.
    ///
    /// # Errors
    /// The database failed, or the leader was deleted.
    pub async fn place(&self, change: LanChange) -> Result<Option<Arc<Host>>, DbError> {
        self.expect_others_message(&change.host);
        self.db.place(change).await
    }

    /// Gives a lease back whose change is not sent.
    pub(in crate::stories) async fn give_back(&self, host: Arc<Host>) {
        let at = self.clock.now().wall;
        if self.db.holds_lease(&host, at) {
            let _unchanged = self.store(PublishResult::NotSent { host, at }, Store::Now).await;
        }
    }

    /// Another daemon may have sent the host, and got no answer.
    pub(super) fn expect_others_message(&self, host: &Host) {
        if self.db.others_lease(host.lease.as_deref()).is_some() {
            self.dns.may_come_late(&host.fqdn);
        }
    }
}
