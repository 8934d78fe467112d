//! Logins that wait for a hashing thread. In: jobs of networks. Out: the next job, in rotation by
//! network, so that a flood of one network delays no other. When the queue is full, the newest job
//! of the largest network is dropped.

use super::argon2::HashMemory;
use crate::model::client::NetworkKey;
use std::collections::{HashMap, VecDeque};

/// Some two seconds of two threads at the cost of new hashes.
pub(super) const MAX_LOGINS: usize = 256;
/// Large jobs among the logins. They run one at a time, and each takes as long as many small ones.
pub(super) const MAX_LARGE: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

pub(super) struct HashJob {
    pub(super) is_large: bool,
    pub(super) work: Box<dyn FnOnce(&mut HashMemory) + Send>,
}

#[derive(Default)]
pub(super) struct LoginQueue {
    /// Never an empty list; each network stands once in `rotation`.
    networks: HashMap<NetworkKey, VecDeque<HashJob>>,
    rotation: VecDeque<NetworkKey>,
    jobs: usize,
    large: usize,
}

impl LoginQueue {
    pub(super) fn len(&self) -> usize {
        self.jobs
    }

    /// Returns the job that had to make room, if any. Dropping it ends the wait of its caller.
    pub(super) fn push(
        &mut self,
        network: NetworkKey,
        job: HashJob,
    ) -> Result<Option<HashJob>, QueueFull> {
        if job.is_large && self.large >= MAX_LARGE {
            return Err(QueueFull);
        }
        let dropped = if self.jobs < MAX_LOGINS { None } else { Some(self.make_room(network)?) };
        self.jobs += 1;
        self.large += usize::from(job.is_large);
        let jobs = self.networks.entry(network).or_insert_with(|| {
            self.rotation.push_back(network);
            VecDeque::new()
        });
        jobs.push_back(job);
        Ok(dropped)
    }

    /// Drops the newest job of the largest network, unless that is the one that asks.
    fn make_room(&mut self, network: NetworkKey) -> Result<HashJob, QueueFull> {
        let own = self.networks.get(&network).map_or(0, VecDeque::len);
        let largest = self.networks.iter().max_by_key(|(_, jobs)| jobs.len());
        let (largest, count) = largest.map(|(key, jobs)| (*key, jobs.len())).ok_or(QueueFull)?;
        // with one more job it would be the largest, and this its newest
        if own + 1 >= count {
            return Err(QueueFull);
        }
        let newest = self.networks.get_mut(&largest).and_then(VecDeque::pop_back);
        let newest = newest.ok_or(QueueFull)?;
        self.removed(&newest);
        Ok(newest)
    }

    /// The first job that may start now, of the network whose last one is longest ago.
    pub(super) fn take(&mut self, large_may_run: bool) -> Option<HashJob> {
        let may_run = |job: &HashJob| large_may_run || !job.is_large;
        let (at, network, index) = self.rotation.iter().enumerate().find_map(|(at, network)| {
            let index = self.networks.get(network)?.iter().position(may_run)?;
            Some((at, *network, index))
        })?;
        self.rotation.remove(at);
        let jobs = self.networks.get_mut(&network)?;
        let job = jobs.remove(index)?;
        if jobs.is_empty() {
            self.networks.remove(&network);
        } else {
            self.rotation.push_back(network);
        }
        self.removed(&job);
        Some(job)
    }

    fn removed(&mut self, job: &HashJob) {
        self.jobs -= 1;
        self.large -= usize::from(job.is_large);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: NetworkKey = NetworkKey::V4([192, 0, 2]);

    fn job() -> HashJob {
        HashJob { is_large: false, work: Box::new(|_| ()) }
    }

    fn network(number: usize) -> NetworkKey {
        NetworkKey::V6(number as u64)
    }

    /// The networks of the jobs in the order in which they start.
    fn order(queue: &mut LoginQueue) -> Vec<Option<NetworkKey>> {
        let mut order = Vec::new();
        while queue.len() > 0 {
            order.push(queue.rotation.front().copied());
            queue.take(true).unwrap();
        }
        order
    }

    #[test]
    fn networks_take_turns() {
        let mut queue = LoginQueue::default();
        for _ in 0..3 {
            assert!(queue.push(FLOOD, job()).is_ok());
        }
        assert!(queue.push(network(1), job()).is_ok());
        let [flood, other] = [Some(FLOOD), Some(network(1))];
        assert_eq!(order(&mut queue), [flood, other, flood, flood]);
        assert!(queue.networks.is_empty() && queue.rotation.is_empty());
    }

    #[test]
    fn a_full_queue_drops_the_newest_job_of_the_largest_network() {
        let mut queue = LoginQueue::default();
        for _ in 0..MAX_LOGINS {
            assert!(queue.push(FLOOD, job()).is_ok_and(|dropped| dropped.is_none()));
        }
        assert!(queue.push(FLOOD, job()).is_err());
        for number in 0..MAX_LOGINS - 1 {
            let pushed = queue.push(network(number), job());
            assert!(pushed.is_ok_and(|dropped| dropped.is_some()), "{number}");
        }
        assert_eq!(queue.len(), MAX_LOGINS);
        assert!(queue.push(network(999), job()).is_err(), "every network has one");
        assert_eq!(order(&mut queue).len(), MAX_LOGINS);
    }
}
