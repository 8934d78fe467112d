//! Hosts as they travel.

use crate::status::HostName;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host to add, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddHost {
    /// Owner.
    pub user: String,
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// Zone.
    pub zone: String,
    /// Seconds; `None` for the default.
    pub dns_ttl: Option<u32>,
    /// Seconds; `None` for the default.
    pub expiry_ttl: Option<u32>,
}

/// Names one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// Zone.
    pub zone: String,
}

/// Another TTL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewTtl {
    /// Seconds; `None` goes back to the default.
    pub seconds: Option<u32>,
}

/// Other TTLs for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModifyHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// Zone.
    pub zone: String,
    /// TTL of its records; `None` leaves it as it is.
    pub dns_ttl: Option<NewTtl>,
    /// Time to expire; `None` leaves it as it is.
    pub expiry_ttl: Option<NewTtl>,
}

/// A host as it is stored, its TTLs as they are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredHost {
    /// The whole name in A-labels.
    pub fqdn: String,
    /// The whole name in U-labels.
    pub unicode: String,
    /// Name within the zone in A-labels, or `@`.
    pub hostname: String,
    /// The zone in A-labels.
    pub zone: String,
    /// The TTL of its records, seconds.
    pub dns_ttl: u32,
    /// Whether that is the default.
    pub dns_ttl_is_default: bool,
    /// Seconds without an update until the records are taken down; 0 for never.
    pub expiry_ttl: u32,
    /// Whether that is the default.
    pub expiry_ttl_is_default: bool,
}

/// A host was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddedHost {
    /// The host; since 1.3.
    pub host: Option<StoredHost>,
    /// Its owner; since 1.3.
    pub user: String,
}

/// What became of new TTLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modified {
    /// Whether they differ from what the host had.
    pub changed: bool,
    /// Why DNS does not have them yet, if it should; the daemon tries again by itself.
    pub not_yet_published: Option<String>,
    /// The host; since 1.3.
    pub host: Option<StoredHost>,
}

/// A host to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteHost {
    /// Name within the zone, `@` for the zone's own name.
    pub hostname: String,
    /// Zone.
    pub zone: String,
    /// Delete even if DNS does not take the records down.
    pub force: bool,
}

/// What a deletion left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deleted {
    /// Records that may be left in DNS, as `pc.example.org A 192.0.2.1`.
    pub left_in_dns: Vec<String>,
    /// The same in parts; since 1.3.
    pub records: Vec<LeftRecord>,
    /// Whether another address may stand there that was sent in between; since 1.3.
    pub others_possible: Option<bool>,
    /// The host; since 1.3.
    pub host: Option<HostName>,
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
    /// What it points at.
    pub address: String,
}

/// Which hosts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListHosts {
    /// Only this user's.
    pub user: Option<String>,
    /// Only this zone's.
    pub zone: Option<String>,
    /// Those after this FQDN (A-labels), in byte order.
    pub after: Option<String>,
    /// At most this many; 0 and what is beyond [`crate::MAX_PAGE`] mean that.
    pub limit: u32,
}

/// How a host's records stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// No update has come yet; DNS is not touched.
    NeverUpdated,
    /// DNS acknowledged what is wanted.
    Published,
    /// DNS is not known to hold what is wanted; it is tried again.
    Pending,
    /// The records were taken down: expired, or taken offline.
    Absent,
    /// A state of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A host as administrators see one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostView {
    /// The whole name in A-labels.
    pub fqdn: String,
    /// The whole name in U-labels.
    pub unicode: String,
    /// Name within the zone in A-labels, or `@`.
    pub hostname: String,
    /// The zone in A-labels.
    pub zone: String,
    /// The owner's name.
    pub user: String,
    /// How its records stand.
    pub state: HostState,
    /// The A record that DNS should hold.
    pub ipv4: Option<Ipv4Addr>,
    /// The AAAA record that DNS should hold.
    pub ipv6: Option<Ipv6Addr>,
    /// The address it has, or had before it was taken down.
    pub last_ipv4: Option<Ipv4Addr>,
    /// The address it has, or had before it was taken down.
    pub last_ipv6: Option<Ipv6Addr>,
    /// When IPv4 was last updated, changed or not; milliseconds UTC.
    pub ipv4_updated_at: Option<i64>,
    /// When IPv6 was last updated, changed or not; milliseconds UTC.
    pub ipv6_updated_at: Option<i64>,
    /// The TTL in force, seconds.
    pub dns_ttl: u32,
    /// Whether that is the default.
    pub dns_ttl_is_default: bool,
    /// Seconds without an update until the records are taken down, in force; 0 for never.
    pub expiry_ttl: u32,
    /// Whether that is the default.
    pub expiry_ttl_is_default: bool,
    /// Since when a change waits for DNS, milliseconds UTC.
    pub pending_since: Option<i64>,
    /// How often publishing that change was tried.
    pub attempts: u32,
    /// Why publishing failed last.
    pub last_error: Option<String>,
    /// When it was added, milliseconds UTC.
    pub created_at: i64,
    /// The last request that named it, if one was seen; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_request: Option<LastRequestView>,
}

/// The last request that named a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRequestView {
    /// When it came, milliseconds UTC.
    pub at: i64,
    /// The client's address.
    pub client: String,
    /// What the client calls itself, as it was sent: escape it before a terminal sees it.
    pub user_agent: Option<String>,
    /// The word it was answered with.
    pub word: String,
    /// Why, for the words that do not say it all.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_by_older_clients_and_not_told_by_older_daemons() {
        let user = "alice".to_owned();
        let added = AddedHost { host: Some(StoredHost::default()), user };
        let wire = serde_json::to_string(&added).unwrap();
        serde_json::from_str::<crate::Done>(&wire).unwrap();
        let done = serde_json::to_string(&crate::Done {}).unwrap();
        assert_eq!(serde_json::from_str::<AddedHost>(&done).unwrap(), AddedHost::default());
    }

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
