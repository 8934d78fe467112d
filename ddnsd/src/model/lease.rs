//! A lease: of several daemons on one database, the one that changes a host.

use super::time::Millis;
use std::sync::Arc;
use std::time::Duration;

/// How long a lease holds that is not given back: longer than a change usually takes. A change that
/// takes longer is overtaken, and sent again.
pub const LEASE: Duration = Duration::from_secs(10);

/// The daemon that stored the wanted records of a host, and has to publish them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The daemon's name.
    pub by: Arc<str>,
    /// Until when no other daemon changes the host. Past, if the result is stored, and the records
    /// are still to be sent again.
    pub until: Millis,
}

impl Lease {
    /// Whether it holds. One that ends later than any lease can end was taken by a daemon whose
    /// clock was wrong; it does not hold.
    pub fn holds(&self, now: Millis) -> bool {
        now < self.until && self.until <= now.plus(LEASE + LEASE)
    }

    /// Whether it ended so long ago that its daemon seems to be dead.
    pub fn is_abandoned(&self, now: Millis, after: Duration) -> bool {
        let has_just_ended = self.until <= now && now < self.until.plus(after);
        !self.holds(now) && !has_just_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_at_its_time_and_is_abandoned_a_while_later() {
        let lease = Lease { by: "other".into(), until: Millis(20_000) };
        let after = Duration::from_secs(5);
        for (now, holds, is_abandoned) in [
            (10_000, true, false),
            (19_999, true, false),
            (20_000, false, false),
            (24_999, false, false),
            (25_000, false, true),
            // a clock was set back since
            (-1, false, true),
        ] {
            let now = Millis(now);
            assert_eq!(lease.holds(now), holds, "{now:?}");
            assert_eq!(lease.is_abandoned(now, after), is_abandoned, "{now:?}");
        }
    }
}
