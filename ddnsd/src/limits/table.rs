//! The counters of clients, bounded whatever the number of addresses. IPv4 and IPv6 have budgets of
//! their own, so that neither takes the other's room. An entry that counts nothing is removed at
//! once.

use super::ClientWindows;
use super::key::{LimitKey, site};
use crate::model::client::ClientKey;
use dashmap::mapref::one::RefMut;
use dashmap::{DashMap, Entry};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients of each family that have counters of their own.
pub(super) const MAX_CLIENTS: usize = 131_072;
/// Clients of one IPv6 /48 that have counters of their own.
pub(super) const MAX_OF_SITE: usize = 256;
/// Networks whose other clients share counters.
pub(super) const MAX_SHARED: usize = 65_536;
/// A purge locks one at a time, so that it delays few requests.
pub(super) const SHARDS: usize = 256;

#[derive(Clone, Copy)]
pub(super) struct MaxTracked {
    pub(super) clients: usize,
    pub(super) of_site: usize,
    pub(super) shared: usize,
}

impl MaxTracked {
    pub(super) const DEFAULT: Self =
        Self { clients: MAX_CLIENTS, of_site: MAX_OF_SITE, shared: MAX_SHARED };
}

pub(super) struct WindowTable {
    entries: DashMap<LimitKey, ClientWindows>,
    v4: AtomicUsize,
    v6: AtomicUsize,
    shared: AtomicUsize,
    /// Tracked clients of each IPv6 /48. Locked after a shard of `entries`, never before.
    sites: DashMap<u64, usize>,
    max: MaxTracked,
}

impl WindowTable {
    pub(super) fn new(max: MaxTracked) -> Self {
        Self {
            entries: DashMap::with_shard_amount(SHARDS),
            v4: AtomicUsize::new(0),
            v6: AtomicUsize::new(0),
            shared: AtomicUsize::new(0),
            sites: DashMap::new(),
            max,
        }
    }

    pub(super) fn get_mut(&self, key: LimitKey) -> Option<RefMut<'_, LimitKey, ClientWindows>> {
        self.entries.get_mut(&key)
    }

    /// Runs `work` on the client's own entry, or on a shared one if too many are tracked.
    pub(super) fn with_entry<T>(
        &self,
        client: ClientKey,
        work: impl FnOnce(LimitKey, &mut ClientWindows) -> T,
    ) -> T {
        let own = LimitKey::Client(client);
        let shared = match self.entries.entry(own) {
            Entry::Occupied(mut entry) => return work(own, entry.get_mut()),
            Entry::Vacant(vacant) => match self.track(client) {
                Ok(()) => return work(own, &mut vacant.insert(ClientWindows::default())),
                Err(shared) => shared,
            },
        };
        match self.entries.entry(shared) {
            Entry::Occupied(mut entry) => return work(shared, entry.get_mut()),
            Entry::Vacant(vacant) => {
                if take(&self.shared, self.max.shared) {
                    return work(shared, &mut vacant.insert(ClientWindows::default()));
                }
            }
        }
        let mut everyone = self.entries.entry(LimitKey::Everyone).or_default();
        work(LimitKey::Everyone, &mut everyone)
    }

    /// Takes a place for a new client, or says with whom it is counted.
    fn track(&self, client: ClientKey) -> Result<(), LimitKey> {
        let ClientKey::V6(prefix) = client else {
            return if take(&self.v4, self.max.clients) {
                Ok(())
            } else {
                Err(LimitKey::network(client))
            };
        };
        let mut of_site = self.sites.entry(site(prefix)).or_insert(0);
        if *of_site >= self.max.of_site {
            return Err(LimitKey::Site(site(prefix)));
        }
        if take(&self.v6, self.max.clients) {
            *of_site += 1;
            return Ok(());
        }
        let is_empty = *of_site == 0;
        drop(of_site);
        if is_empty {
            self.sites.remove_if(&site(prefix), |_, count| *count == 0);
        }
        Err(LimitKey::network(client))
    }

    pub(super) fn remove_if_empty(&self, key: LimitKey) {
        if self.entries.remove_if(&key, |_, entry| entry.is_empty()).is_some() {
            self.untrack(key);
        }
    }

    fn untrack(&self, key: LimitKey) {
        let count = match key {
            LimitKey::Client(ClientKey::V4(_)) => &self.v4,
            LimitKey::Client(ClientKey::V6(prefix)) => {
                self.sites.entry(site(prefix)).and_modify(|count| *count -= 1);
                self.sites.remove_if(&site(prefix), |_, count| *count == 0);
                &self.v6
            }
            LimitKey::Site(_) | LimitKey::V4(_) | LimitKey::V6(_) => &self.shared,
            LimitKey::Everyone => return,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Removes idle entries, and releases what a flood of addresses took.
    pub(super) fn retain(&self, mut is_idle: impl FnMut(&mut ClientWindows) -> bool) {
        self.entries.retain(|key, entry| {
            let idle = is_idle(entry);
            if idle {
                self.untrack(*key);
            }
            !idle
        });
        // never shrinks for a handful of clients
        if self.entries.capacity() > 4 * self.tracked() + 64 * SHARDS {
            self.entries.shrink_to_fit();
            self.sites.shrink_to_fit();
        }
    }

    /// Clients and networks that have counters.
    pub(super) fn tracked(&self) -> usize {
        [&self.v4, &self.v6, &self.shared].map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}

/// Adds one, unless there are `max` already.
fn take(count: &AtomicUsize, max: usize) -> bool {
    let add = |count| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}
