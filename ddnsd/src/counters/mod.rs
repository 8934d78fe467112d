//! Atomic counters and histograms, one struct for each part. `app/` hands them out;
//! `stories/status/` reads them.

mod histogram;
mod server;
mod zones;

pub use histogram::{BUCKETS, Histogram, Reading};
pub use server::ServerCounters;
pub use zones::{LastError, ZoneCounters, ZoneList};

use crate::model::certificate::Certificate;
use crate::model::time::Millis;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Only grows. Relaxed, because it orders nothing.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add_one(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Call it only after [`Self::add_one`].
    pub fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The statuses that the HTTP front end replies with.
const STATUSES: [u16; 12] = [200, 400, 401, 404, 405, 408, 413, 414, 415, 429, 503, 0];

#[derive(Debug, Default)]
pub struct HttpCounters {
    /// By status, in the order of [`STATUSES`]; the last one counts all others.
    replies: [Counter; STATUSES.len()],
    /// Answered 911 at once, because too many were being answered.
    pub overloaded: Counter,
    /// Of updates, from the end of the head to the reply.
    pub updates: Histogram,
}

impl HttpCounters {
    pub fn reply(&self, status: u16) {
        let (others, known) = (self.replies.last(), STATUSES.iter().zip(&self.replies));
        let counter = known.into_iter().find(|(of, _)| **of == status).map(|(_, counter)| counter);
        if let Some(counter) = counter.or(others) {
            counter.add_one();
        }
    }

    /// Replies by status; 0 stands for all others.
    pub fn replies(&self) -> impl Iterator<Item = (u16, &Counter)> {
        STATUSES.into_iter().zip(&self.replies)
    }
}

/// Connections of the HTTP front end.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    pub accepted: Counter,
    /// Closed at once, because their client or its network had too many.
    pub refused: Counter,
    /// Closed without a request, to make room.
    pub evicted: Counter,
    pub open: Gauge,
    /// How many may be open.
    pub max: Gauge,
}

/// Reloads of the configuration.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    pub succeeded: Counter,
    pub failed: Counter,
    last: watch::Sender<Option<LastReload>>,
    /// The certificate in use.
    pub certificate: ArcSwapOption<Certificate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReload {
    pub at: Millis,
    pub succeeded: bool,
}

impl ReloadCounters {
    pub fn record(&self, reload: LastReload) {
        let counter = if reload.succeeded { &self.succeeded } else { &self.failed };
        counter.add_one();
        self.last.send_replace(Some(reload));
    }

    /// `None` before the first one.
    pub fn last(&self) -> Option<LastReload> {
        *self.last.borrow()
    }

    /// The last one, from now on.
    pub fn follow(&self) -> watch::Receiver<Option<LastReload>> {
        self.last.subscribe()
    }
}

#[derive(Debug, Default)]
pub struct DnsCounters {
    /// UPDATE messages sent, retries included.
    pub messages: Counter,
    /// Hosts in these messages.
    pub hosts: Counter,
    pub tcp: Counter,
    /// Messages refused with an RCODE.
    pub refused: Counter,
    /// Messages without a valid answer.
    pub unanswered: Counter,
    /// Answers dropped for a wrong id, source or question, or an invalid TSIG.
    pub dropped: Counter,
    /// What is counted by zone.
    pub zones: ZoneList,
    pub checks: Arc<CheckCounters>,
}

/// Checks of what the name server acknowledged.
#[derive(Debug, Default)]
pub struct CheckCounters {
    /// Messages that held prerequisites only.
    pub messages: Counter,
    /// Hosts in these messages.
    pub hosts: Counter,
    /// Queries for what hides a name.
    pub queries: Counter,
    /// Hosts whose records differed.
    pub differed: Counter,
    /// Hosts that could not be checked.
    pub unknown: Counter,
    /// Hosts published again because of a difference.
    pub repaired: Counter,
    /// Hosts that became unserved.
    pub unserved: Counter,
    /// How long the last round over all hosts took, seconds.
    pub round_seconds: Gauge,
    /// Hosts that wait for a check.
    pub waiting: Gauge,
}

#[derive(Debug, Default)]
pub struct PasswordCounters {
    /// Runs of Argon2.
    pub hashed: Counter,
    /// Correct, from the verdict cache.
    pub cached_right: Counter,
    /// Wrong, from the verdict cache.
    pub cached_wrong: Counter,
    /// Refused because the queue was full.
    pub busy: Counter,
    /// Of runs of Argon2.
    pub runs: Histogram,
}

#[derive(Debug, Default)]
pub struct LimitCounters {
    pub bad_refused: Counter,
    pub good_refused: Counter,
}

#[derive(Debug, Default)]
pub struct MailCounters {
    /// Accepted by the mail server.
    pub sent: Counter,
    /// Attempts that failed and are repeated.
    pub retried: Counter,
    /// Mails that are not tried any more.
    pub failed: Counter,
}

#[derive(Debug, Default)]
pub struct DatabaseCounters {
    /// Committed transactions of the writer.
    pub commits: Counter,
    /// Writes in these transactions.
    pub writes: Counter,
    pub failed: Counter,
    pub reads: Counter,
    pub failed_reads: Counter,
    /// Of the writer's transactions, successful or not.
    pub transactions: Histogram,
    /// Of queries of readers, successful or not, the wait for a connection included.
    pub queries: Histogram,
    pub writing: Writing,
}

/// Whether the database takes writes.
#[derive(Debug, Default)]
pub struct Writing(Mutex<Option<(Instant, String)>>);

impl Writing {
    /// Records a failed write.
    pub fn fails(&self, now: Instant, why: &str) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.take().map_or(now, |(since, _)| since);
        *failing = Some((since, why.to_owned()));
    }

    /// Records a successful write. Returns whether writes failed before.
    pub fn works(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Since when writes fail, and the cause of the last failure.
    pub fn failing(&self) -> Option<(Instant, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
