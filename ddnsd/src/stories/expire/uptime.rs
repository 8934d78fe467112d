//! What the clock did, and what time is held against no host: ddnsd was down or stood still, the clock jumped, the
//! database was away.

use super::Expire;
use crate::db::DbError;
use crate::model::time::{Millis, Now};
use crate::rules::expiry::{self, ClockStep, Downtime};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the clock did so far.
pub(super) struct Watch {
    pub(super) last: Now,
    pub(super) gaps: Downtime,
    /// When the last heartbeat was written.
    pub(super) beat: Instant,
    /// The default that hosts without a TTL of their own were looked at by.
    pub(super) default_ttl: Option<u32>,
    /// When the database was last known to answer.
    pub(super) answered: Millis,
    /// Whether it failed since: whoever wanted to update heard `911` then.
    pub(super) failing: bool,
}

/// Whether ddnsd stood still. Looked at all the time, during a sweep too, so that who looks first afterwards sees it.
pub(super) struct Standstill(Mutex<Looks>);

struct Looks {
    last: Now,
    /// Who looks all the time is at something that may take long.
    is_busy: bool,
    /// Not yet forgiven, milliseconds.
    length: i64,
}

impl Standstill {
    pub(super) fn new(now: Now) -> Self {
        Self(Mutex::new(Looks { last: now, is_busy: false, length: 0 }))
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time has passed since the last look.
    pub(super) fn passed(&self, now: Now) {
        let mut looks = self.looks();
        if !looks.is_busy {
            let length = expiry::stood_still(looks.last, now).unwrap_or(0);
            looks.length = looks.length.saturating_add(length);
        }
        looks.last = now;
    }

    /// How long it takes until [`Self::rests`] says nothing.
    pub(super) fn works(&self) {
        self.looks().is_busy = true;
    }

    pub(super) fn rests(&self, now: Now) {
        let mut looks = self.looks();
        (looks.last, looks.is_busy) = (now, false);
    }

    /// What is to be forgiven, once.
    fn take(&self) -> i64 {
        std::mem::take(&mut self.looks().length)
    }
}

impl Expire {
    /// Never tells of a time that the database was away and that is not yet forgiven: the next start would
    /// not forgive it.
    pub(super) async fn beat(&self, watch: &mut Watch, now: Now) -> Result<(), DbError> {
        self.heartbeat(if watch.failing { watch.answered } else { now.wall }).await?;
        watch.beat = now.mono;
        Ok(())
    }

    pub(super) async fn heartbeat(&self, at: Millis) -> Result<(), DbError> {
        self.db.set_meta("heartbeat", at.0.to_string()).await
    }

    /// Time without a database is held against no host, like time without ddnsd.
    pub(super) async fn forgive_outage(
        &self,
        watch: &mut Watch,
        now: Millis,
    ) -> Result<(), DbError> {
        // only who asked it knows that it answers
        if !watch.failing {
            return Ok(());
        }
        let length = now.since(watch.answered);
        if length > 0 {
            let mut gaps = watch.gaps.clone();
            gaps.add(now, length);
            self.remember(&gaps).await?;
            watch.gaps = gaps;
            tracing::warn!(
                "the database failed for up to {} s; no host expires for it",
                length / 1000
            );
        }
        watch.failing = false;
        watch.answered = now;
        Ok(())
    }

    /// At the clock, as is done all the time.
    pub(super) async fn look(&self, watch: &mut Watch) -> Result<Now, DbError> {
        self.standstill.passed(self.clock.now());
        let now = self.step(watch).await?;
        self.forgive_standstill(watch).await?;
        Ok(now)
    }

    /// Time in which ddnsd did not run is held against no host, though nobody stopped it.
    pub(super) async fn forgive_standstill(&self, watch: &mut Watch) -> Result<(), DbError> {
        let length = self.standstill.take();
        // an outage of the database is forgiven as a whole
        if length > 0 && !watch.failing {
            tracing::warn!("ddnsd stood still for {} s; no host expires for it", length / 1000);
            let mut gaps = watch.gaps.clone();
            // who was updated right before it is to be forgiven, too
            gaps.add(self.clock.now().wall, length);
            self.remember(&gaps).await?;
            watch.gaps = gaps;
        }
        Ok(())
    }

    pub(super) async fn step(&self, watch: &mut Watch) -> Result<Now, DbError> {
        let now = self.clock.now();
        match expiry::clock_step(watch.last, now) {
            ClockStep::Steady => {}
            ClockStep::Ahead { end, length } => {
                tracing::warn!(
                    "the clock jumped ahead by {} s; no host expires for it",
                    length / 1000
                );
                // once: if this fails, the whole step is done again
                let mut gaps = watch.gaps.clone();
                gaps.add(end, length);
                self.remember(&gaps).await?;
                watch.gaps = gaps;
                // the jump is no time without a database
                watch.answered = watch.answered.plus_millis(length).min(now.wall);
                // should the heartbeat fail, the step is not done twice
                watch.last = now;
                // killed in between, it is forgiven twice
                self.beat(watch, now).await?;
            }
            ClockStep::Back { length } => {
                tracing::warn!("the clock was set back by {} s", length / 1000);
                self.set_back(now.wall).await?;
                watch.answered = watch.answered.plus_millis(-length).min(now.wall);
                // first: killed in between, gaps are not taken back twice
                self.beat(watch, now).await?;
                let mut gaps = watch.gaps.clone();
                gaps.set_back(now.wall, length);
                self.remember(&gaps).await?;
                watch.gaps = gaps;
            }
        }
        watch.last = now;
        Ok(now)
    }

    pub(super) async fn set_back(&self, now: Millis) -> Result<(), DbError> {
        self.db.flush_touches().await?;
        self.db.clamp_update_times(now).await?;
        self.db.check_all_now().await
    }

    pub(super) async fn remember(&self, gaps: &Downtime) -> Result<(), DbError> {
        self.db.set_meta("gaps", serde_json::to_string(gaps).unwrap_or_default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    #[test]
    fn only_a_look_that_comes_late_after_a_rest_tells_of_a_standstill() {
        let start = Clock.now();
        let after = |seconds| {
            let passed = Duration::from_secs(seconds);
            Now { mono: start.mono + passed, wall: start.wall }
        };
        let standstill = Standstill::new(start);
        standstill.passed(after(5));
        // a database that is slow
        standstill.works();
        standstill.passed(after(20));
        standstill.rests(after(40));
        standstill.passed(after(50));
        assert_eq!(standstill.take(), 0);
        standstill.passed(after(65));
        standstill.passed(after(66));
        assert_eq!((standstill.take(), standstill.take()), (15_000, 0));
    }
}
