//! Asks for what hides a host whose records hold, as a client would. An answer from a cache is
//! taken for one only once no cache can be the cause. A zone whose queries get no answer is logged
//! once and asked again after a while.

use super::Verify;
use crate::db::{CheckFinding, DbError};
use crate::dns::Found;
use crate::model::family::Family;
use crate::model::host::Host;
use crate::rules::verify::VerifyStep;
use std::sync::Arc;
use tracing::{info, warn};

impl Verify {
    /// Asks for one host, and acts on the answer.
    pub(super) async fn ask(&self, host: Arc<Host>) -> Result<(), DbError> {
        let handles = self.handles();
        let family = if host.wanted.v4.address().is_some() { Family::V4 } else { Family::V6 };
        if !self.zones().may_ask(&host.zone(), handles.clock.now().mono) {
            // what cannot be asked counts as found
            return self.is_served(host).await;
        }
        handles.counters.queries.add_one();
        let found = handles.publisher.look_up(&host.fqdn, &host.zone(), family).await;
        let now = handles.clock.now().mono;
        match found {
            Err(why) => {
                if self.zones().asked(&host.zone(), Some(now)) {
                    warn!(zone = %host.zone(), "cannot ask what clients find: {why}");
                }
                self.is_served(host).await
            }
            Ok(found) => {
                if self.zones().asked(&host.zone(), None) {
                    info!(zone = %host.zone(), "the name server answers queries again");
                }
                self.found(host, &found).await
            }
        }
    }

    async fn found(&self, host: Arc<Host>, found: &Found) -> Result<(), DbError> {
        let times = &self.0.times;
        match found {
            Found::Hidden(hiding) => {
                let reason = format!(
                    "the name server holds its records, but clients do not find them: it answers \
                     {hiding} (remove that, or choose another hostname)"
                );
                self.is_hidden(host, times.hidden, reason).await
            }
            Found::NoName => {
                let reason = "the name server holds its records, but clients do not find them: it \
                              answers NXDOMAIN (see its log and configuration)";
                self.is_hidden(host, times.cached, reason.to_owned()).await
            }
            Found::Addresses { ttl, .. } => {
                let other = ttl.filter(|_| host.acked.ttl.is_some() && *ttl != host.acked.ttl);
                match other {
                    Some(ttl) => self.has_other_ttl(host, ttl).await,
                    None => self.is_served(host).await,
                }
            }
        }
    }

    async fn is_hidden(
        &self,
        asked: Arc<Host>,
        confirm: std::time::Duration,
        reason: String,
    ) -> Result<(), DbError> {
        let Some((_guard, host)) = self.lock_unchanged(&asked).await? else { return Ok(()) };
        let now = self.handles().clock.now().mono;
        let mut suspicion = self.queues().suspicion(&host).unwrap_or_default();
        let is_unserved = host.unserved_since.is_some();
        match suspicion.is_odd(is_unserved, confirm, &self.0.times, now) {
            VerifyStep::CheckAfter(pause) => self.suspect(&host, suspicion, pause),
            VerifyStep::Repair | VerifyStep::Unserved(_) => {
                self.mark_unserved(host, suspicion, reason).await?;
            }
        }
        Ok(())
    }

    /// The server serves the records with another TTL than it acknowledged: no failure, but worth
    /// knowing, once a zone.
    async fn has_other_ttl(&self, asked: Arc<Host>, ttl: u32) -> Result<(), DbError> {
        if asked.unserved_since.is_some() {
            return self.is_served(asked).await;
        }
        let Some((_guard, host)) = self.lock_unchanged(&asked).await? else { return Ok(()) };
        let now = self.handles().clock.now().mono;
        let mut suspicion = self.queues().suspicion(&host).unwrap_or_default();
        let step = suspicion.is_odd(false, self.0.times.cached, &self.0.times, now);
        if let VerifyStep::CheckAfter(pause) = step {
            self.suspect(&host, suspicion, pause);
            return Ok(());
        }
        self.queues().forget(host.id);
        if self.zones().has_other_ttl(&host.zone()) {
            let sent = host.acked.ttl.unwrap_or_default();
            warn!(
                zone = %host.zone(), host = %host.fqdn,
                "the name server serves records with a TTL of {ttl} s instead of {sent} s (does it \
                 limit the zone's TTLs?)"
            );
        }
        self.handles().db.store_check(CheckFinding::Ttl(host, Some(ttl))).await?;
        Ok(())
    }
}
