//! In: an unsigned UPDATE message. Out: what the name server made of it, within `dns_timeout`.
//! UDP first, from a fresh port with a fresh id; TCP for the second try, for what is too long, for what
//! was truncated, and for a while where UDP was silent. TCP connections are kept, and replaced when the
//! server has closed them.

use super::error::{DnsError, Refusal};
use super::response::{Expected, Signature, UpdateResponse, judge};
use super::tcp::{Connection, Connections};
use super::tsig::Signer;
use super::udp::Udp;
use crate::clock::Clock;
use crate::config::{DnsTransport, Rfc2136};
use crate::counters::DnsCounters;
use crate::model::name::Zone;
use hickory_proto::rr::Name;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest message that travels by UDP: fits any path's packets. PowerDNS drops longer ones.
const MAX_UDP_BYTES: usize = 1232;
/// Room for an answer by UDP. It copies at most what was sent.
const UDP_ANSWER_BYTES: usize = 4096;

/// The way to the name server for one zone.
pub(super) struct Transport {
    server: SocketAddr,
    timeout: Duration,
    mode: DnsTransport,
    zone: Zone,
    zone_name: Name,
    key: Option<(Signer, Arc<str>)>,
    counters: Arc<DnsCounters>,
    clock: Clock,
    udp: Arc<Udp>,
    connections: Connections,
}

/// How sending a message ended.
#[must_use]
pub(super) struct UpdateResult {
    /// Applied; refused or answered without a signature ([`DnsError::refusal`]); or not answered
    /// ([`DnsError::is_unanswered`]).
    pub(super) outcome: Result<(), DnsError>,
    /// Some copy of the message was sent and not answered: it may still be applied.
    pub(super) is_unanswered: bool,
}

/// How far sending a message has come; outlives a try that is cut by its time-out.
#[derive(Default)]
struct Progress {
    sent: u64,
    answered: u64,
    /// What came by UDP without a signature; told if TCP does not help.
    unverified: Option<Refusal>,
}

/// A message as it goes out: with its id, time and signature.
struct SignedRequest {
    id: u16,
    bytes: Vec<u8>,
    mac: Vec<u8>,
}

impl Transport {
    /// A way for one zone, with the key that is meant for it.
    ///
    /// # Errors
    /// [`DnsError::BadKeyName`].
    pub(super) fn new(
        zone: &Zone,
        config: &Rfc2136,
        udp: Arc<Udp>,
        counters: Arc<DnsCounters>,
        clock: Clock,
    ) -> Result<Self, DnsError> {
        let key = config.keys.of(zone).map(|key| {
            let bad_name = |_| DnsError::BadKeyName { zone: zone.clone(), key: key.name.clone() };
            Ok((Signer::new(key).map_err(bad_name)?, key.name.as_str().into()))
        });
        Ok(Self {
            server: config.server,
            timeout: config.timeout,
            mode: config.transport,
            zone: zone.clone(),
            // a checked zone is a DNS name
            zone_name: Name::from_ascii(zone.as_str()).unwrap_or_default(),
            key: key.transpose()?,
            counters,
            clock,
            udp,
            connections: Connections::new(config.server),
        })
    }

    /// Where messages go.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// How long one message may take, retries included.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a message about so many hosts and waits for what becomes of it.
    pub(super) async fn send(&self, unsigned: &[u8], hosts: usize) -> UpdateResult {
        let mut progress = Progress::default();
        let tries = timeout(self.timeout, self.tries(unsigned, &mut progress)).await;
        let is_unanswered = progress.sent > progress.answered;
        self.count(&progress, hosts);
        let outcome = match (tries, progress.unverified) {
            (Ok(Ok(Some(answer))), _) => self.outcome(answer),
            (_, Some(refusal)) => {
                let (server, zone) = (self.server, self.zone.clone());
                Err(DnsError::NoAnswerByTcp { server, zone, refusal })
            }
            (Ok(Err(error)), None) => Err(self.unreachable(error)),
            (Ok(Ok(None)) | Err(_), None) => Err(self.no_answer()),
        };
        if matches!(outcome, Err(DnsError::Refused { .. })) {
            self.counters.refused.add_one();
        }
        UpdateResult { outcome, is_unanswered }
    }

    fn count(&self, progress: &Progress, hosts: usize) {
        let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
        self.counters.messages.add(progress.sent);
        self.counters.hosts.add(progress.sent.saturating_mul(hosts));
        self.counters.unanswered.add(progress.sent.saturating_sub(progress.answered));
    }

    fn outcome(&self, answer: UpdateResponse) -> Result<(), DnsError> {
        let (server, zone) = (self.server, self.zone.clone());
        match answer {
            UpdateResponse::Applied => Ok(()),
            UpdateResponse::Refused(refusal) => Err(DnsError::Refused { server, zone, refusal }),
            UpdateResponse::Unverified(refusal) => {
                Err(DnsError::Unverified { server, zone, refusal })
            }
            UpdateResponse::Truncated | UpdateResponse::Foreign(_) => Err(self.no_answer()),
        }
    }

    fn unreachable(&self, error: io::Error) -> DnsError {
        let (server, zone) = (self.server, self.zone.clone());
        DnsError::Unreachable { server, zone, source: Arc::new(error) }
    }

    fn no_answer(&self) -> DnsError {
        let (server, zone) = (self.server, self.zone.clone());
        DnsError::NoAnswer { server, zone, timeout: self.timeout }
    }

    /// `None` if nothing came of it in time.
    async fn tries(
        &self,
        unsigned: &[u8],
        progress: &mut Progress,
    ) -> io::Result<Option<UpdateResponse>> {
        let request = self.prepare(unsigned)?;
        if self.mode == DnsTransport::Tcp || request.bytes.len() > MAX_UDP_BYTES {
            return self.by_tcp(&request, progress).await.map(Some);
        }
        if self.udp.is_worth_a_try(self.clock.now().mono) {
            if let Some(answer) = self.settled_by_udp(&request, progress).await {
                return Ok(Some(answer));
            }
            let is_lost = progress.sent > progress.answered;
            let answer = self.by_tcp(&self.prepare(unsigned)?, progress).await?;
            if is_lost && matches!(answer, UpdateResponse::Applied | UpdateResponse::Refused(_)) {
                self.udp.fell_silent(self.clock.now().mono);
            }
            return Ok(Some(answer));
        }
        let by_tcp = timeout(self.timeout / 3 * 2, self.by_tcp(&request, progress)).await;
        if let Ok(Ok(answer)) = by_tcp {
            return Ok(Some(answer));
        }
        if let Some(answer) = self.settled_by_udp(&self.prepare(unsigned)?, progress).await {
            self.udp.answers();
            return Ok(Some(answer));
        }
        by_tcp.map_or(Ok(None), |failed| failed.map(Some))
    }

    /// What UDP settles, if it does, in a third of the time: most of it is for TCP.
    async fn settled_by_udp(
        &self,
        request: &SignedRequest,
        progress: &mut Progress,
    ) -> Option<UpdateResponse> {
        match timeout(self.timeout / 3, self.by_udp(request, progress)).await {
            Ok(Ok(answer @ (UpdateResponse::Applied | UpdateResponse::Refused(_)))) => {
                return Some(answer);
            }
            Ok(Ok(UpdateResponse::Unverified(refusal))) => progress.unverified = Some(refusal),
            Ok(Ok(UpdateResponse::Truncated | UpdateResponse::Foreign(_)) | Err(_)) | Err(_) => {}
        }
        None
    }

    fn prepare(&self, unsigned: &[u8]) -> io::Result<SignedRequest> {
        let id: u16 = rand::random();
        let mut bytes = Vec::with_capacity(unsigned.len() + 256);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(unsigned.get(2..).unwrap_or_default());
        let mac = match &self.key {
            Some((signer, _)) => {
                signer.sign(&mut bytes, self.seconds()).map_err(io::Error::other)?
            }
            None => Vec::new(),
        };
        Ok(SignedRequest { id, bytes, mac })
    }

    fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().wall.0 / 1000).unwrap_or(0)
    }

    fn judge(
        &self,
        bytes: &[u8],
        request: &SignedRequest,
        progress: &mut Progress,
    ) -> UpdateResponse {
        let signature = self.key.as_ref().map(|(signer, key)| Signature {
            signer,
            key,
            request_mac: &request.mac,
            now: self.seconds(),
        });
        let answer = judge(bytes, &Expected { id: request.id, zone: &self.zone_name, signature });
        match &answer {
            UpdateResponse::Applied | UpdateResponse::Refused(_) | UpdateResponse::Truncated => {
                progress.answered += 1;
            }
            UpdateResponse::Unverified(_) => {}
            UpdateResponse::Foreign(reason) => {
                self.counters.dropped.add_one();
                tracing::debug!(server = %self.server, zone = %self.zone, reason, "answer dropped");
            }
        }
        answer
    }

    /// One datagram, and the first answer to it that is not foreign.
    async fn by_udp(
        &self,
        request: &SignedRequest,
        progress: &mut Progress,
    ) -> io::Result<UpdateResponse> {
        let socket = self.udp.socket().await?;
        socket.send(&request.bytes).await?;
        progress.sent += 1;
        let mut buffer = vec![0; UDP_ANSWER_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await.inspect_err(|error| {
                // nobody takes datagrams there, so this one can never be applied
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    progress.sent -= 1;
                }
            })?;
            let bytes = buffer.get(..length).unwrap_or_default();
            let answer = self.judge(bytes, request, progress);
            if !matches!(answer, UpdateResponse::Foreign(_)) {
                return Ok(answer);
            }
        }
    }

    /// By a kept connection or a new one. Once more by a new one if that is closed, or if the kept one says
    /// nothing for a while.
    async fn by_tcp(
        &self,
        request: &SignedRequest,
        progress: &mut Progress,
    ) -> io::Result<UpdateResponse> {
        let first = if let Some(kept) = self.connections.kept(self.clock.now().mono) {
            timeout(self.timeout / 3, self.converse(kept, request, progress)).await.ok()
        } else {
            let fresh = self.connections.fresh().await?;
            Some(self.converse(fresh, request, progress).await)
        };
        if let Some(Ok(answer)) = first {
            return Ok(answer);
        }
        let fresh = self.connections.fresh().await?;
        self.converse(fresh, request, progress).await
    }

    /// Asks, and keeps the connection if the server talks sense on it.
    async fn converse(
        &self,
        mut connection: Connection,
        request: &SignedRequest,
        progress: &mut Progress,
    ) -> io::Result<UpdateResponse> {
        progress.sent += 1;
        self.counters.tcp.add_one();
        connection.write(&request.bytes).await?;
        loop {
            let bytes = connection.read().await?;
            match self.judge(&bytes, request, progress) {
                UpdateResponse::Foreign(_) => {}
                UpdateResponse::Truncated => {
                    return Err(io::Error::other("truncated answer by TCP"));
                }
                answer => {
                    self.connections.keep(connection, self.clock.now().mono);
                    return Ok(answer);
                }
            }
        }
    }
}
