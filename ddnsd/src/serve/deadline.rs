//! How long a connection may do nothing. In: a connection and the requests in flight on it. Out:
//! its end, after it was idle for too long or the daemon stops.

use super::seldom::Seldom;
use crate::clock::Clock;
use hyper_util::server::graceful::GracefulConnection;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A connection that shuts down ends after it had no request in flight for this long: a request
/// that is on its way is still answered.
const DRAIN_IDLE: Duration = Duration::from_millis(200);

/// Counts the requests in flight on one connection.
#[derive(Clone)]
pub(super) struct InFlight(Arc<InFlightCount>);

struct InFlightCount {
    start: Instant,
    requests: AtomicUsize,
    /// When the last one ended, milliseconds after `start`.
    ended: AtomicU64,
}

/// One request in flight, until it is dropped.
pub(super) struct InFlightGuard(InFlight);

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(InFlightCount {
            start: Clock.mono(),
            requests: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        }))
    }

    pub(super) fn track(&self) -> InFlightGuard {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        InFlightGuard(self.clone())
    }

    /// Returns when nothing has been in flight for this long from now on. Looks once in that time:
    /// a timer for each request would cost more.
    pub(super) async fn idle_for(&self, duration: Duration) {
        let from = Clock.mono();
        loop {
            let now = Clock.mono();
            let idle_since = match self.0.requests.load(Ordering::Acquire) {
                0 => from.max(self.0.ended()),
                _ => now,
            };
            let left = duration.saturating_sub(now.saturating_duration_since(idle_since));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl InFlightCount {
    fn ended(&self) -> Instant {
        self.start + Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let count = &self.0.0;
        let since_start = Clock.mono().saturating_duration_since(count.start).as_millis();
        count.ended.store(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::Relaxed);
        // after the time, which `idle_for` reads when there is none
        count.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Drives a connection until it ends. After `closing` it takes no new requests and ends soon.
pub(super) async fn drain<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    in_flight: &InFlight,
    closing: impl Future<Output = ()>,
) -> Result<(), C::Error> {
    let closing = Seldom::new(closing);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = closing => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => ended,
        () = in_flight.idle_for(DRAIN_IDLE) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_while_no_request_is_in_flight() {
        let in_flight = InFlight::new();
        let idle = Duration::from_millis(10);
        let wait = |limit| tokio::time::timeout(limit, in_flight.idle_for(idle));
        let first = in_flight.track();
        let second = in_flight.track();
        drop(first);
        assert!(wait(idle * 10).await.is_err(), "one is in flight");
        drop(second);
        assert!(wait(idle * 1000).await.is_ok());
        tokio::time::sleep(idle * 10).await;
        let again = std::pin::pin!(in_flight.idle_for(idle * 10));
        assert!(futures::poll!(again).is_pending(), "what was before does not count");
    }
}
