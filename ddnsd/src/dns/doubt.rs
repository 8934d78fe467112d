//! Hosts of which a message ended without an answer, so that it may still be applied, after a newer
//! one even. In: hosts of such messages, and of acknowledged ones. Out: who must be asserted again.

use crate::model::host::HostId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hosts remembered. A server that does not answer is asked about few: its zones are down.
const MAX_HOSTS: usize = 100_000;

/// The hosts in doubt, of all zones.
#[derive(Default)]
pub(super) struct Doubt(Mutex<HashSet<HostId>>);

impl Doubt {
    fn hosts(&self) -> MutexGuard<'_, HashSet<HostId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message with these hosts went out and was not answered.
    pub(super) fn add(&self, hosts: impl Iterator<Item = HostId>) {
        let mut doubted = self.hosts();
        let room = MAX_HOSTS.saturating_sub(doubted.len());
        doubted.extend(hosts.take(room));
    }

    /// These hosts are acknowledged: which of them were in doubt, and are no more.
    pub(super) fn take(&self, hosts: impl Iterator<Item = HostId>) -> Vec<bool> {
        let mut doubted = self.hosts();
        hosts.map(|host| doubted.remove(&host)).collect()
    }
}
