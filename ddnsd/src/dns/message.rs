//! In: changes or checks of one zone. Out: one unsigned UPDATE message (RFC 2136, 2), its id still
//! 0. Pure. A check holds prerequisites only: the server compares them and changes nothing.
//! Written straight to the wire: an update holds three kinds of record, and a general encoder
//! costs more than everything else a change needs.

use crate::model::change::{RecordChange, RecordCheck};
use crate::model::name::{Fqdn, Zone};
use crate::model::record::Wanted;

/// Names in one message, at most.
pub(super) const MAX_NAMES: usize = 200;
/// Bytes of one message before it is signed, at most: 64 KiB less room for zone and TSIG record.
pub(super) const MAX_BYTES: usize = 64_000;

const HEADER_BYTES: usize = 12;
/// Opcode 5 in the flags (RFC 2136, 2.2).
const UPDATE_FLAGS: u16 = 5 << 11;
/// RFC 1035, 4.1.4: a name may point at an earlier one, if that begins before this offset.
const POINTER: u16 = 0xC000;
const POINTER_END: usize = 0x4000;
/// The zone's own name stands right behind the header.
const ZONE_POINTER: u16 = POINTER | 0x000C;

#[derive(Clone, Copy)]
enum RecordKind {
    A = 1,
    Cname = 5,
    Soa = 6,
    Aaaa = 28,
}

#[derive(Clone, Copy)]
enum RecordClass {
    /// In a prerequisite: the RRset is exactly the records given (RFC 2136, 2.4.2).
    In = 1,
    /// In a prerequisite: there is no such RRset (RFC 2136, 2.4.3).
    None = 254,
    /// In an update: the whole RRset goes (RFC 2136, 2.5.2).
    Any = 255,
}

/// The most bytes that a change can take in a message.
pub(super) fn size_limit(change: &RecordChange) -> usize {
    // five records, each with the whole name and ten octets of its own; both addresses
    5 * (change.fqdn.as_str().len() + 2 + 10) + 4 + 16
}

/// Writes the changes into one message, in their order. The caller keeps to [`MAX_NAMES`] and
/// [`MAX_BYTES`]. Without any change it shows whether the zone takes updates from us.
pub(super) fn build<'a>(
    zone: &Zone,
    changes: impl ExactSizeIterator<Item = &'a RecordChange>,
) -> Vec<u8> {
    let mut message = MessageWriter::new(zone);
    let mut owners = Vec::with_capacity(changes.len());
    for change in changes {
        let mut owner = OwnerName { fqdn: &change.fqdn, zone, first_at: None };
        // servers ignore addresses beside a CNAME, and answer NOERROR; a change that only removes
        // records passes a CNAME that an administrator put there instead
        if !change.records.addresses().is_empty() {
            message.name(&mut owner);
            message.record_head(RecordKind::Cname, RecordClass::None, 0, 0);
            message.prerequisites += 1;
        }
        owners.push((owner, change));
    }
    for (mut owner, RecordChange { records, ttl, .. }) in owners {
        message.family(&mut owner, RecordKind::A, *ttl, records.v4.map(|v4| v4.octets()));
        message.family(&mut owner, RecordKind::Aaaa, *ttl, records.v6.map(|v6| v6.octets()));
    }
    message.finish()
}

/// Writes checks into one message, in their order, within the same limits. A success says that all
/// of them hold.
pub(super) fn build_check<'a>(
    zone: &Zone,
    checks: impl Iterator<Item = &'a RecordCheck>,
) -> Vec<u8> {
    let mut message = MessageWriter::new(zone);
    for RecordCheck { fqdn, records, .. } in checks {
        let mut owner = OwnerName { fqdn, zone, first_at: None };
        message.required(&mut owner, RecordKind::A, records.v4.map(|v4| v4.octets()));
        message.required(&mut owner, RecordKind::Aaaa, records.v6.map(|v6| v6.octets()));
    }
    message.finish()
}

/// How many of these checks, from the first on, fit one message; at least one.
pub(super) fn fitting(checks: &[RecordCheck]) -> usize {
    let mut bytes = 0;
    let fits = checks.iter().take(MAX_NAMES).take_while(|check| {
        // two records, each with the whole name and ten octets of its own; both addresses
        bytes += 2 * (check.fqdn.as_str().len() + 2 + 10) + 4 + 16;
        bytes <= MAX_BYTES
    });
    fits.count().max(1)
}

/// A host and where its name stands first in the message, if it does.
struct OwnerName<'a> {
    fqdn: &'a Fqdn,
    zone: &'a Zone,
    first_at: Option<usize>,
}

struct MessageWriter {
    bytes: Vec<u8>,
    prerequisites: u16,
    updates: u16,
}

impl MessageWriter {
    fn new(zone: &Zone) -> Self {
        let mut writer = Self { bytes: Vec::with_capacity(1232), prerequisites: 0, updates: 0 };
        writer.bytes.resize(HEADER_BYTES, 0);
        writer.labels(zone.as_str());
        writer.bytes.push(0);
        writer.u16(RecordKind::Soa as u16);
        writer.u16(RecordClass::In as u16);
        writer
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn labels(&mut self, name: &str) {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            // a checked name has no label over 63 octets
            self.bytes.push(u8::try_from(label.len()).unwrap_or(0));
            self.bytes.extend_from_slice(label.as_bytes());
        }
    }

    fn full_name(&mut self, owner: &OwnerName<'_>) {
        let fqdn = owner.fqdn.as_str();
        let below = fqdn.strip_suffix(owner.zone.as_str());
        if let Some(labels) = below.filter(|rest| rest.is_empty() || rest.ends_with('.')) {
            self.labels(labels);
            self.u16(ZONE_POINTER);
        } else {
            // outside the zone: the server answers NOTZONE
            self.labels(fqdn);
            self.bytes.push(0);
        }
    }

    /// In full the first time, and where a pointer does not reach.
    fn name(&mut self, owner: &mut OwnerName<'_>) {
        let reached = owner.first_at.filter(|at| *at < POINTER_END);
        if let Some(Ok(at)) = reached.map(u16::try_from) {
            self.u16(POINTER | at);
        } else {
            owner.first_at.get_or_insert(self.bytes.len());
            self.full_name(owner);
        }
    }

    fn record_head(&mut self, kind: RecordKind, class: RecordClass, ttl: u32, rdata_bytes: u16) {
        self.u16(kind as u16);
        self.u16(class as u16);
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.u16(rdata_bytes);
    }

    /// RFC 2136, 2.5.2 and 2.5.1: the RRset goes, and the one record that should be there comes.
    fn family<const N: usize>(
        &mut self,
        owner: &mut OwnerName<'_>,
        kind: RecordKind,
        ttl: u32,
        wanted: Wanted<[u8; N]>,
    ) {
        if matches!(wanted, Wanted::Untouched) {
            return;
        }
        self.name(owner);
        self.record_head(kind, RecordClass::Any, 0, 0);
        self.updates += 1;
        if let Wanted::Present(octets) = wanted {
            self.name(owner);
            self.record_head(kind, RecordClass::In, ttl, u16::try_from(N).unwrap_or(0));
            self.bytes.extend_from_slice(&octets);
            self.updates += 1;
        }
    }

    /// RFC 2136, 2.4.2 and 2.4.3: the RRset is this record alone, or there is none.
    fn required<const N: usize>(
        &mut self,
        owner: &mut OwnerName<'_>,
        kind: RecordKind,
        wanted: Wanted<[u8; N]>,
    ) {
        match wanted {
            Wanted::Untouched => return,
            Wanted::Absent => {
                self.name(owner);
                self.record_head(kind, RecordClass::None, 0, 0);
            }
            Wanted::Present(octets) => {
                self.name(owner);
                self.record_head(kind, RecordClass::In, 0, u16::try_from(N).unwrap_or(0));
                self.bytes.extend_from_slice(&octets);
            }
        }
        self.prerequisites += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let counts = [0, UPDATE_FLAGS, 1, self.prerequisites, self.updates, 0];
        for (field, count) in self.bytes.chunks_exact_mut(2).zip(counts) {
            field.copy_from_slice(&u16::to_be_bytes(count));
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::WantedRecords;
    use hickory_proto::op::{Message, MessageType, OpCode};
    use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
    use std::net::Ipv4Addr;

    fn change(name: &str, records: WantedRecords) -> RecordChange {
        let zone = Zone::parse("example.org").unwrap();
        RecordChange {
            fqdn: Fqdn::parse(name).unwrap(),
            zone,
            ttl: 77,
            records,
            unpublished_since: None,
        }
    }

    fn both() -> WantedRecords {
        WantedRecords {
            v4: Wanted::Present(Ipv4Addr::new(192, 0, 2, 1)),
            v6: Wanted::Present("2001:db8::1".parse().unwrap()),
        }
    }

    fn decoded(changes: &[RecordChange]) -> Message {
        let bytes = build(&Zone::parse("example.org").unwrap(), changes.iter());
        assert!(bytes.len() <= 300 + changes.iter().map(size_limit).sum::<usize>());
        Message::from_vec(&bytes).unwrap()
    }

    fn line(record: &Record) -> String {
        let data = match &record.data {
            RData::Update0(_) => String::new(),
            data => format!(" {data}"),
        };
        let name = &record.name;
        let class = record.dns_class;
        format!("{name} {} {class} {}{data}", record.ttl, record.record_type())
    }

    #[test]
    fn an_update_names_its_zone_and_requires_that_no_cname_is_there() {
        let message = decoded(&[change("pc.example.org", both())]);
        assert_eq!(message.op_code, OpCode::Update);
        assert_eq!(message.message_type, MessageType::Query);
        let zone = &message.queries[0];
        assert_eq!(zone.name().to_ascii(), "example.org.");
        assert_eq!((zone.query_type(), zone.query_class()), (RecordType::SOA, DNSClass::IN));
        let required: Vec<_> = message.answers.iter().map(line).collect();
        assert_eq!(required, ["pc.example.org. 0 NONE CNAME"]);
    }

    #[test]
    fn each_family_is_replaced_removed_or_untouched() {
        let message = decoded(&[
            change("pc.example.org", both()),
            change("gone.example.org", WantedRecords { v4: Wanted::Absent, v6: Wanted::Untouched }),
            change("example.org", WantedRecords { v4: both().v4, v6: Wanted::Untouched }),
        ]);
        let updates: Vec<_> = message.authorities.iter().map(line).collect();
        assert_eq!(
            updates,
            [
                "pc.example.org. 0 ANY A",
                "pc.example.org. 77 IN A 192.0.2.1",
                "pc.example.org. 0 ANY AAAA",
                "pc.example.org. 77 IN AAAA 2001:db8::1",
                "gone.example.org. 0 ANY A",
                "example.org. 0 ANY A",
                "example.org. 77 IN A 192.0.2.1",
            ]
        );
    }

    #[test]
    fn a_removal_does_not_require_that_no_cname_is_there() {
        let down = WantedRecords { v4: Wanted::Absent, v6: Wanted::Absent };
        let message =
            decoded(&[change("gone.example.org", down), change("pc.example.org", both())]);
        let required: Vec<_> = message.answers.iter().map(line).collect();
        assert_eq!(required, ["pc.example.org. 0 NONE CNAME"]);
        let updates: Vec<_> = message.authorities.iter().take(2).map(line).collect();
        assert_eq!(updates, ["gone.example.org. 0 ANY A", "gone.example.org. 0 ANY AAAA"]);
    }

    #[test]
    fn a_check_requires_what_should_be_there_and_changes_nothing() {
        let check = |name: &str, records| RecordCheck {
            fqdn: Fqdn::parse(name).unwrap(),
            zone: Zone::parse("example.org").unwrap(),
            records,
        };
        let v4 = both().v4;
        let checks = [
            check("pc.example.org", both()),
            check("example.org", WantedRecords { v4, v6: Wanted::Untouched }),
            check("gone.example.org", WantedRecords { v4: Wanted::Untouched, v6: Wanted::Absent }),
        ];
        let bytes = build_check(&Zone::parse("example.org").unwrap(), checks.iter());
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.op_code, OpCode::Update);
        assert!(message.authorities.is_empty());
        let required: Vec<_> = message.answers.iter().map(line).collect();
        assert_eq!(
            required,
            [
                "pc.example.org. 0 IN A 192.0.2.1",
                "pc.example.org. 0 IN AAAA 2001:db8::1",
                "example.org. 0 IN A 192.0.2.1",
                "gone.example.org. 0 NONE AAAA",
            ]
        );
    }

    #[test]
    fn checks_of_long_names_fill_no_message_beyond_its_bytes() {
        let long = |n: usize| format!("h{n}.{}.{}.example.org", "x".repeat(63), "y".repeat(63));
        let check = |name: String| RecordCheck {
            fqdn: Fqdn::parse(&name).unwrap(),
            zone: Zone::parse("example.org").unwrap(),
            records: both(),
        };
        let checks: Vec<_> = (0..=MAX_NAMES).map(|n| check(long(n))).collect();
        let fits = fitting(&checks);
        assert!((150..MAX_NAMES).contains(&fits), "{fits}");
        let bytes = build_check(&Zone::parse("example.org").unwrap(), checks[..fits].iter());
        assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 2 * fits);
        let short: Vec<_> = (0..=MAX_NAMES).map(|n| check(format!("h{n}.example.org"))).collect();
        assert_eq!(fitting(&short), MAX_NAMES);
    }

    #[test]
    fn a_name_outside_the_zone_is_sent_as_it_is_for_the_server_to_refuse() {
        let message = decoded(&[change("pc.notexample.org", both())]);
        assert_eq!(message.answers[0].name.to_ascii(), "pc.notexample.org.");
    }

    #[test]
    fn a_full_message_of_long_names_decodes_beyond_the_reach_of_pointers() {
        let long = |n: usize| format!("h{n}.{}.{}.example.org", "x".repeat(63), "y".repeat(63));
        let changes: Vec<_> = (0..MAX_NAMES).map(|n| change(&long(n), both())).collect();
        let bytes = build(&Zone::parse("example.org").unwrap(), changes.iter());
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.answers.len(), MAX_NAMES);
        assert_eq!(message.authorities.len(), 4 * MAX_NAMES);
        assert_eq!(message.authorities[799].name.to_ascii(), format!("{}.", long(199)));
    }

    #[test]
    fn without_changes_it_only_names_the_zone() {
        let message = decoded(&[]);
        assert_eq!(message.queries.len(), 1);
        assert!(message.answers.is_empty() && message.authorities.is_empty());
    }
}
