//! Points in time. The clock itself is read in `clock.rs` only; here are the types it hands out.

use std::time::{Duration, Instant};

/// A point in wall-clock time: milliseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Millis(pub i64);

impl Millis {
    /// Saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This many milliseconds later (earlier if negative); saturates.
    #[must_use]
    pub fn plus_millis(self, by: i64) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Milliseconds from `earlier` to this; negative if it is later; saturates.
    pub fn since(self, earlier: Millis) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read once per story: wall time for what is stored and shown, monotonic time for
/// limits, caches and time-outs.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock; may jump.
    pub wall: Millis,
    /// Monotonic clock; never jumps.
    pub mono: Instant,
}

/// A point on the service clock: milliseconds that ddnsd ran on a database that took writes. Expiry
/// counts by it. It may be negative, for a host that was imported with an old update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub i64);

impl Uptime {
    /// This much later; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(Millis(self.0).plus(by).0)
    }

    /// This much earlier; saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}
