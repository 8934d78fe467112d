//! Notifies secondaries of changed zones (RFC 1996). In: the serials of the zones, read once a
//! second, so that the changes of a second share one message. Out: a NOTIFY to each secondary of
//! the configuration, repeated with growing pauses until it is acknowledged.

use super::BuiltinServer;
use super::serial::on_wire;
use super::zone::ServedZone;
use super::zone_set::ZoneSet;
use crate::dns::error::Rcode;
use crate::model::name::Zone;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const EVERY: Duration = Duration::from_secs(1);
/// Until the first repetition; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Messages about one change to one secondary, within a minute. Then it has its own timer.
const MAX_TRIES: u32 = 5;
/// A response to a NOTIFY is not longer.
const MAX_RESPONSE: usize = 512;

/// A zone at one secondary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subscription {
    zone: Zone,
    secondary: SocketAddr,
}

/// The last NOTIFY to a secondary about a zone.
struct LastNotify {
    serial: u64,
    /// `None` if nothing is to be done until the zone changes.
    unanswered: Option<Unanswered>,
}

struct Unanswered {
    id: u16,
    tries: u32,
    again_at: Instant,
}

/// What was sent to every secondary, and which of them do not answer.
#[derive(Default)]
struct Notifications {
    last: HashMap<Subscription, LastNotify>,
    /// Those that a warning was logged about.
    failing: HashSet<SocketAddr>,
}

/// What to do now about a zone at a secondary.
enum NextStep {
    Nothing,
    Send(Vec<u8>),
    /// It did not answer often enough.
    GiveUp,
}

/// What to log after an answer, or without one.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Nothing,
    FirstFailure,
    WorksAgain,
}

impl Notifications {
    /// The messages to send now: what, and to whom. `failed` gets those that were sent in vain.
    fn due(
        &mut self,
        zones: &ZoneSet,
        now: Instant,
        failed: &mut Vec<Subscription>,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut messages = Vec::new();
        let secondaries: Vec<_> = zones.secondaries().collect();
        let is_configured = |subscription: &Subscription| {
            secondaries.contains(&subscription.secondary) && zones.get(&subscription.zone).is_some()
        };
        self.last.retain(|subscription, _| is_configured(subscription));
        for zone in zones.iter() {
            for secondary in &secondaries {
                let subscription = Subscription { zone: zone.zone.clone(), secondary: *secondary };
                match self.next_step(&subscription, zone, now) {
                    NextStep::Send(message) => messages.push((*secondary, message)),
                    NextStep::GiveUp => failed.push(subscription),
                    NextStep::Nothing => {}
                }
            }
        }
        messages
    }

    fn next_step(
        &mut self,
        subscription: &Subscription,
        zone: &ServedZone,
        now: Instant,
    ) -> NextStep {
        let serial = zone.content().serial;
        let last = self.last.get(subscription).filter(|last| last.serial == serial);
        let tries = match last {
            // a change, or the start
            None => 0,
            Some(LastNotify { unanswered: Some(unanswered), .. }) if unanswered.again_at <= now => {
                unanswered.tries
            }
            Some(_) => return NextStep::Nothing,
        };
        if tries >= MAX_TRIES {
            self.last.insert(subscription.clone(), LastNotify { serial, unanswered: None });
            return NextStep::GiveUp;
        }
        let id = rand::random();
        let again_at = now + FIRST_PAUSE * 2u32.pow(tries);
        let unanswered = Some(Unanswered { id, tries: tries + 1, again_at });
        self.last.insert(subscription.clone(), LastNotify { serial, unanswered });
        message(zone, id).map_or(NextStep::Nothing, NextStep::Send)
    }

    /// Returns which zone it is about, if it is the answer to a message.
    fn answered(&mut self, answer: &Message, from: SocketAddr) -> Option<Zone> {
        let is_answer = answer.metadata.message_type == MessageType::Response
            && answer.metadata.op_code == OpCode::Notify;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let (subscription, last) = self.last.iter_mut().find(|(subscription, last)| {
            let id = last.unanswered.as_ref().map(|unanswered| unanswered.id);
            subscription.secondary == from && id == Some(answer.metadata.id)
        })?;
        if !is_answer {
            return None;
        }
        last.unanswered = None;
        Some(subscription.zone.clone())
    }

    fn report(&mut self, secondary: SocketAddr, has_failed: bool) -> Report {
        match (has_failed, self.failing.contains(&secondary)) {
            (true, false) => {
                self.failing.insert(secondary);
                Report::FirstFailure
            }
            (false, true) => {
                self.failing.remove(&secondary);
                Report::WorksAgain
            }
            _ => Report::Nothing,
        }
    }
}

/// RFC 1996, 3.7: with the new SOA record as a hint.
fn message(zone: &ServedZone, id: u16) -> Option<Vec<u8>> {
    let name = &zone.own.name;
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(name.clone(), RecordType::SOA));
    message.add_answer(zone.soa(&zone.content(), name));
    // a message of valid names is always encoded
    message.to_vec().ok()
}

/// Sends and receives until `stop`.
pub(super) async fn run(server: BuiltinServer, stop: CancellationToken) {
    let mut notifier = Notifier { server, state: Notifications::default(), v4: None, v6: None };
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffers = ([0; MAX_RESPONSE], [0; MAX_RESPONSE]);
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                notifier.send_due().await;
                continue;
            }
            Some(received) = receive(notifier.v4.as_ref(), &mut buffers.0) => received,
            Some(received) = receive(notifier.v6.as_ref(), &mut buffers.1) => received,
        };
        notifier.receive(received);
    }
}

/// The next datagram; `None` without a socket. An error is that of an earlier message.
async fn receive(
    socket: Option<&UdpSocket>,
    buffer: &mut [u8],
) -> Option<io::Result<(Message, SocketAddr)>> {
    let received = socket?.recv_from(buffer).await;
    Some(received.and_then(|(length, from)| {
        let bytes = buffer.get(..length).unwrap_or_default();
        Ok((Message::from_vec(bytes).map_err(io::Error::other)?, from))
    }))
}

struct Notifier {
    server: BuiltinServer,
    state: Notifications,
    /// Bound when they are needed.
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Notifier {
    async fn send_due(&mut self) {
        let zones = self.server.0.zones.load_full();
        let mut failed = Vec::new();
        let messages = self.state.due(&zones, self.server.0.clock.now().mono, &mut failed);
        for (secondary, message) in messages {
            self.server.counters().notifies.add_one();
            // as a lost one: it is sent again
            if let Err(error) = self.send(secondary, &message, &zones).await {
                tracing::debug!(%secondary, "cannot send NOTIFY: {error}");
            }
        }
        for Subscription { zone, secondary } in failed {
            self.failed(&zone, secondary, "does not answer (is it running, and reachable by UDP?)");
        }
    }

    async fn send(
        &mut self,
        secondary: SocketAddr,
        message: &[u8],
        zones: &ZoneSet,
    ) -> io::Result<()> {
        let socket = if secondary.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let socket = match socket {
            Some(socket) => socket,
            None => socket.insert(UdpSocket::bind((zones.source(secondary.ip()), 0)).await?),
        };
        socket.send_to(message, secondary).await.map(|_| ())
    }

    fn receive(&mut self, received: io::Result<(Message, SocketAddr)>) {
        let Ok((answer, from)) = received else { return };
        let Some(zone) = self.state.answered(&answer, from) else { return };
        let code = answer.metadata.response_code;
        if code != ResponseCode::NoError {
            let why =
                format!("answers {} (does it have the zone, from this primary?)", Rcode(code));
            return self.failed(&zone, from, &why);
        }
        let serial = self.server.0.zones.load().get(&zone).map(|zone| zone.content().serial);
        tracing::debug!(%zone, secondary = %from, serial = serial.map(on_wire), "NOTIFY acknowledged");
        if self.state.report(from, false) == Report::WorksAgain {
            info!(secondary = %from, "the secondary acknowledges NOTIFY again");
        }
    }

    fn failed(&mut self, zone: &Zone, secondary: SocketAddr, why: &str) {
        self.server.counters().notifies_failed.add_one();
        if self.state.report(secondary, true) == Report::FirstFailure {
            warn!(%zone, %secondary, "the secondary of dns_service.builtin.notify {why}");
        }
    }
}

impl ZoneSet {
    fn secondaries(&self) -> impl Iterator<Item = SocketAddr> {
        self.config.iter().flat_map(|config| &config.notify).copied()
    }

    /// The address that secondaries know this server by: the first one that it listens on, of the
    /// family of the secondary. From a loopback address only this machine is reached.
    fn source(&self, secondary: IpAddr) -> IpAddr {
        let listen = self.config.iter().flat_map(|config| &config.listen);
        let mut addresses = listen.map(SocketAddr::ip).filter(|address| {
            address.is_ipv4() == secondary.is_ipv4()
                && address.is_loopback() == secondary.is_loopback()
        });
        let any: IpAddr = if secondary.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        addresses.next().unwrap_or(any)
    }
}
