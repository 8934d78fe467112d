//! What waits for a check, in memory and bounded. What does not fit is left to the round. Pure: the
//! time is an argument.

use crate::dns::MAX_DIFFERING;
use crate::model::host::{Host, HostId};
use crate::model::name::Fqdn;
use crate::rules::verify::{Repairs, Suspicion};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hosts in each queue.
const MAX_HOSTS: usize = 10_000;
/// The round goes on only with this much space for what it may find: two pages.
const MIN_SPACE: usize = 400;

#[derive(Default)]
pub(super) struct CheckQueues {
    changes: HashMap<HostId, RecentChange>,
    /// To be asked for what hides them.
    questions: VecDeque<Arc<Host>>,
    suspects: HashMap<HostId, Suspect>,
    unserved: HashMap<HostId, Suspect>,
    pub(super) repairs: Repairs<HostId>,
    loaded: Option<Instant>,
}

struct RecentChange {
    host: Arc<Host>,
    due: Instant,
}

/// A host that did not hold.
#[derive(Clone)]
pub(super) struct Suspect {
    pub(super) id: HostId,
    pub(super) fqdn: Fqdn,
    suspicion: Suspicion,
    due: Instant,
}

impl CheckQueues {
    /// Adds a change that was acknowledged. One that waits already stays due when it was.
    pub(super) fn add_change(&mut self, host: Arc<Host>, due: Instant) {
        if let Some(change) = self.changes.get_mut(&host.id) {
            change.host = host;
        } else if self.changes.len() < MAX_HOSTS {
            self.changes.insert(host.id, RecentChange { host, due });
        }
    }

    /// Takes the changes that are due: removals first, then the longest due.
    pub(super) fn take_changes(&mut self, max: usize, now: Instant) -> Vec<Arc<Host>> {
        let due = self.changes.iter().filter(|(_, change)| change.due <= now);
        let mut due: Vec<_> = due
            .map(|(id, change)| (!change.host.wanted.addresses().is_empty(), change.due, *id))
            .collect();
        due.sort_unstable();
        let taken = due.into_iter().take(max).filter_map(|(_, _, id)| self.changes.remove(&id));
        taken.map(|change| change.host).collect()
    }

    pub(super) fn add_question(&mut self, host: Arc<Host>) {
        if self.questions.len() < MAX_HOSTS {
            self.questions.push_back(host);
        }
    }

    pub(super) fn take_questions(&mut self, max: usize) -> Vec<Arc<Host>> {
        let count = self.questions.len().min(max);
        self.questions.drain(..count).collect()
    }

    /// Takes hosts that are due for another check. They stay, and are due again at `retry`, in case
    /// it finds nothing out.
    pub(super) fn take_suspects(
        &mut self,
        max: usize,
        now: Instant,
        retry: Instant,
    ) -> Vec<Suspect> {
        let mut taken = Vec::new();
        // few unserved ones, so that each of them is found if it holds
        let queues = [(&mut self.suspects, max), (&mut self.unserved, MAX_DIFFERING.min(max))];
        for (queue, max) in queues {
            let due = queue.values_mut().filter(|suspect| suspect.due <= now).take(max);
            for suspect in due {
                suspect.due = retry;
                taken.push(suspect.clone());
            }
        }
        taken
    }

    /// What is known of a host that did not hold at its last check.
    pub(super) fn suspicion(&self, host: &Host) -> Option<Suspicion> {
        let suspect = self.suspects.get(&host.id).or_else(|| self.unserved.get(&host.id));
        suspect.map(|suspect| suspect.suspicion)
    }

    /// Keeps what is known of a host, to be checked again.
    pub(super) fn suspect(&mut self, host: &Host, suspicion: Suspicion, due: Instant) {
        let is_unserved = host.unserved_since.is_some();
        let (queue, other) = if is_unserved {
            (&mut self.unserved, &mut self.suspects)
        } else {
            (&mut self.suspects, &mut self.unserved)
        };
        other.remove(&host.id);
        if queue.len() < MAX_HOSTS || queue.contains_key(&host.id) {
            let suspect = Suspect { id: host.id, fqdn: host.fqdn.clone(), suspicion, due };
            queue.insert(host.id, suspect);
        }
    }

    /// A host holds, or is gone.
    pub(super) fn forget(&mut self, host: HostId) {
        self.suspects.remove(&host);
        self.unserved.remove(&host);
    }

    /// Whether unserved hosts are to be read from the database again.
    pub(super) fn is_time_to_load(&mut self, every: Duration, now: Instant) -> bool {
        let is_time = self.loaded.is_none_or(|loaded| loaded + every <= now);
        if is_time {
            self.loaded = Some(now);
        }
        is_time
    }

    /// Adds a host that the database says is unserved. Returns whether there is space for more.
    pub(super) fn add_unserved(&mut self, host: &Host, now: Instant) -> bool {
        if self.suspicion(host).is_none() {
            self.suspect(host, Suspicion::default(), now);
        }
        self.unserved.len() < MAX_HOSTS
    }

    /// Whether the round may go on.
    pub(super) fn has_space(&self) -> bool {
        self.suspects.len() + MIN_SPACE <= MAX_HOSTS
    }

    /// Hosts that differed and are not unserved.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.changes.len() + self.suspects.len() + self.unserved.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::record::{Wanted, WantedRecords};
    use crate::model::time::Millis;

    fn host(id: i64, is_there: bool) -> Host {
        let v4 = if is_there { Wanted::Present([192, 0, 2, 1].into()) } else { Wanted::Absent };
        let wanted = WantedRecords { v4, v6: Wanted::Untouched };
        Host { wanted, ..Host::sample(id, &format!("h{id}")) }
    }

    fn ids(hosts: &[Arc<Host>]) -> Vec<i64> {
        hosts.iter().map(|host| host.id.0).collect()
    }

    #[test]
    fn removals_are_checked_first_and_a_change_again_does_not_postpone() {
        let (mut queues, now) = (CheckQueues::default(), Clock.now().mono);
        let later = now + Duration::from_secs(1);
        queues.add_change(Arc::new(host(1, true)), now);
        queues.add_change(Arc::new(host(2, false)), now);
        queues.add_change(Arc::new(host(3, true)), later);
        queues.add_change(Arc::new(host(1, true)), later);
        assert_eq!(ids(&queues.take_changes(1, now)), [2]);
        assert_eq!(ids(&queues.take_changes(9, now)), [1]);
        assert_eq!(ids(&queues.take_changes(9, later)), [3]);
    }

    #[test]
    fn changes_and_suspects_are_bounded_and_unserved_hosts_take_no_space_of_suspects() {
        let (mut queues, now) = (CheckQueues::default(), Clock.now().mono);
        for id in 0..20_000 {
            queues.add_change(Arc::new(host(id, true)), now);
            let unserved_since = Some(Millis(1));
            queues.suspect(&Host { unserved_since, ..host(id, true) }, Suspicion::default(), now);
        }
        assert_eq!((queues.changes.len(), queues.unserved.len()), (MAX_HOSTS, MAX_HOSTS));
        assert!(queues.has_space());
        for id in 20_000..40_000 {
            queues.suspect(&host(id, true), Suspicion::default(), now);
        }
        assert_eq!(queues.suspects.len(), MAX_HOSTS);
        assert!(!queues.has_space());
    }

    #[test]
    fn a_suspect_is_taken_once_until_it_is_due_again_and_moves_when_it_is_unserved() {
        let (mut queues, now) = (CheckQueues::default(), Clock.now().mono);
        queues.suspect(&host(1, true), Suspicion::default(), now);
        let retry = now + Duration::from_secs(15);
        assert_eq!(queues.take_suspects(9, now, retry).len(), 1);
        assert_eq!(queues.take_suspects(9, now, retry).len(), 0);
        assert_eq!(queues.take_suspects(9, retry, retry).len(), 1);
        let unserved = Host { unserved_since: Some(Millis(1)), ..host(1, true) };
        queues.suspect(&unserved, Suspicion::default(), now);
        assert_eq!((queues.suspects.len(), queues.unserved.len()), (0, 1));
        queues.forget(HostId(1));
        assert_eq!(queues.waiting(), 0);
    }
}
