//! Why logging failed, and how an error is printed.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot write the log file {} (does its folder exist, and may ddnsd write there? under systemd see ReadWritePaths=)", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot reach the log daemon at {} (is it running? else set daemon.log_target)", path.display())]
    Socket { path: PathBuf, source: std::io::Error },
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] std::io::Error),
    #[error("logging was started already")]
    AlreadyStarted,
}

/// An error's message with its causes. A cause that the message already contains is not repeated.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
