//! Hosts of which a message ended without an answer, so that it may still be applied, after a newer
//! one even. In: hosts of such messages, and of acknowledged ones. Out: who must be asserted again.

use crate::model::host::HostId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hosts remembered. Beyond, every host counts as in doubt until those are acknowledged.
const MAX_HOSTS: usize = 100_000;

/// The hosts in doubt, of all zones.
#[derive(Default)]
pub(super) struct Doubt(Mutex<Doubted>);

#[derive(Default)]
struct Doubted {
    hosts: HashSet<HostId>,
    /// There were more than are remembered.
    and_others: bool,
}

impl Doubt {
    fn doubted(&self) -> MutexGuard<'_, Doubted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message with these hosts went out and was not answered.
    pub(super) fn add(&self, hosts: impl Iterator<Item = HostId>) {
        let mut doubted = self.doubted();
        for host in hosts {
            if doubted.hosts.len() < MAX_HOSTS {
                doubted.hosts.insert(host);
            } else if !doubted.hosts.contains(&host) {
                doubted.and_others = true;
            }
        }
    }

    /// These hosts are acknowledged: which of them were in doubt, and are no more.
    pub(super) fn take(&self, hosts: impl Iterator<Item = HostId>) -> Vec<bool> {
        let mut doubted = self.doubted();
        let and_others = doubted.and_others;
        let taken = hosts.map(|host| doubted.hosts.remove(&host) || and_others).collect();
        doubted.and_others &= !doubted.hosts.is_empty();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(range: std::ops::Range<usize>) -> impl Iterator<Item = HostId> {
        range.map(|host| HostId(i64::try_from(host).unwrap()))
    }

    #[test]
    fn a_host_is_in_doubt_until_it_is_acknowledged() {
        let doubt = Doubt::default();
        doubt.add(hosts(0..2));
        assert_eq!(doubt.take(hosts(1..3)), [true, false]);
        assert_eq!(doubt.take(hosts(0..2)), [true, false]);
    }

    #[test]
    fn when_there_are_too_many_to_remember_every_host_is_in_doubt() {
        let doubt = Doubt::default();
        doubt.add(hosts(0..MAX_HOSTS));
        doubt.add(hosts(0..1));
        assert_eq!(doubt.take(hosts(MAX_HOSTS..MAX_HOSTS + 1)), [false]);
        doubt.add(hosts(MAX_HOSTS..MAX_HOSTS + 1));
        assert_eq!(doubt.take(hosts(MAX_HOSTS..MAX_HOSTS + 1)), [true]);
        assert_eq!(doubt.take(hosts(0..MAX_HOSTS)).iter().filter(|was| **was).count(), MAX_HOSTS);
        assert_eq!(doubt.take(hosts(MAX_HOSTS..MAX_HOSTS + 1)), [false]);
    }
}
