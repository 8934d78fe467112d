//! The exit to DNS. In: a host's records as they should be. Out: whether DNS holds them. Callers
//! do not see which of the two it is: another name server that takes RFC 2136 updates, or the
//! name server in ddnsd itself.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod batcher;
pub mod builtin;
mod checker;
mod error;
mod exchange;
mod late_messages;
mod lookup;
mod message;
mod name_server;
mod response;
mod rfc2136;
mod tcp;
mod tsig;
mod udp;
mod update;
mod zone_worker;

pub use checker::{CheckResult, Halving, MAX_DIFFERING};
pub use error::{DnsError, Refusal};
pub use lookup::{Found, Hiding, LookupError};

use crate::clock::Clock;
use crate::config::{DnsBackend, Rfc2136};
use crate::counters::DnsCounters;
use crate::model::change::{RecordChange, RecordCheck};
use crate::model::family::Family;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;
use builtin::{BuiltinServer, PreparedZones};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use rfc2136::{PreparedClient, UpdateClient};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The handle for publishing. Clones share everything.
#[derive(Clone)]
pub struct Dns(Exit);

#[derive(Clone)]
enum Exit {
    Rfc2136(UpdateClient),
    Builtin(BuiltinServer),
}

/// Which changes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A client waits for it. Answered at once while the zone is down.
    Interactive,
    /// Sweeps and retries. Waits for the next try while the zone is down.
    Background,
}

/// The result of a change.
#[derive(Clone, Debug)]
#[must_use]
pub enum Published {
    /// The primary has applied it.
    Acknowledged {
        /// Until then an earlier, unanswered message may still overwrite it, so that the caller
        /// sends the host once more then; `None`: it is final.
        final_from: Option<Instant>,
    },
    /// The primary has, provably, not applied it.
    Refused(DnsError),
    /// There was no answer that counts, or nothing was sent ([`DnsError::Down`],
    /// [`DnsError::Overloaded`]): it may be applied, now or later.
    Unconfirmed(DnsError),
}

/// How publishing to a zone goes.
#[derive(Clone, Debug)]
pub struct ZoneHealth {
    pub zone: Zone,
    /// The server does not answer for it, and is tried again with growing pauses, up to 15 s.
    pub down: bool,
    /// Changes that wait.
    pub queued: usize,
}

/// Another configuration, ready to be used. Dropped, nothing changes.
#[must_use = "it is used when it is committed"]
pub enum PreparedDns {
    Rfc2136(PreparedClient),
    Builtin(PreparedZones),
    /// The configuration is of the backend that does not run.
    Unchanged,
}

impl PreparedDns {
    /// Publishes this way from now on.
    pub fn commit(self) {
        match self {
            PreparedDns::Rfc2136(client) => client.commit(),
            PreparedDns::Builtin(zones) => zones.commit(),
            PreparedDns::Unchanged => {}
        }
    }

    /// Whether another server gets the records: nothing is sent until this is committed or dropped.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            PreparedDns::Rfc2136(client) => client.is_elsewhere(),
            PreparedDns::Builtin(_) | PreparedDns::Unchanged => false,
        }
    }
}

impl Dns {
    /// Publishes to another name server. Nothing is sent before the first change. From then on it
    /// needs tokio's runtime.
    pub fn new(config: Rfc2136, counters: Arc<DnsCounters>, clock: Clock) -> Self {
        Self(Exit::Rfc2136(UpdateClient::new(config, counters, clock)))
    }

    /// Publishes to the name server in ddnsd itself.
    pub fn builtin(server: BuiltinServer) -> Self {
        Self(Exit::Builtin(server))
    }

    /// The name server in ddnsd itself, if that is the one.
    pub fn own_server(&self) -> Option<&BuiltinServer> {
        match &self.0 {
            Exit::Rfc2136(_) => None,
            Exit::Builtin(server) => Some(server),
        }
    }

    /// Prepares another configuration of the running backend. If records move to another server,
    /// changes that come meanwhile wait, and are sent to the one in force then.
    pub async fn prepare(&self, config: DnsBackend) -> PreparedDns {
        match (&self.0, config) {
            (Exit::Rfc2136(client), DnsBackend::Rfc2136(config)) => {
                PreparedDns::Rfc2136(client.prepare(config).await)
            }
            (Exit::Builtin(server), DnsBackend::Builtin(config)) => {
                PreparedDns::Builtin(server.prepare(config))
            }
            _ => PreparedDns::Unchanged,
        }
    }

    /// Makes DNS hold what the change says. Takes [`Self::timeout`] at most from when it is sent;
    /// it may wait for others before. Once polled, the change is sent even if the future is
    /// dropped. Changes of one host are sent in the order of these calls.
    pub async fn publish(&self, change: RecordChange, lane: Lane) -> Published {
        match &self.0 {
            Exit::Rfc2136(client) => client.publish(change, lane).await,
            Exit::Builtin(server) => server.publish(&change),
        }
    }

    /// As [`Self::publish`] for several changes: those of a zone travel in one message. They are
    /// queued when this returns; the futures are their results, in order.
    pub fn publish_all(
        &self,
        changes: Vec<RecordChange>,
        lane: Lane,
    ) -> impl Iterator<Item = impl Future<Output = Published> + use<>> + use<> {
        let results: Vec<BoxFuture<'static, Published>> = match &self.0 {
            Exit::Rfc2136(client) => {
                client.publish_all(changes, lane).map(FutureExt::boxed).collect()
            }
            Exit::Builtin(server) => server
                .publish_all(&changes)
                .into_iter()
                .map(|result| ready(result).boxed())
                .collect(),
        };
        results.into_iter()
    }

    /// What clients find at a name of this zone, as the server itself answers. Takes
    /// [`Self::timeout`] at most from when it is asked; a bounded number of queries is in flight.
    ///
    /// # Errors
    /// It does not answer, or not for this name.
    pub async fn look_up(
        &self,
        name: &Fqdn,
        zone: &Zone,
        family: Family,
    ) -> Result<Found, LookupError> {
        match &self.0 {
            Exit::Rfc2136(client) => client.look_up(name, zone, family).await,
            Exit::Builtin(server) => server.look_up(name, family),
        }
    }

    /// Whether the primary holds what names of this zone should hold; the results in the order of
    /// the checks. Nothing is changed, and no time of an update is used: at most 20 messages a
    /// second are sent, each with as many names as fit, and a zone that is down is not asked.
    pub async fn check_records(
        &self,
        zone: &Zone,
        checks: &[RecordCheck],
        halving: Halving,
    ) -> Vec<CheckResult> {
        match &self.0 {
            Exit::Rfc2136(client) => client.check(zone, checks, halving).await,
            Exit::Builtin(server) => {
                checks.iter().map(|check| server.check_records(check)).collect()
            }
        }
    }

    /// Whether records are served by another program, which may not do as it says.
    pub fn is_remote(&self) -> bool {
        matches!(self.0, Exit::Rfc2136(_))
    }

    /// Whether a host of this name can be published.
    ///
    /// # Errors
    /// The built-in name server does not serve the zone, or owns the name.
    pub fn check(&self, name: &Fqdn, zone: &Zone) -> Result<(), DnsError> {
        match &self.0 {
            Exit::Rfc2136(_) => Ok(()),
            Exit::Builtin(server) => server.check(name, zone),
        }
    }

    /// The zones that were published to in the last minute, or that ddnsd serves, by name.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        match &self.0 {
            Exit::Rfc2136(client) => client.zones(),
            Exit::Builtin(server) => server.zones(),
        }
    }

    /// Whether the server does not answer for the zone at the moment.
    pub fn is_down(&self, zone: &Zone) -> bool {
        match &self.0 {
            Exit::Rfc2136(client) => client.is_down(zone),
            Exit::Builtin(_) => false,
        }
    }

    /// Where the records go, as `meta.target` stores it.
    pub fn target(&self) -> String {
        match &self.0 {
            Exit::Rfc2136(client) => format!("rfc2136 {}", client.server()),
            Exit::Builtin(_) => "builtin".to_owned(),
        }
    }

    /// How long one message may take, retries included.
    pub fn timeout(&self) -> Duration {
        match &self.0 {
            Exit::Rfc2136(client) => client.timeout(),
            Exit::Builtin(_) => Duration::ZERO,
        }
    }

    /// When this run began. A host that was unpublished before may have an unanswered message of
    /// the previous run. `None` if no message can be late.
    pub fn started(&self) -> Option<Millis> {
        match &self.0 {
            Exit::Rfc2136(client) => Some(client.started()),
            Exit::Builtin(_) => None,
        }
    }

    /// Another daemon may have sent a message with this name that got no answer.
    pub fn may_come_late(&self, name: &Fqdn) {
        if let Exit::Rfc2136(client) = &self.0 {
            client.may_come_late(name);
        }
    }

    /// Whether a host is acknowledged, and its acknowledgement not final yet.
    pub fn is_waiting(&self, name: &Fqdn) -> bool {
        match &self.0 {
            Exit::Rfc2136(client) => client.is_waiting(name),
            Exit::Builtin(_) => false,
        }
    }
}
