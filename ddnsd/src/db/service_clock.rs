//! The running value of the service clock. `uptime.rs` says what it measures, and stores it. In:
//! the time of each tick. Out: the value now.

use crate::model::time::{Now, Uptime};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The most that one gap between two ticks counts. Ticks are 2 s apart; a longer gap means that the
/// process was stopped.
const MAX_TICK: Duration = Duration::from_secs(5);
/// The wall clock jumped if it differs from the monotonic clock by more milliseconds.
const MAX_DRIFT: i64 = 60_000;

/// The service clock as of its last tick.
pub(super) struct ServiceClock(ArcSwap<Tick>);

#[derive(Clone, Copy)]
struct Tick {
    value: Uptime,
    /// `None` while the clock stands still: before the first tick, and after a failure.
    at: Option<Now>,
}

impl Default for ServiceClock {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(Tick { value: Uptime(0), at: None }))
    }
}

impl Tick {
    fn uptime(&self, now: Now) -> Uptime {
        let passed = self.at.map_or(Duration::ZERO, |at| passed(at, now));
        self.value.plus(passed.min(MAX_TICK))
    }
}

fn passed(before: Now, now: Now) -> Duration {
    now.mono.saturating_duration_since(before.mono)
}

/// How far the wall clock jumped between two readings, milliseconds; 0 for a mere drift.
fn jump(before: Now, now: Now) -> i64 {
    let passed = i64::try_from(passed(before, now).as_millis()).unwrap_or(i64::MAX);
    let jump = now.wall.since(before.wall).saturating_sub(passed);
    if jump.saturating_abs() > MAX_DRIFT { jump } else { 0 }
}

impl ServiceClock {
    pub(super) fn uptime(&self, now: Now) -> Uptime {
        self.0.load().uptime(now)
    }

    /// The value at this tick, which the database has not confirmed yet. Logs what does not count.
    pub(super) fn value_at_tick(&self, now: Now) -> Uptime {
        let last = **self.0.load();
        if let Some(at) = last.at {
            log_gaps(at, now);
        }
        last.uptime(now)
    }

    pub(super) fn set(&self, value: Uptime, now: Now) {
        self.0.store(Arc::new(Tick { value, at: Some(now) }));
    }

    /// Stops the clock until it is set.
    pub(super) fn stop(&self) {
        let value = self.0.load().value;
        self.0.store(Arc::new(Tick { value, at: None }));
    }
}

fn log_gaps(before: Now, now: Now) {
    let passed = passed(before, now);
    if passed > MAX_TICK {
        let (seconds, counted) = (passed.as_secs(), MAX_TICK.as_secs());
        warn!(
            "ddnsd did not run, or waited for its database, for {seconds} s; {counted} s of it count toward expiry"
        );
    }
    let jump = jump(before, now);
    if jump != 0 {
        warn!("the clock jumped by {} s; no host expires because of it", jump / 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::time::Millis;

    fn after(start: Now, mono: u64, wall: i64) -> Now {
        let mono = start.mono + Duration::from_secs(mono);
        Now { mono, wall: Millis(start.wall.0 + wall * 1000) }
    }

    #[test]
    fn a_tick_counts_five_seconds_at_most_whatever_the_wall_clock_does() {
        let start = Clock.now();
        let tick = Tick { value: Uptime(1_000), at: Some(start) };
        assert_eq!(tick.uptime(after(start, 2, 86_400)), Uptime(3_000));
        assert_eq!(tick.uptime(after(start, 2, -86_400)), Uptime(3_000));
        assert_eq!(tick.uptime(after(start, 12, 12)), Uptime(6_000));
        let stopped = Tick { at: None, ..tick };
        assert_eq!(stopped.uptime(after(start, 2, 2)), Uptime(1_000));
    }

    #[test]
    fn a_clock_jump_is_distinguished_from_passing_time_and_drift() {
        let start = Clock.now();
        for (mono, wall, jumped) in
            [(3600, 3600, 0), (5, 65, 0), (5, 66, 61_000), (5, -3600, -3_605_000)]
        {
            assert_eq!(jump(start, after(start, mono, wall)), jumped, "{mono} {wall}");
        }
    }
}
