//! How many connections there may be, in all and per client, and whether one is busy.

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
pub struct Permits {
    all: Arc<Semaphore>,
    clients: Arc<DashMap<ClientKey, usize>>,
}

/// A connection's place, given back when dropped.
pub(super) struct Permit {
    _place: OwnedSemaphorePermit,
    client: Option<(ClientKey, Arc<DashMap<ClientKey, usize>>)>,
}

impl Permits {
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
    ) -> Option<Permit> {
        let address = client.to_canonical();
        if trusted.iter().any(|network| network.contains(&address)) {
            return Some(Permit { _place: place, client: None });
        }
        let key = ClientKey::from(address);
        let mut count = self.clients.entry(key).or_insert(0);
        if *count >= PER_CLIENT {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Permit { _place: place, client: Some((key, Arc::clone(&self.clients))) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((key, clients)) = &self.client {
            clients.entry(*key).and_modify(|count| *count -= 1);
            clients.remove_if(key, |_, count| *count == 0);
        }
    }
}

/// Counts the requests in flight on one connection.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<InFlight>);

#[derive(Default)]
struct InFlight {
    requests: AtomicUsize,
    changed: Notify,
}

impl Busy {
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

    /// The service, counted.
    pub(super) fn around<S>(&self, service: S) -> Counted<S> {
        Counted { service, busy: self.clone() }
    }
}

/// A service that tells [`Busy`] of its requests.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    busy: Busy,
}

impl<R, S: hyper::service::Service<R>> hyper::service::Service<R> for Counted<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CountedFuture<S::Future>;

    fn call(&self, request: R) -> Self::Future {
        self.busy.0.requests.fetch_add(1, Ordering::AcqRel);
        self.busy.0.changed.notify_one();
        CountedFuture { future: Box::pin(self.service.call(request)), busy: self.busy.clone() }
    }
}

/// A request in flight.
pub(super) struct CountedFuture<F> {
    future: Pin<Box<F>>,
    busy: Busy,
}

impl<F: Future> Future for CountedFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(context)
    }
}

impl<F> Drop for CountedFuture<F> {
    fn drop(&mut self) {
        self.busy.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.busy.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_gets_256_connections_and_a_trusted_proxy_more() {
        let permits = Permits::new(1_000);
        let client = "192.0.2.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..PER_CLIENT {
            held.push(permits.of(permits.place().await, client, &[]).unwrap());
        }
        assert!(permits.of(permits.place().await, client, &[]).is_none());
        let proxy = ["192.0.2.0/24".parse().unwrap()];
        assert!(permits.of(permits.place().await, client, &proxy).is_some());
        let other = "192.0.2.2".parse().unwrap();
        assert!(permits.of(permits.place().await, other, &[]).is_some());
        drop(held);
        assert!(permits.clients.is_empty());
        assert_eq!(permits.all.available_permits(), 1_000);
    }
}
