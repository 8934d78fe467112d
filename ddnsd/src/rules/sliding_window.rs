//! A sliding window. In: the times of a client's events, its requests in flight, the limit, now.
//! Out: whether one more may start, or how long until it may. What is in flight counts as if it
//! happened now, so that concurrent requests cannot exceed the limit together.

use std::collections::VecDeque;
use std::time::Duration;

/// How a request counts in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Toward the good limit.
    Good,
    /// Toward the bad limit.
    Bad,
    /// Toward none.
    Nothing,
}

/// Monotonic time as nanoseconds since a fixed start: 584 years, in half the room of an `Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonoNanos(u64);

impl MonoNanos {
    /// This long after the start; saturates.
    pub fn after_start(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_start(by).0))
    }
}

/// At most `max` events within any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How long an event counts.
    pub window: Duration,
    /// Events in it, one at least.
    pub max: u32,
}

impl Limit {
    fn max(self) -> usize {
        usize::try_from(self.max).unwrap_or(usize::MAX)
    }
}

/// The limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Until an event is allowed again, if everything in flight becomes an event.
    pub retry_after: Duration,
    /// Whether it is reached even if nothing in flight becomes an event.
    pub is_certain: bool,
}

/// One client's events of one kind: those that still count, and those in flight.
#[derive(Debug, Default)]
pub struct Window {
    /// Oldest first; never more than the limit's maximum.
    events: VecDeque<MonoNanos>,
    in_flight: usize,
}

impl Window {
    /// Reserves a place for something that may become an event.
    ///
    /// # Errors
    /// The limit is reached; nothing is reserved then.
    pub fn reserve(&mut self, limit: Limit, now: MonoNanos) -> Result<(), Full> {
        self.forget_old(limit, now);
        let taken = self.events.len() + self.in_flight;
        if taken < limit.max() {
            self.in_flight += 1;
            return Ok(());
        }
        let must_leave = taken - limit.max();
        let frees_at = self.events.get(must_leave).copied().unwrap_or(now).plus(limit.window);
        Err(Full {
            retry_after: Duration::from_nanos(frees_at.0.saturating_sub(now.0)),
            is_certain: self.events.len() >= limit.max(),
        })
    }

    /// Gives a place back.
    pub fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Counts an event. Beyond the maximum the oldest is dropped: it decides nothing any more.
    pub fn count(&mut self, limit: Limit, now: MonoNanos) {
        self.forget_old(limit, now);
        while self.events.len() >= limit.max() {
            self.events.pop_front();
        }
        // concurrent stories may report in another order than they read the clock
        let newest = self.events.back().copied().unwrap_or(now);
        self.events.push_back(now.max(newest));
    }

    /// Whether the window is empty and can be dropped.
    pub fn is_idle(&mut self, limit: Limit, now: MonoNanos) -> bool {
        self.forget_old(limit, now);
        self.events.is_empty() && self.in_flight == 0
    }

    /// Whether no event is kept and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.in_flight == 0
    }

    fn forget_old(&mut self, limit: Limit, now: MonoNanos) {
        while self.events.front().is_some_and(|event| event.plus(limit.window) <= now) {
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Limit = Limit { window: Duration::from_mins(1), max: 3 };

    fn at(seconds: u64) -> MonoNanos {
        MonoNanos::after_start(Duration::from_secs(seconds))
    }

    fn full(seconds: u64) -> Result<(), Full> {
        Err(Full { retry_after: Duration::from_secs(seconds), is_certain: true })
    }

    /// Full because of what is in flight.
    fn maybe_full(seconds: u64) -> Result<(), Full> {
        Err(Full { retry_after: Duration::from_secs(seconds), is_certain: false })
    }

    #[test]
    fn the_window_frees_when_its_oldest_event_leaves_it() {
        let mut window = Window::default();
        for second in [0, 10, 20] {
            window.count(LIMIT, at(second));
        }
        assert_eq!(window.reserve(LIMIT, at(30)), full(30));
        assert_eq!(window.reserve(LIMIT, at(59)), full(1));
        assert_eq!(window.reserve(LIMIT, at(60)), Ok(()));
        assert_eq!(window.reserve(LIMIT, at(60)), maybe_full(10));
    }

    #[test]
    fn a_request_in_flight_takes_a_place_until_it_is_released() {
        let mut window = Window::default();
        for _ in 0..3 {
            assert_eq!(window.reserve(LIMIT, at(0)), Ok(()));
        }
        assert_eq!(window.reserve(LIMIT, at(0)), maybe_full(60));
        window.release();
        assert_eq!(window.reserve(LIMIT, at(0)), Ok(()));
        assert!(!window.is_idle(LIMIT, at(1000)));
    }

    #[test]
    fn a_lowered_limit_waits_until_the_excess_has_left_the_window() {
        let mut window = Window::default();
        for second in [0, 10, 20] {
            window.count(LIMIT, at(second));
        }
        let lower = Limit { max: 1, ..LIMIT };
        assert_eq!(window.reserve(lower, at(30)), full(50));
    }

    #[test]
    fn an_endless_window_does_not_overflow() {
        let limit = Limit { window: Duration::MAX, max: 1 };
        let mut window = Window::default();
        window.count(limit, at(1));
        assert!(window.reserve(limit, at(2)).is_err());
    }

    /// The same window written simply: it keeps every event, in nanoseconds.
    fn naive(events: &[u64], in_flight: usize, now: u64) -> bool {
        let window = u64::try_from(LIMIT.window.as_nanos()).unwrap();
        events.iter().filter(|event| *event + window > now).count() + in_flight < 3
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_counting_every_event(
            steps in prop::collection::vec((0_u64..40_000_000_000, 0..4_u8), 1..200)
        ) {
            let (mut window, mut events, mut in_flight, mut now) = (Window::default(), vec![], 0, 0);
            for (pause, step) in steps {
                now += pause;
                match step {
                    0 | 1 => {
                        let taken = window.reserve(LIMIT, MonoNanos(now)).is_ok();
                        prop_assert_eq!(taken, naive(&events, in_flight, now));
                        in_flight += usize::from(taken);
                    }
                    2 if in_flight > 0 => {
                        window.release();
                        in_flight -= 1;
                    }
                    3 if in_flight > 0 => {
                        window.release();
                        window.count(LIMIT, MonoNanos(now));
                        in_flight -= 1;
                        events.push(now);
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn a_request_is_allowed_after_retry_after_and_not_earlier(
            pauses in prop::collection::vec(0_u64..40_000_000_000, 3..50)
        ) {
            let (mut window, mut now) = (Window::default(), 0);
            for pause in pauses {
                now += pause;
                window.count(LIMIT, MonoNanos(now));
            }
            if let Err(full) = window.reserve(LIMIT, MonoNanos(now)) {
                let wait = u64::try_from(full.retry_after.as_nanos()).unwrap();
                prop_assert!(window.reserve(LIMIT, MonoNanos(now + wait - 1)).is_err());
                prop_assert!(window.reserve(LIMIT, MonoNanos(now + wait)).is_ok());
            }
        }
    }
}
