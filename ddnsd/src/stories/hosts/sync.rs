//! Compares what the name server holds with what it should hold. In: a page of hosts. Out: the
//! differences, repaired if that is asked: those hosts become unpublished, are published like
//! every change, and are compared again. A host that is pending, or changes meanwhile, does not
//! count as different.

use super::{Hosts, LOCK_TIMEOUT};
use crate::db::{DbError, HostPage};
use crate::dns::{CheckResult, DnsError, Found, Halving, Lane};
use crate::model::change::RecordCheck;
use crate::model::family::Family;
use crate::model::host::{Host, HostId};
use crate::model::name::{Fqdn, Zone};
use crate::model::record::{Wanted, WantedRecords};
use crate::rules::{decide, drift};
use crate::stories::error::{AdminError, AdminErrorKind};
use crate::stories::host_locks::{HostGuard, NotLocked};
use futures::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Hosts of a page: even if all of them differ it ends before `ddnsctl` gives up.
const PAGE: u32 = 200;

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
    /// Hosts whose records were compared.
    pub compared: u32,
    /// Hosts that are not published yet, so that they cannot be compared.
    pub pending: u32,
    /// In the order of their names.
    pub drift: Vec<Drift>,
    /// Hosts that the server does not compare, each with the reason.
    pub failed: Vec<(Fqdn, String)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Drift {
    pub host: Arc<Host>,
    pub family: Family,
    /// What the server answers.
    pub found: InDns,
    /// What it should hold; `None` for no record.
    pub wanted: Option<IpAddr>,
    /// Seconds.
    pub wanted_ttl: u32,
    pub repair: Repair,
}

/// What a query finds at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDns {
    /// Addresses, or what stands in their place, as text.
    pub records: Vec<String>,
    /// Seconds; `None` without a record.
    pub ttl: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    NotAsked,
    /// DNS holds what it should now.
    Done,
    /// Not yet, for this reason.
    NotYet(String),
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
        let (published, pending): (Vec<_>, Vec<_>) =
            set.partition(|host| host.unpublished_since.is_none());
        let count = |hosts: usize| u32::try_from(hosts).unwrap_or(u32::MAX);
        let mut differing = Vec::new();
        for (host, result) in self.compare(published).await? {
            match result {
                CheckResult::Holds if host.unserved_since.is_some() => differing.push(host),
                CheckResult::Differs => differing.push(host),
                CheckResult::Holds => done.compared += 1,
                CheckResult::Unknown(why) => done.failed.push((host.fqdn.clone(), why.to_string())),
            }
        }
        let drift = self.drift(differing).await?;
        let (confirmed, changed) = self.confirm_and_repair(drift, ask.repair).await?;
        done.pending = count(pending.len() + changed);
        done.compared += count(confirmed.len());
        done.drift = confirmed.into_iter().flatten().collect();
        Ok(done)
    }

    /// The result of each host, in their order.
    async fn compare(
        &self,
        hosts: Vec<Arc<Host>>,
    ) -> Result<Vec<(Arc<Host>, CheckResult)>, AdminError> {
        let checks: Vec<_> = hosts.iter().map(|host| decide::check(host)).collect();
        let results = self.check(checks).await.map_err(|why| no_answer(&why))?;
        Ok(hosts.into_iter().zip(results).collect())
    }

    /// The result of each check, in their order; those of a zone go together.
    async fn check(&self, checks: Vec<RecordCheck>) -> Result<Vec<CheckResult>, DnsError> {
        let mut zones: BTreeMap<Zone, Vec<(usize, RecordCheck)>> = BTreeMap::new();
        for (at, check) in checks.into_iter().enumerate() {
            zones.entry(check.zone.clone()).or_default().push((at, check));
        }
        let mut results = BTreeMap::new();
        for (zone, checks) in zones {
            let (places, checks): (Vec<_>, Vec<_>) = checks.into_iter().unzip();
            let found = self.publisher.check_records(&zone, &checks, Halving::ToTheEnd).await;
            for result in &found {
                if let CheckResult::Unknown(why) = result
                    && why.is_unanswered()
                {
                    return Err(why.clone());
                }
            }
            results.extend(places.into_iter().zip(found));
        }
        Ok(results.into_values().collect())
    }

    /// What differs of each of these hosts; nothing of a host that holds by now.
    async fn drift(
        &self,
        hosts: Vec<Arc<Host>>,
    ) -> Result<Vec<(Arc<Host>, Vec<Drift>)>, AdminError> {
        let families: Vec<_> = hosts.iter().flat_map(families).collect();
        let checks = families
            .iter()
            .map(|(host, _, records)| RecordCheck { records: *records, ..decide::check(host) });
        let results = self.check(checks.collect()).await.map_err(|why| no_answer(&why))?;
        let found = families.into_iter().zip(results).map(|((host, family, records), result)| {
            self.family_drift(host, family, records, result)
        });
        let mut by_host: HashMap<HostId, Vec<Drift>> = HashMap::new();
        for drift in join_all(found).await.into_iter().flatten() {
            by_host.entry(drift.host.id).or_default().push(drift);
        }
        let of = |host: Arc<Host>| {
            let drift = by_host.remove(&host.id).unwrap_or_default();
            (host, drift)
        };
        Ok(hosts.into_iter().map(of).collect())
    }

    async fn family_drift(
        &self,
        host: Arc<Host>,
        family: Family,
        records: WantedRecords,
        result: CheckResult,
    ) -> Option<Drift> {
        let wanted = match family {
            Family::V4 => drift::should_be(records.v4),
            Family::V6 => drift::should_be(records.v6),
        }?;
        let found = self.publisher.look_up(&host.fqdn, &host.zone(), family).await;
        let is_hidden = wanted.is_some() && matches!(found, Ok(Found::Hidden(_) | Found::NoName));
        let found = found.map_or_else(|why| text(format!("? ({why})")), in_dns);
        let repair = match result {
            CheckResult::Differs => Repair::NotAsked,
            // nothing that is published can change it
            CheckResult::Holds if host.unserved_since.is_some() && is_hidden => {
                Repair::NotYet("its records are there, but clients do not find them".to_owned())
            }
            CheckResult::Holds | CheckResult::Unknown(_) => return None,
        };
        let wanted_ttl = decide::dns_ttl(&host, &self.publisher.defaults());
        Some(Drift { host, family, found, wanted, wanted_ttl, repair })
    }

    /// The differences of each host, repaired if that is asked. Hosts that have changed since they
    /// were read are only counted: the server's answer may be older or newer than the row.
    async fn confirm_and_repair(
        &self,
        hosts: Vec<(Arc<Host>, Vec<Drift>)>,
        repair: bool,
    ) -> Result<(Vec<Vec<Drift>>, usize), AdminError> {
        let total = hosts.len();
        let repaired =
            hosts.into_iter().map(|(host, drift)| self.confirm_and_repair_one(host, drift, repair));
        let repaired: Result<Vec<_>, _> = join_all(repaired).await.into_iter().collect();
        let mut confirmed: Vec<_> = repaired?.into_iter().flatten().collect();
        self.compare_again(&mut confirmed).await;
        let changed = total - confirmed.len();
        Ok((confirmed.into_iter().map(|(_, drift)| drift).collect(), changed))
    }

    /// `None` if the host has changed since.
    async fn confirm_and_repair_one(
        &self,
        host: Arc<Host>,
        mut drift: Vec<Drift>,
        repair: bool,
    ) -> Result<Option<(Arc<Host>, Vec<Drift>)>, DbError> {
        let is_repairable = |drift: &Drift| drift.repair == Repair::NotAsked;
        let repair = repair && drift.iter().any(is_repairable);
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
            return Ok(Some((now, drift)));
        }
        let at = self.clock.now().wall;
        let Some(host) = self.publisher.mark_unpublished(now, at).await? else { return Ok(None) };
        let repaired = self.repair(Arc::clone(&host)).await;
        for drift in drift.iter_mut().filter(|drift| is_repairable(drift)) {
            drift.repair = repaired.clone();
        }
        Ok(Some((host, drift)))
    }

    /// A server may acknowledge a repair and not do it.
    async fn compare_again(&self, hosts: &mut [(Arc<Host>, Vec<Drift>)]) {
        let repaired = |drift: &Drift| drift.repair == Repair::Done;
        let mut again: Vec<_> =
            hosts.iter_mut().filter(|(_, drift)| drift.iter().any(repaired)).collect();
        let checks = again.iter().map(|(host, _)| decide::check(host)).collect();
        let results = self.check(checks).await.unwrap_or_default();
        for ((host, drift), result) in again.iter_mut().zip(results) {
            if matches!(result, CheckResult::Differs) {
                let why = "the name server acknowledged it, and does not hold it (does a policy or \
                           script there drop updates?)";
                for drift in drift.iter_mut().filter(|drift| repaired(drift)) {
                    drift.repair = Repair::NotYet(why.to_owned());
                }
            } else {
                tracing::info!(host = %host.fqdn, "DNS held something else; repaired");
            }
        }
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
        let guards = self.host_locks.lock(vec![host.id], LOCK_TIMEOUT).await;
        guards.map(|mut guards| guards.pop())
    }

    async fn repair(&self, host: Arc<Host>) -> Repair {
        if self.publisher.is_down(&host.zone()) {
            return Repair::NotYet(format!("the name server is down for zone `{}`", host.zone()));
        }
        let fqdn = host.fqdn.clone();
        match self.publisher.publish(host, Lane::Background).await {
            Ok(()) => Repair::Done,
            Err(why) => {
                tracing::warn!(host = %fqdn, "DNS holds something else, not yet repaired: {why}");
                Repair::NotYet(why.to_string())
            }
        }
    }
}

/// The families of a host that were ever set, each with what should be there.
fn families(host: &Arc<Host>) -> impl Iterator<Item = (Arc<Host>, Family, WantedRecords)> {
    let WantedRecords { v4, v6 } = host.wanted;
    let of = |is_set: bool, family, records| is_set.then(|| (Arc::clone(host), family, records));
    let only_v4 = WantedRecords { v4, v6: Wanted::Untouched };
    let only_v6 = WantedRecords { v4: Wanted::Untouched, v6 };
    [
        of(!matches!(v4, Wanted::Untouched), Family::V4, only_v4),
        of(!matches!(v6, Wanted::Untouched), Family::V6, only_v6),
    ]
    .into_iter()
    .flatten()
}

fn text(record: String) -> InDns {
    InDns { records: vec![record], ttl: None }
}

fn in_dns(found: Found) -> InDns {
    match found {
        Found::Addresses { addresses, ttl } => {
            InDns { records: addresses.iter().map(IpAddr::to_string).collect(), ttl }
        }
        Found::NoName => InDns { records: Vec::new(), ttl: None },
        Found::Hidden(hiding) => text(hiding.to_string()),
    }
}

fn no_answer(why: &DnsError) -> AdminError {
    let cause = std::error::Error::source(why).map(|cause| format!(": {cause}"));
    let message = format!("cannot compare anything: {why}{}", cause.unwrap_or_default());
    AdminError::new(AdminErrorKind::Dns, message)
}
