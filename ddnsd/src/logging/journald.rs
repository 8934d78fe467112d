//! journald's own socket. In: level and text. Out: one datagram of `FIELD=value` lines (systemd's
//! native journal protocol). The fields stay in the message, where fail2ban and people look for them,
//! and a journal that stalls does not stop the daemon.

use super::LogError;
use super::datagram::Datagrams;
use super::syslog::severity;
use std::path::Path;
use tracing::Level;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) struct Journald(Datagrams);

impl Journald {
    pub(super) fn connect(socket: &Path) -> Result<Self, LogError> {
        Datagrams::connect(socket).map(Self)
    }

    /// The text holds no line feed, so the short form of a field is enough.
    pub(super) fn write(&self, level: Level, text: &str) {
        let (priority, pid) = (severity(level), std::process::id());
        let message = format!(
            "PRIORITY={priority}\nSYSLOG_IDENTIFIER=ddnsd\nSYSLOG_PID={pid}\nMESSAGE={text}\n"
        );
        self.0.send(message.as_bytes());
    }
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
        Journald::connect(&path).unwrap().write(Level::WARN, "auth failed");
        let mut buffer = [0; 256];
        let length = daemon.recv(&mut buffer).unwrap();
        let received = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let lines: Vec<&str> = received.lines().collect();
        let pid = format!("SYSLOG_PID={}", std::process::id());
        let expected = ["PRIORITY=4", "SYSLOG_IDENTIFIER=ddnsd", &pid, "MESSAGE=auth failed"];
        assert_eq!(lines, expected);
    }
}
