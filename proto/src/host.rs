//! Calls about hosts.

use crate::status::HostName;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host to add, as typed; the daemon checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddHost {
    /// The owner's name.
    pub user: String,
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// The zone.
    pub zone: String,
    /// TTL of the records, seconds; `None` for the default.
    pub dns_ttl: Option<u32>,
    /// Seconds without an update until the host expires; `None` for the default.
    pub expiry_ttl: Option<u32>,
    /// What stays of its IPv6 address when the prefix changes, or `mac:` and a MAC address.
    pub ipv6_suffix: Option<String>,
    /// The FQDN of the host whose prefix it takes.
    pub follows: Option<String>,
}

/// Identifies a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// The zone.
    pub zone: String,
}

/// A new TTL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewTtl {
    /// Seconds; `None` for the default.
    pub seconds: Option<u32>,
}

/// A new suffix or leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewText {
    /// `None` removes it.
    pub text: Option<String>,
}

/// New settings of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModifyHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// The zone.
    pub zone: String,
    /// TTL of the records; `None` keeps it.
    pub dns_ttl: Option<NewTtl>,
    /// Time until the host expires; `None` keeps it.
    pub expiry_ttl: Option<NewTtl>,
    /// As in [`AddHost`]; `None` keeps it.
    pub ipv6_suffix: Option<NewText>,
    /// As in [`AddHost`]; `None` keeps it.
    pub follows: Option<NewText>,
}

/// A host as stored, with its effective TTLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredHost {
    /// The FQDN in A-labels.
    pub fqdn: String,
    /// The FQDN in U-labels.
    pub unicode: String,
    /// Name within the zone in A-labels, or `@`.
    pub hostname: String,
    /// The zone in A-labels.
    pub zone: String,
    /// The effective TTL of the records, seconds.
    pub dns_ttl: u32,
    /// Whether `dns_ttl` is the default.
    pub dns_ttl_is_default: bool,
    /// Seconds without an update until the host expires; 0 for never.
    pub expiry_ttl: u32,
    /// Whether `expiry_ttl` is the default.
    pub expiry_ttl_is_default: bool,
}

/// An added host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddedHost {
    /// The host.
    pub host: StoredHost,
    /// The owner's name.
    pub user: String,
    /// What to know about the name in DNS, as sentences.
    pub warnings: Vec<String>,
}

/// A host to suspend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SuspendHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// The zone.
    pub zone: String,
    /// Whether to remove its records from DNS.
    pub take_down: bool,
}

/// The outcome of new settings, or of suspending or resuming a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modified {
    /// Whether the host was not like this before.
    pub changed: bool,
    /// Why DNS does not hold it yet; the daemon retries publishing.
    pub not_yet_published: Option<String>,
    /// The host.
    pub host: StoredHost,
}

/// A host to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// The zone.
    pub zone: String,
    /// Delete the host even if its records cannot be removed from DNS.
    pub force: bool,
}

/// The outcome of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deleted {
    /// The host.
    pub host: HostName,
    /// Records that may be left in DNS.
    pub left_in_dns: Vec<LeftRecord>,
    /// Whether DNS may hold another address, which was sent but never acknowledged.
    pub others_possible: bool,
}

/// A record that may be left in DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftRecord {
    /// The host in A-labels.
    pub fqdn: String,
    /// The host in U-labels.
    pub unicode: String,
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub record: String,
    /// The record's address.
    pub address: String,
}

/// Selects the hosts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListHosts {
    /// Lists only hosts of this user.
    pub user: Option<String>,
    /// Lists only hosts of this zone.
    pub zone: Option<String>,
    /// Lists only FQDNs (A-labels) after this one, in byte order.
    pub after: Option<String>,
    /// Maximum rows; 0 and numbers above [`crate::MAX_PAGE`] mean [`crate::MAX_PAGE`].
    pub limit: u32,
}

/// The state of a host's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// The host or its owner is suspended: updates are rejected, and nothing expires.
    Suspended,
    /// No update was received yet; DNS is not changed.
    NeverUpdated,
    /// DNS acknowledged the wanted records.
    Published,
    /// The wanted records are not published yet; publishing is retried.
    Pending,
    /// DNS acknowledged the wanted records, and a check found that it does not serve them.
    Unserved,
    /// The records were removed, because no update came within the expiry TTL.
    Expired,
    /// The records were removed: the host went offline, or was taken down.
    Absent,
    /// A state of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A host with its state. What it has not is left out, because lists are long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostView {
    /// The FQDN in A-labels.
    pub fqdn: String,
    /// The FQDN in U-labels.
    pub unicode: String,
    /// Name within the zone in A-labels, or `@`.
    pub hostname: String,
    /// The zone in A-labels.
    pub zone: String,
    /// The owner's name.
    pub user: String,
    /// The state of the records.
    pub state: HostState,
    /// The wanted A record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// The wanted AAAA record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// The last IPv4 address, kept after the record's removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ipv4: Option<Ipv4Addr>,
    /// The last IPv6 address, kept after the record's removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ipv6: Option<Ipv6Addr>,
    /// Last update of IPv4, whether it changed the address or not; milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_updated_at: Option<i64>,
    /// Last update of IPv6, whether it changed the address or not; milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_updated_at: Option<i64>,
    /// The effective TTL of the records, seconds.
    pub dns_ttl: u32,
    /// Whether `dns_ttl` is the default.
    pub dns_ttl_is_default: bool,
    /// Effective seconds without an update until the host expires; 0 for never.
    pub expiry_ttl: u32,
    /// Whether `expiry_ttl` is the default.
    pub expiry_ttl_is_default: bool,
    /// Time of the oldest unpublished change, milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_since: Option<i64>,
    /// Number of attempts to publish that change.
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Since when DNS does not serve what it acknowledged, milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unserved_since: Option<i64>,
    /// Why, according to the last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unserved: Option<String>,
    /// The TTL that DNS serves, if it is not the one it acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_ttl: Option<u32>,
    /// When records expired, if nothing has changed since, milliseconds UTC.
    pub expired_at: Option<i64>,
    /// Since when the host is suspended, milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<i64>,
    /// Since when its owner is suspended, milliseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_suspended_at: Option<i64>,
    /// What stays of its IPv6 address when the prefix changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_suffix: Option<Ipv6Addr>,
    /// The FQDN of the host whose prefix it takes, in A-labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The last prefix it was updated with, like `2001:db8:1::/56`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<String>,
    /// Why its suffix and the prefix make no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_ipv6: Option<String>,
    /// When the host was added, milliseconds UTC.
    pub created_at: i64,
    /// The last request that named the host; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_request: Option<LastRequestView>,
}

/// The last request that named a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRequestView {
    /// Time of arrival, milliseconds UTC.
    pub at: i64,
    /// The client's address.
    pub client: String,
    /// The `User-Agent` header as received; escape it before printing.
    pub user_agent: Option<String>,
    /// The return code of the reply.
    pub word: String,
    /// Why, for return codes that have several causes.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_view_and_a_later_state_decode() {
        let view: HostView = serde_json::from_str(
            r#"{"fqdn":"pc.example.org","state":"hibernating","ipv4":"192.0.2.1","colour":"red"}"#,
        )
        .unwrap();
        assert_eq!(view.state, HostState::Unknown);
        assert_eq!(view.ipv4, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!((view.attempts, view.last_error), (0, None));
    }
}
