//! The line that `systemctl status` shows. In: the numbers of hosts, and the last reload. Out: a
//! STATUS message for systemd whenever the line changes.

use crate::counters::LastReload;
use crate::db::{Counts, Db, DbError};
use crate::lifecycle;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two looks at the numbers.
const PERIOD: Duration = Duration::from_secs(30);

/// Reports until `stop`.
pub(super) async fn report(
    db: Db,
    mut last_reload: watch::Receiver<Option<LastReload>>,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval(PERIOD);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = String::new();
    loop {
        tokio::select! {
            _ = every.tick() => {}
            // an error means that the reloader has ended, as at a stop
            Ok(()) = last_reload.changed() => {}
            () = stop.cancelled() => return,
        }
        let reload = *last_reload.borrow_and_update();
        let line = line(db.counts().await, reload);
        if line != reported {
            lifecycle::status(&line);
            reported = line;
        }
    }
}

fn line(counts: Result<Counts, DbError>, reload: Option<LastReload>) -> String {
    let hosts = match counts {
        Ok(Counts { hosts, unpublished, .. }) => format!("hosts: {hosts}, pending: {unpublished}"),
        Err(problem) => format!("database: {problem}"),
    };
    let Some(LastReload { at, succeeded }) = reload else { return hosts };
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(TimeZone::system());
    let at = at.strftime("%Y-%m-%d %H:%M:%S");
    if succeeded {
        format!("{hosts}; last reload {at}")
    } else {
        format!("{hosts}; last reload {at}: FAILED, see the log")
    }
}
