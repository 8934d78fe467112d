//! Whether an acknowledgement is the last word on a host, or a message that was lost may still come after it.
//! In: what is known of the host's messages. Out: until when the row stays unpublished, if it must.

use crate::model::time::{Millis, Now};
use std::time::{Duration, Instant};

/// What is known when a host is acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// An earlier message of this run ended without an answer, and nothing was acknowledged since.
    pub doubtful_before: bool,
    /// Until when an acknowledgement before this one was not final, if it was not.
    pub waits_until: Option<Instant>,
    /// Since when the host is unpublished. If that was before this run, a message of the run before may
    /// be under way.
    pub unpublished_since: Option<Millis>,
    /// When this run began.
    pub started: Now,
    /// How long a lost message can be late.
    pub lateness: Duration,
    /// Now.
    pub now: Now,
}

/// From when on an acknowledgement is final; `None`: this one is.
pub fn not_before(known: Acknowledged) -> Option<Instant> {
    let Acknowledged { waits_until, started, lateness, now, .. } = known;
    if known.doubtful_before {
        return Some(now.mono + lateness);
    }
    // later than now: the clock was set back
    let before_us = |since| since < started.wall || since > now.wall;
    let inherited = known.unpublished_since.is_some_and(before_us).then(|| started.mono + lateness);
    [inherited, waits_until].into_iter().flatten().max().filter(|until| now.mono < *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENESS: u64 = 200;
    const TIMEOUT: u64 = LATENESS / 2;

    /// Numbers from a seed (splitmix64).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % end
        }
    }

    /// One host: its row, what memory knows, its name server and the messages that are still under way. Times
    /// are milliseconds of a simulated clock.
    struct World {
        chance: Chance,
        now: u64,
        zero: Instant,
        // the row
        wanted: u64,
        unpublished_since: Option<u64>,
        // in memory, gone with a crash
        started: u64,
        doubt: bool,
        waits_until: Option<u64>,
        // the world outside
        held: u64,
        late: Vec<(u64, u64)>,
    }

    impl World {
        fn new(seed: u64, zero: Instant) -> Self {
            Self {
                chance: Chance(seed),
                now: 1000,
                zero,
                wanted: 0,
                unpublished_since: None,
                started: 1000,
                doubt: false,
                waits_until: None,
                held: 0,
                late: Vec::new(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.zero + Duration::from_millis(millis)
        }

        /// Time goes on, and what is late is applied when its time comes.
        fn pass(&mut self, millis: u64) {
            self.now += millis;
            self.late.sort_unstable();
            while self.late.first().is_some_and(|(at, _)| *at <= self.now) {
                self.held = self.late.remove(0).1;
            }
        }

        fn want(&mut self) {
            self.wanted += 1;
            self.unpublished_since = self.unpublished_since.or(Some(self.now));
        }

        /// Sends what is wanted; as publishing and settling do.
        fn publish(&mut self) {
            let (sent, value) = (self.now, self.wanted);
            match self.chance.below(8) {
                0..=3 => {
                    let travels = self.chance.below(TIMEOUT);
                    self.pass(travels);
                    self.held = value;
                    self.acknowledged();
                }
                4 => {} // refused, which is an answer
                // UDP was lost or is late, and TCP is answered
                5 => {
                    self.lose(sent, value);
                    self.pass(TIMEOUT / 3);
                    self.held = value;
                    self.doubt = true;
                    self.acknowledged();
                }
                _ => {
                    self.lose(sent, value);
                    self.pass(TIMEOUT);
                    self.doubt = true;
                }
            }
        }

        /// It may be applied yet, or never.
        fn lose(&mut self, sent: u64, value: u64) {
            if self.chance.below(3) > 0 {
                let late = 1 + self.chance.below(LATENESS - 1);
                self.late.push((sent + late, value));
            }
        }

        fn acknowledged(&mut self) {
            let wall = |millis| Millis(i64::try_from(millis).unwrap());
            let until = not_before(Acknowledged {
                doubtful_before: std::mem::take(&mut self.doubt),
                waits_until: self.waits_until.map(|until| self.at(until)),
                unpublished_since: self.unpublished_since.map(wall),
                started: Now { wall: wall(self.started), mono: self.at(self.started) },
                lateness: Duration::from_millis(LATENESS),
                now: Now { wall: wall(self.now), mono: self.at(self.now) },
            });
            let millis = |until: Instant| until.duration_since(self.zero).as_millis();
            self.waits_until = until.map(|until| u64::try_from(millis(until)).unwrap());
            if until.is_none() {
                self.unpublished_since = None;
            }
        }

        /// Killed, perhaps with a message under way.
        fn crash(&mut self) {
            if self.unpublished_since.is_some() && self.chance.below(2) == 0 {
                self.lose(self.now, self.wanted);
            }
            self.pass(1);
            (self.started, self.doubt, self.waits_until) = (self.now, false, None);
        }

        fn republish(&mut self) {
            let waits = self.waits_until.is_some_and(|until| self.now < until);
            if self.unpublished_since.is_some() && !waits {
                self.publish();
            }
        }

        fn step(&mut self) {
            match self.chance.below(10) {
                0..=2 => {
                    self.want();
                    self.publish();
                }
                3 => {
                    self.want();
                    self.crash();
                }
                4 => self.crash(),
                5..=7 => self.republish(),
                _ => {
                    let millis = self.chance.below(LATENESS);
                    self.pass(millis);
                }
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant can be had from the clock only")]
    fn what_counts_as_published_is_never_undone_by_what_was_lost() {
        let zero = Instant::now();
        let mut published = 0;
        for seed in 0..20_000 {
            let mut world = World::new(seed, zero);
            for step in 0..60 {
                world.step();
                if world.unpublished_since.is_none() {
                    published += 1;
                    assert_eq!(world.held, world.wanted, "seed {seed}, step {step}");
                    let undone = world.late.iter().find(|(_, value)| *value != world.wanted);
                    assert_eq!(undone, None, "seed {seed}, step {step}: {} now", world.now);
                }
            }
            // and it settles, once messages arrive
            for _ in 0..200 {
                world.republish();
                world.pass(LATENESS / 4);
            }
            assert_eq!((world.unpublished_since, world.held), (None, world.wanted), "seed {seed}");
        }
        assert!(published > 100_000, "{published}: it is published most of the time");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant can be had from the clock only")]
    fn without_doubt_the_first_acknowledgement_is_final() {
        let mono = Instant::now();
        let now = Now { wall: Millis(5_000), mono };
        let known = Acknowledged {
            doubtful_before: false,
            waits_until: None,
            unpublished_since: Some(now.wall),
            started: now,
            lateness: Duration::from_secs(4),
            now,
        };
        assert_eq!(not_before(known), None);
        let later = mono + Duration::from_secs(4);
        // wanted before this run, or in its future, because the clock was set back
        for since in [4_999, 5_001] {
            let inherited = Acknowledged { unpublished_since: Some(Millis(since)), ..known };
            assert_eq!(not_before(inherited), Some(later));
        }
        assert_eq!(not_before(Acknowledged { doubtful_before: true, ..known }), Some(later));
        assert_eq!(not_before(Acknowledged { waits_until: Some(later), ..known }), Some(later));
        let unpublished_since = Some(Millis(4_999));
        let now = Now { wall: Millis(9_000), mono: later };
        let then = Acknowledged { waits_until: Some(later), unpublished_since, now, ..known };
        assert_eq!(not_before(then), None);
    }
}
