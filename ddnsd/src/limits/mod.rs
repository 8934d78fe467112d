//! How often a client may ask. In: a client, now, how its request ended. Out: a place, a wait for those
//! in flight, or `abuse` with the time until there is a place. State in memory only, bounded whatever the
//! number of addresses.

mod bucket;
mod queue;

use crate::config;
use crate::counters::LimitCounters;
use crate::model::client::ClientKey;
use crate::model::time::Now;
use crate::rules::limit::{Counted, Full, Limit, Tick, Window};
use arc_swap::ArcSwap;
use bucket::Bucket;
use dashmap::DashMap;
use queue::{Queue, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that are counted each on their own.
const MAX_CLIENTS: usize = 262_144;
/// Entries in all: beyond the clients, networks that new clients share a counter by.
const MAX_ENTRIES: usize = MAX_CLIENTS + 65_536;
/// Many, so that a purge holds back few requests at a time.
const SHARDS: usize = 256;

/// The windows of all clients. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

struct Shared {
    config: ArcSwap<config::Limits>,
    counters: Arc<LimitCounters>,
    start: Instant,
    clients: DashMap<Bucket, Entry>,
    tracked: AtomicUsize,
    max: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    clients: usize,
    entries: usize,
}

#[derive(Default)]
struct Entry {
    good: Window,
    bad: Window,
    /// Those that wait for what is in flight under the bad limit.
    queue: Queue,
}

/// What a knock brings.
pub enum Knock {
    /// A place.
    Slot(Slot),
    /// So many are in flight that they may be too many; once one of them has ended, knock again.
    Wait(Waiting),
    /// Too many were bad.
    Abuse(Abuse),
}

/// A client is over a limit; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abuse {
    /// Until the window frees.
    pub retry_after: Duration,
}

impl From<Full> for Abuse {
    fn from(full: Full) -> Self {
        Self { retry_after: full.retry_after }
    }
}

/// A request's place under the limits. Dropped without [`Limits::close`] it counts as nothing.
#[must_use = "dropped at once, it reserves nothing"]
pub struct Slot {
    /// `None` while limits are disabled.
    place: Option<Place>,
}

struct Place {
    limits: Arc<Shared>,
    bucket: Bucket,
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
    pub fn new(config: config::Limits, counters: Arc<LimitCounters>, now: Now) -> Self {
        Self::bounded(config, counters, now, Bounds { clients: MAX_CLIENTS, entries: MAX_ENTRIES })
    }

    fn bounded(
        config: config::Limits,
        counters: Arc<LimitCounters>,
        now: Now,
        max: Bounds,
    ) -> Self {
        Self(Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            counters,
            start: now.mono,
            clients: DashMap::with_shard_amount(SHARDS),
            tracked: AtomicUsize::new(0),
            max,
        }))
    }

    /// Other limits from now on; what was counted stays counted.
    pub fn reconfigure(&self, config: config::Limits) {
        self.0.config.store(Arc::new(config));
    }

    /// Takes a place under the bad limit, before any password work. Routers behind one address that
    /// come together wait for each other; guesses do too, and then hear that they were too many.
    pub fn knock(&self, client: ClientKey, now: Now) -> Knock {
        let config = self.0.config.load();
        if !config.enabled {
            return Knock::Slot(Slot { place: None });
        }
        let (limit, tick) = (bad(&config), self.0.tick(now));
        let knock =
            self.0.with_entry(client, |bucket, entry| match entry.bad.reserve(limit, tick) {
                Ok(()) => {
                    let limits = Arc::clone(&self.0);
                    Knock::Slot(Slot { place: Some(Place { limits, bucket, held: Held::Bad }) })
                }
                Err(full) if full.is_certain => Knock::Abuse(full.into()),
                Err(full) => entry.queue.join().map_or(Knock::Abuse(full.into()), Knock::Wait),
            });
        if let Knock::Abuse(_) = knock {
            self.0.counters.bad_refused.add_one();
        }
        knock
    }

    /// Exchanges the place under the bad limit for one under the good limit, once the password was
    /// right. What waits for DNS holds no bad place: twenty routers behind one address that update
    /// at once must not lock each other out. So [`Limits::close`] asks for one again if need be.
    ///
    /// # Errors
    /// So many of the client's requests were good, or are in flight. The bad place is given back.
    pub fn spend(&self, slot: &mut Slot, now: Now) -> Result<(), Abuse> {
        let Some(place) = &mut slot.place else {
            return Ok(());
        };
        let (limit, tick) = (good(&self.0.config.load()), self.0.tick(now));
        let Some(mut entry) = self.0.clients.get_mut(&place.bucket) else {
            return Ok(());
        };
        entry.release(std::mem::replace(&mut place.held, Held::Nothing));
        let spent = entry.good.reserve(limit, tick);
        drop(entry);
        match spent {
            Ok(()) => place.held = Held::Good,
            Err(_) => self.0.counters.good_refused.add_one(),
        }
        spent.map_err(Abuse::from)
    }

    /// Counts a request as what it turned out to be and gives its place back.
    ///
    /// # Errors
    /// It turned out bad after its password was right, and by then so many were bad, or are in flight
    /// and may be, that it is one too many: it is to be answered so, and is not counted.
    pub fn close(&self, mut slot: Slot, outcome: Counted, now: Now) -> Result<(), Abuse> {
        let Some(place) = &mut slot.place else {
            return Ok(());
        };
        let (config, tick) = (self.0.config.load(), self.0.tick(now));
        let Some(mut entry) = self.0.clients.get_mut(&place.bucket) else {
            return Ok(());
        };
        let held = std::mem::replace(&mut place.held, Held::Nothing);
        let closed = entry.close(held, outcome, &config, tick);
        drop(entry);
        closed.inspect_err(|_| self.0.counters.bad_refused.add_one()).map_err(Abuse::from)
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

fn good(config: &config::Limits) -> Limit {
    Limit { window: config.good_window, max: config.good_max }
}

fn bad(config: &config::Limits) -> Limit {
    Limit { window: config.bad_window, max: config.bad_max }
}

impl Shared {
    fn tick(&self, now: Now) -> Tick {
        Tick::after_start(now.mono.saturating_duration_since(self.start))
    }

    /// Runs `work` on the client's own entry, or on the one it shares when too many are tracked.
    fn with_entry<T>(&self, client: ClientKey, work: impl FnOnce(Bucket, &mut Entry) -> T) -> T {
        let own = Bucket::Client(client);
        if let Some(mut entry) = self.clients.get_mut(&own) {
            return work(own, &mut entry);
        }
        let tracked = self.tracked.load(Ordering::Relaxed);
        let bucket = if tracked < self.max.clients {
            own
        } else {
            let network = Bucket::network(client);
            let shared = tracked < self.max.entries || self.clients.contains_key(&network);
            if shared { network } else { Bucket::Everyone }
        };
        let mut entry = self.clients.entry(bucket).or_insert_with(|| {
            self.tracked.fetch_add(1, Ordering::Relaxed);
            Entry::default()
        });
        work(bucket, &mut entry)
    }
}

impl Entry {
    fn close(
        &mut self,
        held: Held,
        outcome: Counted,
        config: &config::Limits,
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
                self.queue.wake();
            }
            Held::Good => self.good.release(),
            Held::Nothing => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.held != Held::Nothing
            && let Some(mut entry) = self.limits.clients.get_mut(&self.bucket)
        {
            entry.release(self.held);
        }
    }
}

#[cfg(test)]
mod tests;
