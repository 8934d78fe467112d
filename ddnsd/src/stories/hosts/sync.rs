//! Compares what the name server answers with what it should hold. In: a page of hosts. Out: the
//! differences, repaired if that is asked: those hosts become unpublished and are published like
//! every change. A host that is pending, or changes meanwhile, does not count as different.

use super::{Hosts, LOCK_TIMEOUT};
use crate::db::{DbError, HostPage};
use crate::dns::{Found, Lane, LookupError};
use crate::model::family::Family;
use crate::model::host::Host;
use crate::model::name::{Fqdn, Zone};
use crate::rules::decide;
use crate::rules::drift::{self, InDns};
use crate::stories::error::{AdminError, AdminErrorKind};
use crate::stories::host_locks::{HostGuard, NotLocked};
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Hosts of a page: with a server that answers late it still ends before `ddnsctl` gives up.
const PAGE: u32 = 100;
/// Hosts compared at a time; the questions to the server have a limit of their own.
const MAX_CONCURRENT: usize = 32;

/// Which hosts to compare, and what to do then.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    pub zone: Option<Zone>,
    /// After this FQDN (A-labels), in byte order.
    pub after: Option<String>,
    /// Whether differences are repaired.
    pub repair: bool,
}

/// The result of a page.
#[derive(Clone, Debug, Default)]
pub struct SyncPage {
    /// Hosts whose records were asked for.
    pub compared: u32,
    /// Hosts that are not published yet, so that they cannot be compared.
    pub pending: u32,
    pub drift: Vec<Drift>,
    /// Hosts that the server does not answer for, each with the reason.
    pub failed: Vec<(Fqdn, String)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Drift {
    pub host: Arc<Host>,
    pub family: Family,
    /// What DNS holds.
    pub found: InDns,
    /// What it should hold; `None` for no record.
    pub wanted: Option<IpAddr>,
    /// Seconds.
    pub wanted_ttl: u32,
    pub repair: Repair,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    NotAsked,
    /// DNS holds what it should now.
    Done,
    /// Not yet, for this reason. The republisher retries.
    NotYet(String),
}

/// The result of one host.
enum Comparison {
    Same,
    Pending,
    Differs(Vec<Drift>),
    Failed(String),
}

impl Hosts {
    /// Compares one page of hosts and repairs what differs, if that is asked.
    ///
    /// # Errors
    /// The name server does not answer, or the database failed.
    pub async fn sync(&self, ask: SyncRequest) -> Result<SyncPage, AdminError> {
        let page = HostPage {
            user: None,
            zone: ask.zone,
            after: ask.after.unwrap_or_default(),
            limit: PAGE,
        };
        let rows = self.db.host_page(&page).await?;
        let full = u32::try_from(rows.len()).is_ok_and(|count| count >= PAGE);
        let mut done = SyncPage {
            next: rows.last().filter(|_| full).map(|last| last.host.fqdn.to_string()),
            ..SyncPage::default()
        };
        let set = rows.into_iter().map(|row| row.host).filter(|host| !host.wanted.is_untouched());
        let results = stream::iter(set).map(|host| self.compare(host)).buffered(MAX_CONCURRENT);
        let results: Vec<_> = results.try_collect().await?;
        let mut differing = Vec::new();
        for (host, result) in results {
            match result {
                Comparison::Pending => done.pending += 1,
                Comparison::Same => done.compared += 1,
                Comparison::Failed(why) => done.failed.push((host.fqdn.clone(), why)),
                Comparison::Differs(drift) => differing.push((host, drift)),
            }
        }
        let repaired = differing
            .into_iter()
            .map(|(host, drift)| self.confirm_and_repair(host, drift, ask.repair));
        for result in join_all(repaired).await {
            match result? {
                Some(drift) => {
                    done.compared += 1;
                    done.drift.extend(drift);
                }
                None => done.pending += 1,
            }
        }
        Ok(done)
    }

    async fn compare(&self, host: Arc<Host>) -> Result<(Arc<Host>, Comparison), AdminError> {
        if host.unpublished_since.is_some() {
            return Ok((host, Comparison::Pending));
        }
        let wanted = [
            (Family::V4, drift::should_be(host.wanted.v4)),
            (Family::V6, drift::should_be(host.wanted.v6)),
        ];
        let mut differing = Vec::new();
        for (family, wanted) in wanted {
            let Some(wanted) = wanted else { continue };
            let found = match self.publisher.look_up(&host.fqdn, family).await {
                Ok(found) => in_dns(found),
                Err(why) if why.is_unanswered() => return Err(no_answer(&why)),
                Err(why) => return Ok((host, Comparison::Failed(why.to_string()))),
            };
            let defaults = self.publisher.defaults();
            if drift::differs(wanted, &found, &host, &defaults) {
                let (host, wanted_ttl) = (Arc::clone(&host), decide::dns_ttl(&host, &defaults));
                let repair = Repair::NotAsked;
                differing.push(Drift { host, family, found, wanted, wanted_ttl, repair });
            }
        }
        let is_same = differing.is_empty();
        Ok((host, if is_same { Comparison::Same } else { Comparison::Differs(differing) }))
    }

    /// The differences, repaired if that is asked. `None` if the host has changed since it was
    /// read, so that the server's answer may be older or newer than the row.
    async fn confirm_and_repair(
        &self,
        host: Arc<Host>,
        mut drift: Vec<Drift>,
        repair: bool,
    ) -> Result<Option<Vec<Drift>>, DbError> {
        let _guard = match self.lock_to_repair(&host, repair).await {
            Ok(guard) => guard,
            Err(NotLocked) => return Ok(None),
        };
        let now = self.db.readable_host(&host.fqdn).await?;
        let same = |now: &Arc<Host>| {
            (now.id, now.version, now.unpublished_since) == (host.id, host.version, None)
        };
        let Some(now) = now.filter(same) else { return Ok(None) };
        if !repair {
            return Ok(Some(drift));
        }
        let at = self.clock.now().wall;
        let Some(host) = self.db.mark_unpublished(now, at).await? else { return Ok(None) };
        let repaired = self.repair(host).await;
        for drift in &mut drift {
            drift.repair = repaired.clone();
        }
        Ok(Some(drift))
    }

    /// A repair locks the host; a comparison alone needs no lock.
    async fn lock_to_repair(
        &self,
        host: &Host,
        repair: bool,
    ) -> Result<Option<HostGuard>, NotLocked> {
        if !repair {
            return Ok(None);
        }
        let guards = self.host_locks.lock(&BTreeSet::from([host.id]), LOCK_TIMEOUT).await;
        guards.map(|mut guards| guards.pop())
    }

    async fn repair(&self, host: Arc<Host>) -> Repair {
        if self.publisher.is_down(&host.zone) {
            return Repair::NotYet(format!("the name server is down for zone `{}`", host.zone));
        }
        let fqdn = host.fqdn.clone();
        match self.publisher.publish(host, Lane::Background).await {
            Ok(()) => {
                tracing::info!(host = %fqdn, "DNS held something else; repaired");
                Repair::Done
            }
            Err(why) => {
                tracing::warn!(host = %fqdn, "DNS holds something else, not yet repaired: {why}");
                Repair::NotYet(why.to_string())
            }
        }
    }
}

fn in_dns(found: Found) -> InDns {
    match found {
        Found::Addresses { addresses, ttl } => {
            let records = addresses.iter().map(IpAddr::to_string).collect();
            InDns { records, is_alias: false, ttl }
        }
        Found::Alias(target) => {
            InDns { records: vec![format!("CNAME {target}")], is_alias: true, ttl: None }
        }
    }
}

fn no_answer(why: &LookupError) -> AdminError {
    AdminError::new(AdminErrorKind::Dns, format!("cannot compare anything: {why}"))
}
