//! Atomic counters, one struct for each part. `app/` hands them out; `stories/status.rs` reads
//! them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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
}

#[derive(Debug, Default)]
pub struct LimitCounters {
    pub bad_refused: Counter,
    pub good_refused: Counter,
}

#[derive(Debug, Default)]
pub struct DatabaseCounters {
    /// Committed transactions of the writer.
    pub commits: Counter,
    /// Writes in these transactions.
    pub writes: Counter,
    pub failed: Counter,
    pub writing: Writing,
}

/// Whether the database takes writes.
#[derive(Debug, Default)]
pub struct Writing(Mutex<Option<(Instant, String)>>);

impl Writing {
    /// Records a failed write. Returns whether it is the first one.
    pub fn fails(&self, now: Instant, why: &str) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = failing.is_none();
        let since = failing.take().map_or(now, |(since, _)| since);
        *failing = Some((since, why.to_owned()));
        is_news
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
