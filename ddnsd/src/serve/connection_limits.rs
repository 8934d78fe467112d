//! How many connections there may be, in all and per client.

use crate::counters::ConnectionCounters;
use crate::model::client::ClientKey;
use dashmap::DashMap;
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections in all, if the limit of open files allows.
const MAX_CONNECTIONS: usize = 8_192;
/// Open files for everything but connections.
const OTHER_FILES: u64 = 256;
/// Connections of one client address (IPv6: of one /64).
const MAX_PER_CLIENT: usize = 256;

/// Clones share the limits.
#[derive(Clone)]
pub struct ConnectionLimits {
    all: Arc<Semaphore>,
    clients: Arc<DashMap<ClientKey, usize>>,
    counters: Arc<ConnectionCounters>,
}

/// Counts as one connection until it is dropped.
pub(super) struct ConnectionPermit {
    _any: OwnedSemaphorePermit,
    client: Option<(ClientKey, Arc<DashMap<ClientKey, usize>>)>,
    counters: Arc<ConnectionCounters>,
}

impl ConnectionLimits {
    /// As many connections as the limit of open files allows, after raising it as far as possible.
    pub fn of_all_files(counters: Arc<ConnectionCounters>) -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self::new(MAX_CONNECTIONS / 8, counters);
        };
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        let files = if raised { hard } else { soft };
        let free = files.saturating_sub(OTHER_FILES).max(16);
        Self::new(usize::try_from(free).unwrap_or(MAX_CONNECTIONS).min(MAX_CONNECTIONS), counters)
    }

    /// This many connections.
    pub fn new(max: usize, counters: Arc<ConnectionCounters>) -> Self {
        counters.max.set(max as u64);
        Self { all: Arc::new(Semaphore::new(max)), clients: Arc::default(), counters }
    }

    /// Waits until there are fewer connections than allowed in all.
    pub(super) async fn any(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.all).acquire_owned().await {
            Ok(permit) => permit,
            // the semaphore is never closed
            Err(_) => std::future::pending().await,
        }
    }

    /// `None` if the client has too many connections. A trusted proxy speaks for many clients and
    /// is not counted.
    pub(super) fn of_client(
        &self,
        any: OwnedSemaphorePermit,
        client: IpAddr,
        trusted: &[IpNet],
    ) -> Option<ConnectionPermit> {
        let address = client.to_canonical();
        if trusted.iter().any(|network| network.contains(&address)) {
            return Some(self.permit(any, None));
        }
        let key = ClientKey::from(address);
        let mut count = self.clients.entry(key).or_insert(0);
        if *count >= MAX_PER_CLIENT {
            self.counters.refused.add_one();
            return None;
        }
        *count += 1;
        drop(count);
        Some(self.permit(any, Some((key, Arc::clone(&self.clients)))))
    }

    fn permit(
        &self,
        any: OwnedSemaphorePermit,
        client: Option<(ClientKey, Arc<DashMap<ClientKey, usize>>)>,
    ) -> ConnectionPermit {
        self.counters.accepted.add_one();
        self.counters.open.add_one();
        ConnectionPermit { _any: any, client, counters: Arc::clone(&self.counters) }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counters.open.subtract_one();
        if let Some((key, clients)) = &self.client {
            clients.entry(*key).and_modify(|count| *count -= 1);
            clients.remove_if(key, |_, count| *count == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_gets_256_connections_and_a_trusted_proxy_more() {
        let limits = ConnectionLimits::new(1_000, Arc::default());
        let client = "192.0.2.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..MAX_PER_CLIENT {
            held.push(limits.of_client(limits.any().await, client, &[]).unwrap());
        }
        assert!(limits.of_client(limits.any().await, client, &[]).is_none());
        let proxy = ["192.0.2.0/24".parse().unwrap()];
        assert!(limits.of_client(limits.any().await, client, &proxy).is_some());
        let other = "192.0.2.2".parse().unwrap();
        assert!(limits.of_client(limits.any().await, other, &[]).is_some());
        // the last two gave theirs back at once
        assert_eq!(limits.counters.open.get(), 256);
        drop(held);
        assert_eq!((limits.counters.open.get(), limits.counters.refused.get()), (0, 1));
        assert!(limits.clients.is_empty());
        assert_eq!(limits.all.available_permits(), 1_000);
    }
}
