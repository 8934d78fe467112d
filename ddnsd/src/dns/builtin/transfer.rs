//! A whole zone for a secondary (RFC 5936). In: the zone. Out: messages that show one version of
//! it: a snapshot, which later changes do not wait for.

use super::host_map::{HostCursor, HostRecords};
use super::key::labels;
use super::respond::TransferRequest;
use super::zone::address_record;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::{Name, Record};
use std::net::IpAddr;

/// What a message holds, more or less: names are compressed only up to here (RFC 1035, 4.1.4).
const MAX_BYTES: usize = 16_000;
/// Beside its name: type, class, TTL, length and an IPv6 address.
const BYTES_BESIDE_NAME: usize = 26;

/// A transfer under way.
pub(super) struct Transfer {
    request: TransferRequest,
    soa: Record,
    /// The zone's own records that are not sent yet.
    own: std::vec::IntoIter<Record>,
    hosts: HostCursor,
    is_first: bool,
    is_done: bool,
}

impl Transfer {
    pub(super) fn new(request: TransferRequest) -> Self {
        let zone = &request.zone;
        let (soa, hosts) = {
            let content = zone.content();
            (zone.soa(&content, &zone.own.name), content.hosts.clone())
        };
        let mut own = vec![soa.clone()];
        own.extend(zone.own_records());
        let (own, hosts) = (own.into_iter(), HostCursor::new(hosts));
        Self { soa, own, hosts, is_first: true, is_done: false, request }
    }

    /// The next message; `None` at the end.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        if self.is_done {
            return None;
        }
        let mut message = Message::new(self.request.id, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        if std::mem::take(&mut self.is_first) {
            message.add_query(self.request.query.clone());
        }
        let mut bytes = 0;
        while bytes < MAX_BYTES {
            let Some(records) = self.next_records() else {
                message.add_answer(self.soa.clone());
                self.is_done = true;
                break;
            };
            for record in records {
                bytes += record.name.len() + BYTES_BESIDE_NAME;
                message.add_answer(record);
            }
        }
        // within 64 KiB, a message of valid records is always encoded
        message.to_vec().ok()
    }

    fn next_records(&mut self) -> Option<Vec<Record>> {
        if let Some(record) = self.own.next() {
            return Some(vec![record]);
        }
        let zone = &self.request.zone.own.name;
        self.hosts.next().map(|(key, host)| of_host(key, host, zone))
    }
}

fn of_host(key: &[u8], host: HostRecords, zone: &Name) -> Vec<Record> {
    let mut name = Name::from_labels(labels(key).chain(zone.iter())).unwrap_or_default();
    name.set_fqdn(true);
    let v4 = host.v4.map(IpAddr::V4);
    let addresses = v4.into_iter().chain(host.v6.map(IpAddr::V6));
    addresses.map(|address| address_record(&name, address, host.ttl)).collect()
}
