//! The daemon's state and the outcome of a sweep.

use serde::{Deserialize, Serialize};

/// The daemon's state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// Time since the start, milliseconds.
    pub uptime_ms: u64,
    /// Why the database cannot be read; `None` if it can.
    pub database_error: Option<String>,
    /// Why the database cannot be written; `None` if it can.
    pub database_write_error: Option<String>,
    /// Number of users in the database.
    pub users: u64,
    /// Number of hosts in the database.
    pub hosts: u64,
    /// Number of hosts with unpublished records.
    pub pending: u64,
    /// How long the first of them has been pending, milliseconds.
    pub pending_ms: Option<i64>,
    /// Number of hosts that DNS does not serve although it acknowledged them.
    pub unserved: u64,
    /// How long the last check of all hosts took, milliseconds; `None` before the first.
    pub check_round_ms: Option<i64>,
    /// The last reload of the configuration since the start.
    pub last_reload: Option<LastReloadView>,
    /// The certificate that clients see; `None` without TLS.
    pub certificate: Option<CertificateView>,
    /// Zones that were published to since the start or have pending hosts.
    pub zones: Vec<ZoneView>,
    /// Queue lengths, in display order.
    pub queues: Vec<Named>,
    /// Counters since the start, in display order.
    pub counters: Vec<Named>,
}

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateView {
    /// Its last moment, milliseconds since 1970.
    pub ends_at: i64,
    /// Whether clients accept it at the moment.
    pub is_valid: bool,
    /// What its owner must know now: it ended, it ends soon, or it is not valid yet.
    pub warning: Option<String>,
}

/// The publishing state of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZoneView {
    /// The zone in A-labels.
    pub zone: String,
    /// Whether its name server does not answer.
    pub down: bool,
    /// Number of the zone's hosts with unpublished records.
    pub pending: u64,
    /// How long the first of them has been pending, milliseconds.
    pub pending_ms: Option<i64>,
    /// Number of the zone's hosts that DNS does not serve although it acknowledged them.
    pub unserved: u64,
    /// Why, of one of these hosts.
    pub unserved_reason: Option<String>,
    /// When the last failure was, milliseconds since 1970; `None` if it was before the start.
    pub last_error_at: Option<i64>,
    /// The last failure since the start, or the failure of a pending host of any age.
    pub last_error: Option<String>,
}

/// A reload of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastReloadView {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Whether the configuration was good; otherwise nothing has changed.
    pub succeeded: bool,
}

/// A named number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Group and name, such as `updates.good`.
    pub name: String,
    /// The number.
    pub value: u64,
}

/// A host's name in both forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostName {
    /// In A-labels.
    pub fqdn: String,
    /// In U-labels.
    pub unicode: String,
}

/// The outcome of a sweep. The lists are truncated to what fits a frame; the totals are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweptView {
    /// Hosts whose records were removed from DNS.
    pub expired: Vec<HostName>,
    /// Number of expired hosts before truncation.
    pub expired_total: u64,
    /// Hosts whose records could not be removed from DNS.
    pub failed: Vec<Failed>,
    /// Number of failed hosts before truncation.
    pub failed_total: u64,
    /// Number of hosts with unpublished records, including those that failed.
    pub pending: u64,
}

/// A host for which the operation failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// The host in A-labels.
    pub fqdn: String,
    /// The host in U-labels.
    pub unicode: String,
    /// Why, as a sentence.
    pub reason: String,
}
