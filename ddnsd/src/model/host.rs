//! A host: a name in a zone that a user may point at addresses.

use super::address::Addresses;
use super::name::{Fqdn, Label, UserName, Zone};
use super::record::WantedRecords;
use super::time::Millis;
use super::user::UserId;
use std::sync::Arc;

/// A host's key in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub i64);

/// What is stored of a host, as the update path needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Key.
    pub id: HostId,
    /// Owner.
    pub user: UserId,
    /// Name within the zone.
    pub label: Label,
    /// The zone whose primary gets the updates.
    pub zone: Zone,
    /// The whole name, unique.
    pub fqdn: Fqdn,
    /// TTL of its records in seconds; `None` is the default of the configuration.
    pub dns_ttl: Option<u32>,
    /// Seconds without an update until its records are taken down, 0 for never; `None` is the
    /// default of the configuration.
    pub expiry_ttl: Option<u32>,
    /// What DNS should hold.
    pub wanted: WantedRecords,
    /// What DNS last acknowledged.
    pub acked: Acked,
    /// Since when DNS is not known to hold `wanted`; `None` means it is known to.
    pub unpublished_since: Option<Millis>,
    /// Rises with every change of the row that a settle must not overwrite.
    pub version: i64,
    /// When each family was last updated, changed or not.
    pub seen: Seen,
}

/// What DNS last acknowledged of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// The addresses.
    pub addresses: Addresses,
    /// The TTL they were sent with, seconds; `None` before the first acknowledgement.
    pub ttl: Option<u32>,
}

/// When each family was last updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The A record.
    pub v4: Option<Millis>,
    /// The AAAA record.
    pub v6: Option<Millis>,
}

/// A host together with what administrators want to see of it.
#[derive(Clone, Debug)]
pub struct HostDetails {
    /// The host.
    pub host: Arc<Host>,
    /// Its owner's name.
    pub owner: UserName,
    /// When it was added.
    pub created_at: Millis,
    /// The addresses it had before they were taken down, or has.
    pub last_addresses: Addresses,
    /// How often publishing the pending change was tried.
    pub attempts: u32,
    /// Why publishing failed last, if it did.
    pub last_error: Option<String>,
}
