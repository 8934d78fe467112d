//! The exit to DNS. In: a host's records as they should be. Out: whether the primary acknowledged
//! them. Many changes of a zone travel in one message; callers know nothing of it.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod batcher;
mod error;
mod late_messages;
mod lookup;
mod message;
mod name_server;
mod response;
mod tcp;
mod transport;
mod tsig;
mod udp;
mod zone_worker;

pub use error::{DnsError, Refusal};
pub use lookup::{Found, LookupError};

use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::counters::DnsCounters;
use crate::model::address::Family;
use crate::model::change::RecordChange;
use crate::model::name::{Fqdn, Zone};
use arc_swap::ArcSwap;
use futures::future::Either;
use name_server::{NameServer, Queued};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// The handle for publishing. Clones share everything.
#[derive(Clone)]
pub struct Dns {
    name_server: Arc<ArcSwap<NameServer>>,
    /// Closed while the records move to another server: nothing new is sent meanwhile.
    gate: Arc<RwLock<()>>,
}

/// Another way to publish, ready to be used. Dropped, all stays as it was.
#[must_use = "it is used when it is committed"]
pub struct PreparedDns {
    dns: Dns,
    /// `None` if nothing is different.
    name_server: Option<NameServer>,
    closed: Option<OwnedRwLockWriteGuard<()>>,
}

impl PreparedDns {
    /// Publishes so from now on. What is under way to the server of before counts no more, and is sent
    /// to the new one.
    pub fn commit(self) {
        let Self { dns, name_server, closed } = self;
        if let Some(name_server) = name_server {
            dns.name_server.store(Arc::new(name_server));
        }
        drop(closed);
    }

    /// Whether another server gets the records: until it is committed or dropped, nothing is sent.
    pub fn is_elsewhere(&self) -> bool {
        self.closed.is_some()
    }
}

/// Which changes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Somebody waits for it. Answered at once while the zone is down.
    Interactive,
    /// Sweeps and repetitions. Waits for the next try while the zone is down.
    Background,
}

/// What became of a change.
#[derive(Clone, Debug)]
#[must_use]
pub enum Published {
    /// The primary has applied it.
    Acknowledged {
        /// Until then an earlier, unanswered message may still overwrite it, so that the caller sends
        /// the host once more then; `None`: it is final.
        final_from: Option<Instant>,
    },
    /// The primary has, provably, not applied it.
    Refused(DnsError),
    /// Nothing believable was said, or nothing was sent ([`DnsError::Down`],
    /// [`DnsError::Overloaded`]): it may be applied, now or yet.
    Unconfirmed(DnsError),
}

/// How publishing to a zone goes.
#[derive(Clone, Debug)]
pub struct ZoneHealth {
    /// The zone.
    pub zone: Zone,
    /// It does not answer, and is tried again with growing pauses, up to 15 s.
    pub down: bool,
    /// The last failure since publishing to it began; forgotten after a minute without changes.
    pub last_error: Option<DnsError>,
    /// Changes that wait.
    pub queued: usize,
}

impl Dns {
    /// A handle; nothing is sent before the first change. Needs tokio's runtime from then on.
    pub fn new(config: Rfc2136, counters: Arc<DnsCounters>, clock: Clock) -> Self {
        let name_server = NameServer::new(config, counters, clock);
        Self { name_server: Arc::new(ArcSwap::from_pointee(name_server)), gate: Arc::default() }
    }

    /// Gets ready to publish by another section, perhaps to another server. What comes meanwhile
    /// waits, if it is another one, and goes to the right one then. The same section again changes nothing:
    /// what is known of zones that are down stays known.
    pub async fn prepare(&self, config: Rfc2136) -> PreparedDns {
        let now = self.name_server.load_full();
        let is_elsewhere = now.server() != config.server;
        let name_server = now.with(config);
        let closed =
            if is_elsewhere { Some(Arc::clone(&self.gate).write_owned().await) } else { None };
        PreparedDns { dns: self.clone(), name_server, closed }
    }

    /// Makes DNS hold what the change says, together with whatever else waits for the zone. Each
    /// message has [`Self::timeout`]; a change may wait for one before its own. Dropping the future
    /// cuts nothing off: the change is sent all the same.
    /// Changes of one host are sent in the order of these calls, never in one message.
    pub async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        loop {
            let name_server = self.name_server().await;
            let outcome = name_server.publish(change.clone(), lane).await;
            if !self.is_past(&name_server, &outcome) {
                return outcome;
            }
        }
    }

    /// As [`Self::publish`] for several changes: those of a zone are queued together, so that they travel
    /// in one message. They are queued when this returns; the futures are their outcomes, in order.
    pub fn publish_all(
        &self,
        changes: Vec<RecordChange>,
        lane: Lane,
    ) -> impl Iterator<Item = impl Future<Output = Published> + use<>> + use<> {
        let again = changes.clone();
        let queued: Vec<_> = match self.gate.try_read() {
            Ok(_open) => {
                let name_server = self.name_server.load_full();
                let queued = name_server.queue_each(changes, lane).into_iter();
                queued.map(|queued| Some((Arc::clone(&name_server), queued))).collect()
            }
            Err(_closed) => changes.iter().map(|_| None).collect(),
        };
        let dns = self.clone();
        again.into_iter().zip(queued).map(move |(change, queued)| match queued {
            None => Either::Left(dns.clone().publish_one(change, lane)),
            Some((name_server, queued)) => {
                Either::Right(dns.clone().outcome(name_server, queued, change, lane))
            }
        })
    }

    /// What the server answers for a name, asked by a plain question. Takes [`Self::timeout`] at most from
    /// when it is asked; a bounded number is asked at a time.
    ///
    /// # Errors
    /// It does not answer, or not for this name.
    pub async fn look_up(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        self.name_server.load_full().look_up(name, family).await
    }

    async fn publish_one(self, change: RecordChange, lane: Lane) -> Published {
        self.publish(change, lane).await
    }

    async fn outcome(
        self,
        name_server: Arc<NameServer>,
        queued: Queued,
        change: RecordChange,
        lane: Lane,
    ) -> Published {
        let outcome = name_server.outcome(queued, lane).await;
        if self.is_past(&name_server, &outcome) {
            self.publish(change, lane).await
        } else {
            outcome
        }
    }

    /// The name server in force; waits while it is being changed.
    async fn name_server(&self) -> Arc<NameServer> {
        let _open = self.gate.read().await;
        self.name_server.load_full()
    }

    /// Whether the outcome says nothing of the name server in force: another server acknowledged it, or the
    /// way it failed is no longer the way it is done.
    fn is_past(&self, name_server: &Arc<NameServer>, outcome: &Published) -> bool {
        let now = self.name_server.load();
        if Arc::ptr_eq(&now, name_server) {
            return false;
        }
        let is_acknowledged = matches!(outcome, Published::Acknowledged { .. });
        !is_acknowledged || now.server() != name_server.server()
    }

    /// The zones that were published to in the last minute.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        self.name_server.load().health()
    }

    /// Whether the server does not answer for the zone at the moment.
    pub fn is_down(&self, zone: &Zone) -> bool {
        self.name_server.load().is_down(zone)
    }

    /// Whether there is a key for the zone's updates.
    pub fn signs(&self, zone: &Zone) -> bool {
        self.name_server.load().signs(zone)
    }

    /// Where messages go.
    pub fn server(&self) -> SocketAddr {
        self.name_server.load().server()
    }

    /// How long one message may take, retries included.
    pub fn timeout(&self) -> Duration {
        self.name_server.load().timeout()
    }

    /// Whether a host is acknowledged, and its acknowledgement not final yet.
    pub fn is_waiting(&self, name: &Fqdn) -> bool {
        self.name_server.load().is_waiting(name)
    }
}
