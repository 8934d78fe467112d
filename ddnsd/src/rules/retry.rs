//! When an unpublished host is sent again. In: what the name server refused, and when. Out: at once, after
//! all others, or not yet.
//!
//! A host that is refused by itself, as by a CNAME in its way, may stay so for ever. A thousand of them must
//! not delay those that only missed an outage, nor hold the turns that their owners' updates need.

use crate::model::host::{Host, HostId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// A refused host is sent again after this, at the earliest: a server that refused everything for a while
/// still gets all within half a minute.
const AGAIN: Duration = Duration::from_secs(15);
/// Hosts that are remembered. Beyond, they are sent like all others.
const MOST: usize = 100_000;
/// Hosts sent together at most.
const FULL: usize = 200;
/// Hosts sent together where some are refused: each of them takes messages of its own, and all wait.
const FEW: usize = 16;

/// Hosts that were refused as they are wanted now.
#[derive(Debug, Default)]
pub struct RetrySchedule(HashMap<HostId, Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    version: i64,
    reason: u64,
    at: Instant,
}

/// When a host is sent again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    First,
    /// After all others, those first that were refused longest ago; `None`: not since this run began.
    Last(Option<Instant>),
    /// Not yet.
    NotYet,
}

impl RetrySchedule {
    /// A host was refused. Says whether that, for this reason, is news.
    pub fn refused(&mut self, host: &Host, reason: &str, now: Instant) -> bool {
        let mut hash = DefaultHasher::new();
        reason.hash(&mut hash);
        let known = Known { version: host.version, reason: hash.finish(), at: now };
        let before = self.0.get(&host.id).copied();
        if before.is_some() || self.0.len() < MOST {
            self.0.insert(host.id, known);
        }
        before.is_none_or(|it| (it.version, it.reason) != (known.version, known.reason))
    }

    /// A host is refused no more.
    pub fn acknowledged(&mut self, host: HostId) {
        self.0.remove(&host);
    }

    /// What was refused may be taken now.
    pub fn forget_all(&mut self) {
        self.0.clear();
    }

    /// When a host is sent again that has this version, and whose row tells of a failure or not. A fresh
    /// update is another version.
    pub fn when(&self, host: HostId, (version, has_failed): (i64, bool), now: Instant) -> When {
        match self.0.get(&host).filter(|known| known.version == version) {
            Some(known) if now < known.at + AGAIN => When::NotYet,
            Some(known) => When::Last(Some(known.at)),
            None if has_failed => When::Last(None),
            None => When::First,
        }
    }
}

/// How sending some hosts went, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Went {
    /// None was refused.
    Well,
    /// Some were refused.
    Refused,
    /// The server said nothing about some by themselves: each takes as long as a message may.
    Slowly,
}

/// How many hosts of a zone are sent together.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    hosts: usize,
    /// So many after a refusal.
    few: usize,
}

impl Pace {
    /// For hosts that nothing is known against.
    pub fn full() -> Self {
        Self { hosts: FULL, few: FEW }
    }

    /// For hosts that were refused, or met a silence that may be their own fault: one at a time, so that no
    /// other's turn is held while the server is silent about it.
    pub fn careful() -> Self {
        Self { hosts: 1, few: 1 }
    }

    /// So many.
    pub fn hosts(self) -> usize {
        self.hosts
    }

    /// After so many were sent.
    #[must_use]
    pub fn after(self, went: Went) -> Self {
        match went {
            Went::Well => Self { hosts: (self.hosts * 2).min(FULL), ..self },
            Went::Refused => Self { hosts: self.few, ..self },
            Went::Slowly => Self::careful(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::fresh_host;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_refused_host_goes_last_and_not_before_fifteen_seconds() {
        let (mut refused, host, start) = (RetrySchedule::default(), fresh_host(), Clock.now().mono);
        let when = |refused: &RetrySchedule, version, seconds| {
            refused.when(host.id, (version, true), start + Duration::from_secs(seconds))
        };
        assert_eq!(when(&refused, 1, 0), When::Last(None), "the row tells of a failure");
        assert_eq!(refused.when(host.id, (1, false), start), When::First);
        assert!(refused.refused(&host, "a CNAME", start));
        assert_eq!(when(&refused, 1, 14), When::NotYet);
        assert_eq!(when(&refused, 1, 15), When::Last(Some(start)));
        // a fresh update, and a reload
        assert_eq!(refused.when(host.id, (2, false), start), When::First);
        refused.forget_all();
        assert_eq!(when(&refused, 1, 0), When::Last(None));
    }

    #[test]
    fn the_same_refusal_of_the_same_change_is_no_news() {
        let (mut refused, mut host, now) =
            (RetrySchedule::default(), fresh_host(), Clock.now().mono);
        assert!(refused.refused(&host, "a CNAME", now));
        assert!(!refused.refused(&host, "a CNAME", now));
        assert!(refused.refused(&host, "the policy", now));
        host.version += 1;
        assert!(refused.refused(&host, "the policy", now));
        refused.acknowledged(host.id);
        assert!(refused.refused(&host, "the policy", now));
    }

    #[test]
    fn groups_are_small_after_a_refusal_and_grow_as_long_as_all_are_taken() {
        let mut pace = Pace::full();
        let mut sizes = |went: &[Went]| -> Vec<usize> {
            let next = went.iter().map(|went| {
                pace = pace.after(*went);
                pace.hosts()
            });
            next.collect()
        };
        let (well, refused) = (Went::Well, Went::Refused);
        let went = [refused, well, well, well, well, well, refused];
        assert_eq!(sizes(&went), [16, 32, 64, 128, 200, 200, 16]);
        assert_eq!(sizes(&[well, Went::Slowly, well, well, refused]), [32, 1, 2, 4, 1]);
    }
}
