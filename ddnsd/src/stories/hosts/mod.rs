//! Adds, lists, shows, modifies, suspends and deletes hosts.

mod lan;
pub mod modify;
pub mod suspend;
pub mod sync;

use super::error::{AdminError, AdminErrorKind};
use super::host_locks::{HostGuard, HostLocks};
use super::last_requests::LastRequests;
use super::publisher::{Publisher, ToChange};
use super::users::no_such_user;
use crate::clock::Clock;
use crate::db::{Db, DbError};
pub use crate::db::{HostPage, NewHost as Added};
use crate::dns::Found;
use crate::model::family::Family;
use crate::model::host::{Defaults, Host, HostDetails, HostId};
use crate::model::last_request::LastRequest;
use crate::model::name::{Fqdn, HostNames, UserName, Zone};
use crate::model::prefix::Ipv6Suffix;
use lan::NewPlace;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a change waits for an update of the host that is in progress.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a new host waits for what the name server answers for its name.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The handles these stories use.
#[derive(Clone)]
pub struct Hosts {
    pub db: Db,
    pub publisher: Publisher,
    pub last_requests: LastRequests,
    pub host_locks: HostLocks,
    pub clock: Clock,
}

/// A host to add.
#[derive(Clone, Debug)]
pub struct HostInput {
    pub user: UserName,
    pub names: HostNames,
    /// Seconds; `None` for the default.
    pub dns_ttl: Option<u32>,
    /// Seconds; `None` for the default.
    pub expiry_ttl: Option<u32>,
    pub suffix: Option<Ipv6Suffix>,
    /// The host that it follows.
    pub leader: Option<Fqdn>,
}

#[derive(Clone, Debug)]
pub struct Shown {
    pub details: HostDetails,
    /// The last request that named it.
    pub last_request: Option<LastRequest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    pub fqdn: Fqdn,
    /// With `force`: addresses that may be left in DNS.
    pub left_in_dns: Vec<IpAddr>,
    /// Whether another address may be there, because one was sent and never acknowledged.
    pub others_possible: bool,
}

impl Hosts {
    /// The TTLs in force for hosts that set none.
    pub fn defaults(&self) -> Defaults {
        self.publisher.defaults()
    }

    /// Adds a host and returns what is stored, and what to know about its name in DNS. Nothing is
    /// published before its first update, unless it follows a host with a prefix.
    ///
    /// # Errors
    /// No such user or leader, a name that is taken or cannot be published, a host that it cannot
    /// follow, or the database failed.
    pub async fn add(&self, new: HostInput) -> Result<(Added, Vec<String>), AdminError> {
        let HostInput { user, names, dns_ttl, expiry_ttl, suffix, leader } = new;
        let HostNames { label, zone, fqdn } = names;
        if let Err(why) = self.publisher.check(&fqdn, &zone) {
            let message = format!("cannot add {fqdn}: {why}");
            return Err(AdminError::new(AdminErrorKind::Invalid, message));
        }
        let account = self.db.account(&user).await?.ok_or_else(|| no_such_user(&user))?;
        let place = NewPlace { host: None, fqdn: &fqdn, user: account.id, suffix };
        let (_guards, leader) = self.lock_leader(place, leader.as_ref()).await?;
        let at = self.clock.now().wall;
        let host = Added { user, label, zone, fqdn, dns_ttl, expiry_ttl, suffix, leader, at };
        match self.db.add_host(host.clone()).await {
            Ok(true) => {
                let mut warnings = self.warnings(&host.fqdn, &host.zone).await;
                warnings.extend(self.publish_added(&host).await?);
                Ok((host, warnings))
            }
            Ok(false) => Err(no_such_user(&host.user)),
            Err(DbError::Exists) => {
                let message = format!(
                    "hostname {} exists already; `ddnsctl hostname list` shows whose it is",
                    host.fqdn
                );
                Err(AdminError::new(AdminErrorKind::Exists, message))
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// What stands at a new host's name already, and what would hide its records. Nothing if the
    /// name server does not answer soon.
    async fn warnings(&self, fqdn: &Fqdn, zone: &Zone) -> Vec<String> {
        if self.publisher.is_down(zone) {
            return Vec::new();
        }
        let ask = |family| self.publisher.look_up(fqdn, zone, family);
        let both = async { tokio::join!(ask(Family::V4), ask(Family::V6)) };
        let Ok((v4, v6)) = tokio::time::timeout(ASK_TIMEOUT, both).await else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        for (kind, found) in [("A", v4), ("AAAA", v6)] {
            match found {
                Ok(Found::Addresses { addresses, .. }) if !addresses.is_empty() => {
                    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                    warnings.push(format!(
                        "{fqdn} has {kind} {} already; an update of this family replaces that",
                        addresses.join(" ")
                    ));
                }
                Ok(Found::Hidden(hiding)) => {
                    warnings.push(format!("clients would not find {fqdn}: there is {hiding}"));
                }
                Ok(Found::Addresses { .. } | Found::NoName) | Err(_) => {}
            }
        }
        warnings.dedup();
        warnings
    }

    /// A page of hosts in byte order of their FQDNs.
    ///
    /// # Errors
    /// No such user, or the database failed.
    pub async fn list(&self, page: HostPage) -> Result<Vec<HostDetails>, AdminError> {
        if let Some(user) = &page.user
            && self.db.account(user).await?.is_none()
        {
            return Err(no_such_user(user));
        }
        Ok(self.db.host_page(&page).await?)
    }

    /// One host, with the last request for it.
    ///
    /// # Errors
    /// No such host, or the database failed.
    pub async fn show(&self, names: &HostNames) -> Result<Shown, AdminError> {
        let details = self.db.host_details(&names.fqdn).await?;
        let details = details.ok_or_else(|| no_such_host(&names.fqdn))?;
        refuse_other_zone(&details.host, names)?;
        let last_request = self.last_requests.last(&details.host).await?;
        Ok(Shown { details, last_request })
    }

    /// Removes the records, then deletes the host. If the removal is refused or interrupted, the
    /// host stays and its records are published again; it is never deleted later.
    ///
    /// # Errors
    /// No such host; other hosts follow it, or the records could not be removed (nothing is
    /// deleted, unless `force`); or the database failed.
    pub async fn delete(&self, names: &HostNames, force: bool) -> Result<Deleted, AdminError> {
        let (_guards, host, related) = self.lock_to_delete(names, force).await?;
        let fqdn = host.fqdn.clone();
        // an address that was replaced before DNS acknowledged it is not known any more
        let others_possible = host.unpublished_since.is_some();
        let (host, removed) = match self.mark_to_remove(&host).await? {
            Some(marked) => (Arc::clone(&marked), self.remove_records(marked).await),
            None => (host, Ok(())),
        };
        let (left_in_dns, others_possible) = match removed {
            Ok(()) => (Vec::new(), false),
            Err(_) if force => (addresses(&host), others_possible),
            Err(refused) => return Err(refused),
        };
        if !self.db.remove(Arc::clone(&host), related).await? {
            return Err(has_changed(&host));
        }
        tracing::info!(host = %fqdn, "deleted");
        Ok(Deleted { fqdn, left_in_dns, others_possible })
    }

    /// The host, read again once it is locked.
    async fn lock_host(
        &self,
        names: &HostNames,
    ) -> Result<(Vec<HostGuard>, Arc<Host>), AdminError> {
        let fqdn = &names.fqdn;
        let id = self.db.host(fqdn).await?.ok_or_else(|| no_such_host(fqdn))?.id;
        let deadline = self.clock.now().mono + LOCK_TIMEOUT;
        let guards = self.lock(&BTreeSet::from([id]), fqdn).await?;
        let host = self.read_locked(names, deadline).await?;
        if host.id != id {
            return Err(no_such_host(fqdn));
        }
        Ok((guards, host))
    }

    /// A locked host, once no other daemon changes it.
    async fn read_locked(
        &self,
        names: &HostNames,
        deadline: Instant,
    ) -> Result<Arc<Host>, AdminError> {
        let fqdn = &names.fqdn;
        let host = match self.publisher.read_to_change(fqdn, deadline).await? {
            ToChange::Free(host) => host,
            ToChange::Gone => return Err(no_such_host(fqdn)),
            ToChange::Busy => return Err(busy(fqdn)),
        };
        refuse_other_zone(&host, names)?;
        Ok(host)
    }

    async fn lock(
        &self,
        hosts: &BTreeSet<HostId>,
        fqdn: &Fqdn,
    ) -> Result<Vec<HostGuard>, AdminError> {
        self.host_locks
            .lock(hosts.iter().copied().collect(), LOCK_TIMEOUT)
            .await
            .map_err(|_| busy(fqdn))
    }

    /// Marks the host unpublished, so that its records can be removed from DNS; `None` if there is
    /// none.
    async fn mark_to_remove(&self, host: &Arc<Host>) -> Result<Option<Arc<Host>>, AdminError> {
        let is_gone = host.wanted.addresses().is_empty() && host.unpublished_since.is_none();
        if is_gone
            && (host.wanted.is_untouched() || self.publisher.check_removed(host).await.is_ok())
        {
            return Ok(None);
        }
        let at = self.clock.now().wall;
        let marked = self.publisher.mark_unpublished(Arc::clone(host), at).await?;
        marked.ok_or_else(|| has_changed(host)).map(Some)
    }

    /// Removes the host's records from DNS.
    async fn remove_records(&self, host: Arc<Host>) -> Result<(), AdminError> {
        let Err(problem) = self.publisher.remove_records(&host).await else { return Ok(()) };
        let message = format!(
            "cannot delete {}: removing its DNS records failed: {problem} (fix that, or use --force and remove the records yourself)",
            host.fqdn
        );
        self.publisher.give_back(host).await;
        Err(AdminError::new(AdminErrorKind::Dns, message))
    }
}

/// `a.b` in `example.org` and `a` in `b.example.org` have the same FQDN; only one of them is the
/// host.
fn refuse_other_zone(host: &Host, names: &HostNames) -> Result<(), AdminError> {
    let HostNames { label, zone, .. } = names;
    if host.label() == *label && host.zone() == *zone {
        return Ok(());
    }
    let message = format!(
        "no hostname `{}` in zone `{zone}`; {} is registered as `{}` in zone `{}`: use those two",
        label.as_str(),
        host.fqdn,
        host.label().as_str(),
        host.zone()
    );
    Err(AdminError::new(AdminErrorKind::NotFound, message))
}

/// The addresses that may be left in DNS for a host: what is wanted, and what was acknowledged.
fn addresses(host: &Host) -> Vec<IpAddr> {
    let both = [host.wanted.addresses().ips(), host.acked.addresses.ips()];
    let all = both.into_iter().flat_map(|ips| [ips.v4, ips.v6]).flatten();
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn has_changed(host: &Host) -> AdminError {
    let message = format!("{} has just changed; try again", host.fqdn);
    AdminError::new(AdminErrorKind::Busy, message)
}

fn busy(fqdn: &Fqdn) -> AdminError {
    let message = format!("{fqdn} is being updated all the time; try again in a moment");
    AdminError::new(AdminErrorKind::Busy, message)
}

fn no_such_host(fqdn: &Fqdn) -> AdminError {
    let message = format!("there is no hostname {fqdn}; `ddnsctl hostname list` shows all");
    AdminError::new(AdminErrorKind::NotFound, message)
}
