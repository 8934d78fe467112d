//! The zones that ddnsd serves, as configured. In: a name. Out: the zone that it lies in. A reload
//! makes another set; zones that stay keep their content.

use super::host_map::{HostCursor, HostRecords};
use super::key::{NameKey, and_above, below, labels};
use super::serial::Serials;
use super::zone::{OwnRecords, ServedZone, ZoneContent};
use crate::config::Builtin;
use crate::dns::DnsError;
use crate::model::change::RecordChange;
use crate::model::name::{Fqdn, Zone};
use crate::model::record::{Wanted, WantedRecords};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

/// The zones by key, and who may transfer them.
#[derive(Default)]
pub(super) struct ZoneSet {
    zones: HashMap<NameKey, Arc<ServedZone>>,
    pub(super) config: Option<Builtin>,
}

impl ZoneSet {
    /// The zones of the configuration. Those of the previous set keep their content. Returns the
    /// new ones too.
    pub(super) fn new(config: Builtin, previous: &Self, serials: &Serials) -> (Self, Vec<Zone>) {
        let mut set = Self::default();
        let mut new = Vec::new();
        for zone in &config.zones {
            let key = NameKey::of_text(zone.as_str());
            let content = previous.zones.get(&key).map(|zone| zone.shared_content());
            let content = content.unwrap_or_else(|| {
                new.push(zone.clone());
                let serial = serials.of_new_zone();
                let content = ZoneContent { serial, is_behind: true, ..ZoneContent::default() };
                Arc::new(RwLock::new(content))
            });
            let own = own_records(zone, &config);
            set.zones.insert(key, Arc::new(ServedZone::new(zone.clone(), own, content)));
        }
        set.config = Some(config);
        (set, new)
    }

    /// The zone that a name lies in: the innermost of the served ones.
    pub(super) fn zone_of(&self, name: &NameKey) -> Option<&Arc<ServedZone>> {
        name.and_above().find_map(|key| self.zones.get(key))
    }

    /// The zone that a name lies below, without one that begins there.
    pub(super) fn zone_above(&self, name: &NameKey) -> Option<&Arc<ServedZone>> {
        name.and_above().skip(1).find_map(|key| self.zones.get(key))
    }

    /// The zone of exactly this name.
    pub(super) fn get(&self, zone: &Zone) -> Option<&Arc<ServedZone>> {
        self.zones.get(NameKey::of_text(zone.as_str()).as_bytes())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ServedZone>> {
        self.zones.values()
    }

    /// Whether this client may transfer zones.
    pub(super) fn may_transfer(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let networks = self.config.iter().flat_map(|config| &config.allow_transfer);
        networks.into_iter().any(|network| network.contains(&client))
    }

    /// The zone that a host of this name is published in.
    ///
    /// # Errors
    /// It is not served, or the name is not free for hosts.
    pub(super) fn zone_of_host(
        &self,
        name: &Fqdn,
        zone: &Zone,
    ) -> Result<&Arc<ServedZone>, DnsError> {
        let served = self.get(zone).ok_or_else(|| DnsError::NotServed { zone: zone.clone() })?;
        let config = self.config.iter().flat_map(|config| &config.nameserver_addresses);
        if config.into_iter().any(|(taken, _)| taken == name.as_str()) {
            return Err(DnsError::NameServerName { name: name.clone() });
        }
        match self.zone_of(&NameKey::of_text(name.as_str())) {
            Some(innermost) if innermost.zone == *zone => Ok(served),
            Some(inner) => {
                Err(DnsError::InInnerZone { name: name.clone(), inner: inner.zone.clone() })
            }
            None => Err(DnsError::NotServed { zone: zone.clone() }),
        }
    }
}

impl ServedZone {
    /// Makes the zone hold what the change says. Returns whether it was different.
    pub(super) fn apply(&self, change: &RecordChange, content: &mut ZoneContent) -> bool {
        let key = NameKey::of_text(change.fqdn.as_str());
        let Some(rest) = below(key.as_bytes(), self.key.as_bytes()) else { return false };
        let old = content.hosts.get(rest).unwrap_or_default();
        let WantedRecords { v4, v6 } = change.records;
        let v4 = merged(v4, old.v4);
        let v6 = merged(v6, old.v6);
        content.hosts.set(rest, HostRecords { v4, v6, ttl: change.ttl })
    }
}

impl ServedZone {
    /// Removes hosts whose names are not free any more: they are those of name servers now, or lie
    /// in another served zone. Returns their names.
    pub(super) fn displace(&self, content: &mut ZoneContent) -> Vec<Fqdn> {
        let fixed = &self.own.fixed;
        let is_delegated = |key: &[u8]| fixed.get(key).is_some_and(|name| name.is_delegated);
        let mut taken = Vec::new();
        let mut hosts = HostCursor::new(content.hosts.clone());
        while let Some((key, _)) = hosts.next() {
            if fixed.contains_key(key) || and_above(key).any(is_delegated) {
                taken.push(key.to_vec());
            }
        }
        let mut names = Vec::new();
        for key in taken {
            content.hosts.set(&key, HostRecords::default());
            let labels = labels(&key).map(String::from_utf8_lossy);
            let name: String = labels.flat_map(|label| [label, ".".into()]).collect();
            names.extend(Fqdn::parse(&format!("{name}{}", self.zone)).ok());
        }
        names
    }
}

fn merged<A: Copy>(wanted: Wanted<A>, old: Option<A>) -> Option<A> {
    match wanted {
        Wanted::Untouched => old,
        Wanted::Absent => None,
        Wanted::Present(address) => Some(address),
    }
}

/// A zone's own records: name servers with an address, and served zones that begin below it.
fn own_records(zone: &Zone, config: &Builtin) -> OwnRecords {
    let mut own = OwnRecords::new(zone, &config.nameservers, &config.hostmaster);
    let key = NameKey::of_text(zone.as_str());
    let rest = |name: &str| {
        let name = NameKey::of_text(name);
        below(name.as_bytes(), key.as_bytes()).map(<[u8]>::to_vec)
    };
    for (name, addresses) in &config.nameserver_addresses {
        let Some(rest) = rest(name) else { continue };
        let fixed = own.fixed.entry(rest).or_default();
        for address in addresses {
            match address {
                IpAddr::V4(v4) if !fixed.v4.contains(v4) => fixed.v4.push(*v4),
                IpAddr::V6(v6) if !fixed.v6.contains(v6) => fixed.v6.push(*v6),
                _ => {}
            }
        }
    }
    for inner in config.zones.iter().filter(|inner| is_below(inner, zone)) {
        // a zone between the two delegates it
        let is_between = |middle: &Zone| is_below(middle, zone) && is_below(inner, middle);
        if let Some(rest) = rest(inner.as_str())
            && !config.zones.iter().any(is_between)
        {
            own.fixed.entry(rest).or_default().is_delegated = true;
        }
    }
    own
}

fn is_below(inner: &Zone, outer: &Zone) -> bool {
    inner != outer && outer.holds(inner)
}
