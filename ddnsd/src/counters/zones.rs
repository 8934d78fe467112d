//! What is counted by zone. Bounded: zones beyond the first 100 share one entry.

use super::{Counter, Histogram};
use crate::model::time::Millis;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Zones that are counted apart.
const MAX_ZONES: usize = 100;
/// The name under which all other zones are counted. No zone has it.
const OTHERS: &str = "(other)";
/// RCODEs, and what stands for a missing one. The last one counts all others.
const RESULTS: [&str; 14] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "unsigned",
    "unanswered",
    "other",
];

/// The zones that were published to since the start.
#[derive(Debug, Default)]
pub struct ZoneList {
    zones: Mutex<BTreeMap<String, Arc<ZoneCounters>>>,
    others: Arc<ZoneCounters>,
}

/// Messages to the name server about one zone.
#[derive(Debug, Default)]
pub struct ZoneCounters {
    /// In the order of [`RESULTS`].
    results: [Counter; RESULTS.len()],
    /// Hosts in the messages.
    pub hosts: Counter,
    /// From the first try to the answer or the time-out.
    pub durations: Histogram,
    last_error: Mutex<Option<LastError>>,
}

/// The last failure of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    pub at: Millis,
    pub text: String,
}

impl ZoneList {
    /// The counters of a zone. Not for the hot path: it locks.
    pub fn of(&self, zone: &str) -> Arc<ZoneCounters> {
        let mut zones = self.lock();
        if let Some(counters) = zones.get(zone) {
            return Arc::clone(counters);
        }
        if zones.len() >= MAX_ZONES {
            return Arc::clone(&self.others);
        }
        Arc::clone(zones.entry(zone.to_owned()).or_default())
    }

    /// All of them by name, and what the other zones share if there are any.
    pub fn all(&self) -> Vec<(String, Arc<ZoneCounters>)> {
        let zones = self.lock();
        let named = zones.iter().map(|(name, counters)| (name.clone(), Arc::clone(counters)));
        let others = (self.others.durations.read().count > 0)
            .then(|| (OTHERS.to_owned(), Arc::clone(&self.others)));
        named.chain(others).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ZoneCounters>>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ZoneCounters {
    /// Counts a message: its RCODE, or `unsigned` or `unanswered`.
    pub fn message(&self, result: &str, hosts: u64, took: Duration) {
        let known = RESULTS.iter().zip(&self.results).find(|(name, _)| **name == result);
        if let Some(counter) = known.map(|(_, counter)| counter).or(self.results.last()) {
            counter.add_one();
        }
        self.hosts.add(hosts);
        self.durations.record(took);
    }

    /// Messages by result.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        RESULTS.into_iter().zip(&self.results)
    }

    pub fn failed(&self, error: LastError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_beyond_the_bound_are_counted_together() {
        let list = ZoneList::default();
        for number in 0..=MAX_ZONES + 1 {
            list.of(&format!("z{number}.example")).message("NOERROR", 2, Duration::ZERO);
        }
        let all = list.all();
        assert_eq!(all.len(), MAX_ZONES + 1);
        let (name, others) = all.last().unwrap();
        assert_eq!((name.as_str(), others.hosts.get()), (OTHERS, 4));
    }

    #[test]
    fn an_rcode_without_a_name_is_counted_as_other() {
        let counters = ZoneCounters::default();
        counters.message("RCODE 23", 1, Duration::ZERO);
        counters.message("REFUSED", 1, Duration::ZERO);
        let counted = counters.results().filter(|(_, counter)| counter.get() > 0);
        assert_eq!(counted.map(|(name, _)| name).collect::<Vec<_>>(), ["REFUSED", "other"]);
    }
}
