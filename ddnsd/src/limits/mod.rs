//! How often a client may ask. In: a client, now, how its request ended. Out: a place, a wait for those
//! in flight, or `abuse` with the time until there is a place. State in memory only, bounded whatever the
//! number of addresses.

mod key;
mod waiters;

use crate::config;
use crate::counters::LimitCounters;
use crate::model::client::ClientKey;
use crate::model::time::Now;
use crate::rules::sliding_window::{Counted, Full, Limit, Tick, Window};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use key::LimitKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use waiters::{Waiter, Waiters};

/// Clients that are counted each on their own.
const MAX_CLIENTS: usize = 262_144;
/// Entries in all: beyond the clients, networks that new clients share a counter by.
const MAX_ENTRIES: usize = MAX_CLIENTS + 65_536;
/// Many, so that a purge holds back few requests at a time.
const SHARDS: usize = 256;

/// The windows of all clients. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Limits(Arc<LimitsInner>);

struct LimitsInner {
    config: ArcSwap<config::LimitsConfig>,
    counters: Arc<LimitCounters>,
    start: Instant,
    clients: DashMap<LimitKey, ClientWindows>,
    tracked: AtomicUsize,
    max: MaxTracked,
}

#[derive(Clone, Copy)]
struct MaxTracked {
    clients: usize,
    entries: usize,
}

#[derive(Default)]
struct ClientWindows {
    good: Window,
    bad: Window,
    /// Those that wait for what is in flight under the bad limit.
    waiters: Waiters,
}

/// Whether a request may go on.
pub enum Admission {
    /// A place.
    Granted(Slot),
    /// So many are in flight that they may be too many; once one of them has ended, try again.
    Wait(Waiter),
    /// Too many were bad.
    Exceeded(LimitExceeded),
}

/// A client is over a limit; nothing was counted.
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

/// A request's place under the limits. Dropped without [`Limits::record`] it counts as nothing.
#[must_use = "dropped at once, it reserves nothing"]
pub struct Slot {
    /// `None` while limits are disabled.
    place: Option<Reservation>,
}

struct Reservation {
    limits: Arc<LimitsInner>,
    key: LimitKey,
    held: Held,
}

/// Under which limit a place is reserved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Bad,
    Good,
    Nothing,
}

impl Limits {
    /// No client is known yet. `now` is where their time starts.
    pub fn new(config: config::LimitsConfig, counters: Arc<LimitCounters>, now: Now) -> Self {
        Self::bounded(
            config,
            counters,
            now,
            MaxTracked { clients: MAX_CLIENTS, entries: MAX_ENTRIES },
        )
    }

    fn bounded(
        config: config::LimitsConfig,
        counters: Arc<LimitCounters>,
        now: Now,
        max: MaxTracked,
    ) -> Self {
        Self(Arc::new(LimitsInner {
            config: ArcSwap::from_pointee(config),
            counters,
            start: now.mono,
            clients: DashMap::with_shard_amount(SHARDS),
            tracked: AtomicUsize::new(0),
            max,
        }))
    }

    /// Other limits from now on; what was counted stays counted.
    pub fn reconfigure(&self, config: config::LimitsConfig) {
        self.0.config.store(Arc::new(config));
    }

    /// Takes a place under the bad limit, before any password work. Routers behind one address that
    /// come together wait for each other; guesses do too, and then hear that they were too many.
    pub fn reserve_bad(&self, client: ClientKey, now: Now) -> Admission {
        let config = self.0.config.load();
        if !config.enabled {
            return Admission::Granted(Slot { place: None });
        }
        let (limit, tick) = (bad(&config), self.0.tick(now));
        let admission =
            self.0.with_entry(client, |key, entry| match entry.bad.reserve(limit, tick) {
                Ok(()) => {
                    let limits = Arc::clone(&self.0);
                    Admission::Granted(Slot {
                        place: Some(Reservation { limits, key, held: Held::Bad }),
                    })
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

    /// Exchanges the place under the bad limit for one under the good limit, once the password was
    /// right. What waits for DNS holds no bad place: twenty routers behind one address that update
    /// at once must not lock each other out. So [`Limits::record`] asks for one again if need be.
    ///
    /// # Errors
    /// So many of the client's requests were good, or are in flight. The bad place is given back.
    pub fn reserve_good(&self, slot: &mut Slot, now: Now) -> Result<(), LimitExceeded> {
        let Some(place) = &mut slot.place else {
            return Ok(());
        };
        let (limit, tick) = (good(&self.0.config.load()), self.0.tick(now));
        let Some(mut entry) = self.0.clients.get_mut(&place.key) else {
            return Ok(());
        };
        entry.release(std::mem::replace(&mut place.held, Held::Nothing));
        let spent = entry.good.reserve(limit, tick);
        drop(entry);
        match spent {
            Ok(()) => place.held = Held::Good,
            Err(_) => self.0.counters.good_refused.add_one(),
        }
        spent.map_err(LimitExceeded::from)
    }

    /// Counts a request as what it turned out to be and gives its place back.
    ///
    /// # Errors
    /// It turned out bad after its password was right, and by then so many were bad, or are in flight
    /// and may be, that it is one too many: it is to be answered so, and is not counted.
    pub fn record(&self, mut slot: Slot, outcome: Counted, now: Now) -> Result<(), LimitExceeded> {
        let Some(place) = &mut slot.place else {
            return Ok(());
        };
        let (config, tick) = (self.0.config.load(), self.0.tick(now));
        let Some(mut entry) = self.0.clients.get_mut(&place.key) else {
            return Ok(());
        };
        let held = std::mem::replace(&mut place.held, Held::Nothing);
        let closed = entry.record(held, outcome, &config, tick);
        drop(entry);
        closed.inspect_err(|_| self.0.counters.bad_refused.add_one()).map_err(LimitExceeded::from)
    }

    /// Forgets clients of whom nothing counts any more, a small part of the map locked at a time.
    /// With 262,144 clients it takes some ten milliseconds: not for a thread of the runtime.
    pub fn purge(&self, now: Now) {
        let (config, tick) = (self.0.config.load(), self.0.tick(now));
        let (good, bad) = (good(&config), bad(&config));
        self.0.clients.retain(|_, entry| {
            let idle = entry.good.is_idle(good, tick) && entry.bad.is_idle(bad, tick);
            if idle {
                self.0.tracked.fetch_sub(1, Ordering::Relaxed);
            }
            !idle
        });
        // room that a flood of addresses took; never for a handful of clients that come and go
        if self.0.clients.capacity() > 4 * self.tracked() + 64 * SHARDS {
            self.0.clients.shrink_to_fit();
        }
    }

    /// How many clients and networks are counted at the moment.
    pub fn tracked(&self) -> usize {
        self.0.tracked.load(Ordering::Relaxed)
    }
}

fn good(config: &config::LimitsConfig) -> Limit {
    Limit { window: config.good_window, max: config.good_max }
}

fn bad(config: &config::LimitsConfig) -> Limit {
    Limit { window: config.bad_window, max: config.bad_max }
}

impl LimitsInner {
    fn tick(&self, now: Now) -> Tick {
        Tick::after_start(now.mono.saturating_duration_since(self.start))
    }

    /// Runs `work` on the client's own entry, or on the one it shares when too many are tracked.
    fn with_entry<T>(
        &self,
        client: ClientKey,
        work: impl FnOnce(LimitKey, &mut ClientWindows) -> T,
    ) -> T {
        let own = LimitKey::Client(client);
        if let Some(mut entry) = self.clients.get_mut(&own) {
            return work(own, &mut entry);
        }
        let tracked = self.tracked.load(Ordering::Relaxed);
        let key = if tracked < self.max.clients {
            own
        } else {
            let network = LimitKey::network(client);
            let shared = tracked < self.max.entries || self.clients.contains_key(&network);
            if shared { network } else { LimitKey::Everyone }
        };
        let mut entry = self.clients.entry(key).or_insert_with(|| {
            self.tracked.fetch_add(1, Ordering::Relaxed);
            ClientWindows::default()
        });
        work(key, &mut entry)
    }
}

impl ClientWindows {
    fn record(
        &mut self,
        held: Held,
        outcome: Counted,
        config: &config::LimitsConfig,
        tick: Tick,
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

    fn release(&mut self, held: Held) {
        match held {
            Held::Bad => {
                self.bad.release();
                self.waiters.wake();
            }
            Held::Good => self.good.release(),
            Held::Nothing => {}
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held != Held::Nothing
            && let Some(mut entry) = self.limits.clients.get_mut(&self.key)
        {
            entry.release(self.held);
        }
    }
}

#[cfg(test)]
mod tests;
