//! Comparing DNS with the database, as it travels.

use crate::status::Failed;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Which hosts to compare with what the name server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncHosts {
    /// Only this zone's.
    pub zone: Option<String>,
    /// Those after this FQDN (A-labels), in byte order.
    pub after: Option<String>,
    /// Whether differences are repaired.
    pub repair: bool,
}

/// What came of a page of hosts; the daemon chooses its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncedPage {
    /// Hosts that were compared.
    pub compared: u32,
    /// Hosts on their way to DNS, of which nothing can be said yet.
    pub pending: u32,
    /// What differs, by name.
    pub drift: Vec<DriftView>,
    /// Hosts that the name server does not answer for.
    pub failed: Vec<Failed>,
    /// What to send as `after` for the hosts that follow; `None` when there are none.
    pub next: Option<String>,
}

/// A record that is not what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftView {
    /// The host in A-labels.
    pub fqdn: String,
    /// The host in U-labels.
    pub unicode: String,
    /// `A` or `AAAA`.
    pub record: String,
    /// What stands in DNS: addresses, or `CNAME …`.
    pub in_dns: Vec<String>,
    /// Its TTL, seconds.
    pub in_dns_ttl: Option<u32>,
    /// What should stand there; `None` for nothing.
    pub wanted: Option<IpAddr>,
    /// The TTL that it should have, seconds.
    pub wanted_ttl: u32,
    /// Whether DNS holds now what it should.
    pub repaired: bool,
    /// Why it does not, if it was to; the daemon tries again by itself.
    pub problem: Option<String>,
}
