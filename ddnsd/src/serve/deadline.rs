//! How long a connection may do nothing. In: a connection and the requests in flight on it. Out:
//! its end, after it was idle for too long or the daemon stops.

use hyper_util::server::graceful::GracefulConnection;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A connection that shuts down ends after it had no request in flight for this long: a request
/// that is on its way is still answered.
const DRAIN_IDLE: Duration = Duration::from_millis(200);

/// Counts the requests in flight on one connection.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<InFlightCount>);

#[derive(Default)]
struct InFlightCount {
    requests: AtomicUsize,
    changed: Notify,
}

/// One request in flight, until it is dropped.
pub(super) struct InFlightGuard(InFlight);

impl InFlight {
    pub(super) fn track(&self) -> InFlightGuard {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        self.0.changed.notify_one();
        InFlightGuard(self.clone())
    }

    /// Returns when nothing has been in flight for this long.
    pub(super) async fn idle_for(&self, duration: Duration) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.requests.load(Ordering::Acquire) > 0 {
                changed.await;
            } else if tokio::time::timeout(duration, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let count = &self.0.0;
        count.requests.fetch_sub(1, Ordering::AcqRel);
        count.changed.notify_one();
    }
}

/// Drives a connection until it ends. After `closing` it takes no new requests and ends soon.
pub(super) async fn drain<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    in_flight: &InFlight,
    closing: impl Future<Output = ()>,
) -> Result<(), C::Error> {
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
        let in_flight = InFlight::default();
        let idle = Duration::from_millis(10);
        let wait = |limit| tokio::time::timeout(limit, in_flight.idle_for(idle));
        let first = in_flight.track();
        let second = in_flight.track();
        drop(first);
        assert!(wait(idle * 10).await.is_err(), "one is in flight");
        drop(second);
        assert!(wait(idle * 1000).await.is_ok());
    }
}
