//! Unanswered messages may be applied late, after a newer one was acknowledged. In: the names of
//! unanswered messages and of acknowledged changes. Out: from when on an acknowledgement is final.
//! Pure: the time is an argument. Not persisted: after a restart every host that was unpublished
//! before it counts as one with an unanswered message.
//! Keyed by name, because a host that is deleted and added again has the same records.

use crate::model::change::RecordChange;
use crate::model::name::Fqdn;
use crate::model::time::{Millis, Now};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names remembered. Beyond, any name may have an unanswered message while one can be late.
const MAX_NAMES: usize = 100_000;

/// The hosts of all zones that a late message may still change.
pub(super) struct LateMessages {
    started: Now,
    known: Mutex<LateNames>,
}

#[derive(Default)]
struct LateNames {
    names: HashMap<Fqdn, LateMessage>,
    /// Until when a message of a name beyond [`MAX_NAMES`] can be late.
    others_until: Option<Instant>,
    /// Until when any unanswered message can be late.
    any_until: Option<Instant>,
}

#[derive(Clone, Copy)]
struct LateMessage {
    /// Until when it can be late: counted from its own end, then from the next acknowledgement,
    /// because a server that hung works off old messages together with the new one.
    until: Instant,
    /// A newer message was acknowledged since.
    is_acknowledged: bool,
}

impl LateMessages {
    /// `started` is when this run of the daemon began.
    pub(super) fn new(started: Now) -> Self {
        Self { started, known: Mutex::default() }
    }

    /// When this run of the daemon began.
    pub(super) fn started(&self) -> Millis {
        self.started.wall
    }

    fn known(&self) -> MutexGuard<'_, LateNames> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a message with these names was sent and got no answer within `timeout`.
    pub(super) fn unanswered<'a>(
        &self,
        names: impl Iterator<Item = &'a Fqdn>,
        timeout: Duration,
        now: Instant,
    ) {
        let mut known = self.known();
        let until = now + late_for(timeout);
        if known.names.len() >= MAX_NAMES {
            // names of deleted hosts are never acknowledged
            known.names.retain(|_, late| now < late.until);
        }
        // an earlier message may have had a longer timeout
        known.any_until = known.any_until.max(Some(until));
        for name in names {
            let until = known.names.get(name).map_or(until, |late| until.max(late.until));
            if !known.insert(name, LateMessage { until, is_acknowledged: false }) {
                known.others_until = known.others_until.max(Some(until));
            }
        }
    }

    /// For each acknowledged change, the time from which on no earlier message can overwrite it;
    /// `None` if that holds now. `timeout` is that of one message.
    pub(super) fn acknowledged<'a>(
        &self,
        changes: impl Iterator<Item = &'a RecordChange>,
        timeout: Duration,
        now: Instant,
    ) -> Vec<Option<Instant>> {
        let mut known = self.known();
        let left = known.any_until.map(|until| until.saturating_duration_since(now));
        let late_for = left.unwrap_or_default().max(late_for(timeout));
        let final_from = changes.map(|change| {
            let until = known.late_until(&change.fqdn, late_for, now);
            // the previous run may have sent it, and ended without an answer
            let is_inherited =
                change.unpublished_since.is_some_and(|since| since < self.started.wall);
            let inherited = is_inherited.then(|| self.started.mono + late_for);
            let final_from = until.max(inherited).filter(|until| now < *until);
            match final_from {
                Some(until) => {
                    known.insert(&change.fqdn, LateMessage { until, is_acknowledged: true });
                }
                None => drop(known.names.remove(&change.fqdn)),
            }
            final_from
        });
        final_from.collect()
    }

    /// Whether the name is acknowledged, and its acknowledgement not final yet: to send it once
    /// more confirms nothing before then.
    pub(super) fn is_waiting(&self, name: &Fqdn, now: Instant) -> bool {
        let known = self.known();
        known.names.get(name).is_some_and(|late| late.is_acknowledged && now < late.until)
    }
}

impl LateNames {
    /// Returns false if there is no space.
    fn insert(&mut self, name: &Fqdn, late: LateMessage) -> bool {
        if let Some(known) = self.names.get_mut(name) {
            *known = late;
            return true;
        }
        let has_space = self.names.len() < MAX_NAMES;
        if has_space {
            self.names.insert(name.clone(), late);
        }
        has_space
    }

    /// Until when a message can overwrite what is acknowledged now.
    fn late_until(&self, name: &Fqdn, late_for: Duration, now: Instant) -> Option<Instant> {
        match self.names.get(name) {
            Some(late) if late.is_acknowledged => Some(late.until),
            Some(_unanswered) => Some(now + late_for),
            None => self.others_until.filter(|until| now < *until).map(|_| now + late_for),
        }
    }
}

/// For how long a message that got no answer within `timeout` can still be applied.
fn late_for(timeout: Duration) -> Duration {
    timeout * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Zone;
    use crate::model::record::WantedRecords;
    use std::ops::Range;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const LATE_FOR: Duration = Duration::from_secs(10);
    const STARTED: Millis = Millis(5_000);

    /// A fresh run, and when it began.
    fn start() -> (LateMessages, Instant) {
        let mono = crate::clock::Clock.now().mono;
        (LateMessages::new(Now { wall: STARTED, mono }), mono)
    }

    fn fqdn(n: usize) -> Fqdn {
        Fqdn::parse(&format!("h{n}.example.org")).unwrap()
    }

    fn unanswered(late: &LateMessages, range: Range<usize>, now: Instant) {
        late.unanswered(range.map(fqdn).collect::<Vec<_>>().iter(), TIMEOUT, now);
    }

    fn change(n: usize, unpublished_since: Millis) -> RecordChange {
        let zone = Zone::parse("example.org").unwrap();
        RecordChange {
            fqdn: fqdn(n),
            zone,
            ttl: 60,
            records: WantedRecords::default(),
            unpublished_since: Some(unpublished_since),
        }
    }

    fn acknowledged(
        late: &LateMessages,
        range: Range<usize>,
        now: Instant,
    ) -> Vec<Option<Instant>> {
        let changes: Vec<_> = range.map(|n| change(n, STARTED)).collect();
        late.acknowledged(changes.iter(), TIMEOUT, now)
    }

    #[test]
    fn an_acknowledgement_is_final_if_every_message_of_the_name_was_answered() {
        let (late, now) = start();
        unanswered(&late, 0..1, now);
        assert_eq!(acknowledged(&late, 1..3, now), [None, None]);
        assert!(!late.is_waiting(&fqdn(1), now));
    }

    #[test]
    fn after_an_unanswered_message_the_first_acknowledgement_is_final_later_whenever_it_comes() {
        let (late, now) = start();
        unanswered(&late, 0..1, now);
        assert!(!late.is_waiting(&fqdn(0), now), "it is not acknowledged");
        let now = now + 100 * LATE_FOR;
        let from = now + LATE_FOR;
        assert_eq!(acknowledged(&late, 0..1, now), [Some(from)]);
        let early = now + LATE_FOR / 2;
        assert!(late.is_waiting(&fqdn(0), early));
        assert_eq!(acknowledged(&late, 0..1, early), [Some(from)], "nor is the next one sooner");
        assert!(!late.is_waiting(&fqdn(0), from));
        assert_eq!(acknowledged(&late, 0..1, from), [None]);
        assert_eq!(acknowledged(&late, 0..1, now), [None], "it is forgotten");
    }

    #[test]
    fn another_unanswered_message_starts_the_wait_again() {
        let (late, now) = start();
        unanswered(&late, 0..1, now);
        assert_eq!(acknowledged(&late, 0..1, now), [Some(now + LATE_FOR)]);
        unanswered(&late, 0..1, now);
        let now = now + LATE_FOR;
        assert_eq!(acknowledged(&late, 0..1, now), [Some(now + LATE_FOR)]);
    }

    #[test]
    fn what_the_previous_run_left_unpublished_is_final_once_this_run_is_old_enough() {
        let (late, started) = start();
        let previous = [change(0, Millis(STARTED.0 - 1))];
        let from = started + LATE_FOR;
        for _ in 0..2 {
            assert_eq!(late.acknowledged(previous.iter(), TIMEOUT, started), [Some(from)]);
        }
        assert!(late.is_waiting(&fqdn(0), started));
        assert_eq!(late.acknowledged(previous.iter(), TIMEOUT, from), [None]);
        assert_eq!(acknowledged(&late, 0..1, started), [None]);
    }

    #[test]
    fn a_message_of_a_longer_timeout_is_waited_for_though_the_timeout_is_shorter_now() {
        let (late, now) = start();
        unanswered(&late, 0..1, now);
        let shorter = TIMEOUT / 5;
        late.unanswered([fqdn(1)].iter(), shorter, now);
        let both = [change(0, STARTED), change(1, STARTED)];
        let from = Some(now + LATE_FOR);
        assert_eq!(late.acknowledged(both.iter(), shorter, now), [from, from]);
    }

    #[test]
    fn when_names_are_too_many_any_may_have_a_late_message_for_as_long_as_one_can_be_late() {
        let (late, now) = start();
        let one_more = MAX_NAMES..MAX_NAMES + 1;
        unanswered(&late, 0..MAX_NAMES, now);
        unanswered(&late, 0..1, now);
        assert_eq!(acknowledged(&late, one_more.clone(), now), [None]);
        unanswered(&late, one_more.clone(), now);
        assert_eq!(acknowledged(&late, one_more.clone(), now), [Some(now + LATE_FOR)]);
        let now = now + LATE_FOR;
        assert_eq!(acknowledged(&late, one_more, now), [None], "though the others never came");
        assert_eq!(acknowledged(&late, 0..2, now), [Some(now + LATE_FOR); 2]);
    }

    #[test]
    fn names_that_are_never_acknowledged_give_up_their_space() {
        let (late, now) = start();
        unanswered(&late, 0..MAX_NAMES, now);
        let now = now + LATE_FOR;
        unanswered(&late, MAX_NAMES..MAX_NAMES + 1, now);
        let both = acknowledged(&late, MAX_NAMES..MAX_NAMES + 2, now);
        assert_eq!(both, [Some(now + LATE_FOR), None]);
    }
}
