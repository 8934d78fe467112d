//! Chance that can be repeated: numbers from a seed, which a failing test shows. `DDNSD_TEST_SEED`
//! sets it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From `DDNSD_TEST_SEED`, else from the clock. The seed is printed, which is seen if the test
    /// fails.
    ///
    /// # Panics
    /// When the variable is no number.
    pub fn seeded() -> Self {
        let seed = match std::env::var("DDNSD_TEST_SEED") {
            Ok(text) => text.parse().expect("DDNSD_TEST_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_secs() ^ u64::from(now.subsec_nanos())
            }
        };
        println!("DDNSD_TEST_SEED={seed}");
        Self(seed)
    }

    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time between two.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let some = |seed| {
            let mut chance = Chance::new(seed);
            [0; 20].map(|_| chance.below(1000))
        };
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
    }
}
