//! Requests of one client that wait for its requests in flight. Nothing is allocated while none
//! waits.

use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Of one client: as many as it may have connections.
const MAX_WAITERS: usize = 256;

/// The waiting requests of one client.
#[derive(Default)]
pub(super) struct Waiters(Option<Arc<Notify>>);

/// One waiting request.
pub struct Waiter(OwnedNotified);

impl Waiters {
    /// Waits from now on, even before the result is polled. `None` if too many wait.
    pub(super) fn join(&mut self) -> Option<Waiter> {
        let notify = self.0.get_or_insert_default();
        // one handle here, and one in each waiter
        let may_join = Arc::strong_count(notify) <= MAX_WAITERS;
        may_join.then(|| Waiter(Arc::clone(notify).notified_owned()))
    }

    pub(super) fn wake_all(&mut self) {
        if let Some(notify) = self.0.take() {
            notify.notify_waiters();
        }
    }
}

impl Waiter {
    /// Returns when a request in flight has ended.
    pub async fn wait(self) {
        self.0.await;
    }
}
