//! Hosts: add, list, show, modify, delete.

pub mod modify;
pub mod sync;

use super::error::{AdminError, AdminErrorKind, database};
use super::host_locks::{HostGuard, HostLocks};
use super::last_requests::LastRequests;
use super::publisher::Publisher;
use super::users::{no_such_user, user_name};
use crate::clock::Clock;
pub use crate::db::NewHost as Added;
use crate::db::{self, Db, DbError};
use crate::model::host::{Defaults, Host, HostDetails};
use crate::model::last_request::LastRequest;
use crate::model::name::{Fqdn, Label, NameError, Zone, excerpt};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a change waits for an update of the host that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The handles these stories use.
#[derive(Clone)]
pub struct Hosts {
    /// Where they are.
    pub db: Db,
    /// The way into DNS.
    pub publisher: Publisher,
    /// The last request for each.
    pub last_requests: LastRequests,
    /// One change per host.
    pub host_locks: HostLocks,
    /// The clock.
    pub clock: Clock,
}

/// A host to add, as typed.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// Owner.
    pub user: String,
    /// Name within the zone, or `@`.
    pub label: String,
    /// Zone.
    pub zone: String,
    /// Seconds; `None` for the default.
    pub dns_ttl: Option<u32>,
    /// Seconds; `None` for the default.
    pub expiry_ttl: Option<u32>,
}

/// Which hosts to list, and from where.
#[derive(Clone, Debug, Default)]
pub struct HostFilter {
    /// Only this user's.
    pub user: Option<String>,
    /// Only this zone's.
    pub zone: Option<String>,
    /// After this FQDN (A-labels), in byte order.
    pub after: Option<String>,
    /// At most this many.
    pub limit: u32,
}

/// A host with all that is known of it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The host.
    pub details: HostDetails,
    /// The last request that named it; `None` if none was ever seen.
    pub last_request: Option<LastRequest>,
}

/// What a deletion left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The host.
    pub fqdn: Fqdn,
    /// With `force`: addresses that may be left in DNS.
    pub left_in_dns: Vec<IpAddr>,
    /// Whether another one may stand there that was sent in between.
    pub others_possible: bool,
}

impl Hosts {
    /// The TTLs in force for hosts that set none.
    pub fn defaults(&self) -> Defaults {
        self.publisher.defaults()
    }

    /// Adds a host; nothing is published before its first update. Answers what is stored.
    ///
    /// # Errors
    /// No such user, a name that is not legal or taken, or the database failed.
    pub async fn add(&self, new: NewHost) -> Result<Added, AdminError> {
        let user = user_name(&new.user)?;
        let (label, zone, fqdn) = names(&new.label, &new.zone)?;
        let host = db::NewHost {
            user: user.clone(),
            label,
            zone,
            fqdn: fqdn.clone(),
            dns_ttl: ttl("--dns-ttl", new.dns_ttl)?,
            expiry_ttl: ttl("--expiry-ttl", new.expiry_ttl)?,
            at: self.clock.now().wall,
        };
        match self.db.add_host(host.clone()).await {
            Ok(true) => Ok(host),
            Ok(false) => Err(no_such_user(&user)),
            Err(DbError::Exists) => {
                let message = format!(
                    "hostname {fqdn} exists already; `ddnsctl hostname list` shows whose it is"
                );
                Err(AdminError::new(AdminErrorKind::Exists, message))
            }
            Err(problem) => Err(database(&problem)),
        }
    }

    /// A page of hosts in byte order of their FQDNs.
    ///
    /// # Errors
    /// No such user, a zone name that is not legal, or the database failed.
    pub async fn list(&self, filter: HostFilter) -> Result<Vec<HostDetails>, AdminError> {
        let user = filter.user.as_deref().map(user_name).transpose()?;
        if let Some(user) = &user
            && self.db.account(user).await.map_err(|problem| database(&problem))?.is_none()
        {
            return Err(no_such_user(user));
        }
        let page = db::HostPage {
            user,
            zone: filter.zone.as_deref().map(zone_name).transpose()?,
            after: filter.after.unwrap_or_default(),
            limit: filter.limit,
        };
        self.db.host_page(&page).await.map_err(|problem| database(&problem))
    }

    /// One host, with the last request for it.
    ///
    /// # Errors
    /// No such host, or the database failed.
    pub async fn show(&self, label: &str, zone: &str) -> Result<Shown, AdminError> {
        let (label, zone, fqdn) = names(label, zone)?;
        let details = self.db.host_details(&fqdn).await.map_err(|problem| database(&problem))?;
        let details = details.ok_or_else(|| no_such_host(&fqdn))?;
        refuse_unless_meant(&details.host, &label, &zone)?;
        let last_request = self.last_requests.last(&details.host).await;
        Ok(Shown { details, last_request: last_request.map_err(|problem| database(&problem))? })
    }

    /// Takes the records down, then deletes the host. Refused or cut short, the host stays, and its
    /// records are asserted again: never a later deletion.
    ///
    /// # Errors
    /// No such host; DNS did not take the records down (nothing is deleted, unless `force`); or the
    /// database failed.
    pub async fn delete(
        &self,
        label: &str,
        zone: &str,
        force: bool,
    ) -> Result<Deleted, AdminError> {
        let (label, zone, fqdn) = names(label, zone)?;
        let (_guard, host) = self.lock_host(&fqdn).await?;
        refuse_unless_meant(&host, &label, &zone)?;
        let (left_in_dns, others_possible) = match self.clear(&host).await {
            Ok(()) => (Vec::new(), false),
            // of what was wanted and replaced before DNS acknowledged it, nothing is kept
            Err(_) if force => (addresses(&host), host.unpublished_since.is_some()),
            Err(refused) => return Err(refused),
        };
        self.db.remove(Arc::clone(&host)).await.map_err(|problem| database(&problem))?;
        tracing::info!(host = %fqdn, "deleted");
        Ok(Deleted { fqdn, left_in_dns, others_possible })
    }

    async fn lock_host(&self, fqdn: &Fqdn) -> Result<(HostGuard, Arc<Host>), AdminError> {
        let find = || async {
            let host = self.db.host(fqdn).await.map_err(|problem| database(&problem))?;
            host.ok_or_else(|| no_such_host(fqdn))
        };
        let id = find().await?.id;
        let guards = self.host_locks.lock(&BTreeSet::from([id]), PATIENCE).await;
        let guard = guards.ok().and_then(|mut guards| guards.pop()).ok_or_else(|| {
            let message = format!("{fqdn} is being updated all the time; try again in a moment");
            AdminError::new(AdminErrorKind::Busy, message)
        })?;
        let host = find().await?;
        if host.id == id { Ok((guard, host)) } else { Err(no_such_host(fqdn)) }
    }

    /// Removes the host's records from DNS, if there may be any.
    async fn clear(&self, host: &Arc<Host>) -> Result<(), AdminError> {
        if host.wanted.addresses().is_empty() && host.unpublished_since.is_none() {
            return Ok(());
        }
        let at = self.clock.now().wall;
        let doubted = self.db.mark_unpublished(Arc::clone(host), at).await;
        let host = doubted.map_err(|problem| database(&problem))?.ok_or_else(|| {
            let message = format!("{} has just changed; try again", host.fqdn);
            AdminError::new(AdminErrorKind::Busy, message)
        })?;
        self.publisher.take_down(&host).await.map_err(|problem| {
            let message = format!(
                "{} is not deleted, because its records could not be taken down: {problem}; mend that, or delete it with --force and the records by hand",
                host.fqdn
            );
            AdminError::new(AdminErrorKind::Dns, message)
        })
    }
}

/// `a.b` in `example.org` and `a` in `b.example.org` have one name, but only one of them is the host.
fn refuse_unless_meant(host: &Host, label: &Label, zone: &Zone) -> Result<(), AdminError> {
    if host.label == *label && host.zone == *zone {
        return Ok(());
    }
    let message = format!(
        "there is no hostname `{}` in zone `{zone}`, but {} is `{}` in zone `{}`; name it so",
        label.as_str(),
        host.fqdn,
        host.label.as_str(),
        host.zone
    );
    Err(AdminError::new(AdminErrorKind::NotFound, message))
}

/// The addresses that may be left in DNS for a host: what is wanted, and what was acknowledged.
fn addresses(host: &Host) -> Vec<IpAddr> {
    let both = [host.wanted.addresses(), host.acked.addresses];
    let v4 = both.iter().filter_map(|addresses| addresses.v4).map(IpAddr::from);
    let v6 = both.iter().filter_map(|addresses| addresses.v6).map(IpAddr::from);
    v4.chain(v6).collect::<BTreeSet<_>>().into_iter().collect()
}

fn names(label: &str, zone: &str) -> Result<(Label, Zone, Fqdn), AdminError> {
    let refused = |what: String, why: NameError| {
        AdminError::new(AdminErrorKind::Invalid, format!("cannot take {what}: {why}"))
    };
    let checked = zone_name(zone)?;
    let host = Label::parse(label)
        .map_err(|why| refused(format!("the hostname {}", excerpt(label)), why))?;
    let fqdn = host.in_zone(&checked).map_err(|why| {
        refused(format!("the hostname {} in zone {}", excerpt(label), excerpt(zone)), why)
    })?;
    Ok((host, checked, fqdn))
}

fn zone_name(zone: &str) -> Result<Zone, AdminError> {
    Zone::parse(zone).map_err(|why| {
        AdminError::new(
            AdminErrorKind::Invalid,
            format!("cannot take the zone {}: {why}", excerpt(zone)),
        )
    })
}

/// RFC 2181, 8: a TTL has 31 bits; times to expire are held to the same.
fn ttl(option: &str, seconds: Option<u32>) -> Result<Option<u32>, AdminError> {
    match seconds {
        Some(seconds) if seconds > 0x7fff_ffff => {
            let message = format!("{option} is 0 to 2147483647 seconds, not {seconds}");
            Err(AdminError::new(AdminErrorKind::Invalid, message))
        }
        seconds => Ok(seconds),
    }
}

fn no_such_host(fqdn: &Fqdn) -> AdminError {
    let message = format!("there is no hostname {fqdn}; `ddnsctl hostname list` shows all");
    AdminError::new(AdminErrorKind::NotFound, message)
}
