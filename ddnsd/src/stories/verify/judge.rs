//! Acts on the result of a check. In: a host as it was checked, and the result. Out: nothing,
//! another check, a repair, or the host marked unserved or served again. A host that has changed
//! since is left to the check of that change.

use super::{CheckedFor, Verify};
use crate::db::{CheckFinding, DbError};
use crate::dns::{CheckResult, DnsError, Found, Halving, Lane};
use crate::model::family::Family;
use crate::model::host::Host;
use crate::rules::verify::{MAX_REPAIRS, Suspicion, UnservedBy, VerifyStep};
use crate::rules::{decide, drift};
use crate::stories::host_locks::HostGuard;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Repairs are checked at once while no more hosts than these are suspect.
const MAX_CHECKED_AT_ONCE: usize = 20;

impl Verify {
    /// The records are there. What hides them is asked for after a change, and while that was the
    /// last finding.
    pub(super) async fn holds(&self, host: Arc<Host>, what: CheckedFor) -> Result<(), DbError> {
        let suspicion = self.queues().suspicion(&host);
        let is_unserved = host.unserved_since.is_some();
        let is_there = !host.wanted.addresses().is_empty();
        // after a restart it is not known why it is unserved
        let was_odd = suspicion.map_or(is_unserved, |suspicion| suspicion.was_odd());
        if is_there && (was_odd || what == CheckedFor::Change) {
            self.queues().add_question(Arc::clone(&host));
        }
        if !is_there || !was_odd {
            self.is_served(host).await?;
        }
        Ok(())
    }

    /// Nothing is wrong with the host any more.
    pub(super) async fn is_served(&self, host: Arc<Host>) -> Result<(), DbError> {
        if host.unserved_since.is_some() {
            let Some((_guard, host)) = self.lock_unchanged(&host).await? else { return Ok(()) };
            if self
                .handles()
                .db
                .store_check(CheckFinding::Served(Arc::clone(&host)))
                .await?
                .is_some()
            {
                self.log(|| info!(host = %host.fqdn, "the name server serves it"));
            }
        }
        self.queues().forget(host.id);
        Ok(())
    }

    /// The records are not as acknowledged.
    pub(super) async fn differs(&self, checked: Arc<Host>) -> Result<(), DbError> {
        let Some((guard, host)) = self.lock_unchanged(&checked).await? else { return Ok(()) };
        self.handles().counters.differed.add_one();
        let now = self.handles().clock.now().mono;
        let mut suspicion = self.queues().suspicion(&host).unwrap_or_default();
        let repairs = self.queues().repairs.count(&host.id, now);
        let is_unserved = host.unserved_since.is_some();
        match suspicion.differs(is_unserved, repairs, &self.0.times, now) {
            VerifyStep::CheckAfter(pause) => self.suspect(&host, suspicion, pause),
            VerifyStep::Repair => self.repair(&guard, host, suspicion).await?,
            VerifyStep::Unserved(by) => {
                let found = self.describe(&host).await;
                self.mark_unserved(host, suspicion, reason(by, &found)).await?;
            }
        }
        Ok(())
    }

    /// There is no answer that counts. A zone that the server refuses to check counts as published;
    /// one that does not answer says nothing.
    pub(super) async fn is_unknown(&self, host: Arc<Host>, why: &DnsError) -> Result<(), DbError> {
        self.handles().counters.unknown.add_one();
        if why.is_unanswered() || matches!(why, DnsError::BrokenOff { .. }) {
            return Ok(());
        }
        self.is_served(host).await
    }

    pub(super) fn suspect(&self, host: &Host, suspicion: Suspicion, pause: Duration) {
        let due = self.handles().clock.now().mono + pause;
        self.queues().suspect(host, suspicion, due);
    }

    /// The host and its lock, if it is as it was checked. A host that is locked is changing.
    pub(super) async fn lock_unchanged(
        &self,
        checked: &Host,
    ) -> Result<Option<(HostGuard, Arc<Host>)>, DbError> {
        let Some(guard) = self.handles().host_locks.try_lock(checked.id) else { return Ok(None) };
        let host = self.handles().db.readable_host(&checked.fqdn).await?;
        let host = host.filter(|host| {
            (host.id, host.version, host.unpublished_since) == (checked.id, checked.version, None)
        });
        Ok(host.map(|host| (guard, host)))
    }

    /// Publishes the host again, as it is wanted.
    async fn repair(
        &self,
        _guard: &HostGuard,
        host: Arc<Host>,
        mut suspicion: Suspicion,
    ) -> Result<(), DbError> {
        let handles = self.handles();
        if handles.publisher.is_down(&host.zone()) {
            return Ok(());
        }
        let now = handles.clock.now();
        let Some(host) = handles.publisher.mark_unpublished(host, now.wall).await? else {
            return Ok(());
        };
        // what fails is sent again by the republisher, and checked then
        if handles.publisher.publish(Arc::clone(&host), Lane::Background).await.is_ok() {
            handles.counters.repaired.add_one();
            self.queues().repairs.add(host.id, now.mono);
            if self.holds_at_once(&host).await {
                self.queues().forget(host.id);
            } else {
                suspicion.repaired();
                self.suspect(&host, suspicion, self.0.times.confirm);
            }
            self.log(|| {
                info!(host = %host.fqdn, "the name server held something else; published again");
            });
        }
        Ok(())
    }

    /// Whether a repair holds, checked at once: that distinguishes a server that drops it from
    /// another writer that comes later. Not if many hosts are repaired, because each is a message.
    async fn holds_at_once(&self, host: &Host) -> bool {
        if self.queues().suspects() > MAX_CHECKED_AT_ONCE {
            return false;
        }
        let check = [decide::check(host)];
        let publisher = &self.handles().publisher;
        let results = publisher.check_records(&host.zone(), &check, Halving::ToTheEnd).await;
        matches!(results.as_slice(), [CheckResult::Holds])
    }

    /// The caller holds the host's lock.
    pub(super) async fn mark_unserved(
        &self,
        host: Arc<Host>,
        mut suspicion: Suspicion,
        reason: String,
    ) -> Result<(), DbError> {
        let at = self.handles().clock.now().wall;
        self.log(|| warn!(host = %host.fqdn, "not served: {reason}"));
        let unserved = CheckFinding::Unserved { host, reason, at };
        if let Some(host) = self.handles().db.store_check(unserved).await? {
            self.handles().counters.unserved.add_one();
            if let VerifyStep::CheckAfter(pause) = suspicion.recheck(&self.0.times) {
                self.suspect(&host, suspicion, pause);
            }
        }
        Ok(())
    }

    /// Logs one line, if not too many were logged just now.
    pub(super) fn log(&self, line: impl FnOnce()) {
        let Some(left_out) = self.0.log.take(self.handles().clock.now().mono) else { return };
        if left_out > 0 {
            warn!("{left_out} more lines like these (`ddnsctl hostname list` shows every host)");
        }
        line();
    }

    /// What should be there, and what the name server answers instead.
    pub(super) async fn describe(&self, host: &Host) -> String {
        let wanted = [
            (Family::V4, "A", drift::should_be(host.wanted.v4)),
            (Family::V6, "AAAA", drift::should_be(host.wanted.v6)),
        ];
        let mut parts = Vec::new();
        for (family, kind, wanted) in wanted {
            let Some(wanted) = wanted else { continue };
            let found = self.handles().publisher.look_up(&host.fqdn, &host.zone(), family).await;
            let found = match found {
                Ok(found) => answered(kind, &found),
                Err(why) => format!("cannot be asked ({why})"),
            };
            let wanted = wanted.map_or(format!("no {kind} record"), |it| format!("{kind} {it}"));
            parts.push(format!("it should hold {wanted} and {found}"));
        }
        parts.join("; ")
    }
}

fn answered(kind: &str, found: &Found) -> String {
    match found {
        Found::Addresses { addresses, .. } if addresses.is_empty() => {
            format!("answers no {kind} record")
        }
        Found::Addresses { addresses, .. } => {
            let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            format!("answers {kind} {}", addresses.join(" "))
        }
        Found::NoName => "answers NXDOMAIN".to_owned(),
        Found::Hidden(hiding) => format!("answers {hiding}"),
    }
}

fn reason(by: UnservedBy, found: &str) -> String {
    match by {
        UnservedBy::NameServer | UnservedBy::Hiding => format!(
            "the name server acknowledges updates and does not apply them: {found} (does a policy \
             or script there drop them? fix that, and run `ddnsctl sync`)"
        ),
        UnservedBy::OtherWriter => format!(
            "something else writes this name: it was published again {MAX_REPAIRS} times within a \
             day, and now {found} (stop the other program, or choose another hostname)"
        ),
    }
}
