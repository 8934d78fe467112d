//! Which connections make room for others. In: those that have no request. Out: the ones to close.
//! Pure.

use crate::model::client::NetworkKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// A network that holds more than this is asked first.
const LARGE_NETWORK: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: u64,
    /// `None` is a trusted proxy.
    pub(super) network: Option<NetworkKey>,
    /// The last login was good, or it is a trusted proxy: it goes after all others.
    pub(super) is_last: bool,
    /// Of its last whole request, or of its start.
    pub(super) since: u64,
}

/// At most `count` of those that are longest without a whole request: of the network that holds the
/// most if these are many, else of all.
pub(super) fn victims(mut candidates: Vec<Candidate>, count: usize) -> Vec<u64> {
    if candidates.iter().any(|candidate| !candidate.is_last) {
        candidates.retain(|candidate| !candidate.is_last);
    }
    let mut networks: HashMap<NetworkKey, usize> = HashMap::new();
    for network in candidates.iter().filter_map(|candidate| candidate.network) {
        *networks.entry(network).or_insert(0) += 1;
    }
    if let Some((largest, held)) = networks.into_iter().max_by_key(|(_, held)| *held)
        && held > LARGE_NETWORK
    {
        candidates.retain(|candidate| candidate.network == Some(largest));
    }
    if candidates.len() > count {
        candidates.select_nth_unstable_by_key(count, |candidate| candidate.since);
        candidates.truncate(count);
    }
    candidates.iter().map(|candidate| candidate.id).collect()
}

/// Removes what counts nothing.
pub(super) fn subtract_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, network: u64, is_last: bool) -> Candidate {
        Candidate { id, network: Some(NetworkKey::V6(network)), is_last, since: id }
    }

    #[test]
    fn the_largest_network_makes_room_if_it_is_large() {
        let oldest = candidate(0, 1, false);
        let few = (1..33).map(|id| candidate(id, 2, false));
        let mut all: Vec<_> = few.chain([oldest]).collect();
        assert_eq!(victims(all.clone(), 1), [0]);
        all.push(candidate(33, 2, false));
        assert_eq!(victims(all, 1), [1]);
    }

    #[test]
    fn those_whose_last_login_was_good_go_last() {
        let mut all: Vec<_> = (0..100).map(|id| candidate(id, 1, true)).collect();
        all.push(candidate(100, 2, false));
        assert_eq!(victims(all.clone(), 1), [100]);
        all.pop();
        let mut oldest = victims(all, 3);
        oldest.sort_unstable();
        assert_eq!(oldest, [0, 1, 2]);
        assert!(victims(Vec::new(), 1).is_empty());
    }
}
