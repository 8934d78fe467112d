//! Timers that call stories: keepalives and last requests are written, the clock is watched, what is unpublished is sent
//! again, hosts expire, idle limits are forgotten. A run that fails is logged; the next one is due.

use crate::stories::authenticate::Authenticate;
use crate::stories::expire::Expire;
use crate::stories::import::Imports;
use crate::stories::last_requests::LastRequests;
use crate::stories::notices::Notices;
use crate::stories::republish::Republish;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Keepalives that a crash may lose are never older than this.
const FLUSH: Duration = Duration::from_secs(2);
/// Last requests that a crash may lose are never older than this.
const REQUESTS: Duration = Duration::from_mins(1);
/// Looks within that time at whether they are many.
const LOOKS: u32 = 12;
/// A name server that is back gets its records after this and the back-off of 15 s, at most.
const REPUBLISH: Duration = Duration::from_secs(5);
/// An abandoned import keeps its memory for this much longer, at most.
const IMPORTS: Duration = Duration::from_mins(1);
/// A mail that was not sent is kept for this much longer, at most.
const MAILS: Duration = Duration::from_hours(1);

/// Writes keepalives and watches the clock.
pub async fn flush_keepalives(story: Expire, stop: CancellationToken) {
    let mut every = interval(FLUSH);
    while tick(&mut every, &stop).await {
        if let Err(problem) = story.flush_keepalives().await {
            warn!("keepalives are not yet written: {problem}");
        }
    }
}

/// Writes the last requests, at their time or when they are many.
pub async fn write_last_requests(story: LastRequests, stop: CancellationToken) {
    let mut every = interval(REQUESTS / LOOKS);
    let mut looks = 0;
    while tick(&mut every, &stop).await {
        looks = (looks + 1) % LOOKS;
        if (looks == 0 || story.are_many())
            && let Err(problem) = story.write().await
        {
            warn!("the last requests are not yet written: {problem}");
        }
    }
}

/// Sends what is unpublished, the first time and after a move to another server at once.
pub async fn republish(story: Republish, stop: CancellationToken) {
    let mut every = interval(REPUBLISH);
    loop {
        tokio::select! {
            ticked = tick(&mut every, &stop) => if !ticked { return },
            () = story.has_moved() => {}
        }
        // cut at the stop, which is safe: the next start goes on
        let Some(done) = stop.run_until_cancelled(story.run()).await else { return };
        match done {
            Ok(0) => {}
            Ok(hosts) => info!(hosts, "published what was pending"),
            Err(problem) => warn!("pending records were not all looked at: {problem}"),
        }
    }
}

/// Sweeps for expired hosts, the first time at once.
pub async fn sweep(story: Expire, period: watch::Receiver<Duration>, stop: CancellationToken) {
    let mut every = Adjustable::new(period);
    while every.tick(&stop).await {
        let Some(done) = stop.run_until_cancelled(story.sweep()).await else { return };
        if let Err(refused) = done {
            warn!("the sweep did not finish: {refused}");
        }
    }
}

/// Forgets clients that did not come for long.
pub async fn forget_idle(
    story: Authenticate,
    period: watch::Receiver<Duration>,
    stop: CancellationToken,
) {
    let mut every = Adjustable::new(period);
    while every.tick(&stop).await {
        let story = story.clone();
        // with many clients it takes longer than a thread of the runtime should be held
        let forgotten = tokio::task::spawn_blocking(move || story.forget_idle()).await;
        if let Err(panic) = forgotten {
            warn!("idle clients are still counted: {panic}");
        }
    }
}

/// Forgets imports that nobody goes on with.
pub async fn forget_imports(story: Imports, stop: CancellationToken) {
    let mut every = interval(IMPORTS);
    while tick(&mut every, &stop).await {
        story.forget_abandoned();
    }
}

/// Drops mails that could not be sent for too long.
pub async fn give_up_mails(story: Notices, stop: CancellationToken) {
    let mut every = interval(MAILS);
    while tick(&mut every, &stop).await {
        if let Err(problem) = story.give_up().await {
            warn!("old mails are not yet dropped: {problem}");
        }
    }
}

fn interval(period: Duration) -> Interval {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

/// An interval whose period may become another one.
struct Adjustable {
    period: watch::Receiver<Duration>,
    every: Interval,
}

impl Adjustable {
    /// The first tick is at once.
    fn new(mut period: watch::Receiver<Duration>) -> Self {
        let every = interval(*period.borrow_and_update());
        Self { period, every }
    }

    /// Waits for the next tick, one period from a change of it at the latest; `false` once it is time
    /// to stop.
    async fn tick(&mut self, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                ticked = tick(&mut self.every, stop) => return ticked,
                Ok(()) = self.period.changed() => {
                    let period = *self.period.borrow_and_update();
                    if period != self.every.period() {
                        self.every = interval(period);
                        self.every.reset();
                    }
                }
            }
        }
    }
}

/// Waits for the next tick; `false` once it is time to stop.
async fn tick(every: &mut Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        _ = every.tick() => true,
        () = stop.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_period_counts_from_its_change() {
        let period = watch::Sender::new(Duration::from_hours(1));
        let (mut every, stop) = (Adjustable::new(period.subscribe()), CancellationToken::new());
        assert!(every.tick(&stop).await, "at once");
        let start = tokio::time::Instant::now();
        period.send_replace(Duration::from_millis(50));
        assert!(every.tick(&stop).await && every.tick(&stop).await);
        let took = start.elapsed();
        assert!((100..5_000).contains(&took.as_millis()), "two periods took {took:?}");
        // without anybody who could change it, it goes on
        drop(period);
        assert!(every.tick(&stop).await);
        stop.cancel();
        assert!(!every.tick(&stop).await);
    }
}
