//! Rows that wait in memory until a batch of them is written, at most one for each host. Reads take
//! them before the stored rows.

use super::error::DbError;
use crate::model::host::{HostId, Seen};
use crate::model::time::Uptime;
use dashmap::DashMap;
use std::sync::Arc;

/// Rows in one write, so that other writes do not wait long.
const BATCH: usize = 1_000;
/// Room for rows that is never given back.
const SPARE: usize = 1_024;

pub(super) type Batch<V> = Arc<[(HostId, V)]>;

pub(super) struct Unwritten<V>(DashMap<HostId, V>);

impl<V> Default for Unwritten<V> {
    fn default() -> Self {
        Self(DashMap::default())
    }
}

impl<V: Clone + PartialEq> Unwritten<V> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, host: HostId) -> Option<V> {
        self.0.get(&host).map(|row| row.clone())
    }

    /// Adds a row; `merge` decides what becomes of one that waits already.
    pub(super) fn record(&self, host: HostId, row: V, merge: impl FnOnce(&mut V, V)) {
        match self.0.entry(host) {
            dashmap::Entry::Occupied(mut waiting) => merge(waiting.get_mut(), row),
            dashmap::Entry::Vacant(new) => drop(new.insert(row)),
        }
    }

    /// Writes all rows, batch by batch. A row that was recorded again meanwhile stays, as do the
    /// rows of a batch that failed.
    pub(super) async fn flush<F>(&self, write: impl Fn(Batch<V>) -> F) -> Result<(), DbError>
    where
        F: Future<Output = Result<(), DbError>>,
    {
        let mut hosts: Vec<HostId> = self.0.iter().map(|row| *row.key()).collect();
        // in the order of the table, so that a batch rewrites few pages
        hosts.sort_unstable();
        for hosts in hosts.chunks(BATCH) {
            let row = |host: &HostId| Some((*host, self.get(*host)?));
            let batch: Batch<V> = hosts.iter().filter_map(row).collect();
            write(Arc::clone(&batch)).await?;
            for (host, written) in batch.iter() {
                self.0.remove_if(host, |_, now| now == written);
            }
        }
        // releases what many hosts took, unless as many come all the time
        if self.0.capacity() > 4 * hosts.len() + SPARE {
            self.0.shrink_to_fit();
        }
        Ok(())
    }
}

/// When each family of a host was last updated, by both clocks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) at: Seen,
    pub(super) uptime: Seen<Uptime>,
}

impl Touch {
    pub(super) fn or(self, older: Self) -> Self {
        Self { at: self.at.or(older.at), uptime: self.uptime.or(older.uptime) }
    }
}
