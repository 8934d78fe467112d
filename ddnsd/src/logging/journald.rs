//! journald's native protocol, by `tracing-journald`. The whole line is the field MESSAGE, which
//! fail2ban and people read. Lines are emitted from the log's thread, so that a journald that hangs
//! blocks only that thread.

use super::error::LogError;
use super::queue::{LineQueue, LogLine, LogOutput};
use std::io::Error;
use std::os::unix::net::UnixDatagram;
use tracing::dispatcher::{Dispatch, with_default};
use tracing::{Level, event};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// The only path that `tracing-journald` writes to.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The target of the events below. No other event reaches this dispatcher.
const TARGET: &str = "ddnsd::journald";

pub(super) fn to_journald() -> Result<LineQueue, LogError> {
    // connecting never blocks, while the layer's constructor sends a message
    let reachable = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET));
    reachable.map_err(|source| LogError::Socket { path: SOCKET.into(), source })?;
    LineQueue::start(JournaldOutput { dispatch: None })
}

struct JournaldOutput {
    /// Made by the log's thread, because that may block.
    dispatch: Option<Dispatch>,
}

impl LogOutput for JournaldOutput {
    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        let dispatch = match &self.dispatch {
            Some(dispatch) => dispatch,
            None => self.dispatch.insert(dispatcher()?),
        };
        let text = line.text.as_str();
        // the level of an event is part of its static metadata
        with_default(dispatch, || match line.level {
            Level::ERROR => event!(target: TARGET, Level::ERROR, message = text),
            Level::WARN => event!(target: TARGET, Level::WARN, message = text),
            Level::INFO => event!(target: TARGET, Level::INFO, message = text),
            Level::DEBUG | Level::TRACE => event!(target: TARGET, Level::DEBUG, message = text),
        });
        Ok(())
    }
}

/// The target's filter keeps every other event of the process disabled, also those below the level
/// of the configuration, which would otherwise be built for this dispatcher's sake.
fn dispatcher() -> Result<Dispatch, Error> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::layer()?
        .with_syslog_identifier("ddnsd".to_owned())
        .with_custom_fields([("SYSLOG_PID", std::process::id().to_string())])
        .with_priority_mappings(priorities);
    let filter = Targets::new().with_target(TARGET, Level::DEBUG);
    Ok(Dispatch::new(registry().with(filter).with(layer)))
}
