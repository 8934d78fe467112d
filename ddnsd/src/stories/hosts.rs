//! Hosts: add, list, show, delete.

use super::error::Refused;
use crate::config::Defaults;
use crate::model::host::HostDetails;

/// The handles these stories use.
#[derive(Clone)]
pub struct Hosts {}

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

/// What a deletion left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// With `force`: records that may be left in DNS, as `pc.example.org A 192.0.2.1`.
    pub left_in_dns: Vec<String>,
}

impl Hosts {
    /// The TTLs in force for hosts that set none.
    pub fn defaults(&self) -> Defaults {
        Defaults { dns_ttl: 60, expiry_ttl: 3600 }
    }

    /// Adds a host; nothing is published before its first update.
    ///
    /// # Errors
    /// No such user, a name that is not legal or taken, or the database failed.
    pub async fn add(&self, new: NewHost) -> Result<(), Refused> {
        let _ = new;
        Ok(())
    }

    /// A page of hosts in byte order of their FQDNs.
    ///
    /// # Errors
    /// No such user, a zone name that is not legal, or the database failed.
    pub async fn list(&self, filter: HostFilter) -> Result<Vec<HostDetails>, Refused> {
        let _ = filter;
        Ok(Vec::new())
    }

    /// One host.
    ///
    /// # Errors
    /// No such host, or the database failed.
    pub async fn show(&self, label: &str, zone: &str) -> Result<HostDetails, Refused> {
        Err(Refused::new(super::error::Kind::NotFound, format!("{label} {zone}")))
    }

    /// Takes the records down, then deletes the host.
    ///
    /// # Errors
    /// No such host; DNS did not take the records down (nothing is deleted, unless `force`); or the
    /// database failed.
    pub async fn delete(&self, label: &str, zone: &str, force: bool) -> Result<Deleted, Refused> {
        let _ = (label, zone, force);
        Ok(Deleted::default())
    }
}
