//! Names of which a message ended without an answer, so that it may still be applied, after a newer
//! one even. In: names of such messages, and of acknowledged ones. Out: who must be asserted again.
//! Names and not hosts: a host that was deleted and added again has the record of before.

use crate::model::name::Fqdn;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names remembered. Beyond, all count as in doubt for as long as a message can be late.
const MAX_NAMES: usize = 100_000;

/// The names in doubt, of all zones.
#[derive(Default)]
pub(super) struct LateMessages(Mutex<LateNames>);

#[derive(Default)]
struct LateNames {
    /// Until when the message can be late.
    names: HashMap<Fqdn, Instant>,
    /// There were more than are remembered.
    others_until: Option<Instant>,
    /// Until when any message that was not answered can be late.
    any_until: Option<Instant>,
}

impl LateMessages {
    fn doubted(&self) -> MutexGuard<'_, LateNames> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message with these names went out and was not answered; it can be late by so much.
    pub(super) fn add<'a>(
        &self,
        names: impl Iterator<Item = &'a Fqdn>,
        now: Instant,
        lateness: Duration,
    ) {
        let mut doubted = self.doubted();
        let until = now + lateness;
        if doubted.names.len() >= MAX_NAMES {
            // nobody may ever ask for them again: deleted ones
            doubted.names.retain(|_, until| now < *until);
        }
        // by a longer timeout of before, an earlier one may come last
        doubted.any_until = doubted.any_until.max(Some(until));
        for name in names {
            if doubted.names.len() < MAX_NAMES || doubted.names.contains_key(name) {
                let latest = doubted.names.entry(name.clone()).or_insert(until);
                *latest = until.max(*latest);
            } else {
                doubted.others_until = doubted.others_until.max(Some(until));
            }
        }
    }

    /// For how long from now on some message can still be late.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let until = self.doubted().any_until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// These are acknowledged: which of them were in doubt, and are no more.
    pub(super) fn take<'a>(
        &self,
        names: impl Iterator<Item = &'a Fqdn>,
        now: Instant,
    ) -> Vec<bool> {
        let mut doubted = self.doubted();
        let any = doubted.others_until.is_some_and(|until| now < until);
        names.map(|name| doubted.names.remove(name).is_some() || any).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LATENESS: Duration = Duration::from_secs(10);

    fn names(range: std::ops::Range<usize>) -> Vec<Fqdn> {
        range.map(|n| Fqdn::parse(&format!("h{n}.example.org")).unwrap()).collect()
    }

    fn add(doubt: &LateMessages, range: std::ops::Range<usize>, now: Instant) {
        doubt.add(names(range).iter(), now, LATENESS);
    }

    fn take(doubt: &LateMessages, range: std::ops::Range<usize>, now: Instant) -> Vec<bool> {
        doubt.take(names(range).iter(), now)
    }

    #[test]
    fn a_name_is_in_doubt_until_it_is_acknowledged_however_late_that_is() {
        let (doubt, now) = (LateMessages::default(), Clock.now().mono);
        add(&doubt, 0..2, now);
        assert_eq!(take(&doubt, 1..3, now), [true, false]);
        assert_eq!(take(&doubt, 0..2, now + 100 * LATENESS), [true, false]);
    }

    #[test]
    fn a_message_of_a_longer_timeout_is_waited_for_though_later_ones_have_a_shorter() {
        let (doubt, now) = (LateMessages::default(), Clock.now().mono);
        assert_eq!(doubt.left(now), Duration::ZERO);
        add(&doubt, 0..1, now);
        doubt.add(names(0..1).iter(), now, LATENESS / 5);
        assert_eq!(doubt.left(now + LATENESS / 2), LATENESS / 2);
        assert_eq!(doubt.left(now + LATENESS * 2), Duration::ZERO);
    }

    #[test]
    fn when_there_are_too_many_to_remember_all_are_in_doubt_for_as_long_as_one_can_be_late() {
        let (doubt, now) = (LateMessages::default(), Clock.now().mono);
        let one_more = MAX_NAMES..MAX_NAMES + 1;
        add(&doubt, 0..MAX_NAMES, now);
        add(&doubt, 0..1, now);
        assert_eq!(take(&doubt, one_more.clone(), now), [false]);
        add(&doubt, one_more.clone(), now);
        assert_eq!(take(&doubt, one_more.clone(), now), [true]);
        let later = now + LATENESS;
        assert_eq!(take(&doubt, one_more, later), [false], "though the others never came");
        assert_eq!(take(&doubt, 0..2, later), [true, true]);
    }

    #[test]
    fn names_that_nobody_asks_for_any_more_make_room() {
        let (doubt, now) = (LateMessages::default(), Clock.now().mono);
        add(&doubt, 0..MAX_NAMES, now);
        let later = now + LATENESS;
        add(&doubt, MAX_NAMES..MAX_NAMES + 1, later);
        assert_eq!(take(&doubt, MAX_NAMES..MAX_NAMES + 2, later), [true, false]);
    }
}
