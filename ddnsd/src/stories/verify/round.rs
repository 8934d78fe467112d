//! The round: every host once per `verify_interval`, evenly spread. Of several daemons on a
//! database one goes round. Zones whose server was away come first.

use super::{CheckedFor, PAGE, Verify};
use crate::db::DbError;
use crate::model::host::{Host, HostId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks for something to do.
const IDLE: Duration = Duration::from_secs(1);
/// For how long a daemon claims the checks of all hosts.
const CLAIM: Duration = Duration::from_mins(1);

/// Where the round is.
pub(super) struct Round {
    began: Instant,
    after: HostId,
    /// Hosts when it began, and those that it has passed.
    hosts: u64,
    passed: u64,
}

impl Round {
    pub(super) fn beginning(began: Instant) -> Self {
        Self { began, after: HostId(0), hosts: 0, passed: 0 }
    }

    /// When the next page is due: as far into the interval as hosts were passed.
    fn due(&self, interval: Duration) -> Instant {
        if self.hosts > 0 && self.hosts <= self.passed {
            // what was added meanwhile ends it
            return self.began;
        }
        let millis = interval.as_millis().saturating_mul(u128::from(self.passed));
        let millis = millis / u128::from(self.hosts.max(1));
        self.began + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(interval)
    }
}

impl Verify {
    /// Checks the next page of hosts that is due. Returns how long to wait before the next call.
    ///
    /// # Errors
    /// The database failed; the next call tries again.
    pub async fn go_round(&self) -> Result<Duration, DbError> {
        if !self.queues().has_space() {
            return Ok(IDLE);
        }
        if self.check_whole_zone().await? {
            return Ok(Duration::ZERO);
        }
        let interval = **self.handles().interval.load();
        let mut round = self.0.round.lock().await;
        let now = self.handles().clock.now().mono;
        let due = round.due(interval);
        if interval.is_zero() {
            return Ok(IDLE);
        }
        if now < due {
            return Ok(due.saturating_duration_since(now).clamp(Duration::from_millis(1), IDLE));
        }
        if !self.is_checker().await? {
            return Ok(IDLE);
        }
        if round.after == HostId(0) {
            round.began = now;
            round.hosts = self.handles().db.host_count().await?;
        }
        let page = self.handles().db.hosts_by_id(round.after, PAGE).await?;
        if let Some((_, last)) = page.last {
            round.after = last;
            round.passed += u64::from(PAGE);
            self.check(checkable(page.rows), CheckedFor::State).await?;
        } else {
            let took = now.saturating_duration_since(round.began);
            // at least one, because zero is none yet
            self.handles().counters.round_seconds.set(took.as_secs().max(1));
            *round = Round::beginning((round.began + interval).max(now));
        }
        Ok(Duration::ZERO)
    }

    /// Checks a page of a zone whose server was away. Returns whether there was one.
    async fn check_whole_zone(&self) -> Result<bool, DbError> {
        let Some((zone, after)) = self.zones().next_whole() else { return Ok(false) };
        let (hosts, last) = self.handles().db.hosts_of_zone_after(&zone, &after, PAGE).await?;
        self.zones().whole_checked(last);
        self.check(checkable(hosts), CheckedFor::State).await?;
        Ok(true)
    }

    /// Whether this daemon checks all hosts, and not another one.
    pub(super) async fn is_checker(&self) -> Result<bool, DbError> {
        let handles = self.handles();
        let now = handles.db.uptime(handles.clock.now());
        handles.db.claim_checks(&self.0.daemon, now, now.plus(CLAIM)).await
    }
}

/// Those that are published and ever had a record.
fn checkable(hosts: Vec<Arc<Host>>) -> Vec<Arc<Host>> {
    let is_checkable =
        |host: &Arc<Host>| host.unpublished_since.is_none() && !host.wanted.is_untouched();
    hosts.into_iter().filter(is_checkable).collect()
}
