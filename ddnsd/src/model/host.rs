//! A host: a name in a zone that a user may point at addresses.

use super::address::Addresses;
use super::family::{Families, PerFamily};
use super::lease::Lease;
use super::name::{Fqdn, HostNames, Label, UserName, Zone, ZoneStart};
use super::notice::PendingNotices;
use super::prefix::{Ipv6Prefix, Ipv6Suffix, NoFit};
use super::record::WantedRecords;
use super::time::{Millis, Uptime};
use super::user::UserId;
use std::ops::Deref;
use std::sync::Arc;

/// The TTLs of hosts that set none of their own.
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

/// What is stored of a host, as the update path needs it. The cache holds a million of them, so
/// what few hosts have takes a pointer only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    pub user: UserId,
    /// The whole name, unique.
    pub fqdn: Fqdn,
    /// Of the zone whose primary gets the updates.
    pub zone_start: ZoneStart,
    /// TTL of its records in seconds; `None` is the default of the configuration.
    pub dns_ttl: Option<u32>,
    /// Seconds without an update until its records are removed, 0 for never; `None` is the default
    /// of the configuration.
    pub expiry_ttl: Option<u32>,
    /// What DNS should hold.
    pub wanted: WantedRecords,
    /// What DNS last acknowledged.
    pub acked: Acked,
    /// Since when DNS is not known to hold `wanted`; `None` means it is known to.
    pub unpublished_since: Option<Millis>,
    /// Since when a check says that DNS does not serve what it acknowledged; `None`: none says so.
    pub unserved_since: Option<Millis>,
    /// Since when it is suspended; its owner may be suspended apart from that.
    pub suspended_at: Option<Millis>,
    /// Mails to its owner that are queued once DNS holds `wanted`.
    pub notices: Option<Box<PendingNotices>>,
    /// Where its IPv6 address comes from, if it is made of a prefix and a suffix.
    pub lan: HostLan,
    /// The daemon that publishes what is unpublished; `None` where only one daemon can do it.
    pub lease: Option<Box<Lease>>,
    /// Rises with every change of the row that an older result or change must not overwrite.
    pub version: i64,
}

/// A host's place in the network of a router. The router's own host is the leader; the hosts behind
/// it follow it and get their IPv6 addresses from its prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lan {
    pub suffix: Option<Ipv6Suffix>,
    /// The leader; then it has a suffix.
    pub follows: Option<HostId>,
    /// Whether hosts follow it; then it follows none.
    pub is_followed: bool,
    /// The last prefix that it was updated with; never of a follower.
    pub prefix: Option<Ipv6Prefix>,
    /// Whether it went offline by a request of its own and was not updated since.
    pub is_offline: bool,
}

/// A [`Lan`] that takes no memory in a host outside any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLan(Option<Box<Lan>>);

impl From<Lan> for HostLan {
    fn from(lan: Lan) -> Self {
        Self((lan != Lan::NONE).then(|| Box::new(lan)))
    }
}

impl Deref for HostLan {
    type Target = Lan;

    fn deref(&self) -> &Lan {
        self.0.as_deref().unwrap_or(&Lan::NONE)
    }
}

impl Lan {
    const NONE: Self =
        Self { suffix: None, follows: None, is_followed: false, prefix: None, is_offline: false };
}

/// Hosts that follow one host.
pub const MAX_FOLLOWERS: usize = 64;

/// What DNS last acknowledged of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    pub addresses: Addresses,
    /// The TTL they were sent with, seconds; `None` before the first acknowledgement.
    pub ttl: Option<u32>,
}

/// The row after each step of a change. The database does the same in SQL.
impl Host {
    /// Wanted and unpublished. The notices replace those of the previous change.
    #[must_use]
    pub fn wanting(
        &self,
        records: WantedRecords,
        notices: Option<PendingNotices>,
        at: Millis,
        lease: Option<Lease>,
    ) -> Self {
        let notices = notices.map(Box::new);
        Self { wanted: records, notices, ..self.marked_unpublished(at, lease) }
    }

    /// With another place in its network, its records unchanged.
    #[must_use]
    pub fn placed(&self, lan: Lan) -> Self {
        Self { lan: lan.into(), version: self.version + 1, ..self.clone() }
    }

    /// Unpublished, its wanted records unchanged.
    #[must_use]
    pub fn marked_unpublished(&self, at: Millis, lease: Option<Lease>) -> Self {
        let unpublished_since = self.unpublished_since.or(Some(at));
        let lease = lease.map(Box::new);
        Self { unpublished_since, lease, version: self.version + 1, ..self.clone() }
    }

    /// With other TTLs. It becomes unpublished at `publish`, if that is given.
    #[must_use]
    pub fn with_ttls(
        &self,
        dns: Option<u32>,
        expiry: Option<u32>,
        publish: Option<Millis>,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            dns_ttl: dns,
            expiry_ttl: expiry,
            unpublished_since: self.unpublished_since.or(publish),
            lease: lease.map(Box::new),
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Suspended since this time, or no more.
    #[must_use]
    pub fn suspended(&self, at: Option<Millis>) -> Self {
        Self { suspended_at: at, version: self.version + 1, ..self.clone() }
    }

    /// Served as it was acknowledged, or not since a time, according to a check.
    #[must_use]
    pub fn checked(&self, unserved_since: Option<Millis>) -> Self {
        Self { unserved_since, ..self.clone() }
    }

    /// Acknowledged as it is wanted. It stays unpublished if that is not final, because an
    /// unanswered message may still overwrite it. Its notice is due all the same: the client has
    /// its reply, and another update may come before the acknowledgement is final.
    #[must_use]
    pub fn acknowledged(&self, ttl: u32, is_final: bool, lease: Option<Lease>) -> Self {
        let unpublished_since = self.unpublished_since.filter(|_| !is_final);
        let lease = lease.filter(|_| !is_final).map(Box::new);
        let acked = Acked { addresses: self.wanted.addresses(), ttl: Some(ttl) };
        let version = self.version + i64::from(self.notices.is_some());
        Self { acked, unpublished_since, notices: None, lease, version, ..self.clone() }
    }

    /// Its name within the zone.
    pub fn label(&self) -> Label {
        self.zone_start.label_of(&self.fqdn)
    }

    /// The zone whose primary gets the updates.
    pub fn zone(&self) -> Zone {
        self.zone_start.zone_of(&self.fqdn)
    }

    pub fn names(&self) -> HostNames {
        HostNames { label: self.label(), zone: self.zone(), fqdn: self.fqdn.clone() }
    }

    /// The mails to its owner that are queued once DNS holds `wanted`.
    pub fn pending_notices(&self) -> PendingNotices {
        self.notices.as_deref().copied().unwrap_or_default()
    }
}

/// When each family was last updated, by the wall clock or by the service clock.
pub type Seen<T = Millis> = PerFamily<Option<T>>;

impl Seen {
    /// The same families, at this time of the service clock.
    pub fn on_service_clock(self, at: Uptime) -> Seen<Uptime> {
        self.map(|seen| seen.map(|_| at))
    }
}

impl<T: Copy> Seen<T> {
    /// These families, at this time.
    pub fn at(families: Families, at: T) -> Self {
        families.map(|is_updated| is_updated.then_some(at))
    }

    /// What this knows; of the families it does not know, what `older` knows.
    #[must_use]
    pub fn or(self, older: Self) -> Self {
        self.zip(older).map(|(newer, older)| newer.or(older))
    }
}

/// What the expiry of a host counts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// When each family was last updated, or resumed.
    pub updated: Seen<Uptime>,
    pub is_owner_suspended: bool,
}

/// A host together with what administrators want to see of it.
#[derive(Clone, Debug)]
pub struct HostDetails {
    pub host: Arc<Host>,
    pub owner: UserName,
    /// Since when its owner is suspended.
    pub owner_suspended_at: Option<Millis>,
    /// When a family expired, if nothing has changed since.
    pub expired_at: Option<Millis>,
    pub created_at: Millis,
    /// When each family was last updated, changed or not.
    pub seen: Seen,
    /// The addresses that it has, or had before its records were removed.
    pub last_addresses: Addresses,
    /// Attempts to publish the pending change.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Why DNS does not serve what it acknowledged, according to a check.
    pub unserved: Option<String>,
    /// The TTL that DNS serves, if it is not the one it acknowledged.
    pub served_ttl: Option<u32>,
    /// The host that it follows.
    pub leader: Option<Leader>,
}

impl HostDetails {
    /// Why it has no IPv6 address, if its suffix does not fit the prefix.
    pub fn no_ipv6(&self) -> Option<NoFit> {
        let lan = &self.host.lan;
        let of_leader = self.leader.as_ref().and_then(|leader| leader.prefix);
        lan.prefix.or(of_leader)?.address(lan.suffix?).err()
    }
}

/// What a follower shows of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub fqdn: Fqdn,
    pub prefix: Option<Ipv6Prefix>,
}

/// A host of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedHost {
    pub user: UserName,
    /// Name within the zone.
    pub label: Label,
    pub zone: Zone,
    /// Whole name, unique.
    pub fqdn: Fqdn,
    /// Seconds, or the default.
    pub dns_ttl: Option<u32>,
    /// Seconds, or the default.
    pub expiry_ttl: Option<u32>,
    /// What DNS should hold.
    pub addresses: Addresses,
    /// The addresses it had before its records were removed.
    pub last_addresses: Addresses,
    /// When each family was last updated; `None` is now, for a family with an address.
    pub seen: Seen,
    pub suffix: Option<Ipv6Suffix>,
    /// The host that it follows; then it has a suffix.
    pub leader: Option<Fqdn>,
    /// The last prefix of a host that follows none.
    pub prefix: Option<Ipv6Prefix>,
    /// When it was added; `None` is now.
    pub created_at: Option<Millis>,
    pub suspended_at: Option<Millis>,
}

#[cfg(test)]
impl Host {
    /// A new host in example.org.
    pub(crate) fn sample(id: i64, label: &str) -> Self {
        let fqdn = Fqdn::parse(&format!("{label}.example.org")).unwrap();
        Self {
            id: HostId(id),
            user: UserId(1),
            zone_start: ZoneStart::find(&fqdn, label, "example.org").unwrap(),
            fqdn,
            dns_ttl: None,
            expiry_ttl: None,
            wanted: WantedRecords::default(),
            acked: Acked::default(),
            unpublished_since: None,
            unserved_since: None,
            suspended_at: None,
            notices: None,
            lan: HostLan::default(),
            lease: None,
            version: 1,
        }
    }
}
