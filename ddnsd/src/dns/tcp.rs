//! TCP to the name server. In: messages. Out: messages, framed as RFC 1035, 4.2.2 says.
//! Connections are kept for the next message while the server leaves them open.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Idle connections kept. BIND takes 150 in all by default.
const MAX_IDLE_CONNECTIONS: usize = 32;
/// A firewall on the way may forget a connection that was idle for longer, without a reset.
const MAX_IDLE_TIME: Duration = Duration::from_secs(10);

/// Idle connections to one server.
pub(super) struct Connections {
    server: SocketAddr,
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
}

/// An open connection.
pub(super) struct Connection(TcpStream);

impl Connections {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one.
    ///
    /// # Errors
    /// The server does not accept it.
    pub(super) async fn fresh(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        Ok(Connection(stream))
    }

    /// A kept one that the server has not closed, as far as is known here.
    pub(super) fn kept(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle();
        // the last one kept is the likeliest to be open
        while let Some(IdleConnection { connection, since }) = idle.pop() {
            if is_recent(since, now) && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which every request was answered.
    pub(super) fn keep(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle();
        idle.retain(|kept| is_recent(kept.since, now));
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(IdleConnection { connection, since: now });
        }
    }
}

fn is_recent(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < MAX_IDLE_TIME
}

impl Connection {
    /// Neither closed, nor with bytes that were not asked for.
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
