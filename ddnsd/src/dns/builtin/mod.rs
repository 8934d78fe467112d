//! The name server in ddnsd itself: it serves its zones from memory, over UDP and TCP. In: changes,
//! and questions of resolvers. Out: answers, zone transfers, and a NOTIFY to secondaries.
//!
//! The database says what a zone holds; a start loads it from there.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod host_map;
mod key;
pub mod listen;
mod notify;
mod rate_limit;
mod respond;
mod serial;
mod tcp;
mod transfer;
mod udp;
mod udp_port;
mod zone;
mod zone_set;

use super::{CheckResult, DnsError, Found, LookupError, Published, ZoneHealth};
use crate::clock::Clock;
use crate::config::Builtin;
use crate::counters::ServerCounters;
use crate::model::address::Addresses;
use crate::model::change::{RecordChange, RecordCheck};
use crate::model::family::Family;
use crate::model::name::{Fqdn, Zone};
use crate::model::record::Wanted;
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use host_map::HostRecords;
use key::{NameKey, below};
use rate_limit::{Limited, RateLimit};
use respond::DnsReply;
use serial::Serials;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zone::{ServedZone, ZoneAnswer, ZoneContent};
use zone_set::ZoneSet;

/// The server; clones share it. It answers from when [`listen::Listeners::serve`] runs.
#[derive(Clone)]
pub struct BuiltinServer(Arc<ServerState>);

struct ServerState {
    zones: ArcSwap<ZoneSet>,
    serials: Serials,
    displaced: Mutex<Vec<Fqdn>>,
    rate_limit: RateLimit,
    counters: Arc<ServerCounters>,
    clock: Clock,
}

/// Other zones, or other settings of them. Dropped, nothing changes.
#[must_use = "they are served when they are committed"]
pub struct PreparedZones {
    server: BuiltinServer,
    zones: ZoneSet,
    new: Vec<Zone>,
}

impl PreparedZones {
    /// The zones that are not served so far, and empty: [`Self::load`] fills them.
    pub fn new_zones(&self) -> &[Zone] {
        &self.new
    }

    /// Puts a host into a new zone. One that may not be there is left out, see
    /// [`BuiltinServer::take_displaced`].
    pub fn load(&self, zone: &Zone, name: &Fqdn, addresses: Addresses, ttl: u32) {
        let Ok(zone) = self.zones.zone_of_host(name, zone) else {
            self.server.displaced().push(name.clone());
            return;
        };
        let key = NameKey::of_text(name.as_str());
        if let Some(rest) = below(key.as_bytes(), zone.key.as_bytes()) {
            let records = HostRecords { v4: addresses.v4, v6: addresses.v6, ttl };
            zone.content_mut().hosts.set(rest, records);
        }
    }

    /// Serves these zones from now on.
    pub fn commit(self) {
        let Self { server, zones, new: _ } = self;
        let previous = server.0.zones.swap(Arc::new(zones));
        for zone in server.0.zones.load().iter() {
            let before = previous.get(&zone.zone);
            let is_changed = before.is_none_or(|before| before.own != zone.own);
            let mut content = zone.content_mut();
            if before.is_some_and(|before| before.own.fixed != zone.own.fixed) {
                server.displaced().extend(zone.displace(&mut content));
            }
            server.raise_serial(&mut content, is_changed);
        }
    }
}

impl BuiltinServer {
    /// Without zones: they come with [`Self::prepare`].
    pub fn new(counters: Arc<ServerCounters>, clock: Clock) -> Self {
        let (zones, serials) = (ArcSwap::default(), Serials::default());
        let rate_limit = RateLimit::new(clock.now());
        Self(Arc::new(ServerState {
            zones,
            serials,
            displaced: Mutex::default(),
            rate_limit,
            counters,
            clock,
        }))
    }

    pub fn counters(&self) -> &ServerCounters {
        &self.0.counters
    }

    /// The zones in force.
    fn zone_set(&self) -> arc_swap::Guard<Arc<ZoneSet>> {
        self.0.zones.load()
    }

    fn count_query(&self, client: IpAddr) -> Limited {
        self.0.rate_limit.count(client, self.0.clock.now())
    }

    fn count(&self, reply: &DnsReply) {
        let counters = self.counters();
        match reply.code {
            ResponseCode::NoError => counters.noerror.add_one(),
            ResponseCode::NXDomain => counters.nxdomain.add_one(),
            ResponseCode::Refused => counters.refused.add_one(),
            _ => counters.other_errors.add_one(),
        }
        if reply.is_truncated {
            counters.truncated.add_one();
        }
    }

    //----- Serials -----

    /// Before anything is served. In: the mark that the previous run stored, and the seconds since
    /// 1970. Out: the mark to store; then [`Self::serials_are_covered`].
    pub fn start_serials(&self, mark: Option<u64>, seconds: u64) -> u64 {
        self.0.serials.start(mark, seconds);
        self.0.serials.wanted_mark()
    }

    /// Waits until the serials of the stored mark are nearly used up. Returns the next mark.
    pub async fn serials_run_low(&self) -> u64 {
        self.0.serials.low().await;
        self.0.serials.wanted_mark()
    }

    /// This mark is stored.
    pub fn serials_are_covered(&self, mark: u64) {
        self.0.serials.covered(mark);
        for zone in self.0.zones.load().iter() {
            self.raise_serial(&mut zone.content_mut(), false);
        }
    }

    /// At the end: no serial above the returned mark is served any more.
    pub fn end_serials(&self) -> u64 {
        self.0.serials.end()
    }

    fn raise_serial(&self, content: &mut ZoneContent, is_changed: bool) {
        content.is_behind |= is_changed;
        if content.is_behind
            && let Some(serial) = self.0.serials.next(content.serial)
        {
            content.serial = serial;
            content.is_behind = false;
        }
    }

    //----- Configuration -----

    /// Prepares another configuration. `listen` is not part of it.
    pub fn prepare(&self, config: Builtin) -> PreparedZones {
        let (zones, new) = ZoneSet::new(config, &self.0.zones.load(), &self.0.serials);
        PreparedZones { server: self.clone(), zones, new }
    }

    fn displaced(&self) -> MutexGuard<'_, Vec<Fqdn>> {
        self.0.displaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts that are not served although their zone is, since the last call: their names
    /// belong to name servers, or lie in another served zone.
    pub fn take_displaced(&self) -> Vec<Fqdn> {
        std::mem::take(&mut self.displaced())
    }

    //----- Publishing -----

    /// Serves the records of a change from now on.
    pub fn publish(&self, change: &RecordChange) -> Published {
        let mut results = self.publish_all(std::slice::from_ref(change));
        let broken_off = || DnsError::BrokenOff { zone: change.zone.clone() };
        results.pop().unwrap_or_else(|| Published::Unconfirmed(broken_off()))
    }

    /// As [`Self::publish`]: the changes of a zone raise its serial once.
    pub fn publish_all(&self, changes: &[RecordChange]) -> Vec<Published> {
        let zones = self.0.zones.load();
        let mut results = Vec::with_capacity(changes.len());
        let mut by_zone: BTreeMap<&Zone, (&ServedZone, Vec<&RecordChange>)> = BTreeMap::new();
        for change in changes {
            results.push(match zones.zone_of_host(&change.fqdn, &change.zone) {
                Ok(zone) => {
                    by_zone.entry(&change.zone).or_insert((zone, Vec::new())).1.push(change);
                    Published::Acknowledged { final_from: None }
                }
                // nothing stands there, so there is nothing to remove
                Err(_) if change.records.addresses().is_empty() => {
                    Published::Acknowledged { final_from: None }
                }
                Err(why) => Published::Refused(why),
            });
        }
        for (zone, changes) in by_zone.into_values() {
            let mut content = zone.content_mut();
            let mut is_changed = false;
            for change in changes {
                is_changed |= zone.apply(change, &mut content);
            }
            self.raise_serial(&mut content, is_changed);
        }
        results
    }

    /// Whether a host of this name can be published.
    ///
    /// # Errors
    /// The zone is not served, or the name is not free.
    pub fn check(&self, name: &Fqdn, zone: &Zone) -> Result<(), DnsError> {
        self.0.zones.load().zone_of_host(name, zone).map(|_| ())
    }

    /// Whether the zone is served.
    pub fn serves(&self, zone: &str) -> bool {
        Zone::parse(zone).is_ok_and(|zone| self.0.zones.load().get(&zone).is_some())
    }

    //----- What is served -----

    /// What a query for the name would find.
    ///
    /// # Errors
    /// It lies in no zone.
    pub fn look_up(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        let key = NameKey::of_text(name.as_str());
        let zones = self.0.zones.load();
        let zone = zones.zone_of(&key);
        let zone_and_rest =
            zone.and_then(|zone| Some((zone, below(key.as_bytes(), zone.key.as_bytes())?)));
        let Some((zone, rest)) = zone_and_rest else {
            return Err(LookupError::NotServed { name: name.clone() });
        };
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        let owner = zone::name_of(name.as_str());
        let found = zone.look_up(&zone.content(), rest, &owner, kind);
        let records = match found {
            ZoneAnswer::Records(records) => records,
            ZoneAnswer::NoData | ZoneAnswer::NoName => Vec::new(),
        };
        let ttl = records.iter().map(|record| record.ttl).min();
        let mut addresses: Vec<_> =
            records.iter().filter_map(|record| address(&record.data)).collect();
        addresses.sort_unstable();
        Ok(Found::Addresses { addresses, ttl })
    }

    /// Whether the name holds what it should.
    pub(in crate::dns) fn check_records(&self, check: &RecordCheck) -> CheckResult {
        let RecordCheck { fqdn, zone, records } = check;
        let holds = |family, wanted: Wanted<IpAddr>| match wanted {
            Wanted::Untouched => true,
            wanted => self.look_up(fqdn, family).is_ok_and(|found| {
                let addresses: Vec<_> = wanted.address().into_iter().collect();
                matches!(found, Found::Addresses { addresses: held, .. } if held == addresses)
            }),
        };
        if !self.serves(zone.as_str()) {
            CheckResult::Unknown(DnsError::NotServed { zone: zone.clone() })
        } else if holds(Family::V4, records.v4.map(IpAddr::from))
            && holds(Family::V6, records.v6.map(IpAddr::from))
        {
            CheckResult::Holds
        } else {
            CheckResult::Differs
        }
    }

    /// The served zones, by name.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        let zones = self.0.zones.load();
        let health =
            |zone: &Arc<ServedZone>| ZoneHealth { zone: zone.zone.clone(), down: false, queued: 0 };
        let mut zones: Vec<_> = zones.iter().map(health).collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}
