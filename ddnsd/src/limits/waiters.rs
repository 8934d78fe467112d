//! Requests of one client that wait until it is known what became of others. Nothing is allocated while
//! nobody waits.

use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Of one client; more than its connections make sense of.
const MAX_WAITERS: usize = 256;

/// Those that wait.
#[derive(Default)]
pub(super) struct Waiters(Option<Arc<Notify>>);

/// Ends once a request in flight has ended.
pub struct Waiter {
    woken: OwnedNotified,
}

impl Waiters {
    /// One more that waits, from now on; `None` if too many do.
    pub(super) fn join(&mut self) -> Option<Waiter> {
        let notify = self.0.get_or_insert_default();
        // one handle here, and one with each that waits
        (Arc::strong_count(notify) <= MAX_WAITERS)
            .then(|| Waiter { woken: Arc::clone(notify).notified_owned() })
    }

    /// Lets all try again.
    pub(super) fn wake(&mut self) {
        if let Some(waiting) = self.0.take() {
            waiting.notify_waiters();
        }
    }
}

impl Waiter {
    /// Waits for the end of a request.
    pub async fn wait(self) {
        self.woken.await;
    }
}
