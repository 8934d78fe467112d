//! Requests to reload the configuration: in from SIGHUP or `ddnsctl reload`, out to the reloader in
//! `app/`, which takes them one at a time.

use crate::config::Differences;
use tokio::sync::{mpsc, oneshot};

/// What has changed and what needs a restart; or every problem, as sentences, and nothing has
/// changed.
pub type ReloadResult = Result<Differences, Vec<String>>;

/// Requests that wait: administrators may be 32 at a time.
const CAPACITY: usize = 32;

/// Sends requests; clones share the reloader.
#[derive(Clone)]
pub struct ReloadRequests(mpsc::Sender<ReloadRequest>);

/// A request; [`ReloadRequest::answer`] ends it.
pub struct ReloadRequest(oneshot::Sender<ReloadResult>);

/// The two ends.
pub fn channel() -> (ReloadRequests, mpsc::Receiver<ReloadRequest>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (ReloadRequests(sender), receiver)
}

impl ReloadRequests {
    /// Requests a reload without waiting for its result, which is logged.
    pub fn trigger(&self) {
        // if the queue is full, a later reload reads the same file
        let _ = self.0.try_send(ReloadRequest(oneshot::channel().0));
    }

    /// Reloads and waits for the result.
    ///
    /// # Errors
    /// Every problem; nothing has changed.
    pub async fn run(&self) -> ReloadResult {
        let stopping = || vec!["ddnsd is stopping".to_owned()];
        let (answer, result) = oneshot::channel();
        self.0.send(ReloadRequest(answer)).await.map_err(|_| stopping())?;
        result.await.map_err(|_| stopping())?
    }
}

impl ReloadRequest {
    pub fn answer(self, result: ReloadResult) {
        // the client may have gone
        let _ = self.0.send(result);
    }
}
