//! In: an unsigned UPDATE message of a zone. Out: what the name server made of it, within
//! `dns_timeout`. Signs with the zone's key, judges what comes back, and counts.

use super::error::DnsError;
use super::exchange::{Accepted, Copies, Exchange, Exchanged, Request};
use super::response::{Expected, Signature, UpdateResponse, judge};
use super::tsig::Signer;
use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::counters::{DnsCounters, LastError, ZoneCounters};
use crate::model::name::Zone;
use hickory_proto::rr::Name;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Sends the updates of one zone.
pub(super) struct UpdateSender {
    zone: Zone,
    zone_name: Name,
    key: Option<(Signer, Arc<str>)>,
    counters: Arc<DnsCounters>,
    /// Made by the first update, because `status` shows zones with counters.
    zone_counters: OnceLock<Arc<ZoneCounters>>,
    clock: Clock,
    exchange: Arc<Exchange>,
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

/// An update under way, with the id and MAC of its last try.
struct SentUpdate<'a> {
    sender: &'a UpdateSender,
    unsigned: &'a [u8],
    id: u16,
    mac: Vec<u8>,
}

impl UpdateSender {
    /// With the key that is meant for the zone.
    ///
    /// # Errors
    /// [`DnsError::BadKeyName`].
    pub(super) fn new(
        zone: &Zone,
        config: &Rfc2136,
        exchange: Arc<Exchange>,
        counters: Arc<DnsCounters>,
        clock: Clock,
    ) -> Result<Self, DnsError> {
        let key = config.keys.of(zone).map(|key| {
            let bad_name = |_| DnsError::BadKeyName { zone: zone.clone(), key: key.name.clone() };
            Ok((Signer::new(key).map_err(bad_name)?, key.name.as_str().into()))
        });
        Ok(Self {
            zone: zone.clone(),
            // a checked zone is a DNS name
            zone_name: Name::from_ascii(zone.as_str()).unwrap_or_default(),
            key: key.transpose()?,
            zone_counters: OnceLock::new(),
            counters,
            clock,
            exchange,
        })
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.exchange.server
    }

    /// The key for messages of the zone, and its name.
    pub(super) fn key(&self) -> Option<&(Signer, Arc<str>)> {
        self.key.as_ref()
    }

    fn zone_counters(&self) -> &ZoneCounters {
        self.zone_counters.get_or_init(|| self.counters.zones.of(self.zone.as_str()))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.exchange.timeout
    }

    /// Sends a message about so many hosts and waits for its response.
    pub(super) async fn send(&self, unsigned: &[u8], hosts: usize) -> UpdateResult {
        let start = self.clock.now().mono;
        let exchanged = self.exchange(unsigned).await;
        let copies = exchanged.copies;
        self.count(copies, hosts);
        let outcome = self.outcome(exchanged);
        self.count_outcome(&outcome, hosts, start);
        UpdateResult { outcome, is_unanswered: copies.unanswered() > 0 }
    }

    /// Sends a message that changes nothing. It is not counted, nor can it be late.
    ///
    /// # Errors
    /// See [`UpdateResult::outcome`].
    pub(super) async fn check(&self, unsigned: &[u8]) -> Result<(), DnsError> {
        self.outcome(self.exchange(unsigned).await)
    }

    async fn exchange(&self, unsigned: &[u8]) -> Exchanged<UpdateResponse> {
        let mut update = SentUpdate { sender: self, unsigned, id: 0, mac: Vec::new() };
        self.exchange.send(&mut update).await
    }

    fn count(&self, copies: Copies, hosts: usize) {
        let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
        self.counters.messages.add(copies.sent);
        self.counters.tcp.add(copies.by_tcp);
        self.counters.hosts.add(copies.sent.saturating_mul(hosts));
        self.counters.unanswered.add(copies.unanswered());
    }

    fn count_outcome(&self, outcome: &Result<(), DnsError>, hosts: usize, start: Instant) {
        let now = self.clock.now();
        let took = now.mono.saturating_duration_since(start);
        let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
        let result = match outcome {
            Ok(()) => "NOERROR",
            Err(error) => {
                self.zone_counters().failed(LastError { at: now.wall, text: error.to_string() });
                error.result()
            }
        };
        if matches!(outcome, Err(DnsError::Refused { .. })) {
            self.counters.refused.add_one();
        }
        self.zone_counters().message(result, hosts, took);
    }

    fn outcome(&self, exchanged: Exchanged<UpdateResponse>) -> Result<(), DnsError> {
        let server = self.server();
        let zone = self.zone.clone();
        let timeout = self.timeout();
        match (exchanged.response, exchanged.dropped, exchanged.unverified) {
            (Ok(Some(response)), ..) => self.judged(response),
            (_, Some(dropped), _) => Err(DnsError::Dropped { server, zone, timeout, dropped }),
            (_, _, Some(UpdateResponse::Unverified(refusal))) => {
                Err(DnsError::NoAnswerByTcp { server, zone, refusal })
            }
            (Err(error), ..) => {
                Err(DnsError::Unreachable { server, zone, source: Arc::new(error) })
            }
            (Ok(None), ..) => Err(self.no_answer()),
        }
    }

    fn judged(&self, response: UpdateResponse) -> Result<(), DnsError> {
        let server = self.server();
        let zone = self.zone.clone();
        match response {
            UpdateResponse::Applied => Ok(()),
            UpdateResponse::Refused(refusal) => Err(DnsError::Refused { server, zone, refusal }),
            UpdateResponse::Unverified(refusal) => {
                Err(DnsError::Unverified { server, zone, refusal })
            }
            UpdateResponse::Truncated | UpdateResponse::Foreign(_) => Err(self.no_answer()),
        }
    }

    fn no_answer(&self) -> DnsError {
        let server = self.server();
        let zone = self.zone.clone();
        DnsError::NoAnswer { server, zone, timeout: self.timeout() }
    }

    /// Since 1970.
    pub(super) fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().wall.0 / 1000).unwrap_or(0)
    }
}

impl Request for SentUpdate<'_> {
    type Response = UpdateResponse;

    fn next_message(&mut self) -> io::Result<Vec<u8>> {
        self.id = rand::random();
        let mut message = Vec::with_capacity(self.unsigned.len() + 256);
        message.extend_from_slice(&self.id.to_be_bytes());
        message.extend_from_slice(self.unsigned.get(2..).unwrap_or_default());
        if let Some((signer, _)) = &self.sender.key {
            let seconds = self.sender.seconds();
            self.mac = signer.sign(&mut message, seconds).map_err(io::Error::other)?;
        }
        Ok(message)
    }

    fn accept(&self, message: &[u8]) -> Accepted<UpdateResponse> {
        let UpdateSender { zone, zone_name, key, counters, exchange, .. } = self.sender;
        let signature = key.as_ref().map(|(signer, key)| Signature {
            signer,
            key,
            request_mac: &self.mac,
            now: self.sender.seconds(),
        });
        match judge(message, &Expected { id: self.id, zone: zone_name, signature }) {
            response @ (UpdateResponse::Applied | UpdateResponse::Refused(_)) => {
                Accepted::Response(response)
            }
            response @ UpdateResponse::Unverified(_) => Accepted::Unverified(response),
            UpdateResponse::Truncated => Accepted::Truncated,
            UpdateResponse::Foreign(dropped) => {
                counters.dropped.add_one();
                tracing::debug!(server = %exchange.server, %zone, %dropped, "response dropped");
                Accepted::Foreign(dropped)
            }
        }
    }
}
