//! journald's own socket. In: level and text. Out: one datagram of `FIELD=value` lines (systemd's
//! native journal protocol). The fields stay in the message, where fail2ban and people look for them,
//! and a journal that stalls does not stop the daemon.

use super::LogError;
use super::datagram::Datagrams;
use super::queue::LineQueue;
use super::syslog::severity;
use std::path::Path;
use tracing::Level;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) fn to_journald(socket: &Path) -> Result<LineQueue, LogError> {
    LineQueue::start(message, Datagrams::connect(socket)?)
}

/// The text holds no line feed, so the short form of a field is enough.
fn message(level: Level, text: &str) -> String {
    let (priority, pid) = (severity(level), std::process::id());
    format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=ddnsd\nSYSLOG_PID={pid}\nMESSAGE={text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn one_line_is_one_datagram_of_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let daemon = UnixDatagram::bind(&path).unwrap();
        to_journald(&path).unwrap().push(Level::WARN, "auth failed");
        let mut buffer = [0; 256];
        let length = daemon.recv(&mut buffer).unwrap();
        let received = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let lines: Vec<&str> = received.lines().collect();
        let pid = format!("SYSLOG_PID={}", std::process::id());
        let expected = ["PRIORITY=4", "SYSLOG_IDENTIFIER=ddnsd", &pid, "MESSAGE=auth failed"];
        assert_eq!(lines, expected);
    }
}
