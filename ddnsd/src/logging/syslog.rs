//! A syslog daemon's Unix datagram socket. Out: one datagram a line as local daemons write it (RFC
//! 3164, 4.1; no host name on the local socket): `<PRI>Mmm dd hh:mm:ss ddnsd[PID]: text`.

use super::error::LogError;
use super::format::severity;
use super::queue::{LineQueue, LogLine, LogOutput};
use jiff::Zoned;
use std::io::{Error, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tracing::Level;

pub(super) fn to_syslog(path: &Path, facility: u8) -> Result<LineQueue, LogError> {
    let failed = |source| LogError::Socket { path: path.to_owned(), source };
    let socket = connect(path).map_err(failed)?;
    LineQueue::start(SyslogOutput { path: path.to_owned(), socket, facility })
}

struct SyslogOutput {
    path: PathBuf,
    socket: UnixDatagram,
    facility: u8,
}

impl LogOutput for SyslogOutput {
    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        let message = message(&line.at, self.facility, line.level, &line.text);
        let mut sent = self.socket.send(message.as_bytes());
        // the daemon may have restarted: connect to its new socket
        if sent.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            self.socket = connect(&self.path)?;
            sent = self.socket.send(message.as_bytes());
        }
        sent.map(|_| ())
    }
}

fn connect(path: &Path) -> Result<UnixDatagram, Error> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn message(at: &Zoned, facility: u8, level: Level, text: &str) -> String {
    let priority = u16::from(facility) * 8 + u16::from(severity(level));
    let time = at.strftime("%b %e %H:%M:%S");
    format!("<{priority}>{time} ddnsd[{}]: {text}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(20);

    fn received(daemon: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn info(queue: &LineQueue, text: &str) {
        queue.push(Level::INFO, text.to_owned());
    }

    #[test]
    fn a_message_has_priority_time_and_tag() {
        let at: Zoned = "2026-11-03T09:05:00+01:00[Europe/Berlin]".parse().unwrap();
        let message = message(&at, 16, Level::WARN, "auth failed");
        let pid = std::process::id();
        assert_eq!(message, format!("<132>Nov  3 09:05:00 ddnsd[{pid}]: auth failed"));
    }

    #[test]
    fn one_line_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        info(&to_syslog(&path, 3).unwrap(), "listening");
        let text = received(&daemon);
        assert!(text.starts_with("<30>") && text.ends_with("]: listening"), "{text}");
    }

    #[test]
    fn a_daemon_that_restarts_gets_the_next_message_and_the_count_of_lost_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let queue = to_syslog(&path, 3).unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        info(&queue, "lost");
        queue.flush(SOON);
        let second = UnixDatagram::bind(&path).unwrap();
        info(&queue, "here");
        let report = received(&second);
        assert!(report.contains("]: 1 log lines were lost"), "{report}");
        assert!(received(&second).ends_with("]: here"));
    }

    #[test]
    fn a_slow_daemon_gets_every_message_and_blocks_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let queue = to_syslog(&path, 3).unwrap();
        // far more than the socket's buffer holds
        for number in 0..5_000 {
            info(&queue, &number.to_string());
        }
        for number in 0..5_000 {
            let text = received(&daemon);
            assert!(text.ends_with(&format!("]: {number}")), "{text}");
        }
    }

    #[test]
    fn the_error_names_a_missing_socket() {
        let error = to_syslog(Path::new("/nonexistent/log"), 3).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }
}
