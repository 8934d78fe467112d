//! One change per host at a time. In: host keys. Out: turns, given back when dropped.
//!
//! A turn is a fair lock that exists only while somebody holds it or waits for it.

use crate::model::host::HostId;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Those who may wait for one host's turn, the holder aside: as many as one client may have connections.
/// Only clients that know the host's password get here, and each waits for `patience` at most. With
/// fewer places a burst meets `911`, comes back at once and takes the time that the holder needs.
const MOST_WAITING: usize = 256;

/// Hands out turns; clones share them.
#[derive(Clone, Default)]
pub struct Turns(Arc<DashMap<HostId, Line>>);

struct Line {
    lock: Arc<Semaphore>,
    /// The holder and those who wait.
    people: usize,
}

/// The right to change a host, until dropped.
pub struct Turn {
    /// Given back before the place is, so that the line is never torn down under a holder.
    permit: Option<OwnedSemaphorePermit>,
    place: Place,
}

/// A place in a host's line.
struct Place {
    host: HostId,
    turns: Turns,
}

/// No turn: too many wait, or it took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTurn;

impl Turns {
    /// The turns of these hosts, taken in the order of their keys so that nobody waits in a circle.
    ///
    /// # Errors
    /// A line is full, or `patience` ran out; nothing is held then.
    pub async fn of(
        &self,
        hosts: &BTreeSet<HostId>,
        patience: Duration,
    ) -> Result<Vec<Turn>, NoTurn> {
        let mut turns = Vec::with_capacity(hosts.len());
        let mut contended = None;
        for host in hosts {
            let Some(turn) = self.try_one(*host) else {
                contended = Some(*host);
                break;
            };
            turns.push(turn);
        }
        let Some(first) = contended else { return Ok(turns) };
        let rest = async {
            for host in hosts.range(first..) {
                turns.push(self.one(*host).await?);
            }
            Ok(turns)
        };
        tokio::time::timeout(patience, rest).await.map_err(|_| NoTurn)?
    }

    /// A host's turn if nobody has it.
    pub fn try_one(&self, host: HostId) -> Option<Turn> {
        let (place, lock) = self.queue(host)?;
        let permit = lock.try_acquire_owned().ok()?;
        Some(Turn { permit: Some(permit), place })
    }

    async fn one(&self, host: HostId) -> Result<Turn, NoTurn> {
        let (place, lock) = self.queue(host).ok_or(NoTurn)?;
        let permit = lock.acquire_owned().await.map_err(|_| NoTurn)?;
        Ok(Turn { permit: Some(permit), place })
    }

    fn queue(&self, host: HostId) -> Option<(Place, Arc<Semaphore>)> {
        let mut line = self
            .0
            .entry(host)
            .or_insert_with(|| Line { lock: Arc::new(Semaphore::new(1)), people: 0 });
        if line.people > MOST_WAITING {
            return None;
        }
        line.people += 1;
        let lock = Arc::clone(&line.lock);
        drop(line);
        Some((Place { host, turns: self.clone() }, lock))
    }
}

impl Turn {
    /// Whose turn it is.
    pub fn host(&self) -> HostId {
        self.place.host
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut line) = self.turns.0.entry(self.host) {
            line.get_mut().people -= 1;
            if line.get().people == 0 {
                line.remove();
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

    fn hosts(keys: &[i64]) -> BTreeSet<HostId> {
        keys.iter().copied().map(HostId).collect()
    }

    #[tokio::test]
    async fn a_turn_is_exclusive_and_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.of(&hosts(&[1, 2]), SHORT).await.unwrap();
        assert!(turns.try_one(HostId(2)).is_none());
        assert!(turns.of(&hosts(&[2]), SHORT).await.is_err());
        drop(first);
        assert!(turns.of(&hosts(&[2]), SHORT).await.is_ok());
        assert!(turns.0.is_empty());
    }

    #[tokio::test]
    async fn one_too_many_in_line_is_sent_away_at_once() {
        let turns = Turns::default();
        let held = turns.try_one(HostId(1)).unwrap();
        let mut waiting: Vec<_> =
            (0..MOST_WAITING).map(|_| Box::pin(turns.one(HostId(1)))).collect();
        for wait in &mut waiting {
            assert!(futures::poll!(wait).is_pending());
        }
        assert!(turns.of(&hosts(&[1]), LONG).await.is_err());
        drop(held);
        drop(waiting);
        assert!(turns.0.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_takers_of_overlapping_hosts_all_get_through_one_at_a_time() {
        let turns = Turns::default();
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (turns, inside) = (turns.clone(), Arc::clone(&inside));
                tokio::spawn(async move {
                    for _ in 0..200 {
                        let held = turns.of(&hosts(&[1, 2, 3]), LONG).await.unwrap();
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
        assert!(turns.0.is_empty());
    }
}
