//! What follows from a check of what DNS serves. In: what is known of the host, and what the check
//! found. Out: when it is checked again, or what is done about it.
//!
//! Published, it differs, it differs still, it is published again; it differs twice more, and it is
//! unserved until a check holds. What hides a name is no difference of its records: to publish it
//! again would change nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Repairs of a host within `REPAIR_TIME`. Then another writer is named instead.
pub const MAX_REPAIRS: usize = 3;
const REPAIR_TIME: Duration = Duration::from_hours(24);
/// Hosts whose repairs are remembered.
const MAX_REPAIRED: usize = 10_000;

/// How long each step takes.
#[derive(Clone, Copy, Debug)]
pub struct VerifyTimes {
    /// From the start to the first round over all hosts.
    pub first_round: Duration,
    /// From an acknowledgement to its check.
    pub after_change: Duration,
    /// From a difference to the check that confirms it.
    pub confirm: Duration,
    /// The same, for what hides a name. PowerDNS answers from its caches for 40 s by default.
    pub hidden: Duration,
    /// The same, for a name that does not exist or another TTL: it caches that for 80 s.
    pub cached: Duration,
    /// To the first check of an unserved host. It doubles up to `max_recheck`.
    pub recheck: Duration,
    pub max_recheck: Duration,
}

impl VerifyTimes {
    /// Those of the product.
    pub const DEFAULT: Self = Self {
        first_round: Duration::from_secs(5),
        after_change: Duration::from_secs(2),
        confirm: Duration::from_secs(15),
        hidden: Duration::from_secs(45),
        cached: Duration::from_secs(90),
        recheck: Duration::from_mins(1),
        max_recheck: Duration::from_mins(15),
    };
}

/// What checks found of a host that did not hold at the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    /// Differences that counted since the last repair, and when the last of them was found.
    differed: u32,
    last: Option<Instant>,
    /// It was published again because of a difference.
    is_repaired: bool,
    /// Since when answers to queries do not show the records as they are.
    odd_since: Option<Instant>,
    /// The last pause of an unserved host.
    pause: Option<Duration>,
}

/// What to do next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStep {
    CheckAfter(Duration),
    /// Publish the host again.
    Repair,
    /// Mark it unserved for this reason.
    Unserved(UnservedBy),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnservedBy {
    /// The name server acknowledges and does not do it.
    NameServer,
    /// The record was repaired several times, and differs again.
    OtherWriter,
    /// Something hides the name.
    Hiding,
}

impl Suspicion {
    /// The records differ. `repairs`: of this host within a day.
    pub fn differs(
        &mut self,
        is_unserved: bool,
        repairs: usize,
        times: &VerifyTimes,
        now: Instant,
    ) -> VerifyStep {
        if is_unserved {
            return self.recheck(times);
        }
        let since_last = self.last.map(|last| now.saturating_duration_since(last));
        if let Some(early) = since_last.filter(|since| *since < times.confirm) {
            return VerifyStep::CheckAfter(times.confirm.saturating_sub(early));
        }
        self.last = Some(now);
        self.differed += 1;
        match (self.differed, self.is_repaired) {
            (1, _) => VerifyStep::CheckAfter(times.confirm),
            _ if repairs >= MAX_REPAIRS => VerifyStep::Unserved(UnservedBy::OtherWriter),
            (_, true) => VerifyStep::Unserved(UnservedBy::NameServer),
            (_, false) => VerifyStep::Repair,
        }
    }

    /// It was published again: differences count from the next check on.
    pub fn repaired(&mut self) {
        *self = Self { is_repaired: true, ..Self::default() };
    }

    /// The records hold, and the answer to a query does not show them. `confirm`: for how long it
    /// must, so that no cache is the cause.
    pub fn is_odd(
        &mut self,
        is_unserved: bool,
        confirm: Duration,
        times: &VerifyTimes,
        now: Instant,
    ) -> VerifyStep {
        let since = *self.odd_since.get_or_insert(now);
        if is_unserved {
            return self.recheck(times);
        }
        let left = confirm.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() {
            VerifyStep::Unserved(UnservedBy::Hiding)
        } else {
            VerifyStep::CheckAfter(left)
        }
    }

    /// Whether the last answer to a query did not show the records as they are.
    pub fn was_odd(&self) -> bool {
        self.odd_since.is_some()
    }

    /// The next pause of an unserved host.
    pub fn recheck(&mut self, times: &VerifyTimes) -> VerifyStep {
        let pause = self.pause.map_or(times.recheck, |pause| (pause * 2).min(times.max_recheck));
        self.pause = Some(pause);
        VerifyStep::CheckAfter(pause)
    }
}

/// When hosts were repaired.
#[derive(Debug)]
pub struct Repairs<K>(HashMap<K, VecDeque<Instant>>);

impl<K> Default for Repairs<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Repairs<K> {
    /// Repairs of this host within a day.
    pub fn count(&self, host: &K, now: Instant) -> usize {
        self.0.get(host).map_or(0, |times| times.iter().filter(|at| is_recent(**at, now)).count())
    }

    pub fn add(&mut self, host: K, now: Instant) {
        if self.0.len() >= MAX_REPAIRED {
            self.0.retain(|_, times| times.back().is_some_and(|at| is_recent(*at, now)));
        }
        if self.0.len() < MAX_REPAIRED || self.0.contains_key(&host) {
            let times = self.0.entry(host).or_default();
            times.push_back(now);
            if times.len() > MAX_REPAIRS {
                times.pop_front();
            }
        }
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REPAIR_TIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use VerifyStep::{CheckAfter, Repair, Unserved};

    const TIMES: VerifyTimes = VerifyTimes::DEFAULT;

    /// Checks that differ at these seconds, and what follows from each. A repair is carried out.
    fn steps(repairs: usize, seconds: &[u64]) -> Vec<VerifyStep> {
        let start = Clock.now().mono;
        let mut suspicion = Suspicion::default();
        let step = |at: &u64| {
            let now = start + Duration::from_secs(*at);
            let step = suspicion.differs(false, repairs, &TIMES, now);
            if step == Repair {
                suspicion.repaired();
            }
            step
        };
        seconds.iter().map(step).collect()
    }

    fn after(seconds: u64) -> VerifyStep {
        CheckAfter(Duration::from_secs(seconds))
    }

    #[test]
    fn a_difference_that_stands_is_repaired_once_and_then_unserved() {
        assert_eq!(
            steps(0, &[0, 15, 17, 32]),
            [after(15), Repair, after(15), Unserved(UnservedBy::NameServer)]
        );
    }

    #[test]
    fn checks_that_come_sooner_do_not_count() {
        assert_eq!(steps(0, &[0, 5, 14, 15]), [after(15), after(10), after(1), Repair]);
    }

    #[test]
    fn after_three_repairs_a_day_another_writer_is_named() {
        let by_other = Unserved(UnservedBy::OtherWriter);
        assert_eq!(steps(2, &[0, 15]), [after(15), Repair]);
        assert_eq!(steps(3, &[0, 15]), [after(15), by_other]);

        let (mut repairs, start) = (Repairs::default(), Clock.now().mono);
        for minutes in [0, 1, 2, 3] {
            repairs.add(1, start + Duration::from_mins(minutes));
        }
        assert_eq!(repairs.count(&1, start + Duration::from_mins(4)), 3, "three are enough");
        assert_eq!(repairs.count(&2, start), 0);
        assert_eq!(repairs.count(&1, start + REPAIR_TIME + Duration::from_mins(2)), 1);
    }

    #[test]
    fn an_unserved_host_is_checked_after_a_minute_doubling_to_fifteen() {
        let (mut suspicion, now) = (Suspicion::default(), Clock.now().mono);
        let pauses = [1, 2, 4, 8, 15, 15].map(Duration::from_mins);
        for pause in pauses {
            assert_eq!(suspicion.differs(true, 0, &TIMES, now), CheckAfter(pause));
        }
    }

    #[test]
    fn what_hides_a_name_counts_once_no_cache_can_be_the_cause() {
        let (mut suspicion, start) = (Suspicion::default(), Clock.now().mono);
        let mut step = |seconds| {
            let now = start + Duration::from_secs(seconds);
            suspicion.is_odd(false, TIMES.cached, &TIMES, now)
        };
        assert_eq!(
            [step(0), step(60), step(90)],
            [after(90), after(30), Unserved(UnservedBy::Hiding)]
        );
        assert!(suspicion.was_odd());
    }

    #[test]
    fn repairs_that_are_remembered_are_bounded() {
        let (mut repairs, start) = (Repairs::default(), Clock.now().mono);
        for host in 0..=MAX_REPAIRED {
            repairs.add(host, start);
        }
        assert_eq!(repairs.0.len(), MAX_REPAIRED);
        repairs.add(MAX_REPAIRED, start + REPAIR_TIME);
        assert_eq!(repairs.0.len(), 1, "those of a day ago give up their space");
    }
}
