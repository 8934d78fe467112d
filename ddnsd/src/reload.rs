//! Requests to reload the configuration: in from SIGHUP or `ddnsctl reload`, out to the reloader in
//! `app/`, which takes them one at a time.

use crate::config::Differences;
use tokio::sync::{mpsc, oneshot};

/// The result of a reload.
#[derive(Debug)]
pub struct ReloadResult {
    /// What has changed and what needs a restart; or every problem, as sentences, and nothing has
    /// changed.
    pub configuration: Result<Differences, Vec<String>>,
    /// Why the log file could not be opened again: the daemon still writes to the old one.
    pub log_problem: Option<String>,
}

impl ReloadResult {
    fn stopping() -> Self {
        Self { configuration: Err(vec!["ddnsd is stopping".to_owned()]), log_problem: None }
    }
}

/// Requests that wait: administrators may be 32 at a time.
const CAPACITY: usize = 32;

/// Sends requests; clones share the reloader.
#[derive(Clone)]
pub struct ReloadRequests(mpsc::Sender<ReloadRequest>);

/// What is to be read again.
pub enum ReloadRequest {
    /// Everything.
    All(ReloadAnswer),
    /// The files of TSIG keys.
    Keys,
}

/// Takes the result of a reload.
pub struct ReloadAnswer(oneshot::Sender<ReloadResult>);

/// The two ends.
pub fn channel() -> (ReloadRequests, mpsc::Receiver<ReloadRequest>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (ReloadRequests(sender), receiver)
}

impl ReloadRequests {
    /// Requests a reload without waiting for its result, which is logged.
    pub fn trigger(&self) {
        // if the queue is full, a later reload reads the same file
        let _ = self.0.try_send(ReloadRequest::All(ReloadAnswer(oneshot::channel().0)));
    }

    /// Requests that the TSIG keys are read again, without waiting for it.
    pub fn reread_keys(&self) {
        // if the queue is full, a reload that waits reads them
        let _ = self.0.try_send(ReloadRequest::Keys);
    }

    /// Reloads and waits for the result.
    pub async fn run(&self) -> ReloadResult {
        let (answer, result) = oneshot::channel();
        // if the reloader has ended, `answer` is dropped and `result` fails
        let _ = self.0.send(ReloadRequest::All(ReloadAnswer(answer))).await;
        result.await.unwrap_or_else(|_| ReloadResult::stopping())
    }
}

impl ReloadAnswer {
    pub fn give(self, result: ReloadResult) {
        // the client may have gone
        let _ = self.0.send(result);
    }
}
