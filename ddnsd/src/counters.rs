//! Atomic counters, one small struct a part, handed out by `app.rs`; `stories/status.rs` reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A number that only grows. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of the update story: one per reply word, counted per host line.
#[derive(Debug, Default)]
pub struct UpdateCounters {
    /// Changed and acknowledged by DNS.
    pub good: Counter,
    /// Known to be so already.
    pub nochg: Counter,
    /// Wrong credentials.
    pub badauth: Counter,
    /// Unknown host or another user's.
    pub nohost: Counter,
    /// Not a legal host name.
    pub notfqdn: Counter,
    /// More than 20 hosts.
    pub numhost: Counter,
    /// An address that cannot be.
    pub badip: Counter,
    /// DNS refused, failed or did not answer.
    pub dnserr: Counter,
    /// Over a limit.
    pub abuse: Counter,
    /// The daemon itself could not.
    pub server_error: Counter,
}

/// Of DNS publishing.
#[derive(Debug, Default)]
pub struct DnsCounters {
    /// UPDATE messages sent, retries included.
    pub messages: Counter,
    /// Hosts in them.
    pub hosts: Counter,
    /// Messages sent by TCP.
    pub tcp: Counter,
    /// Messages that were refused with an RCODE.
    pub refused: Counter,
    /// Messages without a believable answer.
    pub unanswered: Counter,
    /// Answers thrown away: wrong id, source or question, or a TSIG that does not verify.
    pub dropped: Counter,
}

/// Of password checks.
#[derive(Debug, Default)]
pub struct PasswordCounters {
    /// Argon2 runs.
    pub hashed: Counter,
    /// Right, from memory.
    pub remembered_right: Counter,
    /// Wrong, from memory.
    pub remembered_wrong: Counter,
    /// Turned away because the queue was full.
    pub busy: Counter,
}

/// Of the limits.
#[derive(Debug, Default)]
pub struct LimitCounters {
    /// Requests refused by the bad limit.
    pub bad_refused: Counter,
    /// Requests refused by the good limit.
    pub good_refused: Counter,
}

/// Of the database.
#[derive(Debug, Default)]
pub struct DatabaseCounters {
    /// Transactions committed by the writer.
    pub commits: Counter,
    /// Jobs in them.
    pub jobs: Counter,
    /// Commits that failed.
    pub failed: Counter,
    /// Whether changes are written at the moment.
    pub writing: Writing,
}

/// Whether changes are written.
#[derive(Debug, Default)]
pub struct Writing(Mutex<Option<(Instant, String)>>);

impl Writing {
    /// The last change was not written. Whether that is news.
    pub fn fails(&self, now: Instant, why: &str) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = failing.is_none();
        let since = failing.take().map_or(now, |(since, _)| since);
        *failing = Some((since, why.to_owned()));
        is_news
    }

    /// The last change was written. Whether that is news.
    pub fn works(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Since when changes are not written, and why the last one was not.
    pub fn failing(&self) -> Option<(Instant, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
