//! When an unpublished host is sent again, and whether a removal is. In: what the name server
//! refused, and when. Out: now, after all others, or not yet.
//!
//! A host that is refused by itself, as by a CNAME at its name, may be refused for ever. A thousand
//! of them must delay no other host, and must not hold the locks that their owners' updates need.

use crate::model::host::{Host, HostId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Least time until a refused host is sent again: a server that refused everything for a while
/// still gets all within half a minute.
const RETRY_AFTER: Duration = Duration::from_secs(15);
/// Refused hosts that are remembered. Beyond, they are sent like all others.
const MAX_REFUSED: usize = 100_000;
/// Hosts sent together at most.
pub const MAX_GROUP: usize = 200;
/// The longest that a removal may take: `ddnsctl` waits for two minutes.
const MAX_REMOVAL_TIME: Duration = Duration::from_secs(90);

/// Hosts that were refused as they are wanted now.
#[derive(Debug, Default)]
pub struct RetrySchedule(HashMap<HostId, Refused>);

#[derive(Clone, Copy, Debug)]
struct Refused {
    version: i64,
    reason: u64,
    at: Instant,
}

/// When an unpublished host is sent again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Now,
    /// After all others, in the order of these times of their last refusal; `None`: not refused
    /// since the start or a reload.
    AfterOthers(Option<Instant>),
    NotYet,
}

impl RetrySchedule {
    /// Records a refusal. Returns whether this reason is new for this version of the host.
    pub fn refused(&mut self, host: &Host, reason: &str, now: Instant) -> bool {
        let mut hash = DefaultHasher::new();
        reason.hash(&mut hash);
        let refused = Refused { version: host.version, reason: hash.finish(), at: now };
        let previous = self.0.get(&host.id).copied();
        if previous.is_some() || self.0.len() < MAX_REFUSED {
            self.0.insert(host.id, refused);
        }
        previous.is_none_or(|it| (it.version, it.reason) != (refused.version, refused.reason))
    }

    pub fn acknowledged(&mut self, host: HostId) {
        self.0.remove(&host);
    }

    /// The configuration changed: what was refused may be accepted now.
    pub fn forget_all(&mut self) {
        self.0.clear();
    }

    /// `has_failed`: whether the row says that publishing this version failed. A new update is
    /// another version.
    pub fn next(&self, host: HostId, version: i64, has_failed: bool, now: Instant) -> Retry {
        match self.0.get(&host).filter(|refused| refused.version == version) {
            Some(refused) if now < refused.at + RETRY_AFTER => Retry::NotYet,
            Some(refused) => Retry::AfterOthers(Some(refused.at)),
            None if has_failed => Retry::AfterOthers(None),
            None => Retry::Now,
        }
    }
}

/// How many hosts of a zone are sent together after a group of this size. After a failure one goes
/// alone, so that no other host is locked while the server refuses or ignores it.
pub fn next_group(size: usize, all_published: bool) -> usize {
    if all_published { (size * 2).min(MAX_GROUP) } else { 1 }
}

/// Whether a removal that began at `start` can be sent again at `again_at`, because an unanswered
/// message could still restore the records, and still end in time. It may have to wait for a
/// message before it: each takes `timeout` at most.
pub fn is_time_for_another_removal(start: Instant, again_at: Instant, timeout: Duration) -> bool {
    again_at + timeout * 2 <= start + MAX_REMOVAL_TIME
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::fresh_host;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_refused_host_goes_last_and_not_before_fifteen_seconds() {
        let (mut schedule, host, start) =
            (RetrySchedule::default(), fresh_host(), Clock.now().mono);
        let next = |schedule: &RetrySchedule, version, seconds| {
            schedule.next(host.id, version, true, start + Duration::from_secs(seconds))
        };
        assert_eq!(next(&schedule, 1, 0), Retry::AfterOthers(None), "the row says it failed");
        assert_eq!(schedule.next(host.id, 1, false, start), Retry::Now);
        assert!(schedule.refused(&host, "a CNAME", start));
        assert_eq!(next(&schedule, 1, 14), Retry::NotYet);
        assert_eq!(next(&schedule, 1, 15), Retry::AfterOthers(Some(start)));
        // a new update, and a reload
        assert_eq!(schedule.next(host.id, 2, false, start), Retry::Now);
        schedule.forget_all();
        assert_eq!(next(&schedule, 1, 0), Retry::AfterOthers(None));
    }

    #[test]
    fn the_same_refusal_of_the_same_version_is_not_new() {
        let mut schedule = RetrySchedule::default();
        let (mut host, now) = (fresh_host(), Clock.now().mono);
        assert!(schedule.refused(&host, "a CNAME", now));
        assert!(!schedule.refused(&host, "a CNAME", now));
        assert!(schedule.refused(&host, "the policy", now));
        host.version += 1;
        assert!(schedule.refused(&host, "the policy", now));
        schedule.acknowledged(host.id);
        assert!(schedule.refused(&host, "the policy", now));
    }

    #[test]
    fn one_host_goes_alone_after_a_failure_and_groups_grow_while_all_are_published() {
        let mut size = MAX_GROUP;
        let sizes = [false, true, true, false, true, true, true, true, true, true, true, true];
        let sizes = sizes.map(|all_published| {
            size = next_group(size, all_published);
            size
        });
        assert_eq!(sizes, [1, 2, 4, 1, 2, 4, 8, 16, 32, 64, 128, 200]);
    }

    #[test]
    fn another_removal_is_sent_only_if_ddnsctl_still_waits_for_its_end() {
        let start = Clock.now().mono;
        let is_time = |elapsed, timeout| {
            let timeout = Duration::from_secs(timeout);
            let again_at = start + Duration::from_secs(elapsed) + timeout * 2;
            is_time_for_another_removal(start, again_at, timeout)
        };
        assert!(is_time(10, 5), "the second of three at the default");
        assert!(is_time(30, 5), "the third");
        assert!(is_time(10, 20));
        assert!(!is_time(11, 20));
        assert!(!is_time(0, 60));
    }
}
