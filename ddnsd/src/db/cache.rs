//! Caches of rows, and of names without a row, for the update path: an unknown name must not take
//! longer than a known one. The writer puts in what it committed. A reader puts in what it read,
//! unless the key was written meanwhile, so that an old row never replaces a new one.

use super::error::DbError;
use crate::model::host::Host;
use crate::model::name::{Fqdn, UserName};
use crate::model::user::Account;
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// Rows of one cache.
const MAX_ROWS: usize = 2_000_000;
/// Names without a row, of one cache. Anyone can ask for them, so they take no space from rows.
const MAX_ABSENT: usize = 65_536;

pub(super) struct Caches {
    pub(super) hosts: RowCache<Fqdn, Arc<Host>>,
    pub(super) accounts: RowCache<UserName, Account>,
}

impl Caches {
    /// For a database that only this process writes to.
    pub(super) fn enabled() -> Self {
        Self { hosts: RowCache::enabled(), accounts: RowCache::enabled() }
    }

    /// For a database that others may write to. These caches stay empty.
    pub(super) fn disabled() -> Self {
        Self { hosts: RowCache(None), accounts: RowCache(None) }
    }
}

pub(super) struct RowCache<K, V>(Option<Cached<K, V>>);

type Bounded<K, V> = Cache<K, V, UnitWeighter, RandomState>;

struct Cached<K, V> {
    rows: Bounded<K, V>,
    /// Keys that have no row.
    absent: Bounded<K, ()>,
}

type Guard<'c, K, V> =
    PlaceholderGuard<'c, K, V, UnitWeighter, RandomState, DefaultLifecycle<K, V>>;

enum CacheLookup<'c, K, V> {
    /// The row, or that there is none.
    Cached(Option<V>),
    /// The right to put a row in, or that there is none.
    Missing(Option<(Guard<'c, K, V>, Guard<'c, K, ()>)>),
}

fn bounded<K: Hash + Eq, V: Clone>(max: usize) -> Bounded<K, V> {
    let (hash, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
    Cache::with(max, max as u64, UnitWeighter, hash, lifecycle)
}

impl<K: Hash + Eq + Clone, V: Clone> RowCache<K, V> {
    fn enabled() -> Self {
        Self(Some(Cached { rows: bounded(MAX_ROWS), absent: bounded(MAX_ABSENT) }))
    }

    /// The row of this key, loaded if it is not cached; `None` if there is none.
    pub(super) async fn get_or_load<F: Future<Output = Result<Option<V>, DbError>>>(
        &self,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, DbError> {
        let guards = match self.find(key) {
            CacheLookup::Cached(row) => return Ok(row),
            CacheLookup::Missing(guards) => guards,
        };
        // boxed: a query is large, and a row that is cached needs no room for one
        let loaded = Box::pin(load()).await?;
        if let Some((present, absent)) = guards {
            // an insert fails if the key was written or removed since the guard was made
            let _ = match &loaded {
                Some(row) => present.insert(row.clone()).is_ok(),
                None => absent.insert(()).is_ok(),
            };
        }
        Ok(loaded)
    }

    /// Whoever gets both guards puts in what it loads. A caller that comes meanwhile gets none and
    /// loads for itself: one slow or failed query must not hold up all others.
    fn find(&self, key: &K) -> CacheLookup<'_, K, V> {
        let Some(cached) = &self.0 else { return CacheLookup::Missing(None) };
        if let Some(row) = cached.rows.get(key) {
            return CacheLookup::Cached(Some(row));
        }
        let absent = match cached.absent.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(()) => return CacheLookup::Cached(None),
            GuardResult::Guard(guard) => guard,
            GuardResult::Timeout => return CacheLookup::Missing(None),
        };
        match cached.rows.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(row) => CacheLookup::Cached(Some(row)),
            GuardResult::Guard(present) => CacheLookup::Missing(Some((present, absent))),
            GuardResult::Timeout => CacheLookup::Missing(None),
        }
    }

    /// For the writer: this row is committed; with `None` it is deleted, or must be loaded again.
    pub(super) fn update(&self, key: &K, row: Option<&V>) {
        let Some(cached) = &self.0 else { return };
        cached.absent.remove(key);
        match row {
            Some(row) => cached.rows.insert(key.clone(), row.clone()),
            None => drop(cached.rows.remove(key)),
        }
    }

    /// For the writer: every row must be loaded again.
    pub(super) fn clear(&self) {
        self.clear_absent();
        if let Some(cached) = &self.0 {
            cached.rows.clear();
        }
    }

    /// For the writer: rows may have been added.
    pub(super) fn clear_absent(&self) {
        if let Some(cached) = &self.0 {
            cached.absent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads `row` for key 1 while `change` happens.
    async fn load(
        cache: &RowCache<u32, &'static str>,
        row: Option<&'static str>,
        change: impl FnOnce(),
    ) {
        let load = || async {
            change();
            Ok(row)
        };
        assert_eq!(cache.get_or_load(&1, load).await, Ok(row));
    }

    /// What is cached for a key; the error if nothing is.
    async fn cached(
        cache: &RowCache<u32, &'static str>,
        key: u32,
    ) -> Result<Option<&'static str>, DbError> {
        cache.get_or_load(&key, async || Err(DbError::Closed)).await
    }

    #[tokio::test]
    async fn a_row_loaded_before_a_write_is_not_cached() {
        let cache = RowCache::enabled();
        load(&cache, Some("old"), || cache.update(&1, Some(&"new"))).await;
        assert_eq!(cached(&cache, 1).await, Ok(Some("new")));
        let cache = RowCache::enabled();
        load(&cache, None, || cache.update(&1, Some(&"new"))).await;
        assert_eq!(cached(&cache, 1).await, Ok(Some("new")));
    }

    #[tokio::test]
    async fn a_row_loaded_before_a_removal_or_a_clear_is_not_cached() {
        let cache = RowCache::enabled();
        for row in [Some("old"), None] {
            load(&cache, row, || cache.update(&1, None)).await;
            assert_eq!(cached(&cache, 1).await, Err(DbError::Closed));
            load(&cache, row, || cache.clear()).await;
            assert_eq!(cached(&cache, 1).await, Err(DbError::Closed));
        }
        load(&cache, None, || cache.clear_absent()).await;
        assert_eq!(cached(&cache, 1).await, Err(DbError::Closed));
    }

    #[tokio::test]
    async fn a_loaded_row_stays_until_it_is_cleared() {
        let cache = RowCache::enabled();
        load(&cache, Some("read"), || ()).await;
        assert_eq!(cached(&cache, 1).await, Ok(Some("read")));
        cache.clear_absent();
        assert_eq!(cached(&cache, 1).await, Ok(Some("read")));
        cache.clear();
        assert_eq!(cached(&cache, 1).await, Err(DbError::Closed));
    }

    #[tokio::test]
    async fn a_name_without_a_row_is_known_until_it_is_written_and_such_names_are_bounded() {
        let cache = RowCache::enabled();
        load(&cache, None, || ()).await;
        assert_eq!(cached(&cache, 1).await, Ok(None));
        cache.update(&1, Some(&"new"));
        assert_eq!(cached(&cache, 1).await, Ok(Some("new")));
        for key in 1_000..200_000 {
            cache.get_or_load(&key, async || Ok(None)).await.unwrap();
        }
        let absent = &cache.0.as_ref().unwrap().absent;
        assert!(absent.len() as u64 <= absent.capacity() && absent.capacity() < 70_000);
        assert_eq!(cached(&cache, 1).await, Ok(Some("new")));
    }

    #[tokio::test]
    async fn a_disabled_cache_keeps_nothing() {
        let cache = Caches::disabled().accounts;
        let name = UserName::parse("alice").unwrap();
        assert_eq!(cache.get_or_load(&name, async || { Ok(None) }).await.unwrap(), None);
        assert!(cache.get_or_load(&name, async || { Err(DbError::Closed) }).await.is_err());
    }
}
