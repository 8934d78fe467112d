//! The daemon's state and the outcome of a sweep, as they travel.

use serde::{Deserialize, Serialize};

/// The daemon's state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// Since it started, milliseconds.
    pub uptime_ms: u64,
    /// Why the database does not answer; `None` when it does.
    pub database_error: Option<String>,
    /// Why nothing can be stored in it; `None` when that works; since 1.3.
    pub database_write_error: Option<String>,
    /// Users in the database.
    pub users: u64,
    /// Hosts in the database.
    pub hosts: u64,
    /// Hosts whose records DNS is not known to hold.
    pub pending: u64,
    /// Each zone that was published to lately, or has pending hosts.
    pub zones: Vec<ZoneView>,
    /// Queue lengths, in display order.
    pub queues: Vec<Named>,
    /// Counts since the start, in display order.
    pub counters: Vec<Named>,
}

/// How publishing a zone goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZoneView {
    /// The zone in A-labels.
    pub zone: String,
    /// Whether its name server does not answer at the moment.
    pub down: bool,
    /// Its hosts whose records DNS is not known to hold; since 1.2.
    pub pending: u64,
    /// The last failure of the last minute, or one that a pending host met, however long ago.
    pub last_error: Option<String>,
}

/// A number and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// As `updates.good`.
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

/// What a sweep did. The lists are cut where a frame would overflow; the totals are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweptView {
    /// FQDNs whose records were taken down.
    pub expired: Vec<String>,
    /// The same in both forms; since 1.3.
    pub expired_hosts: Vec<HostName>,
    /// How many there are.
    pub expired_total: u64,
    /// Hosts whose records could not be taken down.
    pub failed: Vec<Failed>,
    /// How many there are.
    pub failed_total: u64,
    /// Hosts whose records DNS is not known to hold, those that failed among them; since 1.3.
    pub pending: Option<u64>,
}

/// A host for which it did not work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// The host in A-labels; of a daemon before 1.3 in U-labels.
    pub fqdn: String,
    /// The host in U-labels; since 1.3.
    pub unicode: String,
    /// Why.
    pub reason: String,
}
