//! What must hold for every message that comes to the name server. Fuzzers (`tests/fuzz`) drive it,
//! and the property tests below with generated messages.

use super::BuiltinServer;
use super::respond::{Response, Transport, ask_again_by_tcp, respond};
use super::transfer::Transfer;
use crate::clock::Clock;
use crate::config::Builtin;
use crate::model::address::Addresses;
use crate::model::name::{Fqdn, Zone};
use hickory_proto::op::{Message, MessageType};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

/// A client that may transfer zones, and one that may not.
const CLIENTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))];

/// A server of two zones, one below the other.
fn server() -> &'static BuiltinServer {
    static SERVER: OnceLock<BuiltinServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = BuiltinServer::new(Arc::default(), Clock);
        let zones = ["example", "lan.dyn.example"].map(Zone::parse);
        let zones: Vec<Zone> = zones.into_iter().flatten().collect();
        let prepared = server.prepare(Builtin {
            listen: Vec::new(),
            zones: zones.clone(),
            nameservers: vec!["ns.dyn.example".into(), "ns.example.net".into()],
            nameserver_addresses: vec![("ns.dyn.example".into(), vec![CLIENTS[1]])],
            hostmaster: "first.last@example.org".into(),
            allow_transfer: vec![CLIENTS[0].into()],
            notify: Vec::new(),
        });
        let v4 = Some(Ipv4Addr::new(192, 0, 2, 7));
        let addresses = Addresses { v4, v6: Some(Ipv4Addr::LOCALHOST.to_ipv6_mapped()) };
        for (zone, name) in zones.iter().zip(["a.pc.dyn.example", "pc.lan.dyn.example"]) {
            if let Ok(name) = Fqdn::parse(name) {
                prepared.load(zone, &name, addresses, 60);
            }
        }
        prepared.commit();
        server
    })
}

/// Answers bytes as a message, of either client and either way.
///
/// # Panics
/// When it does not hold.
pub fn query(bytes: &[u8]) {
    let zones = server().zone_set();
    for client in CLIENTS {
        for transport in [Transport::Udp, Transport::Tcp] {
            match respond(bytes, client, transport, &zones) {
                Response::Nothing => {}
                Response::Message(reply) => {
                    assert!(transport == Transport::Tcp || reply.bytes.len() <= 1_232);
                    check_answer(bytes, &reply.bytes);
                }
                Response::Transfer(request) => {
                    assert_eq!((client, transport), (CLIENTS[0], Transport::Tcp));
                    let mut transfer = Transfer::new(request);
                    let mut records = Vec::new();
                    while let Some(message) = transfer.next_message() {
                        records.extend(check_answer(bytes, &message).answers);
                    }
                    assert!(records.len() > 3 && records.first() == records.last());
                }
            }
        }
    }
    if let Some(answer) = ask_again_by_tcp(bytes) {
        assert!(answer.len() <= bytes.len(), "never longer than the query");
        check_answer(bytes, &answer);
    }
}

/// An answer can be read, is one, and is to this query.
fn check_answer(query: &[u8], answer: &[u8]) -> Message {
    assert_eq!(query.get(..2), answer.get(..2), "the id");
    let Ok(message) = Message::from_vec(answer) else {
        // the question of a query that cannot be read is given back as it is
        assert!(answer.get(2).is_some_and(|flags| flags & 0x82 == 0x82), "{answer:?}");
        return Message::response(0, hickory_proto::op::OpCode::Query);
    };
    assert_eq!(message.metadata.message_type, MessageType::Response);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_answered_or_dropped(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            query(&bytes);
        }

        #[test]
        fn arbitrary_bytes_after_a_head_of_a_query_are_answered(
            flags in any::<[u8; 2]>(),
            counts in any::<[u8; 8]>(),
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = vec![0x12, 0x34, flags[0] & 0x01, flags[1]];
            bytes.extend(counts.map(|count| count % 3));
            bytes.extend(b"\x02pc\x03dyn\x07example\x00");
            bytes.extend(rest);
            query(&bytes);
        }

        #[test]
        fn any_name_and_type_is_answered(name in "[a-z*_.-]{0,30}", kind in any::<u16>()) {
            let Ok(name) = Name::from_ascii(format!("{name}.dyn.example.")) else { return Ok(()) };
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(name, RecordType::from(kind)));
            query(&message.to_vec().unwrap());
        }
    }

    /// A query with EDNS, and a request of an incremental transfer.
    fn valid_messages() -> [Vec<u8>; 2] {
        let name = Name::from_ascii("a.pc.dyn.example.").unwrap();
        let mut with_edns = Message::new(7, MessageType::Query, OpCode::Query);
        with_edns.add_query(Query::query(name, RecordType::AAAA));
        with_edns.set_edns(hickory_proto::op::Edns::new());
        let zones = server().zone_set();
        let zone = zones.get(&Zone::parse("example").unwrap()).unwrap();
        let apex = &zone.own.name;
        let mut incremental = Message::new(8, MessageType::Query, OpCode::Query);
        incremental.add_query(Query::query(apex.clone(), RecordType::IXFR));
        incremental.add_authority(zone.soa(&zone.content(), apex));
        [with_edns, incremental].map(|message| message.to_vec().unwrap())
    }

    proptest! {
        #[test]
        fn a_valid_message_with_other_bytes_is_answered_or_dropped(
            which in 0usize..2,
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..5),
        ) {
            let mut bytes = valid_messages()[which].clone();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            query(&bytes);
        }
    }

    fn code(name: &str, kind: RecordType) -> (ResponseCode, usize) {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let bytes = message.to_vec().unwrap();
        let zones = server().zone_set();
        match respond(&bytes, CLIENTS[1], Transport::Udp, &zones) {
            Response::Message(reply) => {
                let answer = Message::from_vec(&reply.bytes).unwrap();
                (answer.metadata.response_code, answer.answers.len())
            }
            _ => panic!("no answer"),
        }
    }

    #[test]
    fn the_zones_that_are_checked_have_hosts() {
        use RecordType::{A, AAAA, AXFR, NS};
        for (name, kind, expected) in [
            ("a.pc.dyn.example.", A, (ResponseCode::NoError, 1)),
            ("A.PC.dyn.example.", AAAA, (ResponseCode::NoError, 1)),
            ("pc.dyn.example.", A, (ResponseCode::NoError, 0)),
            ("c.dyn.example.", A, (ResponseCode::NXDomain, 0)),
            ("pc.lan.dyn.example.", A, (ResponseCode::NoError, 1)),
            ("ns.dyn.example.", A, (ResponseCode::NoError, 1)),
            ("example.", NS, (ResponseCode::NoError, 2)),
            ("example.", AXFR, (ResponseCode::Refused, 0)),
            ("a\\.pc.dyn.example.", A, (ResponseCode::NXDomain, 0)),
            ("dyn\\.example.", A, (ResponseCode::Refused, 0)),
            ("org.", A, (ResponseCode::Refused, 0)),
        ] {
            assert_eq!(code(name, kind), expected, "{name} {kind}");
        }
    }
}
