//! A syslog daemon. In: level and text. Out: one datagram as local daemons write it (RFC 3164, 4.1;
//! no host name on the local socket): `<PRI>Mmm dd hh:mm:ss ddnsd[PID]: text`.

use super::LogError;
use super::datagram::Datagrams;
use super::queue::LineQueue;
use super::stdout::now;
use jiff::Zoned;
use std::path::Path;
use tracing::Level;

pub(super) fn to_syslog(socket: &Path, facility: u8) -> Result<LineQueue, LogError> {
    let look = move |level: Level, text: &str| message(&now(), facility, level, text);
    LineQueue::start(look, Datagrams::connect(socket)?)
}

fn message(now: &Zoned, facility: u8, level: Level, text: &str) -> String {
    let priority = u16::from(facility) * 8 + u16::from(severity(level));
    let (time, pid) = (now.strftime("%b %e %H:%M:%S"), std::process::id());
    format!("<{priority}>{time} ddnsd[{pid}]: {text}")
}

/// RFC 3164, 4.1.1: the severity's number.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_message_has_priority_time_and_tag() {
        let now: Zoned = "2026-11-03T09:05:00+01:00[Europe/Berlin]".parse().unwrap();
        let message = message(&now, 16, Level::WARN, "auth failed");
        let pid = std::process::id();
        assert_eq!(message, format!("<132>Nov  3 09:05:00 ddnsd[{pid}]: auth failed"));
    }

    #[test]
    fn one_line_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        to_syslog(&path, 3).unwrap().push(Level::INFO, "listening");
        let mut buffer = [0; 256];
        let length = daemon.recv(&mut buffer).unwrap();
        let received = String::from_utf8(buffer[..length].to_vec()).unwrap();
        assert!(received.starts_with("<30>") && received.ends_with("]: listening"), "{received}");
    }
}
