//! The answer to a message. In: its bytes, and how it came. Out: the bytes of the response, a zone
//! transfer, or nothing. Pure, apart from the counts.

use super::key::{NameKey, below};
use super::zone::{ServedZone, ZoneAnswer};
use super::zone_set::ZoneSet;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigError, make_tsig_record};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use std::net::IpAddr;
use std::sync::Arc;

/// What a UDP response may have at most: fits one packet nearly everywhere (DNS flag day 2020).
const MAX_UDP: u16 = 1_232;
/// RFC 1035, 4.2.1: what a client without EDNS takes.
const MIN_UDP: u16 = 512;
const HEADER: usize = 12;
const OPCODE_QUERY: u8 = 0;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What to do about a message.
pub(super) enum Response {
    /// Too short for an answer, or itself an answer.
    Nothing,
    Message(DnsReply),
    Transfer(TransferRequest),
}

/// A response.
#[derive(Debug)]
pub(super) struct DnsReply {
    pub(super) bytes: Vec<u8>,
    pub(super) code: ResponseCode,
    pub(super) is_truncated: bool,
}

/// A zone transfer that the client may have.
pub(super) struct TransferRequest {
    pub(super) zone: Arc<ServedZone>,
    pub(super) query: Query,
    pub(super) id: u16,
}

/// A message that was understood so far.
struct ParsedQuery<'a> {
    message: Message,
    transport: Transport,
    client: IpAddr,
    zones: &'a ZoneSet,
}

/// Answers a message.
pub(super) fn respond(
    bytes: &[u8],
    client: IpAddr,
    transport: Transport,
    zones: &ZoneSet,
) -> Response {
    let [id_high, id_low, flags, ..] = bytes else { return Response::Nothing };
    // an answer to an answer could loop for ever
    if bytes.len() < HEADER || flags & 0x80 != 0 {
        return Response::Nothing;
    }
    let id = u16::from_be_bytes([*id_high, *id_low]);
    if flags >> 3 & 0xf != OPCODE_QUERY {
        return Response::Message(header_only(id, *flags, ResponseCode::NotImp));
    }
    match Message::from_vec(bytes) {
        Ok(message) => ParsedQuery { message, transport, client, zones }.answer(),
        Err(_) => Response::Message(header_only(id, *flags, ResponseCode::FormErr)),
    }
}

/// RFC 8945, 5.2.1: no key is known here, which an unsigned TSIG record says.
fn bad_key(request: &Record<TSIG>) -> Record<TSIG> {
    let TSIG { algorithm, time, fudge, oid, .. } = &request.data;
    let error = Some(TsigError::BadKey);
    let tsig = TSIG::new(algorithm.clone(), *time, *fudge, Vec::new(), *oid, error, Vec::new());
    make_tsig_record(request.name.clone(), tsig)
}

/// An error without a question. In: the first byte of the flags, for opcode and RD.
fn header_only(id: u16, flags: u8, code: ResponseCode) -> DnsReply {
    let [high, low] = id.to_be_bytes();
    let mut bytes = vec![high, low, 0x80 | flags & 0x79, code.low() & 0xf];
    bytes.resize(HEADER, 0);
    DnsReply { bytes, code, is_truncated: false }
}

impl ParsedQuery<'_> {
    fn answer(self) -> Response {
        let [query] = self.message.queries.as_slice() else {
            return self.error(ResponseCode::FormErr);
        };
        if self.message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return self.error(ResponseCode::BADVERS);
        }
        if let Some(signature) = &self.message.signature {
            let mut response = self.head(ResponseCode::NotAuth);
            response.signature = Some(Box::new(bad_key(signature)));
            return self.encode(response);
        }
        if query.query_class() != DNSClass::IN {
            return self.error(ResponseCode::Refused);
        }
        let name = NameKey::of_name(query.name());
        let zone = match query.query_type() {
            // RFC 4035, 3.1.4.1: the DS records of a zone lie in the zone above it
            RecordType::DS => self.zones.zone_above(&name).or_else(|| self.zones.zone_of(&name)),
            _ => self.zones.zone_of(&name),
        };
        let Some(zone) = zone.map(Arc::clone) else { return self.error(ResponseCode::Refused) };
        let Some(rest) = below(name.as_bytes(), zone.key.as_bytes()) else {
            return self.error(ResponseCode::ServFail);
        };
        match query.query_type() {
            RecordType::AXFR | RecordType::IXFR => self.transfer(&zone, rest),
            kind => self.lookup(&zone, rest, kind),
        }
    }

    /// RFC 5936 and RFC 1995, for the networks that may have it.
    fn transfer(self, zone: &Arc<ServedZone>, rest: &[u8]) -> Response {
        let may_transfer = self.zones.may_transfer(self.client);
        let [query] = self.message.queries.as_slice() else {
            return self.error(ResponseCode::FormErr);
        };
        if !may_transfer || !rest.is_empty() {
            return self.error(ResponseCode::Refused);
        }
        let is_incremental = query.query_type() == RecordType::IXFR;
        if self.transport == Transport::Udp && !is_incremental {
            // RFC 5936, 4.2: by TCP only
            return self.error(ResponseCode::FormErr);
        }
        if self.transport == Transport::Tcp && !(is_incremental && self.is_current(zone)) {
            let (query, id) = (query.clone(), self.message.metadata.id);
            return Response::Transfer(TransferRequest { zone: Arc::clone(zone), query, id });
        }
        // RFC 1995, 2: the SOA record alone says "there is nothing", or by UDP "ask by TCP"
        self.lookup(zone, rest, RecordType::SOA)
    }

    /// Whether the serial in the request is not older than the zone's.
    fn is_current(&self, zone: &ServedZone) -> bool {
        let serial = self.message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        });
        serial.is_some_and(|serial| super::serial::is_current(serial, zone.content().serial))
    }

    fn lookup(self, zone: &ServedZone, rest: &[u8], kind: RecordType) -> Response {
        let mut response = self.head(ResponseCode::NoError);
        response.metadata.authoritative = true;
        let [query] = response.queries.as_slice() else {
            return self.error(ResponseCode::FormErr);
        };
        let owner = query.name();
        let content = zone.content();
        match zone.look_up(&content, rest, owner, kind) {
            ZoneAnswer::Records(records) => {
                if kind == RecordType::NS {
                    response.additionals = zone.glue(&content);
                }
                response.answers = records;
            }
            absent => {
                if matches!(absent, ZoneAnswer::NoName) {
                    response.metadata.response_code = ResponseCode::NXDomain;
                }
                // in the case of the question
                let apex = owner.trim_to(usize::from(zone.own.name.num_labels()));
                response.authorities = vec![zone.negative_soa(&content, &apex)];
            }
        }
        drop(content);
        self.encode(response)
    }

    /// A response without records.
    fn head(&self, code: ResponseCode) -> Message {
        let asked = &self.message.metadata;
        let mut response = Message::new(asked.id, MessageType::Response, OpCode::Query);
        response.metadata.response_code = code;
        response.metadata.recursion_desired = asked.recursion_desired;
        response.queries.clone_from(&self.message.queries);
        response.edns = self.message.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP).set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        response
    }

    fn error(&self, code: ResponseCode) -> Response {
        self.encode(self.head(code))
    }

    /// Leaves out what does not fit: first the additional records, then all.
    fn encode(&self, mut response: Message) -> Response {
        let max = match self.transport {
            Transport::Udp => self.message.max_payload().clamp(MIN_UDP, MAX_UDP),
            Transport::Tcp => u16::MAX,
        };
        let max = usize::from(max);
        let code = response.metadata.response_code;
        let mut is_truncated = false;
        loop {
            match response.to_vec() {
                Ok(bytes)
                    if bytes.len() <= max || (is_truncated && response.queries.is_empty()) =>
                {
                    return Response::Message(DnsReply { bytes, code, is_truncated });
                }
                Err(_) if is_truncated => return Response::Nothing,
                _ if !response.additionals.is_empty() => response.additionals.clear(),
                _ if !is_truncated => {
                    is_truncated = true;
                    response = response.truncate();
                }
                // no question is longer than 512 bytes, but for several
                _ => response.queries.clear(),
            }
        }
    }
}

/// The question again, with TC: a real client asks by TCP. Not longer than what it answers.
/// `None` if it is no query.
pub(super) fn ask_again_by_tcp(bytes: &[u8]) -> Option<Vec<u8>> {
    const TC: u8 = 0x02;
    let [id_high, id_low, flags, ..] = bytes else { return None };
    if bytes.len() < HEADER || flags & 0x80 != 0 {
        return None;
    }
    let mut response = vec![*id_high, *id_low, 0x80 | flags & 0x79 | TC, 0];
    let question = question(bytes);
    let count = u8::from(question.is_some());
    response.extend([0, count, 0, 0, 0, 0, 0, 0]);
    response.extend(question.unwrap_or_default());
    Some(response)
}

/// The bytes of the only question, if its name is not compressed, as no name before it can be.
fn question(bytes: &[u8]) -> Option<&[u8]> {
    const TYPE_AND_CLASS: usize = 4;
    if bytes.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return bytes.get(HEADER..at + 1 + TYPE_AND_CLASS),
            length if length < 64 => at += 1 + length,
            _ => return None,
        }
    }
}
