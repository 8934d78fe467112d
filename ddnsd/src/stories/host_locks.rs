//! One change per host at a time. In: host keys. Out: guards that unlock their hosts when dropped.
//!
//! A host's lock is fair. It exists only while someone holds it or waits for it.

use crate::model::host::HostId;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Waiters for one host, the holder not counted: as many as one client may have connections. Only
/// clients that know the host's password get this far, and each waits for a limited time. A lower
/// limit answers `911` in a burst; those clients return at once and take the time the holder needs.
const MAX_WAITERS: usize = 256;

/// Clones share the locks.
#[derive(Clone, Default)]
pub struct HostLocks(Arc<DashMap<HostId, HostLock, foldhash::fast::RandomState>>);

struct HostLock {
    semaphore: Arc<Semaphore>,
    /// The holder and the waiters.
    users: usize,
}

/// The right to change a host, until dropped.
pub struct HostGuard {
    // Fields are dropped in this order: the permit before `user`, so that a lock is never removed
    // from the map while it is held.
    _permit: OwnedSemaphorePermit,
    user: LockUser,
}

/// Keeps a host's lock in the map.
struct LockUser {
    host: HostId,
    locks: HostLocks,
}

/// Too many wait for the lock, or it was not free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLocked;

impl HostLocks {
    /// Locks each of these hosts once, in the order of their keys, so that no deadlock is possible.
    ///
    /// # Errors
    /// Too many wait for one of them, or `timeout` passed; none is locked then.
    pub async fn lock(
        &self,
        mut hosts: Vec<HostId>,
        timeout: Duration,
    ) -> Result<Vec<HostGuard>, NotLocked> {
        hosts.sort_unstable();
        hosts.dedup();
        let mut guards = Vec::with_capacity(hosts.len());
        guards.extend(hosts.iter().map_while(|host| self.try_lock(*host)));
        let locked = guards.len();
        // without contention no timer is started
        if locked == hosts.len() {
            return Ok(guards);
        }
        let rest = async {
            for host in hosts.into_iter().skip(locked) {
                guards.push(self.wait_for(host).await?);
            }
            Ok(guards)
        };
        // boxed: most locks are free, and need no room for it
        Box::pin(tokio::time::timeout(timeout, rest)).await.map_err(|_| NotLocked)?
    }

    /// Locks a host if that needs no wait.
    pub fn try_lock(&self, host: HostId) -> Option<HostGuard> {
        let (user, semaphore) = self.join(host)?;
        let permit = semaphore.try_acquire_owned().ok()?;
        Some(HostGuard { _permit: permit, user })
    }

    async fn wait_for(&self, host: HostId) -> Result<HostGuard, NotLocked> {
        let (user, semaphore) = self.join(host).ok_or(NotLocked)?;
        let permit = semaphore.acquire_owned().await.map_err(|_| NotLocked)?;
        Ok(HostGuard { _permit: permit, user })
    }

    /// `None` if too many wait already.
    fn join(&self, host: HostId) -> Option<(LockUser, Arc<Semaphore>)> {
        let new = || HostLock { semaphore: Arc::new(Semaphore::new(1)), users: 0 };
        let mut lock = self.0.entry(host).or_insert_with(new);
        if lock.users > MAX_WAITERS {
            return None;
        }
        lock.users += 1;
        let semaphore = Arc::clone(&lock.semaphore);
        drop(lock);
        Some((LockUser { host, locks: self.clone() }, semaphore))
    }
}

impl HostGuard {
    /// The host that it locks.
    pub fn host(&self) -> HostId {
        self.user.host
    }
}

impl Drop for LockUser {
    fn drop(&mut self) {
        if let Entry::Occupied(mut lock) = self.locks.0.entry(self.host) {
            lock.get_mut().users -= 1;
            if lock.get().users == 0 {
                lock.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(20);

    fn hosts(keys: &[i64]) -> Vec<HostId> {
        keys.iter().copied().map(HostId).collect()
    }

    #[tokio::test]
    async fn a_lock_is_exclusive_and_leaves_nothing_behind() {
        let locks = HostLocks::default();
        let first = locks.lock(hosts(&[1, 2]), SHORT).await.unwrap();
        assert!(locks.try_lock(HostId(2)).is_none());
        assert!(locks.lock(hosts(&[2]), SHORT).await.is_err());
        drop(first);
        assert!(locks.lock(hosts(&[2]), SHORT).await.is_ok());
        assert!(locks.0.is_empty());
    }

    #[tokio::test]
    async fn one_waiter_too_many_is_rejected_at_once() {
        let locks = HostLocks::default();
        let held = locks.try_lock(HostId(1)).unwrap();
        let mut waiting: Vec<_> =
            (0..MAX_WAITERS).map(|_| Box::pin(locks.wait_for(HostId(1)))).collect();
        for wait in &mut waiting {
            assert!(futures::poll!(wait).is_pending());
        }
        assert!(locks.lock(hosts(&[1]), LONG).await.is_err());
        drop(held);
        drop(waiting);
        assert!(locks.0.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_takers_of_overlapping_hosts_all_get_their_locks_one_at_a_time() {
        let locks = HostLocks::default();
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (locks, inside) = (locks.clone(), Arc::clone(&inside));
                tokio::spawn(async move {
                    for _ in 0..200 {
                        let held = locks.lock(hosts(&[3, 1, 2, 1]), LONG).await.unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(locks.0.is_empty());
    }
}
