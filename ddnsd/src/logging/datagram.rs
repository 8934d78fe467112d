//! A log daemon's Unix datagram socket. In: messages. Out: they are sent without waiting; when the
//! daemon is restarted the next message connects anew, when it is busy or gone messages are lost.

use super::LogError;
use std::io::{Error, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(super) struct Datagrams {
    path: PathBuf,
    socket: Mutex<UnixDatagram>,
}

impl Datagrams {
    pub(super) fn connect(path: &Path) -> Result<Self, LogError> {
        let failed = |source| LogError::Socket { path: path.to_owned(), source };
        let socket = connected(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), socket: Mutex::new(socket) })
    }

    pub(super) fn send(&self, message: &[u8]) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = socket.send(message);
        if sent.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
            && let Ok(anew) = connected(&self.path)
        {
            // best effort: this message may be the one that is lost
            drop(anew.send(message));
            *socket = anew;
        }
    }
}

fn connected(path: &Path) -> Result<UnixDatagram, Error> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_daemon_that_restarts_gets_the_next_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let datagrams = Datagrams::connect(&path).unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        datagrams.send(b"lost");
        let second = UnixDatagram::bind(&path).unwrap();
        datagrams.send(b"here");
        let mut buffer = [0; 16];
        let length = second.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"here");
    }

    #[test]
    fn a_log_daemon_that_reads_nothing_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _stalled = UnixDatagram::bind(&path).unwrap();
        let datagrams = Datagrams::connect(&path).unwrap();
        for _ in 0..10_000 {
            datagrams.send(&[b'x'; 1000]);
        }
    }

    #[test]
    fn a_missing_socket_is_named() {
        let error = Datagrams::connect(Path::new("/nonexistent/log")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }
}
