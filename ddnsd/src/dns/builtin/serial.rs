//! SOA serials that never fall, restarts and kills included. In: the mark that the database holds.
//! Out: which serials may be served.
//!
//! Inside, a serial is a count of 64 bits, and DNS gets its lower 32 bits: so it rises in the
//! sense of RFC 1982 as long as no step is 2^31 or more. The first run starts at the seconds since
//! 1970. A later one starts above the stored mark, and at the seconds since 1970 if that is more.
//! The mark is stored ahead of the serials that are served, a thousand at a time, so a change
//! costs no write. A zone whose next serial is not covered keeps its serial, and its records
//! change all the same: the serial follows as soon as the next mark is stored.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Serials that are covered by one write.
const RESERVE: u64 = 1_000;
/// RFC 1982, 3.2: a step of 2^31 or more is no rise. Half of it leaves room.
const MAX_STEP: u64 = 1 << 30;

/// What is covered, for all zones together.
#[derive(Default)]
pub(super) struct Serials {
    /// The stored mark: no higher serial may be served.
    mark: AtomicU64,
    /// The highest one in use.
    highest: AtomicU64,
    low: Notify,
}

/// The serial that a run starts with. In: the stored mark, and the seconds since 1970.
fn first(mark: Option<u64>, seconds: u64) -> u64 {
    match mark {
        None => seconds.max(1),
        // a clock that is far ahead would exhaust the numbers
        Some(mark) if seconds.saturating_sub(mark) < MAX_STEP => seconds.max(mark + 1),
        Some(mark) => mark + 1,
    }
}

impl Serials {
    /// Chooses the first serial of this run. Returns it; [`Self::wanted_mark`] must be stored
    /// before anything is served.
    pub(super) fn start(&self, mark: Option<u64>, seconds: u64) -> u64 {
        let first = first(mark, seconds);
        self.highest.store(first, Ordering::SeqCst);
        first
    }

    /// The mark to store next.
    pub(super) fn wanted_mark(&self) -> u64 {
        self.highest.load(Ordering::SeqCst) + RESERVE
    }

    /// This mark is stored.
    pub(super) fn covered(&self, mark: u64) {
        self.mark.fetch_max(mark, Ordering::SeqCst);
    }

    /// Gives no more. Returns the highest one, the mark to store: a stop that is no kill leaves no
    /// gap, so that serials do not run ahead of the clock and a restored database continues above
    /// what secondaries have.
    pub(super) fn end(&self) -> u64 {
        self.mark.store(0, Ordering::SeqCst);
        self.highest.load(Ordering::SeqCst)
    }

    /// The serial after this one; `None` while it is not covered.
    pub(super) fn next(&self, serial: u64) -> Option<u64> {
        let next = serial + 1;
        let mark = self.mark.load(Ordering::SeqCst);
        if next + RESERVE / 2 > mark {
            self.low.notify_one();
        }
        if next > mark {
            return None;
        }
        self.highest.fetch_max(next, Ordering::SeqCst);
        Some(next)
    }

    /// The serial of a zone that was not served so far in this run. It may have been in an earlier
    /// one, or before a reload.
    pub(super) fn of_new_zone(&self) -> u64 {
        self.highest.load(Ordering::SeqCst)
    }

    /// Waits until the next mark must be stored.
    pub(super) async fn low(&self) {
        self.low.notified().await;
    }
}

/// What DNS gets of a serial.
#[expect(clippy::cast_possible_truncation, reason = "RFC 1982: it wraps around")]
pub(super) fn on_wire(serial: u64) -> u32 {
    serial as u32
}

/// Whether a secondary with this serial has this version, or a later one (RFC 1982, 3.2).
pub(super) fn is_current(theirs: u32, ours: u64) -> bool {
    theirs.wrapping_sub(on_wire(ours)) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_starts_above_all_serials_of_the_previous_one() {
        assert_eq!(first(None, 1_800_000_000), 1_800_000_000);
        assert_eq!(first(None, 0), 1);
        assert_eq!(first(Some(1_700_000_000), 1_800_000_000), 1_800_000_000);
        assert_eq!(first(Some(1_800_000_500), 1_800_000_000), 1_800_000_501);
        assert_eq!(first(Some(1_800_000_000), 0), 1_800_000_001);
    }

    #[test]
    fn a_clock_that_is_far_ahead_does_not_set_the_serial() {
        assert_eq!(first(Some(1_800_000_000), 4_000_000_000), 1_800_000_001);
    }

    #[test]
    fn no_serial_is_given_before_it_is_covered() {
        let serials = Serials::default();
        let mut serial = serials.start(Some(10), 0);
        assert_eq!(serials.next(serial), None);
        serials.covered(serials.wanted_mark());
        let mut given = 0;
        while let Some(next) = serials.next(serial) {
            (serial, given) = (next, given + 1);
        }
        assert_eq!((given, serial), (RESERVE, 11 + RESERVE));
        assert_eq!(serials.of_new_zone(), serial);
        serials.covered(serials.wanted_mark());
        assert_eq!(serials.next(serial), Some(serial + 1));
    }

    #[test]
    fn after_the_end_none_is_given() {
        let serials = Serials::default();
        let serial = serials.start(Some(10), 0);
        serials.covered(serials.wanted_mark());
        let next = serials.next(serial).unwrap();
        assert_eq!(serials.end(), next);
        assert_eq!(serials.next(next), None);
    }

    #[test]
    fn serials_are_compared_as_rfc_1982_says() {
        assert!(is_current(7, 7));
        assert!(is_current(8, 7));
        assert!(!is_current(6, 7));
        // after 2^32 - 1 comes 0
        assert_eq!(on_wire(1 << 32), 0);
        assert!(!is_current(u32::MAX, 1 << 32));
        assert!(is_current(0, (1 << 32) - 1));
    }
}
