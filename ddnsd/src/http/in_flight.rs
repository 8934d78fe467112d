//! How many requests are answered at once. In: the client of a request that is whole. Out: a place
//! until its reply, or none. What a request keeps while it waits is bounded in sum by it.

use crate::model::client::{ClientKey, NetworkKey};
use crate::rules::request::RequestOrigin;
use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MAX_REQUESTS: usize = 2_048;
const MAX_PER_CLIENT: usize = 64;
/// Of an IPv4 /24 or an IPv6 /48.
const MAX_PER_NETWORK: usize = MAX_REQUESTS / 4;

/// Clones share the places.
#[derive(Clone, Default)]
pub(super) struct RequestPlaces(Arc<Mutex<PlaceCounts>>);

#[derive(Default)]
struct PlaceCounts {
    all: usize,
    clients: HashMap<ClientKey, usize>,
    networks: HashMap<NetworkKey, usize>,
}

/// Counts as one request until it is dropped.
pub(super) struct RequestPlace {
    places: RequestPlaces,
    /// `None` is a trusted proxy, which speaks for many clients.
    client: Option<ClientKey>,
}

impl RequestPlaces {
    /// `None` if the client, its network, or all together have too many requests.
    pub(super) fn take(&self, origin: RequestOrigin) -> Option<RequestPlace> {
        let client = match origin {
            RequestOrigin::Client(address) => Some(ClientKey::from(address)),
            RequestOrigin::ProxyWithoutClient(_) => None,
        };
        let mut counts = self.lock();
        let counts = &mut *counts;
        if counts.all >= MAX_REQUESTS {
            return None;
        }
        if let Some(client) = client {
            let network = NetworkKey::from(client);
            let of_network = counts.networks.entry(network).or_insert(0);
            let of_client = counts.clients.entry(client).or_insert(0);
            if *of_client >= MAX_PER_CLIENT || *of_network >= MAX_PER_NETWORK {
                if *of_client == 0 {
                    counts.clients.remove(&client);
                }
                return None;
            }
            *of_client += 1;
            *of_network += 1;
        }
        counts.all += 1;
        Some(RequestPlace { places: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, PlaceCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        let mut counts = self.places.lock();
        counts.all -= 1;
        if let Some(client) = self.client {
            subtract_one(&mut counts.clients, client);
            subtract_one(&mut counts.networks, NetworkKey::from(client));
        }
    }
}

fn subtract_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
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
    use std::net::IpAddr;

    fn take(places: &RequestPlaces, address: &str) -> Option<RequestPlace> {
        places.take(RequestOrigin::Client(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn requests_are_bounded_by_client_by_network_and_in_all() {
        let places = RequestPlaces::default();
        let mut held = Vec::new();
        for network in 0..4 {
            for client in 0..8 {
                for _ in 0..MAX_PER_CLIENT {
                    held.extend(take(&places, &format!("192.0.{network}.{client}")));
                }
                assert!(take(&places, &format!("192.0.{network}.{client}")).is_none());
            }
            assert_eq!(held.len(), (network + 1) * MAX_PER_NETWORK);
            assert!(take(&places, &format!("192.0.{network}.99")).is_none());
        }
        let proxy = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        assert!(take(&places, "198.51.100.1").is_none() && places.take(proxy).is_none());
        drop(held.pop());
        assert!(places.take(proxy).is_some());
        held.push(take(&places, "198.51.100.1").unwrap());
        drop(held);
        let counts = places.lock();
        assert!(counts.all == 0 && counts.clients.is_empty() && counts.networks.is_empty());
    }
}
