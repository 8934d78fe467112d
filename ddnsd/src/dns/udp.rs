//! UDP to the name server. In: messages, and whether they got an answer by UDP and by TCP. Out: a
//! socket for the answer, and whether UDP comes first. A firewall that drops UDP must not cost
//! every message a part of its time, nor leave an unanswered message of every host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Added to the time after which an unconfirmed host is sent again: the republisher's pause and
/// more.
const SLACK: Duration = Duration::from_secs(50);

/// The way to one server by UDP.
pub(super) struct Udp {
    server: SocketAddr,
    pause: Duration,
    skipped_until: Mutex<Option<Instant>>,
}

impl Udp {
    /// A host whose datagram was lost is sent again twice the timeout later. That must still go by
    /// TCP first, or its acknowledgement is never final.
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        Self { server, pause: timeout * 2 + SLACK, skipped_until: Mutex::default() }
    }

    fn skipped_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.skipped_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether UDP is tried before TCP.
    pub(super) fn is_first(&self, now: Instant) -> bool {
        self.skipped_until().is_none_or(|until| until <= now)
    }

    /// For a while TCP is tried first: a datagram got no answer that counts, and the same by TCP
    /// did.
    pub(super) fn skip(&self, now: Instant) {
        *self.skipped_until() = Some(now + self.pause);
    }

    /// UDP got an answer, and TCP did not.
    pub(super) fn use_again(&self) {
        *self.skipped_until() = None;
    }

    /// Sends a message from a port of its own. The socket is connected, so that the kernel drops
    /// what comes from another address.
    ///
    /// # Errors
    /// It was not sent.
    pub(super) fn send(&self, message: &[u8]) -> io::Result<UdpSocket> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(self.server)?;
        // before the runtime watches the socket, which sending would wake; a new one has space
        socket.send(message)?;
        UdpSocket::from_std(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn udp_without_answers_is_skipped_until_its_unconfirmed_hosts_were_sent_again() {
        let timeout = Duration::from_secs(5);
        let udp = Udp::new("127.0.0.1:53".parse().unwrap(), timeout);
        let now = Clock.now().mono;
        assert!(udp.is_first(now));
        udp.skip(now);
        assert!(!udp.is_first(now + Duration::from_secs(59)));
        assert!(udp.is_first(now + Duration::from_mins(1)));
        udp.skip(now);
        udp.use_again();
        assert!(udp.is_first(now));
    }
}
