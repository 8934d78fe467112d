//! How many requests a client may send. In: a client, the time, how its request counts. Out: a
//! slot, a wait for requests in flight, or the time until a request is allowed again. All in
//! memory, bounded whatever the number of addresses.

mod key;
mod table;
mod waiters;

use crate::config;
use crate::counters::LimitCounters;
use crate::model::client::ClientKey;
use crate::rules::sliding_window::{Counted, Full, Limit, MonoNanos, Window};
use arc_swap::ArcSwap;
use key::LimitKey;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{MaxTracked, WindowTable};
use waiters::{Waiter, Waiters};

/// The sliding windows of all clients. Clones share them.
#[derive(Clone)]
pub struct Limits(Arc<LimitsInner>);

struct LimitsInner {
    config: ArcSwap<config::LimitsConfig>,
    counters: Arc<LimitCounters>,
    start: Instant,
    clients: WindowTable,
}

#[derive(Default)]
struct ClientWindows {
    good: Window,
    bad: Window,
    /// They wait for requests in flight under the bad limit.
    waiters: Waiters,
}

/// Whether a request may be verified.
pub enum Admission {
    Granted(Slot),
    /// The counters that untracked clients share are full. They refuse hashing, never a password
    /// that is known.
    KnownPasswordOnly(Slot, LimitExceeded),
    /// Requests in flight could exhaust the limit: wait for one to finish, then try again.
    Wait(Waiter),
    Exceeded(LimitExceeded),
}

/// A client is over a limit. The request was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Until the window frees.
    pub retry_after: Duration,
}

impl From<Full> for LimitExceeded {
    fn from(full: Full) -> Self {
        Self { retry_after: full.retry_after }
    }
}

/// A request's reservation under the limits. Dropped without [`Limits::record`], it counts as
/// nothing.
#[must_use = "dropped at once, it reserves nothing"]
pub struct Slot {
    /// `None` while limits are disabled.
    reservation: Option<Reservation>,
}

struct Reservation {
    limits: Arc<LimitsInner>,
    key: LimitKey,
    held: Held,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Bad,
    Good,
    Nothing,
}

impl Limits {
    /// `now` is the time zero of all windows.
    pub fn new(config: config::LimitsConfig, counters: Arc<LimitCounters>, now: Instant) -> Self {
        Self::bounded(config, counters, now, MaxTracked::DEFAULT)
    }

    fn bounded(
        config: config::LimitsConfig,
        counters: Arc<LimitCounters>,
        now: Instant,
        max: MaxTracked,
    ) -> Self {
        Self(Arc::new(LimitsInner {
            config: ArcSwap::from_pointee(config),
            counters,
            start: now,
            clients: WindowTable::new(max),
        }))
    }

    /// New limits hold at once; what was counted stays counted.
    pub fn reconfigure(&self, config: config::LimitsConfig) {
        self.0.config.store(Arc::new(config));
    }

    /// Reserves under the bad limit, before any password work. Routers behind one address that come
    /// at the same time wait for each other. So do guesses, until the limit is exceeded.
    pub fn reserve_bad(&self, client: ClientKey, now: Instant) -> Admission {
        let config = self.0.config.load();
        if !config.enabled {
            return Admission::Granted(Slot { reservation: None });
        }
        let (limit, tick) = (bad(&config), self.0.tick(now));
        let slot = |key, held| {
            let limits = Arc::clone(&self.0);
            Slot { reservation: Some(Reservation { limits, key, held }) }
        };
        let admission =
            self.0.clients.with_entry(client, |key, entry| match entry.bad.reserve(limit, tick) {
                Ok(()) => Admission::Granted(slot(key, Held::Bad)),
                Err(full) if key.is_shared() => {
                    Admission::KnownPasswordOnly(slot(key, Held::Nothing), full.into())
                }
                Err(full) if full.is_certain => Admission::Exceeded(full.into()),
                Err(full) => {
                    entry.waiters.join().map_or(Admission::Exceeded(full.into()), Admission::Wait)
                }
            });
        if let Admission::Exceeded(_) = admission {
            self.0.counters.bad_refused.add_one();
        }
        admission
    }

    /// Reserves under the good limit in place of the bad one, once the password was right. A
    /// request that waits for DNS holds no bad reservation: twenty routers behind one address that
    /// update at once must not lock each other out. [`Limits::record`] reserves again if the
    /// request turns out bad.
    ///
    /// # Errors
    /// The good limit is exceeded, requests in flight included. The bad reservation is released.
    pub fn reserve_good(&self, slot: &mut Slot, now: Instant) -> Result<(), LimitExceeded> {
        let Some(reservation) = &mut slot.reservation else {
            return Ok(());
        };
        let (limit, tick) = (good(&self.0.config.load()), self.0.tick(now));
        let key = reservation.key;
        let Some(mut entry) = self.0.clients.get_mut(key) else {
            return Ok(());
        };
        entry.release(std::mem::replace(&mut reservation.held, Held::Nothing));
        if key.is_shared() {
            drop(entry);
            self.0.clients.remove_if_empty(key);
            return Ok(());
        }
        let reserved = entry.good.reserve(limit, tick);
        drop(entry);
        match reserved {
            Ok(()) => reservation.held = Held::Good,
            Err(_) => self.0.counters.good_refused.add_one(),
        }
        reserved.map_err(LimitExceeded::from)
    }

    /// Counts a request by its outcome and releases its slot.
    ///
    /// # Errors
    /// The request turned out bad after its password was right, and the bad limit is exceeded by
    /// now, requests in flight included. It is not counted.
    pub fn record(
        &self,
        mut slot: Slot,
        outcome: Counted,
        now: Instant,
    ) -> Result<(), LimitExceeded> {
        let Some(reservation) = &mut slot.reservation else {
            return Ok(());
        };
        let (config, tick) = (self.0.config.load(), self.0.tick(now));
        let key = reservation.key;
        let Some(mut entry) = self.0.clients.get_mut(key) else {
            return Ok(());
        };
        let held = std::mem::replace(&mut reservation.held, Held::Nothing);
        let recorded = if key.is_shared() {
            entry.record_shared(held, outcome, bad(&config), tick);
            Ok(())
        } else {
            entry.record(held, outcome, &config, tick)
        };
        let is_empty = entry.is_empty();
        drop(entry);
        if is_empty {
            self.0.clients.remove_if_empty(key);
        }
        recorded.inspect_err(|_| self.0.counters.bad_refused.add_one()).map_err(LimitExceeded::from)
    }

    /// Removes clients whose windows are empty. With 262,144 clients this takes some 10 ms, so it
    /// must not run on a thread of the runtime.
    pub fn purge(&self, now: Instant) {
        let (config, tick) = (self.0.config.load(), self.0.tick(now));
        let (good, bad) = (good(&config), bad(&config));
        self.0
            .clients
            .retain(|entry| entry.good.is_idle(good, tick) && entry.bad.is_idle(bad, tick));
    }
}

fn good(config: &config::LimitsConfig) -> Limit {
    Limit { window: config.good_window, max: config.good_max }
}

fn bad(config: &config::LimitsConfig) -> Limit {
    Limit { window: config.bad_window, max: config.bad_max }
}

impl LimitsInner {
    fn tick(&self, now: Instant) -> MonoNanos {
        MonoNanos::after_start(now.saturating_duration_since(self.start))
    }
}

impl ClientWindows {
    fn record(
        &mut self,
        held: Held,
        outcome: Counted,
        config: &config::LimitsConfig,
        tick: MonoNanos,
    ) -> Result<(), Full> {
        if outcome == Counted::Bad && held != Held::Bad {
            self.bad.reserve(bad(config), tick).inspect_err(|_| self.release(held))?;
            self.bad.release();
        }
        match outcome {
            Counted::Good => self.good.count(good(config), tick),
            Counted::Bad => self.bad.count(bad(config), tick),
            Counted::Nothing => {}
        }
        self.release(held);
        Ok(())
    }

    /// Counts what is bad, and refuses nothing: others may have filled the window.
    fn record_shared(&mut self, held: Held, outcome: Counted, bad: Limit, tick: MonoNanos) {
        if outcome == Counted::Bad {
            self.bad.count(bad, tick);
        }
        self.release(held);
    }

    /// Whether nothing is counted or in flight.
    fn is_empty(&self) -> bool {
        self.good.is_empty() && self.bad.is_empty()
    }

    fn release(&mut self, held: Held) {
        match held {
            Held::Bad => {
                self.bad.release();
                self.waiters.wake_all();
            }
            Held::Good => self.good.release(),
            Held::Nothing => {}
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held != Held::Nothing
            && let Some(mut entry) = self.limits.clients.get_mut(self.key)
        {
            entry.release(self.held);
            drop(entry);
            self.limits.clients.remove_if_empty(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
