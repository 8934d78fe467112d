//! A name server: whole messages or nothing. It keeps all that was ever applied.

use crate::model::change::RecordChange;
use crate::model::record::{Wanted, WantedRecords};
use hickory_proto::op::ResponseCode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What stands at a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
    /// Of the records, if there are any.
    pub(super) ttl: Option<u32>,
}

impl Held {
    pub(super) fn is_nothing(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// After a change.
    pub(super) fn after(self, change: &RecordChange) -> Self {
        self.with(&change.records, change.ttl)
    }

    /// With these records.
    pub(super) fn with(self, records: &WantedRecords, ttl: u32) -> Self {
        fn of<A: Copy>(before: Option<A>, wanted: Wanted<A>) -> Option<A> {
            match wanted {
                Wanted::Untouched => before,
                wanted => wanted.address(),
            }
        }
        let mut held =
            Self { v4: of(self.v4, records.v4), v6: of(self.v6, records.v6), ttl: Some(ttl) };
        if held.is_nothing() {
            held.ttl = None;
        }
        held
    }
}

#[derive(Default)]
pub(super) struct NameServer {
    names: BTreeMap<String, Vec<(u64, RecordChange, Held)>>,
    /// Names where a CNAME stands in the way of addresses.
    pub(super) aliases: BTreeSet<String>,
    /// Names that the key may not change.
    pub(super) denied: BTreeSet<String>,
}

impl NameServer {
    /// RFC 2136, 3.4: all of a message, or nothing of it.
    pub(super) fn apply(&mut self, changes: &[RecordChange], at: u64) -> Result<(), ResponseCode> {
        for change in changes {
            let name = change.fqdn.as_str();
            if self.denied.contains(name) {
                return Err(ResponseCode::Refused);
            }
            if !change.records.addresses().is_empty() && self.aliases.contains(name) {
                return Err(ResponseCode::YXRRSet);
            }
        }
        for change in changes {
            let held = self.held(change.fqdn.as_str()).after(change);
            let name = self.names.entry(change.fqdn.to_string()).or_default();
            name.push((at, change.clone(), held));
        }
        Ok(())
    }

    pub(super) fn held(&self, name: &str) -> Held {
        self.names.get(name).and_then(|log| log.last()).map(|last| last.2).unwrap_or_default()
    }

    /// Whether this very change was applied since then.
    pub(super) fn applied(&self, change: &RecordChange, since: u64) -> bool {
        let log = self.names.get(change.fqdn.as_str()).map_or(&[][..], Vec::as_slice);
        log.iter().rev().take_while(|(at, ..)| *at >= since).any(|(_, applied, _)| {
            let unpublished_since = change.unpublished_since;
            RecordChange { unpublished_since, ..applied.clone() } == *change
        })
    }
}
