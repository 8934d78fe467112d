//! Logging. In: the log section of the configuration. Out: a subscriber for all of `tracing`, and a
//! handle that reopens or replaces the log's target while the daemon runs.

mod error;
mod file;
mod format;
mod journald;
mod queue;
mod stdout;
mod stream;
mod syslog;

use crate::config::{Log, LogTarget};
use arc_swap::ArcSwap;
pub use error::{LogError, with_causes};
use file::LogFile;
pub use format::text;
use queue::LineQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, registry, reload};

/// Time limit for the last lines at the end of the process.
const FINAL_FLUSH: Duration = Duration::from_secs(1);
/// The same after a second signal.
const HURRIED_FLUSH: Duration = Duration::from_millis(200);
/// Time limit for the last lines of a target that is replaced.
const REPLACED_FLUSH: Duration = Duration::from_millis(500);

/// The log's target in use.
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
            LogTarget::Journald => journald::to_journald().map(Self::Stream),
        }
    }

    fn lines(&self) -> &LineQueue {
        match self {
            Self::Stream(lines) => lines,
            Self::File(file) => file.lines(),
        }
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
    /// Opens the log file at its path again, as after logrotate moved it. Does nothing for other
    /// targets.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> Result<(), LogError> {
        match &**self.sink.load() {
            Sink::File(file) => file.reopen(),
            Sink::Stream(_) => Ok(()),
        }
    }

    /// Waits for the last lines at the end of the process, with a time limit.
    pub fn flush(&self) {
        let hurried = self.hurried.load(Ordering::Relaxed);
        self.sink.load().lines().flush(if hurried { HURRIED_FLUSH } else { FINAL_FLUSH });
    }

    /// Whether [`Handle::flush`] uses the short time limit from now on.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, Ordering::Relaxed);
    }

    /// Opens the target of a new configuration; [`Handle::commit`] starts to use it. A target that
    /// did not change is not opened again.
    ///
    /// # Errors
    /// The target cannot be opened; nothing has changed. If another part of the configuration
    /// fails, a new file remains, empty.
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

    /// Starts to use what was prepared.
    pub fn commit(&self, prepared: PreparedLog) {
        match (prepared.sink, &**self.sink.load(), &prepared.target) {
            (Some(sink), ..) => self.sink.swap(Arc::new(sink)).lines().flush(REPLACED_FLUSH),
            (None, Sink::File(file), LogTarget::File { max_bytes, versions, .. }) => {
                file.resize(*max_bytes, *versions);
            }
            (None, ..) => {}
        }
        self.target.store(Arc::new(prepared.target));
        // fails only if the subscriber no longer exists, and then nothing is logged at all
        let _ = self.filter.reload(prepared.filter);
    }
}

/// An open target that is not in use yet.
#[must_use = "a prepared target is used only after `commit`"]
pub struct PreparedLog {
    /// `None` to keep the current one.
    sink: Option<Sink>,
    target: LogTarget,
    filter: Targets,
}

impl PreparedLog {
    /// Whether the log goes to another place than before.
    pub fn replaces_the_target(&self) -> bool {
        self.sink.is_some()
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// The target cannot be opened, or logging was started already.
pub fn init(log: &Log) -> Result<Handle, LogError> {
    let (subscriber, handle) = subscriber(log)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    Ok(handle)
}

/// As [`init`], for a person who looks on: short lines of one's own on standard output. `line`
/// leaves events out by `None`.
///
/// # Errors
/// See [`init`].
pub fn init_for_person(
    log: &Log,
    line: impl Fn(&Event<'_>) -> Option<String> + Send + Sync + 'static,
) -> Result<Handle, LogError> {
    let sink = stdout::to_person().map(Sink::Stream)?;
    let (subscriber, handle) = subscriber_to(log, sink, Box::new(line));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    Ok(handle)
}

fn subscriber(log: &Log) -> Result<(impl Subscriber + Send + Sync + use<>, Handle), LogError> {
    Ok(subscriber_to(log, Sink::open(&log.target)?, Box::new(|event| Some(text(event)))))
}

fn subscriber_to(
    log: &Log,
    sink: Sink,
    line: LineText,
) -> (impl Subscriber + Send + Sync + use<>, Handle) {
    let sink = Arc::new(ArcSwap::from_pointee(sink));
    let (filter, filter_handle) = reload::Layer::new(filter(log.level));
    let subscriber = registry().with(filter).with(LogLayer { sink: Arc::clone(&sink), line });
    let target = Arc::new(ArcSwap::from_pointee(log.target.clone()));
    (subscriber, Handle { sink, target, filter: filter_handle, hurried: Arc::default() })
}

/// Our crates log at the configured level, other crates at WARN. At DEBUG they log at INFO, because
/// their own DEBUG lines could contain secrets (statements, frames).
fn filter(level: Level) -> Targets {
    let others = if level == Level::DEBUG { Level::INFO } else { level.min(Level::WARN) };
    Targets::new()
        .with_default(LevelFilter::from_level(others))
        .with_target("ddnsd", LevelFilter::from_level(level))
        // its warnings are of what any client may send, one for each frame
        .with_target("h2", LevelFilter::ERROR)
}

type LineText = Box<dyn Fn(&Event<'_>) -> Option<String> + Send + Sync>;

/// Turns events into lines.
struct LogLayer {
    sink: Arc<ArcSwap<Sink>>,
    line: LineText,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(line) = (self.line)(event) {
            self.sink.load().lines().push(*event.metadata().level(), line);
        }
    }
}

#[cfg(test)]
mod tests;
