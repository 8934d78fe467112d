//! Rows that were read or written lately, and names that were found to have none, for the update path:
//! an unknown name must not take longer than a known one. The writer puts in what it wrote; a reader's
//! fill is dropped if the shard was written since it began to read, so an old row never replaces a new one.

use crate::model::host::Host;
use crate::model::name::{Fqdn, UserName};
use crate::model::user::Account;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;
/// Of one cache; beyond, an arbitrary row makes room.
const MOST_ROWS: usize = 2_000_000;
/// Names without a row, of one cache; strangers choose them, so they are few and take no row's room.
const MOST_ABSENT: usize = 65_536;

pub(super) struct Caches {
    pub(super) hosts: Cache<Fqdn, Arc<Host>>,
    pub(super) accounts: Cache<UserName, Account>,
}

impl Caches {
    /// Empty ones. With `Use::None`, where others write to the same database, they stay so.
    pub(super) fn new(used: Use) -> Self {
        Self { hosts: Cache::new(used), accounts: Cache::new(used) }
    }
}

/// Whether rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Full,
    None,
}

pub(super) struct Cache<K, V> {
    shards: Vec<Mutex<Shard<K, V>>>,
    hasher: RandomState,
    used: Use,
}

struct Shard<K, V> {
    rows: HashMap<K, V>,
    absent: HashSet<K>,
    /// Rises with every write.
    writes: u64,
}

/// What a reader holds while it reads; see [`Cache::fill`].
pub(super) struct Ticket(u64);

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    fn new(used: Use) -> Self {
        let shard =
            || Mutex::new(Shard { rows: HashMap::new(), absent: HashSet::new(), writes: 0 });
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { shards, hasher: RandomState::new(), used }
    }

    /// The row, or that there is none, or a ticket to fill it in after reading it.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, Ticket> {
        let shard = self.shard(key);
        match shard.rows.get(key) {
            Some(row) => Ok(Some(row.clone())),
            None if shard.absent.contains(key) => Ok(None),
            None => Err(Ticket(shard.writes)),
        }
    }

    /// Puts in what was read, unless something was written meanwhile.
    pub(super) fn fill(&self, key: &K, found: Option<V>, ticket: &Ticket) {
        let mut shard = self.shard(key);
        if self.used == Use::Full && shard.writes == ticket.0 {
            match found {
                Some(row) => shard.put(key, row),
                None => shard.put_absent(key),
            }
        }
    }

    /// The writer's: this is what is committed now.
    pub(super) fn wrote(&self, key: &K, value: V) {
        let mut shard = self.shard(key);
        shard.writes += 1;
        shard.absent.remove(key);
        if self.used == Use::Full {
            shard.put(key, value);
        }
    }

    /// The writer's: this row is gone, or must be read again.
    pub(super) fn forget(&self, key: &K) {
        let mut shard = self.shard(key);
        shard.writes += 1;
        shard.absent.remove(key);
        shard.rows.remove(key);
    }

    /// The writer's: every row must be read again.
    pub(super) fn forget_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.writes += 1;
            shard.absent.clear();
            shard.rows.clear();
        }
    }

    /// The writer's: there may be rows where there were none.
    pub(super) fn forget_absent(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.writes += 1;
            shard.absent.clear();
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, V>> {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "a remainder by the number of shards")]
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone, V> Shard<K, V> {
    fn put(&mut self, key: &K, value: V) {
        if self.rows.len() >= MOST_ROWS / SHARDS && !self.rows.contains_key(key) {
            let evicted = self.rows.keys().next().cloned();
            evicted.map(|evicted| self.rows.remove(&evicted));
        }
        self.rows.insert(key.clone(), value);
    }

    fn put_absent(&mut self, key: &K) {
        if self.absent.len() >= MOST_ABSENT / SHARDS {
            let evicted = self.absent.iter().next().cloned();
            evicted.map(|evicted| self.absent.remove(&evicted));
        }
        self.absent.insert(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_that_began_before_a_write_is_dropped() {
        let cache = Cache::<u8, &str>::new(Use::Full);
        let Err(ticket) = cache.get(&1) else { panic!("nothing is there yet") };
        cache.wrote(&1, "new");
        cache.fill(&1, Some("old"), &ticket);
        cache.fill(&1, None, &ticket);
        assert_eq!(cache.get(&1).ok(), Some(Some("new")));
    }

    #[test]
    fn a_fill_that_began_before_a_removal_is_dropped() {
        let cache = Cache::<u8, &str>::new(Use::Full);
        let Err(ticket) = cache.get(&1) else { panic!("nothing is there yet") };
        cache.forget(&1);
        cache.fill(&1, Some("old"), &ticket);
        assert!(cache.get(&1).is_err());
    }

    #[test]
    fn a_name_without_a_row_is_known_until_it_is_written() {
        let cache = Cache::<u32, &str>::new(Use::Full);
        let absent = |key| {
            let Err(ticket) = cache.get(&key) else { panic!("{key} is known") };
            cache.fill(&key, None, &ticket);
        };
        absent(1);
        assert_eq!(cache.get(&1).ok(), Some(None));
        cache.wrote(&1, "new");
        assert_eq!(cache.get(&1).ok(), Some(Some("new")));
        absent(2);
        cache.forget(&2);
        assert!(cache.get(&2).is_err());
        absent(2);
        cache.forget_absent();
        assert_eq!(cache.get(&1).ok(), Some(Some("new")));
        absent(2);
        cache.forget_all();
        assert!(cache.get(&2).is_err());
        (1_000..200_000).for_each(absent);
        let kept =
            cache.shards.iter().map(|shard| shard.lock().unwrap().absent.len()).sum::<usize>();
        assert!(kept <= MOST_ABSENT, "{kept} names");
    }

    #[test]
    fn a_fill_without_a_write_in_between_stays() {
        let cache = Cache::<u8, &str>::new(Use::Full);
        let Err(ticket) = cache.get(&1) else { panic!("nothing is there yet") };
        cache.fill(&1, Some("read"), &ticket);
        assert_eq!(cache.get(&1).ok(), Some(Some("read")));
        cache.forget_all();
        assert!(cache.get(&1).is_err());
    }
}
