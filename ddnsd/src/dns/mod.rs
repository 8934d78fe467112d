//! The exit to DNS. In: a host's records as they should be. Out: whether the primary acknowledged
//! them. Many changes of a zone travel in one message; callers know nothing of it.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

mod answer;
mod doubt;
mod error;
mod lookup;
mod message;
mod tcp;
mod transport;
mod tsig;
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
use doubt::Doubt;
use lookup::Lookup;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use transport::Transport;
use zone_queue::{NotTaken, ZoneQueue};

/// The handle for publishing. Clones share everything.
#[derive(Clone)]
pub struct Dns {
    config: Arc<Rfc2136>,
    counters: Arc<DnsCounters>,
    clock: Clock,
    doubt: Arc<Doubt>,
    zones: Arc<Zones>,
    lookup: Arc<Lookup>,
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
        /// caller asserts the host once more, 2 × [`Dns::timeout`] from now.
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

/// The zones that are published to at the moment, each with its worker.
#[derive(Default)]
struct Zones(Mutex<HashMap<Zone, Arc<ZoneQueue>>>);

impl Zones {
    fn lock(&self) -> MutexGuard<'_, HashMap<Zone, Arc<ZoneQueue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an ended queue out, unless another has its place already.
    fn forget(&self, zone: &Zone, ended: &Arc<ZoneQueue>) {
        let mut zones = self.lock();
        if zones.get(zone).is_some_and(|queue| Arc::ptr_eq(queue, ended)) {
            zones.remove(zone);
        }
    }
}

/// A worker at work. However it ends, nobody is left waiting for it.
struct Worker {
    zone: Zone,
    queue: Arc<ZoneQueue>,
    zones: Arc<Zones>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.close();
        self.zones.forget(&self.zone, &self.queue);
    }
}

/// A change that was handed to its zone's queue.
enum Queued {
    Waits(Zone, oneshot::Receiver<Published>),
    Failed(DnsError),
    /// The queue's worker had just ended.
    Closed(RecordChange),
}

impl Dns {
    /// A handle; nothing is sent before the first change. Needs tokio's runtime from then on.
    pub fn new(config: Rfc2136, counters: Arc<DnsCounters>, clock: Clock) -> Self {
        Self {
            lookup: Arc::new(Lookup::new(&config)),
            config: Arc::new(config),
            counters,
            clock,
            doubt: Arc::default(),
            zones: Arc::default(),
        }
    }

    /// Makes DNS hold what the change says, together with whatever else waits for the zone. Each
    /// message has [`Self::timeout`]; a change may wait for one before its own. Dropping the future
    /// cuts nothing off: the change is sent all the same.
    /// Changes of one host are sent in the order of these calls, never in one message.
    pub async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        let zone = change.zone.clone();
        let mut change = change;
        loop {
            let queue = match self.queue(&zone) {
                Ok(queue) => queue,
                Err(error) => return Published::Unknown(error),
            };
            change = match queue.push(change, lane) {
                Ok(outcome) => {
                    let broken_off = |_| Published::Unknown(DnsError::BrokenOff { zone });
                    return outcome.await.unwrap_or_else(broken_off);
                }
                Err(NotTaken::Failed(error)) => return Published::Unknown(error),
                // its worker ends at this moment
                Err(NotTaken::Closed(change)) => {
                    self.zones.forget(&zone, &queue);
                    change
                }
            };
        }
    }

    /// As [`Self::publish`] for several changes: those of a zone are queued together, so that they travel
    /// in one message. They are queued when this returns; the futures are their outcomes, in order.
    pub fn publish_all(
        &self,
        changes: Vec<RecordChange>,
        lane: Lane,
    ) -> Vec<impl Future<Output = Published> + use<>> {
        let mut zones: HashMap<Zone, Vec<(usize, RecordChange)>> = HashMap::new();
        for (place, change) in changes.into_iter().enumerate() {
            zones.entry(change.zone.clone()).or_default().push((place, change));
        }
        let mut queued = BTreeMap::new();
        for (zone, changes) in zones {
            let (places, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            queued.extend(places.into_iter().zip(self.queue_all(&zone, changes, lane)));
        }
        queued.into_values().map(|queued| self.clone().outcome(queued, lane)).collect()
    }

    fn queue_all(&self, zone: &Zone, changes: Vec<RecordChange>, lane: Lane) -> Vec<Queued> {
        let queue = match self.queue(zone) {
            Ok(queue) => queue,
            Err(error) => return changes.iter().map(|_| Queued::Failed(error.clone())).collect(),
        };
        let pushed = queue.push_all(changes, lane).into_iter();
        let queued = pushed.map(|pushed| match pushed {
            Ok(outcome) => Queued::Waits(zone.clone(), outcome),
            Err(NotTaken::Failed(error)) => Queued::Failed(error),
            Err(NotTaken::Closed(change)) => Queued::Closed(change),
        });
        queued.collect()
    }

    async fn outcome(self, queued: Queued, lane: Lane) -> Published {
        match queued {
            Queued::Waits(zone, outcome) => {
                let broken_off = |_| Published::Unknown(DnsError::BrokenOff { zone });
                outcome.await.unwrap_or_else(broken_off)
            }
            Queued::Failed(error) => Published::Unknown(error),
            Queued::Closed(change) => self.publish(change, lane).await,
        }
    }

    /// What the server answers for a name, asked by a plain question. Takes [`Self::timeout`] at most from
    /// when it is asked; a bounded number is asked at a time.
    ///
    /// # Errors
    /// It does not answer, or not for this name.
    pub async fn look_up(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        self.lookup.ask(name, family).await
    }

    /// The zone's queue, with a worker.
    fn queue(&self, zone: &Zone) -> Result<Arc<ZoneQueue>, DnsError> {
        let mut zones = self.zones.lock();
        if let Some(queue) = zones.get(zone) {
            return Ok(Arc::clone(queue));
        }
        let transport = Transport::new(zone, &self.config, Arc::clone(&self.counters), self.clock)?;
        let doubt = Arc::clone(&self.doubt);
        let queue = Arc::new(ZoneQueue::new(zone.clone(), transport, self.clock, doubt));
        zones.insert(zone.clone(), Arc::clone(&queue));
        let worker = Worker {
            zone: zone.clone(),
            queue: Arc::clone(&queue),
            zones: Arc::clone(&self.zones),
        };
        tokio::spawn(async move { worker.queue.run().await });
        Ok(queue)
    }

    /// The zones that were published to in the last minute.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        let mut zones: Vec<_> = self.zones.lock().values().map(|queue| queue.health()).collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }

    /// Whether the server does not answer for the zone at the moment.
    pub fn is_down(&self, zone: &Zone) -> bool {
        self.zones.lock().get(zone).is_some_and(|queue| queue.health().down)
    }

    /// How long one message may take, retries included.
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }
}
