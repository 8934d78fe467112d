//! TCP to the name server. In: messages. Out: messages, framed as RFC 1035, 4.2.2 says.
//! Connections are kept for the next message, so long as the server leaves them open.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Idle connections kept; as many messages of a zone are in flight at most.
const MAX_KEPT: usize = 5;
/// One that lay idle for longer may be forgotten by a firewall on the way, which says nothing.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// Connections to one server that wait for their next message.
pub(super) struct Connections {
    server: SocketAddr,
    kept: Mutex<Vec<IdleConnection>>,
}

/// A connection that lies idle, and since when.
struct IdleConnection {
    connection: Connection,
    since: Instant,
}

/// An open connection.
pub(super) struct Connection(TcpStream);

impl Connections {
    /// None yet.
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, kept: Mutex::default() }
    }

    /// A new one.
    ///
    /// # Errors
    /// The server does not take it.
    pub(super) async fn fresh(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        Ok(Connection(stream))
    }

    /// A kept one that the server has not closed, so far as is known here.
    pub(super) fn kept(&self, now: Instant) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // the last one kept is the likeliest to be open
        while let Some(IdleConnection { connection, since }) = kept.pop() {
            if now.saturating_duration_since(since) < MAX_IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which everything asked was answered.
    pub(super) fn keep(&self, connection: Connection, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(IdleConnection { connection, since: now });
        }
    }
}

impl Connection {
    /// Neither closed, nor with bytes that nobody asked for.
    fn is_quiet(&self) -> bool {
        let read = self.0.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a message, in one write, so that no half of it waits for an ACK.
    ///
    /// # Errors
    /// The connection is broken, or the message over 65,535 octets.
    pub(super) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(message.len() + 2);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        self.0.write_all(&frame).await
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection is broken or closed.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut message = vec![0; usize::from(self.0.read_u16().await?)];
        self.0.read_exact(&mut message).await?;
        Ok(message)
    }
}
