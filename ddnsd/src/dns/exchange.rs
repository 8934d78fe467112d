//! One request and its response, within `dns_timeout`. In: a request. Out: what its response is, or
//! how many copies of it were sent and not answered.
//! UDP first; TCP for the second try, for what is too long and for what was truncated. For a while
//! after UDP got no answer and TCP did, TCP first.

use super::error::Dropped;
use super::tcp::{Connection, Connections};
use super::udp::Udp;
use crate::clock::Clock;
use crate::config::{DnsTransport, Rfc2136};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// The longest message that is sent by UDP: it fits any path's packets. PowerDNS drops longer ones.
const MAX_UDP_BYTES: usize = 1232;
/// Space for a response by UDP. One to an update copies at most what was sent; one to a question
/// without EDNS has 512 octets at most (RFC 1035, 4.2.1).
const UDP_RESPONSE_BYTES: usize = 4096;

/// What is asked of the name server.
pub(super) trait Request {
    /// What a response is read as.
    type Response;
    /// Whether it goes by TCP only, over kept connections.
    const BY_TCP: bool = false;

    /// The message for the next try: with an id and a signature of its own.
    ///
    /// # Errors
    /// It cannot be written.
    fn next_message(&mut self) -> io::Result<Vec<u8>>;

    /// What a received message means for the last [`Self::next_message`].
    fn accept(&self, message: &[u8]) -> Accepted<Self::Response>;
}

/// What a received message means.
#[must_use]
pub(super) enum Accepted<T> {
    /// The response.
    Response(T),
    /// Possibly the response, but not proven to be the server's: it counts if TCP brings nothing
    /// else.
    Unverified(T),
    /// The response did not fit: TCP has space for it.
    Truncated,
    /// Not the response, which may still come.
    Foreign(Dropped),
}

/// How an exchange ended.
#[must_use]
pub(super) struct Exchanged<T> {
    /// The response; `None` if there was none in time. An unverified one came by TCP.
    pub(super) response: io::Result<Option<T>>,
    /// What came by UDP unverified, if TCP brought nothing.
    pub(super) unverified: Option<T>,
    /// What came and was not believed.
    pub(super) dropped: Option<Dropped>,
    /// How many copies of the request were sent, and what came back.
    pub(super) copies: Copies,
}

/// Copies of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Copies {
    /// By UDP and TCP.
    pub(super) sent: u64,
    /// Those of them by TCP.
    pub(super) by_tcp: u64,
    /// By the server itself, as far as the request can tell.
    pub(super) answered: u64,
}

impl Copies {
    /// Those that may still be applied.
    pub(super) fn unanswered(self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }
}

/// The way to one name server, of all its zones.
pub(super) struct Exchange {
    pub(super) server: SocketAddr,
    /// Of a whole exchange.
    pub(super) timeout: Duration,
    mode: DnsTransport,
    clock: Clock,
    udp: Udp,
    connections: Connections,
}

impl Exchange {
    /// Nothing is opened before the first request.
    pub(super) fn new(config: &Rfc2136, clock: Clock) -> Self {
        Self {
            server: config.server,
            timeout: config.timeout,
            mode: config.transport,
            clock,
            udp: Udp::new(config.server, config.timeout),
            connections: Connections::new(config.server),
        }
    }

    /// Sends a request, again if need be, and waits for its response.
    pub(super) async fn send<R: Request>(&self, request: &mut R) -> Exchanged<R::Response> {
        let mut copies = Copies::default();
        let mut unverified = None;
        let mut dropped = None;
        let mut tries = Tries {
            exchange: self,
            request,
            copies: &mut copies,
            unverified: &mut unverified,
            dropped: &mut dropped,
        };
        let response = timeout(self.timeout, tries.run()).await.unwrap_or(Ok(None));
        if matches!(response, Ok(Some(_))) {
            unverified = None;
        }
        Exchanged { response, unverified, dropped, copies }
    }
}

/// One exchange under way. What is borrowed outlives a try that is cut by its time-out.
struct Tries<'a, R: Request> {
    exchange: &'a Exchange,
    request: &'a mut R,
    copies: &'a mut Copies,
    unverified: &'a mut Option<R::Response>,
    dropped: &'a mut Option<Dropped>,
}

impl<R: Request> Tries<'_, R> {
    async fn run(&mut self) -> io::Result<Option<R::Response>> {
        let Exchange { udp, clock, mode, .. } = self.exchange;
        let message = self.request.next_message()?;
        if R::BY_TCP || *mode == DnsTransport::Tcp || message.len() > MAX_UDP_BYTES {
            return self.by_tcp(&message).await.map(Some);
        }
        if !udp.is_first(clock.now().mono) {
            return self.tcp_then_udp(&message).await;
        }
        if let Some(response) = self.within_a_third_by_udp(&message).await {
            return Ok(Some(response));
        }
        let is_lost = self.copies.unanswered() > 0;
        let answered_before = self.copies.answered;
        let message = self.request.next_message()?;
        let response = self.by_tcp(&message).await?;
        if is_lost && self.copies.answered > answered_before {
            udp.skip(clock.now().mono);
        }
        Ok(Some(response))
    }

    async fn tcp_then_udp(&mut self, message: &[u8]) -> io::Result<Option<R::Response>> {
        let by_tcp = timeout(self.exchange.timeout / 3 * 2, self.by_tcp(message)).await;
        if let Ok(Ok(response)) = by_tcp {
            return Ok(Some(response));
        }
        let message = self.request.next_message()?;
        if let Some(response) = self.within_a_third_by_udp(&message).await {
            self.exchange.udp.use_again();
            return Ok(Some(response));
        }
        by_tcp.map_or(Ok(None), |failed| failed.map(Some))
    }

    /// The response by UDP, if it comes in a third of the time: most of it is for TCP.
    async fn within_a_third_by_udp(&mut self, message: &[u8]) -> Option<R::Response> {
        match timeout(self.exchange.timeout / 3, self.by_udp(message)).await {
            Ok(Ok(Accepted::Response(response))) => return Some(response),
            Ok(Ok(Accepted::Unverified(response))) => *self.unverified = Some(response),
            Ok(Ok(Accepted::Truncated | Accepted::Foreign(_)) | Err(_)) | Err(_) => {}
        }
        None
    }

    fn accept(&mut self, message: &[u8]) -> Accepted<R::Response> {
        let accepted = self.request.accept(message);
        match &accepted {
            Accepted::Response(_) => self.copies.answered += 1,
            Accepted::Truncated => {
                self.copies.answered += 1;
                self.drop_message(Dropped::truncated());
            }
            Accepted::Foreign(dropped) => self.drop_message(dropped.clone()),
            Accepted::Unverified(_) => {}
        }
        accepted
    }

    fn drop_message(&mut self, later: Dropped) {
        *self.dropped = Some(match self.dropped.take() {
            Some(earlier) => earlier.or_later(later),
            None => later,
        });
    }

    /// One datagram, and the first message back that is not foreign.
    async fn by_udp(&mut self, message: &[u8]) -> io::Result<Accepted<R::Response>> {
        let socket = self.exchange.udp.send(message)?;
        self.copies.sent += 1;
        let mut buffer = vec![0; UDP_RESPONSE_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await.inspect_err(|error| {
                // no program takes datagrams there, so this one can never be applied
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    self.copies.sent -= 1;
                }
            })?;
            match self.accept(buffer.get(..length).unwrap_or_default()) {
                Accepted::Foreign(_) => {}
                accepted => return Ok(accepted),
            }
        }
    }

    /// By a kept connection or a new one. Once more by a new one if that connection breaks, or if a
    /// kept one brings nothing for a third of the time.
    async fn by_tcp(&mut self, message: &[u8]) -> io::Result<R::Response> {
        let connections = &self.exchange.connections;
        let first = if let Some(kept) = connections.kept(self.exchange.clock.now().mono) {
            timeout(self.exchange.timeout / 3, self.converse(kept, message)).await.ok()
        } else {
            let fresh = connections.fresh().await?;
            Some(self.converse(fresh, message).await)
        };
        if let Some(Ok(response)) = first {
            return Ok(response);
        }
        let fresh = connections.fresh().await?;
        self.converse(fresh, message).await
    }

    /// Keeps the connection if a response comes on it.
    async fn converse(
        &mut self,
        mut connection: Connection,
        message: &[u8],
    ) -> io::Result<R::Response> {
        self.copies.sent += 1;
        self.copies.by_tcp += 1;
        connection.write(message).await?;
        loop {
            let received = connection.read().await?;
            match self.accept(&received) {
                Accepted::Foreign(_) => {}
                Accepted::Truncated => return Err(io::Error::other("truncated response by TCP")),
                Accepted::Response(response) | Accepted::Unverified(response) => {
                    self.exchange.connections.keep(connection, self.exchange.clock.now().mono);
                    return Ok(response);
                }
            }
        }
    }
}
