//! How many connections there may be, in all and per client, and whether one has requests in flight.

use crate::model::client::ClientKey;
use dashmap::DashMap;
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections in all, if the limit of open files allows.
const CONNECTIONS: usize = 8_192;
/// Open files kept for everything but connections.
const OTHER_FILES: u64 = 256;
/// Connections of one client address (IPv6: of one /64).
const PER_CLIENT: usize = 256;

/// Hands out places for connections; clones share them.
#[derive(Clone)]
pub struct ConnectionLimits {
    all: Arc<Semaphore>,
    clients: Arc<DashMap<ClientKey, usize>>,
}

/// A connection's place, given back when dropped.
pub(super) struct ConnectionPermit {
    _place: OwnedSemaphorePermit,
    client: Option<(ClientKey, Arc<DashMap<ClientKey, usize>>)>,
}

impl ConnectionLimits {
    /// As many places as the limit of open files allows, after raising it as far as it goes.
    pub fn of_all_files() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self::new(CONNECTIONS / 8);
        };
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        let files = if raised { hard } else { soft };
        let free = files.saturating_sub(OTHER_FILES).max(16);
        Self::new(usize::try_from(free).unwrap_or(CONNECTIONS).min(CONNECTIONS))
    }

    fn new(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), clients: Arc::default() }
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.all).acquire_owned().await {
            Ok(place) => place,
            // the semaphore is never closed
            Err(_) => std::future::pending().await,
        }
    }

    /// The permit for a client, unless it has too many; trusted proxies speak for many.
    pub(super) fn of(
        &self,
        place: OwnedSemaphorePermit,
        client: IpAddr,
        trusted: &[IpNet],
    ) -> Option<ConnectionPermit> {
        let address = client.to_canonical();
        if trusted.iter().any(|network| network.contains(&address)) {
            return Some(ConnectionPermit { _place: place, client: None });
        }
        let key = ClientKey::from(address);
        let mut count = self.clients.entry(key).or_insert(0);
        if *count >= PER_CLIENT {
            return None;
        }
        *count += 1;
        drop(count);
        Some(ConnectionPermit { _place: place, client: Some((key, Arc::clone(&self.clients))) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some((key, clients)) = &self.client {
            clients.entry(*key).and_modify(|count| *count -= 1);
            clients.remove_if(key, |_, count| *count == 0);
        }
    }
}

/// Counts the requests in flight on one connection.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<InFlightCount>);

#[derive(Default)]
struct InFlightCount {
    requests: AtomicUsize,
    changed: Notify,
}

impl InFlight {
    /// Returns when nothing has been in flight for this long.
    pub(super) async fn idle_for(&self, long: Duration) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.requests.load(Ordering::Acquire) > 0 {
                changed.await;
            } else if tokio::time::timeout(long, changed).await.is_err() {
                return;
            }
        }
    }

    /// Nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) == 0
    }

    /// The service, counted.
    pub(super) fn track<S>(&self, service: S) -> TrackedService<S> {
        TrackedService { service, in_flight: self.clone() }
    }
}

/// A service that tells [`InFlight`] of its requests.
#[derive(Clone)]
pub(super) struct TrackedService<S> {
    service: S,
    in_flight: InFlight,
}

impl<R, S: hyper::service::Service<R>> hyper::service::Service<R> for TrackedService<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, request: R) -> Self::Future {
        self.in_flight.0.requests.fetch_add(1, Ordering::AcqRel);
        self.in_flight.0.changed.notify_one();
        TrackedFuture {
            future: Box::pin(self.service.call(request)),
            in_flight: self.in_flight.clone(),
        }
    }
}

/// A request in flight.
pub(super) struct TrackedFuture<F> {
    future: Pin<Box<F>>,
    in_flight: InFlight,
}

impl<F: Future> Future for TrackedFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(context)
    }
}

impl<F> Drop for TrackedFuture<F> {
    fn drop(&mut self) {
        self.in_flight.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.in_flight.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_gets_256_connections_and_a_trusted_proxy_more() {
        let limits = ConnectionLimits::new(1_000);
        let client = "192.0.2.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..PER_CLIENT {
            held.push(limits.of(limits.place().await, client, &[]).unwrap());
        }
        assert!(limits.of(limits.place().await, client, &[]).is_none());
        let proxy = ["192.0.2.0/24".parse().unwrap()];
        assert!(limits.of(limits.place().await, client, &proxy).is_some());
        let other = "192.0.2.2".parse().unwrap();
        assert!(limits.of(limits.place().await, other, &[]).is_some());
        drop(held);
        assert!(limits.clients.is_empty());
        assert_eq!(limits.all.available_permits(), 1_000);
    }
}
