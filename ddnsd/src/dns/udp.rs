//! UDP to the name server. In: what came of messages by UDP and by TCP. Out: a socket, and whether UDP is
//! worth a try: a firewall that drops UDP must not cost every message a part of its time, nor leave every
//! host in doubt.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Added to the time after which a host in doubt is asserted again: the republisher's pause and more.
const SLACK: Duration = Duration::from_secs(50);

/// The way to one server by UDP, of all its zones.
pub(super) struct Udp {
    server: SocketAddr,
    pause: Duration,
    /// TCP answered when UDP did not: until then it is asked first.
    silent_until: Mutex<Option<Instant>>,
}

impl Udp {
    /// Worth a try. A host whose datagram was lost is asserted again twice the time-out later, which must
    /// be by TCP still, or no acknowledgement is ever the last word.
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        Self { server, pause: timeout * 2 + SLACK, silent_until: Mutex::default() }
    }

    fn silent_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to ask by UDP.
    pub(super) fn is_worth_a_try(&self, now: Instant) -> bool {
        self.silent_until().is_none_or(|until| until <= now)
    }

    /// A datagram had no answer that counts, and the same by TCP had.
    pub(super) fn fell_silent(&self, now: Instant) {
        *self.silent_until() = Some(now + self.pause);
    }

    /// TCP is no better.
    pub(super) fn try_again(&self) {
        *self.silent_until() = None;
    }

    /// A fresh port, connected: the kernel drops what comes from another address.
    pub(super) async fn socket(&self) -> io::Result<UdpSocket> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.server).await?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn udp_that_is_silent_is_left_alone_until_hosts_in_doubt_were_asserted_again() {
        let timeout = Duration::from_secs(5);
        let (udp, now) = (Udp::new("127.0.0.1:53".parse().unwrap(), timeout), Clock.now().mono);
        assert!(udp.is_worth_a_try(now));
        udp.fell_silent(now);
        assert!(!udp.is_worth_a_try(now + Duration::from_secs(59)));
        assert!(udp.is_worth_a_try(now + Duration::from_mins(1)));
        udp.fell_silent(now);
        udp.try_again();
        assert!(udp.is_worth_a_try(now));
    }
}
