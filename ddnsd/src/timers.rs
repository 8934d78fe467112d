//! Timers that call stories. A run that fails is logged, and the next one follows at its time.

use crate::log_budget::log_repeated;
use crate::stories::authenticate::Authenticate;
use crate::stories::deliver::Deliver;
use crate::stories::expire::Expire;
use crate::stories::files::Files;
use crate::stories::import::Imports;
use crate::stories::last_requests::LastRequests;
use crate::stories::republish::Republish;
use crate::stories::verify::Verify;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A crash loses the keepalives of this time at most.
const FLUSH: Duration = Duration::from_secs(2);
/// A crash loses the last requests of this time at most.
const REQUESTS: Duration = Duration::from_mins(1);
/// Checks within that time whether there are many.
const CHECKS: u32 = 12;
/// A name server that is back gets its records within this and the back-off of 15 s.
const REPUBLISH: Duration = Duration::from_secs(5);
/// Between two looks for what is to be checked.
const CHECK: Duration = Duration::from_secs(1);
/// After a failure of the database.
const CHECK_AGAIN: Duration = Duration::from_secs(10);
/// A file that changed is named this much later at most.
const FILES: Duration = Duration::from_secs(5);
/// An abandoned import is freed this much later at most.
const IMPORTS: Duration = Duration::from_mins(1);
/// A mail is tried again this much later than it is due at most.
const DELIVERY: Duration = Duration::from_secs(5);
/// Old mails fail, and failed ones are dropped, this much later at most.
const OLD_MAILS: Duration = Duration::from_hours(1);

/// Writes keepalives and advances the service clock.
pub async fn flush_keepalives(story: Expire, stop: CancellationToken) {
    let mut every = interval(FLUSH);
    while tick(&mut every, &stop).await {
        if let Err(problem) = story.flush_keepalives().await {
            log_repeated!(warn, "keepalives are not yet written: {problem}");
        }
    }
}

/// Writes the last requests each minute, or earlier if there are many.
pub async fn write_last_requests(story: LastRequests, stop: CancellationToken) {
    let mut every = interval(REQUESTS / CHECKS);
    let mut checks = 0;
    while tick(&mut every, &stop).await {
        checks = (checks + 1) % CHECKS;
        if (checks == 0 || story.are_many())
            && let Err(problem) = story.write().await
        {
            log_repeated!(warn, "the last requests are not yet written: {problem}");
        }
    }
}

/// Sends what is unpublished: at once at the start and after a reload.
pub async fn republish(story: Republish, stop: CancellationToken) {
    let mut every = interval(REPUBLISH);
    loop {
        tokio::select! {
            ticked = tick(&mut every, &stop) => if !ticked { return },
            () = story.is_reconfigured() => {}
        }
        // a run may be aborted at any point: the next start goes on
        let Some(done) = stop.run_until_cancelled(story.run()).await else { return };
        match done {
            Ok(0) => {}
            Ok(hosts) => info!(hosts, "published what was pending"),
            Err(problem) => log_repeated!(warn, "pending records are not yet published: {problem}"),
        }
    }
}

/// Checks recent changes.
pub async fn check_changes(story: Verify, stop: CancellationToken) {
    let mut every = interval(CHECK);
    while tick(&mut every, &stop).await {
        // a check may be aborted at any point: the next run of the daemon checks every host
        let Some(done) = stop.run_until_cancelled(story.check_changes()).await else { return };
        if let Err(problem) = done {
            log_repeated!(warn, "changes are not yet checked: {problem}");
        }
    }
}

/// Checks again what did not hold.
pub async fn check_suspects(story: Verify, stop: CancellationToken) {
    let mut every = interval(CHECK);
    while tick(&mut every, &stop).await {
        let Some(done) = stop.run_until_cancelled(story.check_suspects()).await else { return };
        if let Err(problem) = done {
            log_repeated!(warn, "what differed is not yet checked again: {problem}");
        }
    }
}

/// Checks every host, page by page.
pub async fn check_all(story: Verify, stop: CancellationToken) {
    loop {
        let Some(done) = stop.run_until_cancelled(story.go_round()).await else { return };
        let pause = done.unwrap_or_else(|problem| {
            log_repeated!(warn, "hosts are not yet checked: {problem}");
            CHECK_AGAIN
        });
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Sweeps for expired hosts, the first time at once.
pub async fn sweep(story: Expire, period: watch::Receiver<Duration>, stop: CancellationToken) {
    let mut every = Adjustable::new(period);
    while every.tick(&stop).await {
        let Some(done) = stop.run_until_cancelled(story.sweep()).await else { return };
        if let Err(refused) = done {
            log_repeated!(warn, "the sweep did not finish: {refused}");
        }
    }
}

/// Forgets clients that sent nothing for long.
pub async fn forget_idle(
    story: Authenticate,
    period: watch::Receiver<Duration>,
    stop: CancellationToken,
) {
    let mut every = Adjustable::new(period);
    while every.tick(&stop).await {
        let story = story.clone();
        // with many clients this takes too long for a thread of the runtime
        let forgotten = tokio::task::spawn_blocking(move || story.forget_idle()).await;
        if let Err(panic) = forgotten {
            log_repeated!(warn, "idle clients are still counted: {panic}");
        }
    }
}

/// Looks whether files changed that were read.
pub async fn watch_files(story: Files, reread_keys: impl Fn(), stop: CancellationToken) {
    let mut every = interval(FILES);
    while tick(&mut every, &stop).await {
        if story.look().await {
            reread_keys();
        }
    }
}

/// Forgets abandoned imports.
pub async fn forget_imports(story: Imports, stop: CancellationToken) {
    let mut every = interval(IMPORTS);
    while tick(&mut every, &stop).await {
        story.forget_abandoned();
    }
}

/// Sends mails: at once when one is queued, and those to try again when they are due.
pub async fn deliver(story: Deliver, stop: CancellationToken) {
    let mut every = interval(DELIVERY);
    loop {
        tokio::select! {
            ticked = tick(&mut every, &stop) => if !ticked { return },
            () = story.woken() => {}
        }
        // it ends soon after `stop`, between two mails
        story.run(&stop).await;
    }
}

/// Fails old mails and drops those that failed long ago.
pub async fn clean_up_mails(story: Deliver, stop: CancellationToken) {
    let mut every = interval(OLD_MAILS);
    while tick(&mut every, &stop).await {
        if let Err(problem) = story.clean_up().await {
            log_repeated!(warn, "old mails are not yet cleaned up: {problem}");
        }
    }
}

fn interval(period: Duration) -> Interval {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

/// An interval whose period can change.
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

    /// Waits for the next tick, at most one period after the period changed. `false`: stop.
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

/// Waits for the next tick. `false`: stop.
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
    async fn a_new_period_counts_from_its_change() {
        let period = watch::Sender::new(Duration::from_hours(1));
        let (mut every, stop) = (Adjustable::new(period.subscribe()), CancellationToken::new());
        assert!(every.tick(&stop).await, "at once");
        let start = tokio::time::Instant::now();
        period.send_replace(Duration::from_millis(50));
        assert!(every.tick(&stop).await && every.tick(&stop).await);
        let took = start.elapsed();
        assert!((100..5_000).contains(&took.as_millis()), "two periods took {took:?}");
        // it goes on if the period can no longer change
        drop(period);
        assert!(every.tick(&stop).await);
        stop.cancel();
        assert!(!every.tick(&stop).await);
    }
}
