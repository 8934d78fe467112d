//! The only place that reads the clock. Stories read it once and pass `Now` as an argument.

use crate::model::time::{Millis, Now};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

#[cfg(test)]
thread_local! {
    /// How far a test has set the wall clock of this thread ahead, in milliseconds.
    pub(crate) static SET_AHEAD: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

impl Clock {
    /// Both clocks. A wall clock before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        #[cfg(test)]
        let wall = wall.plus_millis(SET_AHEAD.get());
        Now { wall, mono: self.mono() }
    }

    /// The monotonic clock alone, at half the cost.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn mono(self) -> Instant {
        Instant::now()
    }

    /// As a client of TLS, rustls panics then.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn is_before_1970(self) -> bool {
        SystemTime::now() < UNIX_EPOCH
    }
}
