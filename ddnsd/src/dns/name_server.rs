//! One name server as it is configured, with a worker for each zone that is published to. In:
//! changes. Out: the result of each. Another configuration is another `NameServer`; the previous
//! one ends once every change that it took has its result.

use super::batcher::Job;
use super::checker::{CheckResult, Halving, Pace, ZoneChecker};
use super::error::DnsError;
use super::exchange::Exchange;
use super::late_messages::LateMessages;
use super::lookup::{Found, Lookup, LookupError};
use super::update::UpdateSender;
use super::zone_worker::ZoneWorker;
use super::{Lane, Published, ZoneHealth};
use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::counters::DnsCounters;
use crate::model::change::{RecordChange, RecordCheck};
use crate::model::family::Family;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A name server and its zones.
pub(super) struct NameServer {
    config: Rfc2136,
    counters: Arc<DnsCounters>,
    clock: Clock,
    late_messages: Arc<LateMessages>,
    zones: Arc<Zones>,
    exchange: Arc<Exchange>,
    lookup: Lookup,
    pace: Pace,
}

/// The zones that are published to, each with its running worker. Changes are queued and workers
/// removed under this lock, so that no change is queued with a worker that has ended.
#[derive(Default)]
struct Zones(Mutex<HashMap<Zone, Arc<ZoneWorker>>>);

impl Zones {
    fn lock(&self) -> MutexGuard<'_, HashMap<Zone, Arc<ZoneWorker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's entry in the map, owned by its task. If that panics, the entry goes too, and with it
/// every queued change: their channels close.
struct ZoneEntry {
    zones: Arc<Zones>,
    worker: Arc<ZoneWorker>,
}

impl ZoneEntry {
    async fn run(self) {
        loop {
            self.worker.run().await;
            if self.remove_if_idle() {
                return;
            }
        }
    }

    fn remove_if_idle(&self) -> bool {
        let mut zones = self.zones.lock();
        let is_idle = self.worker.is_idle();
        if is_idle {
            zones.remove(self.worker.zone());
        }
        is_idle
    }
}

impl Drop for ZoneEntry {
    fn drop(&mut self) {
        let zone = self.worker.zone();
        let mut zones = self.zones.lock();
        // the next worker may have the place already
        if zones.get(zone).is_some_and(|worker| Arc::ptr_eq(worker, &self.worker)) {
            zones.remove(zone);
        }
    }
}

impl NameServer {
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
        let exchange = Arc::new(Exchange::new(&config, clock));
        let lookup = Lookup::new(Arc::clone(&exchange));
        let zones = Arc::default();
        let pace = Pace::default();
        Self { config, counters, clock, late_messages, zones, exchange, lookup, pace }
    }

    /// One with another configuration, unless it is the same. Late messages stay known: it may be
    /// the same server.
    pub(super) fn with(&self, config: Rfc2136) -> Option<Self> {
        if config == self.config {
            return None;
        }
        let late_messages = Arc::clone(&self.late_messages);
        Some(Self::knowing(late_messages, config, Arc::clone(&self.counters), self.clock))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.config.server
    }

    /// See [`super::Dns::timeout`].
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// See [`super::Dns::started`].
    pub(super) fn started(&self) -> Millis {
        self.late_messages.started()
    }

    /// See [`super::Dns::may_come_late`].
    pub(super) fn may_come_late(&self, name: &Fqdn) {
        let now = self.clock.now().mono;
        self.late_messages.unanswered(std::iter::once(name), self.config.timeout, now);
    }

    /// See [`super::Dns::is_waiting`].
    pub(super) fn is_waiting(&self, name: &Fqdn) -> bool {
        self.late_messages.is_waiting(name, self.clock.now().mono)
    }

    /// See [`super::Dns::look_up`].
    pub(super) async fn look_up(
        &self,
        name: &Fqdn,
        zone: &Zone,
        family: Family,
    ) -> Result<Found, LookupError> {
        let server = self.config.server;
        let sender = self.sender(zone);
        let sender = sender.map_err(|why| LookupError::Refused { server, why: why.to_string() })?;
        self.lookup.ask(&sender, name, zone, family).await
    }

    /// See [`super::Dns::check_records`].
    pub(super) async fn check(
        &self,
        zone: &Zone,
        checks: &[RecordCheck],
        halving: Halving,
    ) -> Vec<CheckResult> {
        let unknown = |error: DnsError| {
            checks.iter().map(|_| CheckResult::Unknown(error.clone())).collect::<Vec<_>>()
        };
        if self.is_down(zone) {
            return unknown(DnsError::Down { server: self.config.server, zone: zone.clone() });
        }
        let sender = match self.sender(zone) {
            Ok(sender) => sender,
            Err(error) => return unknown(error),
        };
        let counters = Arc::clone(&self.counters.checks);
        let (pace, clock) = (&self.pace, self.clock);
        let checker = ZoneChecker { zone, sender, pace, counters, clock, halving };
        checker.check(checks).await
    }

    fn sender(&self, zone: &Zone) -> Result<UpdateSender, DnsError> {
        let exchange = Arc::clone(&self.exchange);
        let counters = Arc::clone(&self.counters);
        UpdateSender::new(zone, &self.config, exchange, counters, self.clock)
    }

    /// Queues changes, those of a zone together, so that they travel in one message. Each has a
    /// channel for its result, in the order of the changes; it closes without one if the zone's
    /// worker ends.
    pub(super) fn queue(
        &self,
        changes: &[RecordChange],
        lane: Lane,
    ) -> Vec<oneshot::Receiver<Published>> {
        let mut results = Vec::with_capacity(changes.len());
        let mut by_zone: HashMap<&Zone, Vec<Job>> = HashMap::new();
        for change in changes {
            let (reply, result) = oneshot::channel();
            results.push(result);
            let job = Job { change: change.clone(), lane, reply };
            by_zone.entry(&change.zone).or_default().push(job);
        }
        let mut zones = self.zones.lock();
        for (zone, jobs) in by_zone {
            match self.worker(zone, &mut zones) {
                Ok(worker) => worker.push(jobs),
                Err(error) => jobs
                    .into_iter()
                    .for_each(|job| job.reply(Published::Unconfirmed(error.clone()))),
            }
        }
        results
    }

    /// The zone's worker; started if there is none.
    fn worker(
        &self,
        zone: &Zone,
        zones: &mut HashMap<Zone, Arc<ZoneWorker>>,
    ) -> Result<Arc<ZoneWorker>, DnsError> {
        if let Some(worker) = zones.get(zone) {
            return Ok(Arc::clone(worker));
        }
        let sender = self.sender(zone)?;
        let late_messages = Arc::clone(&self.late_messages);
        let worker = ZoneWorker::new(zone.clone(), sender, self.clock, late_messages);
        let worker = Arc::new(worker);
        zones.insert(zone.clone(), Arc::clone(&worker));
        let entry = ZoneEntry { zones: Arc::clone(&self.zones), worker: Arc::clone(&worker) };
        tokio::spawn(entry.run());
        Ok(worker)
    }

    /// See [`super::Dns::zones`].
    pub(super) fn health(&self) -> Vec<ZoneHealth> {
        let mut zones: Vec<_> = self.zones.lock().values().map(|worker| worker.health()).collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }

    /// See [`super::Dns::is_down`].
    pub(super) fn is_down(&self, zone: &Zone) -> bool {
        self.zones.lock().get(zone).is_some_and(|worker| worker.is_down())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DnsTransport, ZoneKeys};
    use crate::model::record::WantedRecords;

    fn change(zone: &Zone) -> RecordChange {
        RecordChange {
            fqdn: Fqdn::parse("h1.example.org").unwrap(),
            zone: zone.clone(),
            ttl: 60,
            records: WantedRecords::default(),
            unpublished_since: None,
        }
    }

    #[tokio::test]
    async fn a_worker_that_panics_ends_every_wait_and_leaves_its_zone_to_the_next() {
        let config = Rfc2136 {
            server: "127.0.0.1:53".parse().unwrap(),
            timeout: Duration::from_secs(5),
            transport: DnsTransport::Tcp,
            keys: ZoneKeys::default(),
        };
        let server = NameServer::new(config, Arc::default(), Clock);
        let zone = Zone::parse("example.org").unwrap();
        let exchange = Arc::clone(&server.exchange);
        let sender =
            UpdateSender::new(&zone, &server.config, exchange, Arc::default(), Clock).unwrap();
        let late_messages = Arc::clone(&server.late_messages);
        let worker = Arc::new(ZoneWorker::new(zone.clone(), sender, Clock, late_messages));
        server.zones.lock().insert(zone.clone(), Arc::clone(&worker));
        // the second waits for the first, which is in flight
        let results = server.queue(&[change(&zone), change(&zone)], Lane::Interactive);
        let entry = ZoneEntry { zones: Arc::clone(&server.zones), worker };
        let broken = async move {
            let mut run = std::pin::pin!(entry.worker.run());
            assert!(futures::poll!(&mut run).is_pending());
            panic!("a bug");
        };
        assert!(tokio::spawn(broken).await.unwrap_err().is_panic());
        for result in results {
            assert!(result.await.is_err(), "its channel closes");
        }
        assert!(server.zones.lock().is_empty());
    }
}
