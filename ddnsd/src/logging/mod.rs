//! Where log lines go. In: the log section of the configuration. Out: a subscriber for all of
//! `tracing`, and a handle that reopens or exchanges its target while the daemon runs.

mod datagram;
mod file;
mod format;
mod journald;
mod queue;
mod stdout;
mod syslog;

use crate::config::{Log, LogTarget};
use arc_swap::ArcSwap;
use file::LogFile;
use queue::LineQueue;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, registry, reload};

/// For the last lines, at the end: a reader that is stuck is not waited for any longer.
const ENDING: Duration = Duration::from_secs(2);
/// The same when whoever stops the daemon has lost patience.
const HURRIED: Duration = Duration::from_millis(200);
/// The same for the last lines of a target that is left.
const LEAVING: Duration = Duration::from_millis(500);

/// Why logging could not start, or could not change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file, or its folder, cannot be written.
    #[error("cannot write the log file {} (does its folder exist, and may ddnsd write there?)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody takes messages at the socket.
    #[error("cannot reach the log daemon at {} (is it running? else set daemon.log_target)", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No thread can be had that writes the lines.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] std::io::Error),
    /// Logging has been started before.
    #[error("logging is already up")]
    AlreadyUp,
}

/// An error's sentence with its causes, each once: some sentences tell their cause themselves.
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

/// Where lines go now.
enum Sink {
    /// Standard output or a log daemon.
    Stream(LineQueue),
    File(LogFile),
}

impl Sink {
    fn open(target: &LogTarget) -> Result<Self, LogError> {
        match target {
            LogTarget::Stdout => stdout::to_stdout().map(Self::Stream),
            LogTarget::File { path, max_bytes, versions } => {
                LogFile::open(path, *max_bytes, *versions).map(Self::File)
            }
            LogTarget::Syslog { socket, facility } => {
                syslog::to_syslog(socket, *facility).map(Self::Stream)
            }
            LogTarget::Journald => {
                journald::to_journald(journald::SOCKET.as_ref()).map(Self::Stream)
            }
        }
    }

    fn lines(&self) -> &LineQueue {
        match self {
            Self::Stream(lines) => lines,
            Self::File(file) => file.lines(),
        }
    }

    /// A line that cannot be written is lost: the daemon neither stops nor waits for its log.
    fn write(&self, level: Level, text: &str) {
        self.lines().push(level, text);
    }

    /// Waits, but no longer than this, until what was written has arrived.
    fn flush(&self, within: Duration) {
        self.lines().flush(within);
    }
}

/// Changes logging while the daemon runs.
#[derive(Clone)]
pub struct Handle {
    sink: Arc<ArcSwap<Sink>>,
    target: Arc<ArcSwap<LogTarget>>,
    filter: reload::Handle<Targets, Registry>,
    hurried: Arc<AtomicBool>,
}

impl Handle {
    /// Opens the log file anew, as after logrotate moved it; nothing to do for other targets.
    ///
    /// # Errors
    /// It cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> Result<(), LogError> {
        match &**self.sink.load() {
            Sink::File(file) => file.reopen(),
            Sink::Stream(_) => Ok(()),
        }
    }

    /// Waits for the last lines, for the end of the process; not long if nobody reads them.
    pub fn flush(&self) {
        let hurried = self.hurried.load(Ordering::Relaxed);
        self.sink.load().flush(if hurried { HURRIED } else { ENDING });
    }

    /// Whether [`Handle::flush`] hardly waits from now on.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, Ordering::Relaxed);
    }

    /// Opens the target of another configuration; [`Handle::commit`] starts to use it. The same one is
    /// gone on with: what a file's reopening opened may have been rotated by then.
    ///
    /// # Errors
    /// It cannot be opened; nothing has changed. If another part of the configuration fails, the file stays, empty.
    pub fn prepare(&self, log: &Log) -> Result<PreparedLog, LogError> {
        let sink = match (&**self.target.load(), &log.target) {
            (now, next) if now == next => None,
            (LogTarget::File { path: now, .. }, LogTarget::File { path: next, .. })
                if now == next =>
            {
                None
            }
            (_, next) => Some(Sink::open(next)?),
        };
        Ok(PreparedLog { sink, target: log.target.clone(), filter: filter(log.level) })
    }

    /// Logs as prepared from now on.
    pub fn commit(&self, prepared: PreparedLog) {
        match (prepared.sink, &**self.sink.load(), &prepared.target) {
            (Some(sink), ..) => self.sink.swap(Arc::new(sink)).flush(LEAVING),
            (None, Sink::File(file), LogTarget::File { max_bytes, versions, .. }) => {
                file.resize(*max_bytes, *versions);
            }
            (None, ..) => {}
        }
        self.target.store(Arc::new(prepared.target));
        // fails only when the subscriber is gone, and then nothing is logged at all
        let _ = self.filter.reload(prepared.filter);
    }
}

/// A target that is open and not yet in use.
#[must_use = "it is used when it is committed"]
pub struct PreparedLog {
    /// `None` to go on with the one there is.
    sink: Option<Sink>,
    target: LogTarget,
    filter: Targets,
}

/// Starts logging for the whole process.
///
/// # Errors
/// The target cannot be opened, or logging is up already.
pub fn init(log: &Log) -> Result<Handle, LogError> {
    let (subscriber, handle) = subscriber(log)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyUp)?;
    Ok(handle)
}

fn subscriber(log: &Log) -> Result<(impl Subscriber + Send + Sync + use<>, Handle), LogError> {
    let sink = Arc::new(ArcSwap::from_pointee(Sink::open(&log.target)?));
    let (filter, filter_handle) = reload::Layer::new(filter(log.level));
    let subscriber = registry().with(filter).with(LogLayer(Arc::clone(&sink)));
    let target = Arc::new(ArcSwap::from_pointee(log.target.clone()));
    Ok((subscriber, Handle { sink, target, filter: filter_handle, hurried: Arc::default() }))
}

/// Our crates as configured. Other crates tell operators little below WARN, and at DEBUG they could
/// tell too much (statements, frames): they stay at INFO then.
fn filter(level: Level) -> Targets {
    let others = if level == Level::DEBUG { Level::INFO } else { level.min(Level::WARN) };
    Targets::new()
        .with_default(LevelFilter::from_level(others))
        .with_target("ddnsd", LevelFilter::from_level(level))
}

/// Turns events into lines.
struct LogLayer(Arc<ArcSwap<Sink>>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.load().write(*event.metadata().level(), &format::text(event));
    }
}

#[cfg(test)]
mod tests;
