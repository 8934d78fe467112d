//! One server that is published to, as it was configured at the time, with the queue of each zone. In:
//! changes. Out: what became of them there. Another configuration is another name server; the one of before
//! ends by itself, once what was under way has ended.

use super::error::DnsError;
use super::late_messages::LateMessages;
use super::lookup::{Found, Lookup, LookupError};
use super::transport::Transport;
use super::udp::Udp;
use super::zone_worker::{NotTaken, ZoneWorker};
use super::{Lane, Published, ZoneHealth};
use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::counters::DnsCounters;
use crate::model::address::Family;
use crate::model::change::RecordChange;
use crate::model::name::{Fqdn, Zone};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A name server, and what waits for it.
pub(super) struct NameServer {
    config: Rfc2136,
    counters: Arc<DnsCounters>,
    clock: Clock,
    late_messages: Arc<LateMessages>,
    zones: Arc<Zones>,
    udp: Arc<Udp>,
    lookup: Lookup,
}

/// The zones that are published to at the moment, each with its worker.
#[derive(Default)]
struct Zones(Mutex<HashMap<Zone, Arc<ZoneWorker>>>);

impl Zones {
    fn lock(&self) -> MutexGuard<'_, HashMap<Zone, Arc<ZoneWorker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an ended queue out, unless another has its place already.
    fn forget(&self, zone: &Zone, ended: &Arc<ZoneWorker>) {
        let mut zones = self.lock();
        if zones.get(zone).is_some_and(|queue| Arc::ptr_eq(queue, ended)) {
            zones.remove(zone);
        }
    }
}

/// A worker at work. However it ends, nobody is left waiting for it.
struct Worker {
    zone: Zone,
    queue: Arc<ZoneWorker>,
    zones: Arc<Zones>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.close();
        self.zones.forget(&self.zone, &self.queue);
    }
}

/// A change that was handed to its zone's queue.
pub(super) enum Queued {
    Waits(Zone, oneshot::Receiver<Published>),
    Failed(DnsError),
    /// The queue's worker had just ended.
    Closed(RecordChange),
}

impl NameServer {
    /// Nothing waits yet.
    pub(super) fn new(config: Rfc2136, counters: Arc<DnsCounters>, clock: Clock) -> Self {
        let late_messages = Arc::new(LateMessages::new(clock.now()));
        Self::knowing(late_messages, config, counters, clock)
    }

    fn knowing(
        late_messages: Arc<LateMessages>,
        config: Rfc2136,
        counters: Arc<DnsCounters>,
        clock: Clock,
    ) -> Self {
        let udp = Arc::new(Udp::new(config.server, config.timeout));
        let lookup = Lookup::new(&config, Arc::clone(&udp), clock);
        Self { config, counters, clock, late_messages, zones: Arc::default(), udp, lookup }
    }

    /// A name server by another configuration, unless it is the same. Late messages stay known: it may be
    /// the same server.
    pub(super) fn with(&self, config: Rfc2136) -> Option<Self> {
        if config == self.config {
            return None;
        }
        let (counters, late_messages) =
            (Arc::clone(&self.counters), Arc::clone(&self.late_messages));
        Some(Self::knowing(late_messages, config, counters, self.clock))
    }

    /// Whether there is a key for the zone's updates.
    pub(super) fn signs(&self, zone: &Zone) -> bool {
        self.config.keys.of(zone).is_some()
    }

    /// Where messages go.
    pub(super) fn server(&self) -> SocketAddr {
        self.config.server
    }

    /// How long one message may take, retries included.
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// See [`super::Dns::is_waiting`].
    pub(super) fn is_waiting(&self, name: &Fqdn) -> bool {
        self.late_messages.is_waiting(name, self.clock.now().mono)
    }

    /// See [`super::Dns::look_up`].
    pub(super) async fn look_up(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        self.lookup.ask(name, family).await
    }

    /// See [`super::Dns::publish`].
    pub(super) async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        let zone = change.zone.clone();
        let mut change = change;
        loop {
            let queue = match self.queue(&zone) {
                Ok(queue) => queue,
                Err(error) => return Published::Unconfirmed(error),
            };
            change = match queue.push(change, lane) {
                Ok(outcome) => {
                    let broken_off = |_| Published::Unconfirmed(DnsError::BrokenOff { zone });
                    return outcome.await.unwrap_or_else(broken_off);
                }
                Err(NotTaken::Failed(error)) => return Published::Unconfirmed(error),
                // its worker ends at this moment
                Err(NotTaken::Closed(change)) => {
                    self.zones.forget(&zone, &queue);
                    change
                }
            };
        }
    }

    /// Queues changes, those of a zone together; in the order given.
    pub(super) fn queue_each(&self, changes: Vec<RecordChange>, lane: Lane) -> Vec<Queued> {
        let mut zones: HashMap<Zone, Vec<(usize, RecordChange)>> = HashMap::new();
        for (place, change) in changes.into_iter().enumerate() {
            zones.entry(change.zone.clone()).or_default().push((place, change));
        }
        let mut queued = BTreeMap::new();
        for (zone, changes) in zones {
            let (places, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            queued.extend(places.into_iter().zip(self.queue_all(&zone, changes, lane)));
        }
        queued.into_values().collect()
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

    /// Waits for what becomes of a queued change.
    pub(super) async fn outcome(&self, queued: Queued, lane: Lane) -> Published {
        match queued {
            Queued::Waits(zone, outcome) => {
                let broken_off = |_| Published::Unconfirmed(DnsError::BrokenOff { zone });
                outcome.await.unwrap_or_else(broken_off)
            }
            Queued::Failed(error) => Published::Unconfirmed(error),
            Queued::Closed(change) => self.publish(change, lane).await,
        }
    }

    /// The zone's queue, with a worker.
    fn queue(&self, zone: &Zone) -> Result<Arc<ZoneWorker>, DnsError> {
        let mut zones = self.zones.lock();
        if let Some(queue) = zones.get(zone) {
            return Ok(Arc::clone(queue));
        }
        let (udp, counters) = (Arc::clone(&self.udp), Arc::clone(&self.counters));
        let transport = Transport::new(zone, &self.config, udp, counters, self.clock)?;
        let late_messages = Arc::clone(&self.late_messages);
        let queue = Arc::new(ZoneWorker::new(zone.clone(), transport, self.clock, late_messages));
        zones.insert(zone.clone(), Arc::clone(&queue));
        let worker = Worker {
            zone: zone.clone(),
            queue: Arc::clone(&queue),
            zones: Arc::clone(&self.zones),
        };
        tokio::spawn(async move { worker.queue.run().await });
        Ok(queue)
    }

    /// The zones that were published to in the last minute, by name.
    pub(super) fn health(&self) -> Vec<ZoneHealth> {
        let mut zones: Vec<_> = self.zones.lock().values().map(|queue| queue.health()).collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }

    /// Whether the server does not answer for the zone at the moment.
    pub(super) fn is_down(&self, zone: &Zone) -> bool {
        self.zones.lock().get(zone).is_some_and(|queue| queue.health().down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DnsTransport, ZoneKeys};
    use crate::model::host::HostId;
    use crate::model::record::WantedRecords;

    #[tokio::test]
    async fn a_worker_that_panics_leaves_nobody_waiting_and_its_zone_to_the_next() {
        let server = "127.0.0.1:53".parse().unwrap();
        let (timeout, keys) = (Duration::from_secs(5), ZoneKeys::default());
        let config = Rfc2136 { server, timeout, transport: DnsTransport::Tcp, keys };
        let name_server = NameServer::new(config, Arc::default(), Clock);
        let fqdn = Fqdn::parse("h1.example.org").unwrap();
        let (zone, records) = (Zone::parse("example.org").unwrap(), WantedRecords::default());
        let change = RecordChange {
            host: HostId(1),
            fqdn,
            zone: zone.clone(),
            ttl: 60,
            records,
            unpublished_since: None,
        };
        let udp = Arc::clone(&name_server.udp);
        let counters = Arc::clone(&name_server.counters);
        let transport = Transport::new(&zone, &name_server.config, udp, counters, Clock).unwrap();
        let queue =
            ZoneWorker::new(zone.clone(), transport, Clock, Arc::clone(&name_server.late_messages));
        let queue = Arc::new(queue);
        name_server.zones.lock().insert(zone.clone(), Arc::clone(&queue));
        let (out, waits) = (
            name_server.publish(change.clone(), Lane::Interactive),
            name_server.publish(change, Lane::Interactive),
        );
        let zones = Arc::clone(&name_server.zones);
        let worker = Worker { zone: zone.clone(), queue, zones };
        let broken = async move {
            let mut run = std::pin::pin!(worker.queue.run());
            assert!(futures::poll!(&mut run).is_pending());
            panic!("a bug");
        };
        let (first, second, ended) = tokio::join!(out, waits, tokio::spawn(broken));
        assert!(ended.unwrap_err().is_panic());
        for outcome in [first, second] {
            let is_broken_off =
                matches!(outcome, Published::Unconfirmed(DnsError::BrokenOff { .. }));
            assert!(is_broken_off, "{outcome:?}");
        }
        assert!(name_server.zones.lock().is_empty());
    }
}
