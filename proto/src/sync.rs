//! The comparison of DNS with the database.

use crate::status::Failed;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Selects the hosts to compare with the answers of the name server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncHosts {
    /// Compares only hosts of this zone.
    pub zone: Option<String>,
    /// Compares only FQDNs (A-labels) after this one, in byte order.
    pub after: Option<String>,
    /// Whether to repair differences.
    pub repair: bool,
}

/// The outcome for a page of hosts; the daemon chooses the size of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncedPage {
    /// Number of compared hosts.
    pub compared: u32,
    /// Number of hosts with unpublished records, which are not compared.
    pub pending: u32,
    /// Records that differ, in order of their FQDNs.
    pub drift: Vec<DriftView>,
    /// Hosts for which the name server did not answer.
    pub failed: Vec<Failed>,
    /// Value of `after` for the next page; `None` on the last page.
    pub next: Option<String>,
}

/// A record that differs from the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftView {
    /// The host in A-labels.
    pub fqdn: String,
    /// The host in U-labels.
    pub unicode: String,
    /// `A` or `AAAA`.
    pub record: String,
    /// The record in DNS: addresses, or `CNAME …`.
    pub in_dns: Vec<String>,
    /// The TTL in DNS, seconds.
    pub in_dns_ttl: Option<u32>,
    /// The address in the database; `None` if there must be no record.
    pub wanted: Option<IpAddr>,
    /// The TTL in the database, seconds.
    pub wanted_ttl: u32,
    /// Whether the record was repaired.
    pub repaired: bool,
    /// Why the repair failed; the daemon retries it.
    pub problem: Option<String>,
}
