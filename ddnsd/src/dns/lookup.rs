//! Queries to the name server that takes the updates. In: a name and a family. Out: what stands
//! there, or what hides it, as this server itself answers (RFC 1035), within `dns_timeout`. Signed
//! with the zone's key like updates, because servers choose views and permit queries by key.
//! Nothing is resolved further.

use super::error::{Dropped, Rcode};
use super::exchange::{Accepted, Exchange, Request};
use super::response::Signature;
use super::update::UpdateSender;
use crate::model::family::Family;
use crate::model::name::{Fqdn, Zone};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Queries in flight.
const MAX_QUERIES: usize = 32;

/// What the server answers for a name and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its records.
    Addresses {
        /// Sorted; none if there is no such record.
        addresses: Vec<IpAddr>,
        /// Seconds; `None` if there is no record.
        ttl: Option<u32>,
    },
    /// An authoritative answer that the name does not exist.
    NoName,
    /// Something that stands in the way of every address of the name.
    Hidden(Hiding),
}

/// What hides the records of a name from clients, although the server may have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hiding {
    /// A CNAME with this target stands at the name.
    Alias(String),
    /// A DNAME stands at this name above it.
    Dname(String),
    /// This name at or above it is delegated to other servers.
    Delegation(String),
}

impl fmt::Display for Hiding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hiding::Alias(target) => write!(f, "CNAME {target}"),
            Hiding::Dname(owner) => write!(f, "a DNAME at {owner}"),
            Hiding::Delegation(owner) => {
                write!(f, "NS records at {owner}, which delegate it to other servers")
            }
        }
    }
}

/// Why it is not known what stands at a name.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// No answer in time.
    #[error("name server {server} does not answer queries within {} s", .timeout.as_secs_f32())]
    NoAnswer { server: SocketAddr, timeout: Duration },
    /// An answer came in time, but none that is believed.
    #[error("name server {server} gave no answer that counts to a query: {dropped}")]
    Dropped { server: SocketAddr, dropped: Dropped },
    /// The connection was refused or broke.
    #[error("cannot reach name server {server} by TCP (is it running?): {source}")]
    Unreachable { server: SocketAddr, source: Arc<io::Error> },
    /// An error, or an answer that is not authoritative.
    #[error("name server {server} does not answer for this name: {why}")]
    Refused {
        server: SocketAddr,
        /// What it answered instead, and the likely cause.
        why: String,
    },
    /// The built-in name server does not serve it.
    #[error("ddnsd's own name server serves no zone that `{name}` lies in")]
    NotServed { name: Fqdn },
}

/// Asks one name server.
pub(super) struct Lookup {
    exchange: Arc<Exchange>,
    permits: Semaphore,
}

impl Lookup {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, permits: Semaphore::new(MAX_QUERIES) }
    }

    /// Asks what stands at a name of the sender's zone. Waits while too many queries are in flight.
    pub(super) async fn ask(
        &self,
        sender: &UpdateSender,
        name: &Fqdn,
        zone: &Zone,
        family: Family,
    ) -> Result<Found, LookupError> {
        // never closed, so this never fails
        let _permit = self.permits.acquire().await;
        // a checked name is a DNS name
        let mut name = Name::from_ascii(name.as_str()).unwrap_or_default();
        name.set_fqdn(true);
        let zone = Name::from_ascii(zone.as_str()).unwrap_or_default();
        let question = Question { name, zone, family };
        let mut signed = SignedQuestion { question, sender, id: 0, mac: Vec::new() };
        let Exchange { server, timeout, .. } = *self.exchange;
        let exchanged = self.exchange.send(&mut signed).await;
        match (exchanged.response, exchanged.dropped) {
            (Ok(Some(LookupAnswer::Valid(answer))), _) => {
                signed.question.read(&answer).map_err(|why| LookupError::Refused { server, why })
            }
            (Ok(Some(LookupAnswer::Unsigned(why))), _) => Err(LookupError::Refused { server, why }),
            (_, Some(dropped)) => Err(LookupError::Dropped { server, dropped }),
            (Ok(None), None) => Err(LookupError::NoAnswer { server, timeout }),
            (Err(error), None) => Err(LookupError::Unreachable { server, source: Arc::new(error) }),
        }
    }
}

/// A response to a query.
enum LookupAnswer {
    /// Signed, if the query was.
    Valid(Box<Message>),
    /// Not signed as it should be, though the query was: its RCODE and what is wrong.
    Unsigned(String),
}

struct Question {
    name: Name,
    zone: Name,
    family: Family,
}

/// A query under way, with the id and MAC of its last try.
struct SignedQuestion<'a> {
    question: Question,
    sender: &'a UpdateSender,
    id: u16,
    mac: Vec<u8>,
}

impl Question {
    fn kind(&self) -> RecordType {
        match self.family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        }
    }

    fn message(&self, id: u16) -> io::Result<Vec<u8>> {
        // recursion is not desired, which is the default
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(self.name.clone(), self.kind()));
        message.to_vec().map_err(io::Error::other)
    }

    /// The received message, if it is an answer to this.
    fn answer(&self, id: u16, bytes: &[u8]) -> Result<Message, Dropped> {
        let message = Message::from_vec(bytes).map_err(|_| Dropped::no_message())?;
        let fits = |asked: &Query| {
            asked.name().eq_ignore_root(&self.name)
                && asked.query_type() == self.kind()
                && asked.query_class() == DNSClass::IN
        };
        // an error may come without the question
        let is_asked = match message.queries.as_slice() {
            [asked] => fits(asked),
            [] => message.response_code != ResponseCode::NoError,
            _ => false,
        };
        let is_answer = message.id == id
            && message.message_type == MessageType::Response
            && message.op_code == OpCode::Query
            && is_asked;
        let (id_fits, rcode) = (message.id == id, message.response_code);
        match (is_answer, id_fits) {
            (true, _) => Ok(message),
            (false, true) => Err(Dropped::with_id(rcode, "it does not belong to the question")),
            (false, false) => Err(Dropped::other_id(rcode)),
        }
    }

    /// What stands at the name according to an answer, or why that is not known.
    fn read(&self, answer: &Message) -> Result<Found, String> {
        match answer.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            ResponseCode::Refused => {
                let hint = "does it have the zone, and may this key and address ask it?";
                return Err(format!("REFUSED ({hint})"));
            }
            other => return Err(format!("{} (see its log)", Rcode(other))),
        }
        if let Some(hiding) = self.hiding(answer) {
            return Ok(Found::Hidden(hiding));
        }
        if !answer.authoritative {
            return Err("it is not authoritative (is it primary for the zone?)".to_owned());
        }
        if answer.response_code == ResponseCode::NXDomain {
            return Ok(Found::NoName);
        }
        // an answer that follows an alias holds records of other names too
        let here = answer.answers.iter().filter(|record| record.name.eq_ignore_root(&self.name));
        let found = here.filter_map(|record| Some((address(record)?, record.ttl)));
        let (mut addresses, ttls): (Vec<_>, Vec<_>) = found.unzip();
        addresses.sort_unstable();
        Ok(Found::Addresses { addresses, ttl: ttls.into_iter().min() })
    }

    fn hiding(&self, answer: &Message) -> Option<Hiding> {
        let text = |name: &Name| name.to_ascii().trim_end_matches('.').to_owned();
        let mut answers = answer.answers.iter();
        // a DNAME comes with the CNAME that it makes of the name
        if let Some(dname) = answers.find(|record| record.record_type() == RecordType::DNAME) {
            return Some(Hiding::Dname(text(&dname.name)));
        }
        let here = answer.answers.iter().filter(|record| record.name.eq_ignore_root(&self.name));
        let alias = here.filter_map(|record| match &record.data {
            RData::CNAME(target) => Some(Hiding::Alias(text(target))),
            _ => None,
        });
        let is_referral = !answer.authoritative && answer.answers.is_empty();
        let referral = answer.authorities.iter().filter(|record| {
            // below the zone: a server without the zone refers to servers above it
            is_referral
                && record.record_type() == RecordType::NS
                && self.zone.zone_of(&record.name)
                && !self.zone.eq_ignore_root(&record.name)
                && record.name.zone_of(&self.name)
        });
        let referral = referral.map(|record| Hiding::Delegation(text(&record.name)));
        alias.chain(referral).next()
    }
}

impl SignedQuestion<'_> {
    /// What is wrong about the answer's signature; `None` if nothing is.
    fn flaw(&self, answer: &Message, bytes: &[u8]) -> Option<String> {
        let (signer, key) = self.sender.key()?;
        let rcode = Rcode(answer.response_code);
        let Some(record) = answer.signature().filter(|record| !record.data.mac.is_empty()) else {
            return Some(format!("{rcode} without a signature (does it know TSIG key `{key}`?)"));
        };
        let signature =
            Signature { signer, key, request_mac: &self.mac, now: self.sender.seconds() };
        let invalid = signer.verify(bytes, &self.mac, signature.now).err()?;
        Some(format!("{rcode}, but {}", signature.explain(invalid, &record.data.mac)))
    }
}

impl Request for SignedQuestion<'_> {
    type Response = LookupAnswer;
    const BY_TCP: bool = true;

    fn next_message(&mut self) -> io::Result<Vec<u8>> {
        self.id = rand::random();
        let mut message = self.question.message(self.id)?;
        if let Some((signer, _)) = self.sender.key() {
            let seconds = self.sender.seconds();
            self.mac = signer.sign(&mut message, seconds).map_err(io::Error::other)?;
        }
        Ok(message)
    }

    fn accept(&self, bytes: &[u8]) -> Accepted<LookupAnswer> {
        let answer = match self.question.answer(self.id, bytes) {
            Ok(answer) => answer,
            Err(dropped) => return Accepted::Foreign(dropped),
        };
        match self.flaw(&answer, bytes) {
            Some(flaw) => Accepted::Unverified(LookupAnswer::Unsigned(flaw)),
            None if answer.truncation => Accepted::Truncated,
            None => Accepted::Response(LookupAnswer::Valid(Box::new(answer))),
        }
    }
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS};
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn question() -> Question {
        Question {
            name: name("pc.lan.example.org."),
            zone: name("example.org"),
            family: Family::V4,
        }
    }

    fn answer_with(rcode: ResponseCode, records: Vec<(&str, RData)>) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.metadata.response_code = rcode;
        message.metadata.authoritative = true;
        message.add_query(Query::query(name("PC.lan.example.org."), RecordType::A));
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data));
        }
        message
    }

    fn a(last: u8) -> RData {
        RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn read(answer: &Message) -> Result<Found, String> {
        question().read(answer)
    }

    #[test]
    fn addresses_are_those_of_the_name_itself() {
        let records = vec![
            ("pc.lan.example.org.", a(2)),
            ("PC.Lan.Example.org.", a(1)),
            ("nas.example.org.", a(3)),
        ];
        let answer = answer_with(ResponseCode::NoError, records);
        let addresses = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last).into()).to_vec();
        assert_eq!(read(&answer).unwrap(), Found::Addresses { addresses, ttl: Some(60) });
        let none = Found::Addresses { addresses: Vec::new(), ttl: None };
        assert_eq!(read(&answer_with(ResponseCode::NoError, Vec::new())).unwrap(), none);
        let no_name = answer_with(ResponseCode::NXDomain, Vec::new());
        assert_eq!(read(&no_name).unwrap(), Found::NoName);
    }

    #[test]
    fn what_hides_a_name_is_found_and_not_followed() {
        let target = || RData::CNAME(CNAME(name("nas.example.org.")));
        let records = vec![("pc.lan.example.org.", target()), ("nas.example.org.", a(3))];
        let alias = read(&answer_with(ResponseCode::NoError, records)).unwrap();
        assert_eq!(alias, Found::Hidden(Hiding::Alias("nas.example.org".to_owned())));

        let mut dname = answer_with(ResponseCode::NoError, Vec::new());
        let data = RData::Unknown {
            code: RecordType::DNAME,
            rdata: hickory_proto::rr::rdata::NULL::with(b"\x00".to_vec()),
        };
        dname.add_answer(Record::from_rdata(name("lan.example.org."), 60, data));
        dname.add_answer(Record::from_rdata(name("pc.lan.example.org."), 60, target()));
        let found = read(&dname).unwrap();
        assert_eq!(found, Found::Hidden(Hiding::Dname("lan.example.org".to_owned())));
    }

    #[test]
    fn a_referral_below_the_zone_hides_and_one_above_it_says_nothing() {
        let referral = |owner: &str| {
            let mut answer = answer_with(ResponseCode::NoError, Vec::new());
            answer.metadata.authoritative = false;
            let data = RData::NS(NS(name("ns.elsewhere.example.")));
            answer.add_authority(Record::from_rdata(name(owner), 60, data));
            read(&answer)
        };
        let delegation = Hiding::Delegation("lan.example.org".to_owned());
        assert_eq!(referral("lan.example.org.").unwrap(), Found::Hidden(delegation));
        for owner in ["org.", "example.org.", ".", "other.example.org."] {
            assert!(referral(owner).unwrap_err().contains("not authoritative"), "{owner}");
        }
    }

    #[test]
    fn an_error_or_an_answer_without_authority_is_not_taken_for_the_records() {
        let records = || vec![("pc.lan.example.org.", a(1))];
        for rcode in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotAuth] {
            assert!(read(&answer_with(rcode, records())).is_err());
        }
        let mut cached = answer_with(ResponseCode::NoError, records());
        cached.metadata.authoritative = false;
        assert!(read(&cached).unwrap_err().contains("not authoritative"));
    }

    #[test]
    fn only_an_answer_to_this_question_is_accepted() {
        let fits = |change: fn(&mut Message)| {
            let mut message = answer_with(ResponseCode::NoError, Vec::new());
            change(&mut message);
            question().answer(7, &message.to_vec().unwrap()).is_ok()
        };
        assert!(fits(|_| ()));
        assert!(!fits(|message| message.metadata.id = 8));
        assert!(!fits(|message| message.metadata.message_type = MessageType::Query));
        assert!(!fits(|message| message.metadata.op_code = OpCode::Update));
        assert!(!fits(|message| message.queries.clear()));
        assert!(!fits(|message| {
            message.queries = vec![Query::query(name("pc.lan.example.org."), RecordType::AAAA)];
        }));
        assert!(!fits(|message| {
            message.queries = vec![Query::query(name("nas.example.org."), RecordType::A)];
        }));
        assert!(question().answer(7, b"?").is_err());
        let six = Question { family: Family::V6, ..question() };
        assert_eq!(
            address(&Record::from_rdata(name("x."), 1, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)))),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        let message = Message::from_vec(&six.message(7).unwrap()).unwrap();
        assert_eq!(message.queries[0].query_type(), RecordType::AAAA);
    }
}
