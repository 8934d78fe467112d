//! Publishing with RFC 2136. In: changes. Out: whether the primary acknowledged them. Another
//! configuration may name another server: then nothing is sent until the records move there.

use super::checker::{CheckResult, Halving};
use super::error::DnsError;
use super::lookup::{Found, LookupError};
use super::name_server::NameServer;
use super::{Lane, Published, ZoneHealth};
use crate::clock::Clock;
use crate::config::Rfc2136;
use crate::counters::DnsCounters;
use crate::model::change::{RecordChange, RecordCheck};
use crate::model::family::Family;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};

/// Sends updates to the configured name server. Clones share everything.
#[derive(Clone)]
pub(super) struct UpdateClient {
    name_server: Arc<ArcSwap<NameServer>>,
    /// Locked for writing while the records move to another server: nothing new is sent meanwhile.
    gate: Arc<RwLock<()>>,
}

/// Another configuration, ready to be used. Dropped, nothing changes.
#[must_use = "it is used when it is committed"]
pub struct PreparedClient {
    client: UpdateClient,
    /// `None` if the configuration is the same.
    name_server: Option<NameServer>,
    closed: Option<OwnedRwLockWriteGuard<()>>,
}

impl PreparedClient {
    /// Publishes this way from now on. What is in flight to the previous server does not count any
    /// more, and is sent to the new one.
    pub(super) fn commit(self) {
        let Self { client, name_server, closed } = self;
        if let Some(name_server) = name_server {
            client.name_server.store(Arc::new(name_server));
        }
        drop(closed);
    }

    /// Whether another server gets the records: nothing is sent until this is committed or dropped.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.closed.is_some()
    }
}

/// A change that was queued.
struct Queued {
    name_server: Arc<NameServer>,
    result: oneshot::Receiver<Published>,
}

impl UpdateClient {
    /// Nothing is sent before the first change. From then on it needs tokio's runtime.
    pub(super) fn new(config: Rfc2136, counters: Arc<DnsCounters>, clock: Clock) -> Self {
        let name_server = NameServer::new(config, counters, clock);
        Self { name_server: Arc::new(ArcSwap::from_pointee(name_server)), gate: Arc::default() }
    }

    /// Prepares another configuration, perhaps with another server. If it is another one, changes
    /// that come meanwhile wait, and are sent to the one in force then. The same configuration
    /// changes nothing: zones that are down stay down.
    pub(super) async fn prepare(&self, config: Rfc2136) -> PreparedClient {
        let current = self.name_server.load_full();
        let is_elsewhere = current.address() != config.server;
        let name_server = current.with(config);
        let closed =
            if is_elsewhere { Some(Arc::clone(&self.gate).write_owned().await) } else { None };
        PreparedClient { client: self.clone(), name_server, closed }
    }

    /// Makes DNS hold what the change says, together with whatever else is queued for the zone.
    /// Each message has [`Self::timeout`]; a change may wait for one before its own. Once polled,
    /// the change is sent even if the future is dropped. Changes of one host are sent in the order
    /// of these calls, never in one message.
    pub(super) async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        self.clone().result(change, lane, None).await
    }

    /// As [`Self::publish`] for several changes: those of a zone travel in one message. They are
    /// queued when this returns; the futures are their results, in order.
    pub(super) fn publish_all(
        &self,
        changes: Vec<RecordChange>,
        lane: Lane,
    ) -> impl Iterator<Item = impl Future<Output = Published> + use<>> + use<> {
        let queued = match self.gate.try_read() {
            Ok(_open) => self.queue(&changes, lane),
            Err(_closed) => Vec::new(),
        };
        let client = self.clone();
        let mut queued = queued.into_iter();
        changes.into_iter().map(move |change| client.clone().result(change, lane, queued.next()))
    }

    fn queue(&self, changes: &[RecordChange], lane: Lane) -> Vec<Queued> {
        let name_server = self.name_server.load_full();
        let results = name_server.queue(changes, lane).into_iter();
        results.map(|result| Queued { name_server: Arc::clone(&name_server), result }).collect()
    }

    /// Waits for the result of a change. Queues it if it is not, and again if another
    /// configuration came into force meanwhile.
    async fn result(
        self,
        change: RecordChange,
        lane: Lane,
        mut queued: Option<Queued>,
    ) -> Published {
        loop {
            if queued.is_none() {
                let _open = self.gate.read().await;
                queued = self.queue(slice::from_ref(&change), lane).pop();
            }
            let Some(Queued { name_server, result }) = queued.take() else { continue };
            let result = result.await.unwrap_or_else(|_closed| {
                Published::Unconfirmed(DnsError::BrokenOff { zone: change.zone.clone() })
            });
            if self.counts(&result, &name_server) {
                return result;
            }
        }
    }

    /// Whether the result of a name server holds for the one in force: it does not if another
    /// server acknowledged it, or if it failed under another configuration.
    fn counts(&self, result: &Published, name_server: &Arc<NameServer>) -> bool {
        let current = self.name_server.load();
        if Arc::ptr_eq(&current, name_server) {
            return true;
        }
        let is_acknowledged = matches!(result, Published::Acknowledged { .. });
        is_acknowledged && current.address() == name_server.address()
    }

    /// See [`super::Dns::look_up`].
    pub(super) async fn look_up(
        &self,
        name: &Fqdn,
        zone: &Zone,
        family: Family,
    ) -> Result<Found, LookupError> {
        self.name_server.load_full().look_up(name, zone, family).await
    }

    /// See [`super::Dns::check_records`]. A result of a server that is replaced meanwhile is
    /// unknown.
    pub(super) async fn check(
        &self,
        zone: &Zone,
        checks: &[RecordCheck],
        halving: Halving,
    ) -> Vec<CheckResult> {
        let name_server = self.name_server.load_full();
        let results = name_server.check(zone, checks, halving).await;
        if self.server() == name_server.address() {
            return results;
        }
        let broken_off = || CheckResult::Unknown(DnsError::BrokenOff { zone: zone.clone() });
        checks.iter().map(|_| broken_off()).collect()
    }

    /// The zones that were published to in the last minute, by name.
    pub(super) fn zones(&self) -> Vec<ZoneHealth> {
        self.name_server.load().health()
    }

    /// Whether the server does not answer for the zone at the moment.
    pub(super) fn is_down(&self, zone: &Zone) -> bool {
        self.name_server.load().is_down(zone)
    }

    /// Where messages go.
    pub(super) fn server(&self) -> SocketAddr {
        self.name_server.load().address()
    }

    /// How long one message may take, retries included.
    pub(super) fn timeout(&self) -> Duration {
        self.name_server.load().timeout()
    }

    /// See [`super::Dns::started`].
    pub(super) fn started(&self) -> Millis {
        self.name_server.load().started()
    }

    /// See [`super::Dns::may_come_late`].
    pub(super) fn may_come_late(&self, name: &Fqdn) {
        self.name_server.load().may_come_late(name);
    }

    /// Whether a host is acknowledged, and its acknowledgement not final yet.
    pub(super) fn is_waiting(&self, name: &Fqdn) -> bool {
        self.name_server.load().is_waiting(name)
    }
}
