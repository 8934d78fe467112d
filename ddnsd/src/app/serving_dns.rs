//! Starts the built-in name server, if that is the backend: bound with everything else, loaded
//! before anything is published, answering last.

use super::handles::{Handles, Services};
use crate::clock::Clock;
use crate::config::{Config, DnsBackend};
use crate::counters::DnsCounters;
use crate::dns::Dns;
use crate::dns::builtin::BuiltinServer;
use crate::dns::builtin::listen::{self, DnsListenError, Listeners};
use crate::stories::served_zones;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::info;

/// The way to publish, and the addresses of the built-in name server.
pub(super) struct BoundDns {
    pub(super) dns: Dns,
    listeners: Option<Listeners>,
}

impl BoundDns {
    /// # Errors
    /// An address of `dns_service.builtin.listen` cannot be bound.
    pub(super) fn new(
        config: &Config,
        counters: &Arc<DnsCounters>,
        clock: Clock,
    ) -> Result<Self, DnsListenError> {
        match &config.dns.backend {
            DnsBackend::Rfc2136(rfc2136) => {
                let dns = Dns::new(rfc2136.clone(), Arc::clone(counters), clock);
                Ok(Self { dns, listeners: None })
            }
            DnsBackend::Builtin(builtin) => {
                let listeners = Some(listen::bind(&builtin.listen)?);
                let dns = Dns::builtin(BuiltinServer::new(Arc::default(), clock));
                Ok(Self { dns, listeners })
            }
        }
    }

    /// Loads the zones and answers for them on the addresses that it returns.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn serve(
        self,
        config: &Config,
        handles: &Handles,
        services: &Services,
    ) -> anyhow::Result<Vec<SocketAddr>> {
        let (Some(server), Some(listeners)) = (self.dns.own_server().cloned(), self.listeners)
        else {
            return Ok(Vec::new());
        };
        let Handles { db, clock, tasks, .. } = handles;
        let now = clock.now().wall;
        served_zones::start_serials(&server, db, now).await.context("cannot store SOA serials")?;
        let prepared = services.republish.prepare(&config.dns.backend, now).await;
        prepared.context("cannot load the zones")?.commit();
        served_zones::mark_unserved(&server, db, *clock).await;
        let addresses = listeners.addresses();
        for address in &addresses {
            info!("name server listens on {address}, UDP and TCP");
        }
        let stop = || tasks.stop.clone();
        let serials = served_zones::keep_serials_covered(server.clone(), db.clone());
        let stopped = stop();
        tasks.service("SOA serials", async move {
            stopped.run_until_cancelled(serials).await;
        });
        tasks.service("the name server", listeners.serve(server, stop(), tasks.work.clone()));
        Ok(addresses)
    }
}
