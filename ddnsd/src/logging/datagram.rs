//! A log daemon's Unix datagram socket. In: messages, from the log's own thread, which may wait for a daemon
//! that is busy. Out: they are sent; when the daemon was restarted the next message connects anew.

use super::LogError;
use super::queue::{LineOutput, LineStart};
use std::io::{Error, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

pub(super) struct Datagrams {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Datagrams {
    pub(super) fn connect(path: &Path) -> Result<Self, LogError> {
        let failed = |source| LogError::Socket { path: path.to_owned(), source };
        Ok(Self { path: path.to_owned(), socket: connected(path).map_err(failed)? })
    }
}

impl LineOutput for Datagrams {
    fn begin(&mut self, _: u64) -> LineStart {
        LineStart::Anew
    }

    fn write(&mut self, message: &[u8]) -> Result<usize, Error> {
        let sent = self.socket.send(message);
        // as after a restart; a message of another length would not get through a new one either
        if sent.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            self.socket = connected(&self.path)?;
            return self.socket.send(message);
        }
        sent
    }
}

fn connected(path: &Path) -> Result<UnixDatagram, Error> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::super::queue::LineQueue;
    use super::*;
    use std::time::Duration;
    use tracing::Level;

    const SOON: Duration = Duration::from_secs(20);

    fn text(daemon: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn writer(path: &Path) -> LineQueue {
        let look = |_, text: &str| text.to_owned();
        LineQueue::start(look, Datagrams::connect(path).unwrap()).unwrap()
    }

    #[test]
    fn a_log_daemon_that_restarts_gets_the_next_message_and_hears_of_what_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let writer = writer(&path);
        drop(first);
        std::fs::remove_file(&path).unwrap();
        writer.push(Level::INFO, "lost");
        writer.flush(SOON);
        let second = UnixDatagram::bind(&path).unwrap();
        writer.push(Level::INFO, "here");
        assert!(text(&second).starts_with("1 lines are missing here"));
        assert_eq!(text(&second), "here");
    }

    #[test]
    fn a_log_daemon_that_is_slow_gets_every_message_and_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let writer = writer(&path);
        // far more than a socket holds
        for number in 0..5_000 {
            writer.push(Level::INFO, &number.to_string());
        }
        for number in 0..5_000 {
            assert_eq!(text(&daemon), number.to_string());
        }
    }

    #[test]
    fn a_missing_socket_is_named() {
        let error = Datagrams::connect(Path::new("/nonexistent/log")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }
}
