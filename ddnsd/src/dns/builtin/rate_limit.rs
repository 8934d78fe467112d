//! Limits the answers to one network by UDP. UDP proves no source address: with forged ones, a name
//! server could be made to flood another network. Beyond the limit every second query is answered
//! with its question and TC, which is no longer than the query: a real resolver then asks by TCP.
//! The others get no answer. So a flood is never amplified, and its victim gets half of it at most.

use crate::model::time::Now;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Answers per second for an IPv4 /24, or an IPv6 /56. Large resolvers ask from many addresses of
/// one network.
const MAX_PER_SECOND: u32 = 500;
/// Networks that are counted apart; others share a counter with one of them. A power of 2.
const COUNTERS: usize = 1 << 16;

/// The counters: in each, the second that it counts, and the queries of that second.
pub(super) struct RateLimit {
    counters: Box<[AtomicU64]>,
    /// Random, so that no one can choose whose counter to share.
    hashes: RandomState,
    start: Instant,
}

/// What a query gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limited {
    Answer,
    AskByTcp,
    Nothing,
}

impl RateLimit {
    pub(super) fn new(now: Now) -> Self {
        let counters = std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect();
        Self { counters, hashes: RandomState::new(), start: now.mono }
    }

    /// Counts a query of this address.
    pub(super) fn count(&self, client: IpAddr, now: Now) -> Limited {
        let hash = self.hashes.hash_one(network(client));
        let index = usize::try_from(hash).unwrap_or_default() % COUNTERS;
        let Some(counter) = self.counters.get(index) else { return Limited::Answer };
        let second = now.mono.saturating_duration_since(self.start).as_secs() << 32;
        let mut old = counter.load(Ordering::Relaxed);
        loop {
            let is_same = old & !u64::from(u32::MAX) == second;
            let new = if is_same { old.saturating_add(1) } else { second + 1 };
            match counter.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return limited(new & u64::from(u32::MAX)),
                Err(now) => old = now,
            }
        }
    }
}

fn limited(count: u64) -> Limited {
    match count.checked_sub(u64::from(MAX_PER_SECOND)) {
        None | Some(0) => Limited::Answer,
        Some(over) if over % 2 == 1 => Limited::AskByTcp,
        Some(_) => Limited::Nothing,
    }
}

/// The bits of an address that name its network.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        // the highest bit tells the two families apart
        IpAddr::V6(v6) => 1 << 63 | u64::try_from(v6.to_bits() >> 72).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn beyond_the_limit_every_second_query_is_told_to_ask_by_tcp() {
        let now = Clock.now();
        let limit = RateLimit::new(now);
        let ask = |client: &str| limit.count(address(client), now);
        for number in 0..MAX_PER_SECOND {
            assert_eq!(ask(&format!("192.0.2.{}", number % 256)), Limited::Answer);
        }
        let next: Vec<_> = (0..4).map(|_| ask("192.0.2.1")).collect();
        let [tcp, nothing] = [Limited::AskByTcp, Limited::Nothing];
        assert_eq!(next, [tcp, nothing, tcp, nothing]);
        assert_eq!(ask("::ffff:192.0.2.9"), tcp);
    }

    #[test]
    fn a_second_later_the_network_gets_answers_again() {
        let now = Clock.now();
        let limit = RateLimit::new(now);
        for _ in 0..=MAX_PER_SECOND {
            limit.count(address("2001:db8::1"), now);
        }
        assert_eq!(limit.count(address("2001:db8:0:ff::2"), now), Limited::Nothing);
        let later = Now { mono: now.mono + Duration::from_secs(1), ..now };
        assert_eq!(limit.count(address("2001:db8:0:ff::2"), later), Limited::Answer);
    }

    #[test]
    fn networks_are_24_or_56_bits_long() {
        assert_eq!(network(address("192.0.2.1")), network(address("192.0.2.255")));
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.3.1")));
        assert_eq!(network(address("2001:db8:0:ff::1")), network(address("2001:db8::1")));
        assert_ne!(network(address("2001:db8:0:100::1")), network(address("2001:db8::1")));
    }
}
