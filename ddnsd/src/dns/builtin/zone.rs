//! One zone that ddnsd serves. In: a name and a type. Out: its records, or that there are none.
//! Its own records (SOA, NS, addresses of name servers) come from the configuration, those of hosts
//! from changes.

use super::host_map::{HostMap, HostRecords};
use super::key::{NameKey, below, labels};
use super::serial::on_wire;
use crate::model::name::Zone;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// TTL of the zone's own records, seconds.
const OWN_TTL: u32 = 3_600;
/// How long resolvers remember that a name or a type does not exist, seconds.
const NEGATIVE_TTL: u32 = 60;
/// When secondaries ask by themselves, without a NOTIFY, seconds.
const REFRESH: i32 = 900;
const RETRY: i32 = 300;
/// When secondaries that reach no primary stop answering, seconds.
const EXPIRE: i32 = 14 * 86_400;

/// A zone as it is configured. A reload makes another one over the same content.
pub(super) struct ServedZone {
    pub(super) zone: Zone,
    pub(super) key: NameKey,
    pub(super) own: OwnRecords,
    content: Arc<RwLock<ZoneContent>>,
}

/// The records that the configuration gives a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnRecords {
    pub(super) name: Name,
    /// Its serial is that of the content.
    soa: SOA,
    pub(super) nameservers: Vec<Name>,
    /// By the part of the key below the zone's.
    pub(super) fixed: BTreeMap<Vec<u8>, FixedName>,
}

/// A name below the zone that is no host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FixedName {
    /// Those of a name server.
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
    /// Another served zone begins here.
    pub(super) is_delegated: bool,
}

/// What changes while the zone is served.
#[derive(Clone, Default)]
pub(super) struct ZoneContent {
    pub(super) hosts: HostMap,
    pub(super) serial: u64,
    /// The serial must rise as soon as a higher one is covered.
    pub(super) is_behind: bool,
}

/// What stands at a name.
#[derive(Debug)]
pub(super) enum ZoneAnswer {
    Records(Vec<Record>),
    /// The name exists, and has none of this type.
    NoData,
    NoName,
}

impl OwnRecords {
    /// Without fixed names yet.
    pub(super) fn new(zone: &Zone, nameservers: &[String], hostmaster: &str) -> Self {
        let nameservers: Vec<Name> = nameservers.iter().map(|name| name_of(name)).collect();
        let primary = nameservers.first().cloned().unwrap_or_default();
        // the serial comes from the content
        let soa = SOA::new(primary, mailbox(hostmaster), 0, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL);
        Self { name: name_of(zone.as_str()), soa, nameservers, fixed: BTreeMap::new() }
    }
}

impl ServedZone {
    pub(super) fn new(zone: Zone, own: OwnRecords, content: Arc<RwLock<ZoneContent>>) -> Self {
        let key = NameKey::of_text(zone.as_str());
        Self { zone, key, own, content }
    }

    pub(super) fn content(&self) -> RwLockReadGuard<'_, ZoneContent> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn content_mut(&self) -> RwLockWriteGuard<'_, ZoneContent> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content, for another configuration of the zone.
    pub(super) fn shared_content(&self) -> Arc<RwLock<ZoneContent>> {
        Arc::clone(&self.content)
    }

    /// What stands at a name of the zone, whose records get this owner. `rest` is the part of its
    /// key below the zone's.
    pub(super) fn look_up(
        &self,
        content: &ZoneContent,
        rest: &[u8],
        owner: &Name,
        kind: RecordType,
    ) -> ZoneAnswer {
        let host = content.hosts.get(rest);
        let fixed = self.own.fixed.get(rest);
        let is_apex = rest.is_empty();
        let at = AtName { owner, host, fixed };
        let records = match kind {
            RecordType::A => at.v4(),
            RecordType::AAAA => at.v6(),
            RecordType::NS if is_apex => self.ns(owner),
            RecordType::SOA if is_apex => vec![self.soa(content, owner)],
            RecordType::ANY => self.any(content, &at, is_apex),
            _ => Vec::new(),
        };
        if !records.is_empty() {
            return ZoneAnswer::Records(records);
        }
        if is_apex || host.is_some() || fixed.is_some() || self.has_below(content, rest) {
            ZoneAnswer::NoData
        } else {
            ZoneAnswer::NoName
        }
    }

    /// RFC 8482, 4.1: one RRset is enough.
    fn any(&self, content: &ZoneContent, at: &AtName<'_>, is_apex: bool) -> Vec<Record> {
        let v4 = at.v4();
        if !v4.is_empty() {
            return v4;
        }
        let v6 = at.v6();
        if v6.is_empty() && is_apex { vec![self.soa(content, at.owner)] } else { v6 }
    }

    /// RFC 8020: a name exists if one below it does.
    fn has_below(&self, content: &ZoneContent, rest: &[u8]) -> bool {
        let mut prefix = rest.to_vec();
        prefix.push(b'.');
        let fixed = self.own.fixed.range(prefix.clone()..).next();
        content.hosts.has_prefix(&prefix)
            || fixed.is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    fn ns(&self, owner: &Name) -> Vec<Record> {
        let ns =
            |name: &Name| Record::from_rdata(owner.clone(), OWN_TTL, RData::NS(NS(name.clone())));
        self.own.nameservers.iter().map(ns).collect()
    }

    pub(super) fn soa(&self, content: &ZoneContent, owner: &Name) -> Record {
        self.soa_with(content, owner, OWN_TTL)
    }

    /// RFC 2308, 3: the SOA record that says how long an absence may be remembered.
    pub(super) fn negative_soa(&self, content: &ZoneContent, owner: &Name) -> Record {
        self.soa_with(content, owner, NEGATIVE_TTL)
    }

    fn soa_with(&self, content: &ZoneContent, owner: &Name, ttl: u32) -> Record {
        let mut soa = self.own.soa.clone();
        soa.serial = on_wire(content.serial);
        Record::from_rdata(owner.clone(), ttl, RData::SOA(soa))
    }

    /// All its own records but the SOA: for a transfer.
    pub(super) fn own_records(&self) -> Vec<Record> {
        let mut records = self.ns(&self.own.name);
        for (rest, fixed) in &self.own.fixed {
            let mut owner =
                Name::from_labels(labels(rest).chain(self.own.name.iter())).unwrap_or_default();
            owner.set_fqdn(true);
            if fixed.is_delegated {
                records.extend(self.ns(&owner));
            }
            let at = AtName { owner: &owner, host: None, fixed: Some(fixed) };
            records.extend([at.v4(), at.v6()].concat());
        }
        records
    }

    /// The addresses of the zone's name servers, as far as they lie in it.
    pub(super) fn glue(&self, content: &ZoneContent) -> Vec<Record> {
        let glue = self.own.nameservers.iter().flat_map(|owner| {
            let key = NameKey::of_name(owner);
            let rest = below(key.as_bytes(), self.key.as_bytes());
            let records = rest.map(|rest| {
                let host = content.hosts.get(rest);
                let at = AtName { owner, host, fixed: self.own.fixed.get(rest) };
                [at.v4(), at.v6()].concat()
            });
            records.unwrap_or_default()
        });
        glue.collect()
    }
}

/// A name, and what stands there.
struct AtName<'a> {
    owner: &'a Name,
    host: Option<HostRecords>,
    fixed: Option<&'a FixedName>,
}

impl AtName<'_> {
    fn v4(&self) -> Vec<Record> {
        let host = self.host.and_then(|host| Some((host.v4?, host.ttl)));
        let fixed = self.fixed.into_iter().flat_map(|fixed| &fixed.v4);
        let all = host.into_iter().chain(fixed.map(|address| (*address, OWN_TTL)));
        all.map(|(address, ttl)| address_record(self.owner, address.into(), ttl)).collect()
    }

    fn v6(&self) -> Vec<Record> {
        let host = self.host.and_then(|host| Some((host.v6?, host.ttl)));
        let fixed = self.fixed.into_iter().flat_map(|fixed| &fixed.v6);
        let all = host.into_iter().chain(fixed.map(|address| (*address, OWN_TTL)));
        all.map(|(address, ttl)| address_record(self.owner, address.into(), ttl)).collect()
    }
}

pub(super) fn address_record(owner: &Name, address: IpAddr, ttl: u32) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(owner.clone(), ttl, data)
}

/// A checked name is a DNS name.
pub(super) fn name_of(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap_or_default();
    name.set_fqdn(true);
    name
}

/// RFC 1035, 8: the local part is one label, dots included.
fn mailbox(address: &str) -> Name {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    // the domain may be given with U-labels
    let domain = Zone::parse(domain).map_or_else(|_| domain.to_owned(), |zone| zone.to_string());
    let labels = std::iter::once(local).chain(domain.split('.').filter(|label| !label.is_empty()));
    let mut name = Name::from_labels(labels.map(str::as_bytes)).unwrap_or_default();
    name.set_fqdn(true);
    name
}
