//! When a host's records expire. In: when it was last updated, the clock, and the time that must not
//! be held against it. Out: expire these families, or look again then.

use crate::model::host::{Defaults, Host, Seen};
use crate::model::time::{Millis, Now};
use std::time::{Duration, Instant};

/// Spans that count for no host: ddnsd was down, or the clock jumped ahead. Each entry is the wall
/// time at which a span ended and its length in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Downtime(Vec<(i64, i64)>);

/// Gaps remembered; beyond, the two oldest become one, in the hosts' favour.
const MOST_GAPS: usize = 64;
/// How much of its own uptime a killed daemon may take for downtime, however rarely it sweeps.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// A running daemon looks at the clock again within this time, though the machine be busy.
const LOOKS: Duration = Duration::from_secs(10);
/// A difference between the clocks that is no jump yet.
const DRIFT: i64 = 60_000;

impl Downtime {
    /// Adds a span that ended at `end`.
    pub fn add(&mut self, end: Millis, length: i64) {
        self.0.push((end.0, length));
        if self.0.len() > MOST_GAPS {
            let (_, oldest) = self.0.remove(0);
            if let Some(next) = self.0.first_mut() {
                next.1 = next.1.saturating_add(oldest);
            }
        }
    }

    /// The clock was set back to `now`, by so many milliseconds. Every age by the clock became smaller by as
    /// much, so gaps may, too, the latest first: else nobody would expire before the clock is where it was.
    pub fn set_back(&mut self, now: Millis, by: i64) {
        let mut left = by;
        for (end, length) in self.0.iter_mut().rev() {
            let taken = left.clamp(0, (*length).max(0));
            (*length, left) = (*length - taken, left - taken);
            *end = (*end).min(now.0);
        }
        self.0.retain(|(_, length)| *length > 0);
    }

    /// How much of the time since `last` does not count.
    fn since(&self, last: Millis) -> i64 {
        let after = self.0.iter().filter(|(end, _)| *end > last.0);
        after.fold(0, |sum, (_, length)| sum.saturating_add(*length))
    }
}

/// What the wall clock did between two readings, measured against the monotonic one.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// Both went on alike.
    Steady,
    /// It jumped ahead: this span ended then.
    Ahead {
        /// After every time that was read before the jump; for a jump that is longer than what passed
        /// between the readings, before every time that was read after it, too.
        end: Millis,
        /// Its length, milliseconds.
        length: i64,
    },
    /// It was set back.
    Back {
        /// How far, milliseconds.
        length: i64,
    },
}

/// Compares two readings of the clocks.
pub fn clock_step(before: Now, now: Now) -> ClockStep {
    let elapsed = now.mono.saturating_duration_since(before.mono);
    let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    let jump = now.wall.since(before.wall).saturating_sub(elapsed);
    if jump > DRIFT {
        // when it was within that time is not known: who was updated before it must be forgiven, even if
        // who was updated after it is forgiven too
        let end = before.wall.plus_millis(jump.max(elapsed.saturating_add(1)));
        ClockStep::Ahead { end, length: jump }
    } else if jump < -DRIFT {
        ClockStep::Back { length: -jump }
    } else {
        ClockStep::Steady
    }
}

/// For how long the process stood still, milliseconds: stopped by a signal, or a container that was paused. It
/// looks at the clock far more often than that otherwise. Whoever wanted to update had no answer meanwhile.
pub fn stood_still(before: Now, now: Now) -> Option<i64> {
    let elapsed = now.mono.saturating_duration_since(before.mono);
    let length = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    (elapsed > LOOKS).then_some(length)
}

/// Whether the heartbeat is to be written again.
pub fn is_beat_due(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) >= HEARTBEAT
}

/// What the sweep does with a host.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It has no record, or never expires.
    Never,
    /// It is alive at least until then.
    CheckAt(Millis),
    /// These families have been silent for too long.
    Due {
        /// The A record.
        v4: bool,
        /// The AAAA record.
        v6: bool,
    },
}

/// Decides whether a host's records have expired.
pub fn evaluate(
    host: &Host,
    seen: Seen,
    gaps: &Downtime,
    defaults: &Defaults,
    now: Millis,
) -> Expiry {
    let ttl = ttl(host, defaults);
    let addresses = host.wanted.addresses();
    if ttl == 0 || addresses.is_empty() {
        return Expiry::Never;
    }
    let ends = |present: bool, last: Option<Millis>| {
        // a last update in the future counts as now; one that is not known, too
        let last = last.unwrap_or(now).min(now);
        present.then(|| end(last, ttl).plus_millis(gaps.since(last)))
    };
    let v4 = ends(addresses.v4.is_some(), seen.v4);
    let v6 = ends(addresses.v6.is_some(), seen.v6);
    let over = |end: Option<Millis>| end.is_some_and(|end| end <= now);
    if over(v4) || over(v6) {
        return Expiry::Due { v4: over(v4), v6: over(v6) };
    }
    [v4, v6].into_iter().flatten().min().map_or(Expiry::Never, Expiry::CheckAt)
}

/// When the sweep must first look at a host that was updated at `last`; `None` for never.
pub fn first_check(host: &Host, defaults: &Defaults, last: Millis) -> Option<Millis> {
    match ttl(host, defaults) {
        0 => None,
        ttl => Some(end(last, ttl)),
    }
}

/// The time to expire in force for a host, seconds, 0 for never.
pub fn ttl(host: &Host, defaults: &Defaults) -> u32 {
    host.expiry_ttl.unwrap_or(defaults.expiry_ttl)
}

fn end(last: Millis, ttl: u32) -> Millis {
    last.plus(Duration::from_secs(ttl.into()))
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::{DEFAULTS, fresh_host};
    use super::*;
    use crate::clock::Clock;
    use crate::model::record::Wanted;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn host() -> Host {
        let mut host = fresh_host();
        host.wanted.v4 = Wanted::Present("192.0.2.1".parse().unwrap());
        host.wanted.v6 = Wanted::Present("2001:db8::1".parse().unwrap());
        host
    }

    fn seen(v4: i64, v6: i64) -> Seen {
        Seen { v4: Some(Millis(v4)), v6: Some(Millis(v6)) }
    }

    fn evaluate_at(host: &Host, seen: Seen, gaps: &Downtime, now: i64) -> Expiry {
        evaluate(host, seen, gaps, &DEFAULTS, Millis(now))
    }

    #[test]
    fn a_family_expires_when_its_time_is_over_and_not_a_moment_earlier() {
        let none = Downtime::default();
        let early = evaluate_at(&host(), seen(0, 10), &none, HOUR - 1);
        assert_eq!(early, Expiry::CheckAt(Millis(HOUR)));
        let late = evaluate_at(&host(), seen(0, 10), &none, HOUR);
        assert_eq!(late, Expiry::Due { v4: true, v6: false });
        let both = evaluate_at(&host(), seen(0, 10), &none, HOUR + 10);
        assert_eq!(both, Expiry::Due { v4: true, v6: true });
    }

    #[test]
    fn zero_never_expires_and_neither_does_what_is_down() {
        let mut host = host();
        host.expiry_ttl = Some(0);
        assert_eq!(evaluate_at(&host, seen(0, 0), &Downtime::default(), i64::MAX), Expiry::Never);
        assert_eq!(
            evaluate_at(&fresh_host(), seen(0, 0), &Downtime::default(), HOUR),
            Expiry::Never
        );
    }

    #[test]
    fn a_gap_counts_for_those_updated_before_it_only() {
        let mut gaps = Downtime::default();
        gaps.add(Millis(HOUR), HOUR / 2);
        let before = evaluate_at(&host(), seen(1, 1), &gaps, HOUR + 1);
        assert_eq!(before, Expiry::CheckAt(Millis(HOUR + HOUR / 2 + 1)));
        let after = evaluate_at(&host(), seen(HOUR, HOUR), &gaps, 2 * HOUR);
        assert_eq!(after, Expiry::Due { v4: true, v6: true });
    }

    #[test]
    fn many_gaps_merge_and_never_shorten_a_life() {
        let mut gaps = Downtime::default();
        for at in 0..1_000 {
            gaps.add(Millis(at), 10);
        }
        assert!(gaps.0.len() <= MOST_GAPS);
        assert_eq!(gaps.since(Millis(-1)), 10_000);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_back_the_gap_of_its_jump_ahead() {
        // it jumped two hours ahead at 1 h, and is set back at 3.5 h: wholly, in part, and further
        let half = HOUR / 2;
        for (by, left) in [(2 * HOUR, 0), (HOUR, HOUR), (3 * HOUR, 0)] {
            let mut gaps = Downtime::default();
            gaps.add(Millis(3 * HOUR), 2 * HOUR);
            let now = 3 * HOUR + half - by;
            gaps.set_back(Millis(now), by);
            assert_eq!(gaps.since(Millis(now.min(HOUR) - 1)), left, "set back by {by}");
            assert_eq!(gaps.since(Millis(now)), 0, "who is updated from now on has no gap");
        }
        let mut gaps = Downtime::default();
        for n in 1..=3 {
            gaps.add(Millis(n * HOUR), half);
        }
        gaps.set_back(Millis(2 * HOUR), half + 1);
        assert_eq!(gaps.since(Millis(0)), 2 * half - 1);
    }

    const STEP: i64 = 70_000; // what differs by less is no jump

    proptest! {
        /// Whatever the clock does, and however late that is noticed, a host's age by it, less its gaps, is
        /// never more than its true age.
        #[test]
        fn no_jump_of_the_clock_makes_a_host_older_than_it_is(
            steps in proptest::collection::vec((0_u8..6, 1_i64..100), 1..60)
        ) {
            let (start, mut passed, mut wall) = (Clock.now(), 0, 1_000_000_000);
            let (mut gaps, mut has_jumped) = (Downtime::default(), false);
            let mut last = Now { wall: Millis(wall), ..start };
            let mut hosts: Vec<(i64, i64)> = Vec::new(); // last update by the clock, true age
            for (kind, by) in steps {
                match kind {
                    0 | 1 => hosts.push((wall, 0)),
                    2 => {
                        let by = by * STEP / 50;
                        (wall, passed) = (wall + by, passed + by);
                        for (_, age) in &mut hosts {
                            *age += by;
                        }
                    }
                    3 | 4 if !has_jumped => {
                        wall += if kind == 3 { by * STEP } else { -by * STEP };
                        has_jumped = true;
                    }
                    _ => {
                        let millis = Duration::from_millis(u64::try_from(passed).unwrap());
                        let now = Now { wall: Millis(wall), mono: start.mono + millis };
                        match clock_step(last, now) {
                            ClockStep::Steady => {}
                            ClockStep::Ahead { end, length } => gaps.add(end, length),
                            ClockStep::Back { length } => {
                                gaps.set_back(now.wall, length);
                                for (last, _) in &mut hosts {
                                    *last = (*last).min(wall);
                                }
                            }
                        }
                        (last, has_jumped) = (now, false);
                        for (last, age) in &hosts {
                            prop_assert!(wall - last - gaps.since(Millis(*last)) <= *age);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_update_in_the_future_counts_as_now() {
        let late = evaluate_at(&host(), seen(9 * HOUR, 9 * HOUR), &Downtime::default(), 0);
        assert_eq!(late, Expiry::CheckAt(Millis(HOUR)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant can be had from the clock only")]
    fn jumps_of_the_wall_clock_are_told_from_passing_time() {
        let mono = Instant::now();
        let start = Now { wall: Millis(0), mono };
        let later =
            |wall, seconds| Now { wall: Millis(wall), mono: mono + Duration::from_secs(seconds) };
        assert_eq!(clock_step(start, later(HOUR, 3600)), ClockStep::Steady);
        assert_eq!(clock_step(start, later(5_000 + 60_000, 5)), ClockStep::Steady);
        let ahead = ClockStep::Ahead { end: Millis(HOUR - 5_000), length: HOUR - 5_000 };
        assert_eq!(clock_step(start, later(HOUR, 5)), ahead);
        // noticed after two hours, it may have been at their end
        let late = ClockStep::Ahead { end: Millis(2 * HOUR + 1), length: HOUR };
        assert_eq!(clock_step(start, later(3 * HOUR, 7200)), late);
        let back = ClockStep::Back { length: HOUR + 5_000 };
        assert_eq!(clock_step(start, later(-HOUR, 5)), back);
        // both go on while a process is stopped
        assert_eq!(
            (stood_still(start, later(10_000, 10)), stood_still(start, later(0, 11))),
            (None, Some(11_000))
        );
    }
}
