//! The exit to DNS. In: a host's records as they should be. Out: whether the primary acknowledged
//! them. Many changes of a zone travel in one message; callers know nothing of it.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzed;

mod answer;
mod doubt;
mod error;
mod lookup;
mod message;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod transport;
mod tsig;
mod udp;
mod waiting;
mod zone_queue;

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
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use target::{Queued, Target};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// The handle for publishing. Clones share everything.
#[derive(Clone)]
pub struct Dns {
    target: Arc<ArcSwap<Target>>,
    /// Closed while the records move to another server: nothing new is sent meanwhile.
    gate: Arc<RwLock<()>>,
}

/// Another way to publish, ready to be used. Dropped, all stays as it was.
#[must_use = "it is used when it is committed"]
pub struct Prepared {
    dns: Dns,
    /// `None` if nothing is different.
    target: Option<Target>,
    closed: Option<OwnedRwLockWriteGuard<()>>,
}

impl Prepared {
    /// Publishes so from now on. What is under way to the server of before counts no more, and is sent
    /// to the new one.
    pub fn commit(self) {
        let Self { dns, target, closed } = self;
        if let Some(target) = target {
            dns.target.store(Arc::new(target));
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
    Fresh,
    /// Sweeps and repetitions. Waits for the next try while the zone is down.
    Background,
}

/// What became of a change.
#[derive(Clone, Debug)]
#[must_use]
pub enum Published {
    /// The primary has applied it.
    Acknowledged {
        /// An earlier message about the host ended without an answer, and may be applied yet: the
        /// caller asserts the host once more, [`Dns::lateness`] from now.
        doubtful_before: bool,
    },
    /// The primary has, provably, not applied it.
    Refused(DnsError),
    /// Nothing believable was said, or nothing was sent ([`DnsError::Down`],
    /// [`DnsError::Overloaded`]): it may be applied, now or yet.
    Unknown(DnsError),
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
        let target = Target::new(config, counters, clock);
        Self { target: Arc::new(ArcSwap::from_pointee(target)), gate: Arc::default() }
    }

    /// Gets ready to publish by another section, perhaps to another server. What comes meanwhile
    /// waits, if it is another one, and goes to the right one then. The same section again changes nothing:
    /// what is known of zones that are down stays known.
    pub async fn prepare(&self, config: Rfc2136) -> Prepared {
        let now = self.target.load_full();
        let is_elsewhere = now.server() != config.server;
        let target = now.with(config);
        let closed =
            if is_elsewhere { Some(Arc::clone(&self.gate).write_owned().await) } else { None };
        Prepared { dns: self.clone(), target, closed }
    }

    /// Makes DNS hold what the change says, together with whatever else waits for the zone. Each
    /// message has [`Self::timeout`]; a change may wait for one before its own. Dropping the future
    /// cuts nothing off: the change is sent all the same.
    /// Changes of one host are sent in the order of these calls, never in one message.
    pub async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        loop {
            let target = self.target().await;
            let outcome = target.publish(change.clone(), lane).await;
            if !self.is_past(&target, &outcome) {
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
                let target = self.target.load_full();
                let queued = target.queue_each(changes, lane).into_iter();
                queued.map(|queued| Some((Arc::clone(&target), queued))).collect()
            }
            Err(_closed) => changes.iter().map(|_| None).collect(),
        };
        let dns = self.clone();
        again.into_iter().zip(queued).map(move |(change, queued)| match queued {
            None => Either::Left(dns.clone().publish_one(change, lane)),
            Some((target, queued)) => {
                Either::Right(dns.clone().outcome(target, queued, change, lane))
            }
        })
    }

    /// What the server answers for a name, asked by a plain question. Takes [`Self::timeout`] at most from
    /// when it is asked; a bounded number is asked at a time.
    ///
    /// # Errors
    /// It does not answer, or not for this name.
    pub async fn look_up(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        self.target.load_full().look_up(name, family).await
    }

    async fn publish_one(self, change: RecordChange, lane: Lane) -> Published {
        self.publish(change, lane).await
    }

    async fn outcome(
        self,
        target: Arc<Target>,
        queued: Queued,
        change: RecordChange,
        lane: Lane,
    ) -> Published {
        let outcome = target.outcome(queued, lane).await;
        if self.is_past(&target, &outcome) { self.publish(change, lane).await } else { outcome }
    }

    /// The target in force; waits while it is being changed.
    async fn target(&self) -> Arc<Target> {
        let _open = self.gate.read().await;
        self.target.load_full()
    }

    /// Whether the outcome says nothing of the target in force: another server acknowledged it, or the
    /// way it failed is no longer the way it is done.
    fn is_past(&self, target: &Arc<Target>, outcome: &Published) -> bool {
        let now = self.target.load();
        if Arc::ptr_eq(&now, target) {
            return false;
        }
        let is_acknowledged = matches!(outcome, Published::Acknowledged { .. });
        !is_acknowledged || now.server() != target.server()
    }

    /// The zones that were published to in the last minute.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        self.target.load().health()
    }

    /// Whether the server does not answer for the zone at the moment.
    pub fn is_down(&self, zone: &Zone) -> bool {
        self.target.load().is_down(zone)
    }

    /// Whether there is a key for the zone's updates.
    pub fn signs(&self, zone: &Zone) -> bool {
        self.target.load().signs(zone)
    }

    /// Where messages go.
    pub fn server(&self) -> SocketAddr {
        self.target.load().server()
    }

    /// How long one message may take, retries included.
    pub fn timeout(&self) -> Duration {
        self.target.load().timeout()
    }

    /// For how long from now on a lost message can still be applied: twice [`Self::timeout`], or longer while
    /// one may come that was sent with a longer timeout.
    pub fn lateness(&self) -> Duration {
        self.target.load().lateness()
    }
}
