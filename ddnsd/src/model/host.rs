//! A host: a name in a zone that a user may point at addresses.

use super::address::Addresses;
use super::name::{Fqdn, Label, UserName, Zone};
use super::notice::PendingNotices;
use super::record::WantedRecords;
use super::time::Millis;
use super::user::UserId;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What hosts have that set none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// TTL of records, seconds, 0 to 2,147,483,647.
    pub dns_ttl: u32,
    /// Seconds without an update until removal, 0 for never.
    pub expiry_ttl: u32,
}

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
    /// What its owner is told once DNS holds it.
    pub notices: Option<PendingNotices>,
    /// Rises with every change of the row that a settle must not overwrite.
    pub version: i64,
}

/// What DNS last acknowledged of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// The addresses.
    pub addresses: Addresses,
    /// The TTL they were sent with, seconds; `None` before the first acknowledgement.
    pub ttl: Option<u32>,
}

/// What each step of a change makes of the row. The database does the same in SQL.
impl Host {
    /// Wanted and unpublished; its owner is owed this, instead of what was owed before.
    #[must_use]
    pub fn wanting(
        &self,
        records: WantedRecords,
        owed: Option<PendingNotices>,
        at: Millis,
    ) -> Self {
        Self { wanted: records, notices: owed, ..self.doubted(at) }
    }

    /// Unpublished, its wanted records unchanged.
    #[must_use]
    pub fn doubted(&self, at: Millis) -> Self {
        let unpublished_since = self.unpublished_since.or(Some(at));
        Self { unpublished_since, version: self.version + 1, ..self.clone() }
    }

    /// With other TTLs, which DNS must hear of if a time is given.
    #[must_use]
    pub fn with_ttls(
        &self,
        dns: Option<u32>,
        expiry: Option<u32>,
        publish: Option<Millis>,
    ) -> Self {
        Self {
            dns_ttl: dns,
            expiry_ttl: expiry,
            unpublished_since: self.unpublished_since.or(publish),
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Acknowledged as it is wanted. It stays unpublished if that is not final, because an unanswered
    /// message may still overwrite it. Its notice is due all the same: the client has its reply, and
    /// another update may come before the acknowledgement is final.
    #[must_use]
    pub fn acknowledged(&self, ttl: u32, is_final: bool) -> Self {
        let unpublished_since = self.unpublished_since.filter(|_| !is_final);
        let acked = Acked { addresses: self.wanted.addresses(), ttl: Some(ttl) };
        Self { acked, unpublished_since, notices: None, ..self.clone() }
    }
}

/// When each family was last updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The A record.
    pub v4: Option<Millis>,
    /// The AAAA record.
    pub v6: Option<Millis>,
}

impl Seen {
    /// These families, at this time.
    pub fn at(addresses: Addresses, at: Millis) -> Self {
        Self { v4: addresses.v4.map(|_| at), v6: addresses.v6.map(|_| at) }
    }

    /// What this knows; of the families it does not know, what `older` knows.
    #[must_use]
    pub fn or(self, older: Seen) -> Self {
        Self { v4: self.v4.or(older.v4), v6: self.v6.or(older.v6) }
    }
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
    /// When each family was last updated, changed or not.
    pub seen: Seen,
    /// The addresses it had before they were taken down, or has.
    pub last_addresses: Addresses,
    /// How often publishing the pending change was tried.
    pub attempts: u32,
    /// Why publishing failed last, if it did.
    pub last_error: Option<String>,
}

/// A host of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedHost {
    /// Its owner.
    pub user: UserName,
    /// Name within the zone.
    pub label: Label,
    /// Zone.
    pub zone: Zone,
    /// Whole name, unique.
    pub fqdn: Fqdn,
    /// Seconds, or the default.
    pub dns_ttl: Option<u32>,
    /// Seconds, or the default.
    pub expiry_ttl: Option<u32>,
    /// The A record that DNS should hold.
    pub ipv4: Option<Ipv4Addr>,
    /// The AAAA record that DNS should hold.
    pub ipv6: Option<Ipv6Addr>,
    /// The address it had before its A record was taken down.
    pub last_ipv4: Option<Ipv4Addr>,
    /// The address it had before its AAAA record was taken down.
    pub last_ipv6: Option<Ipv6Addr>,
    /// When IPv4 was last updated; `None` is now, for a host with an address.
    pub ipv4_updated_at: Option<Millis>,
    /// When IPv6 was last updated; `None` is now, for a host with an address.
    pub ipv6_updated_at: Option<Millis>,
    /// When it was added; `None` is now.
    pub created_at: Option<Millis>,
}
