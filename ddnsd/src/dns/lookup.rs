//! Plain questions to the name server that takes the updates. In: a name and a family. Out: what
//! stands there, as this server itself answers (RFC 1035), within `dns_timeout`. Nothing is
//! resolved further.

use super::error::Rcode;
use super::exchange::{Accepted, Exchange, Request};
use crate::model::family::Family;
use crate::model::name::Fqdn;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Questions in flight.
const MAX_QUESTIONS: usize = 32;

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
    /// A CNAME with this target.
    Alias(String),
}

/// Why it is not known what stands at a name.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// No answer in time.
    #[error(
        "name server {server} does not answer within {} s (is it running, and reachable by UDP and \
         TCP?)", .timeout.as_secs_f32()
    )]
    NoAnswer { server: SocketAddr, timeout: Duration },
    /// The connection was refused or broke.
    #[error("cannot reach name server {server} (is it running?): {source}")]
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

impl LookupError {
    /// Whether the server did not answer at all, so that it is of no use to ask for another host.
    pub fn is_unanswered(&self) -> bool {
        !matches!(self, LookupError::Refused { .. } | LookupError::NotServed { .. })
    }
}

/// Asks one name server.
pub(super) struct Lookup {
    exchange: Arc<Exchange>,
    permits: Semaphore,
}

impl Lookup {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, permits: Semaphore::new(MAX_QUESTIONS) }
    }

    /// Asks what stands at a name. Waits while too many questions are in flight.
    pub(super) async fn ask(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        // never closed, so this never fails
        let _permit = self.permits.acquire().await;
        // a checked name is a DNS name
        let mut name = Name::from_ascii(name.as_str()).unwrap_or_default();
        name.set_fqdn(true);
        let mut question = Question { id: 0, name, family };
        let Exchange { server, timeout, .. } = *self.exchange;
        match self.exchange.send(&mut question).await.response {
            Ok(Some(answer)) => {
                read(&answer, &question).map_err(|why| LookupError::Refused { server, why })
            }
            Ok(None) => Err(LookupError::NoAnswer { server, timeout }),
            Err(error) => Err(LookupError::Unreachable { server, source: Arc::new(error) }),
        }
    }
}

struct Question {
    id: u16,
    name: Name,
    family: Family,
}

impl Question {
    fn kind(&self) -> RecordType {
        match self.family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        }
    }

    /// The received message, if it is an answer to this.
    fn answer(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        let [asked] = message.queries.as_slice() else { return None };
        let fits = message.id == self.id
            && message.message_type == MessageType::Response
            && message.op_code == OpCode::Query
            && asked.name().eq_ignore_root(&self.name)
            && asked.query_type() == self.kind()
            && asked.query_class() == DNSClass::IN;
        fits.then_some(message)
    }
}

impl Request for Question {
    type Response = Message;

    fn next_message(&mut self) -> io::Result<Vec<u8>> {
        self.id = rand::random();
        // recursion is not desired, which is the default
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(self.name.clone(), self.kind()));
        message.to_vec().map_err(io::Error::other)
    }

    fn accept(&self, message: &[u8]) -> Accepted<Message> {
        match self.answer(message) {
            None => Accepted::Foreign,
            Some(answer) if answer.truncation => Accepted::Truncated,
            Some(answer) => Accepted::Response(answer),
        }
    }
}

/// What stands at the name according to an answer, or why that is not known.
fn read(answer: &Message, question: &Question) -> Result<Found, String> {
    match answer.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if answer.authoritative => {}
        ResponseCode::NoError | ResponseCode::NXDomain => {
            return Err("it is not authoritative (is it primary for the zone?)".to_owned());
        }
        ResponseCode::Refused => {
            return Err("REFUSED (does it have the zone, and may this address ask it?)".to_owned());
        }
        other => return Err(format!("{} (see its log)", Rcode(other))),
    }
    // an answer that follows an alias holds records of other names too
    let here = answer.answers.iter().filter(|record| record.name.eq_ignore_root(&question.name));
    let here: Vec<_> = here.collect();
    let alias = here.iter().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(target.to_string()),
        _ => None,
    });
    if let Some(target) = alias {
        return Ok(Found::Alias(target.trim_end_matches('.').to_owned()));
    }
    let found = here.iter().filter_map(|record| Some((address(record)?, record.ttl)));
    let (mut addresses, ttls): (Vec<_>, Vec<_>) = found.unzip();
    addresses.sort_unstable();
    Ok(Found::Addresses { addresses, ttl: ttls.into_iter().min() })
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
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn question() -> Question {
        Question { id: 7, name: name("pc.example.org."), family: Family::V4 }
    }

    fn answer_with(rcode: ResponseCode, records: Vec<(&str, RData)>) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.metadata.response_code = rcode;
        message.metadata.authoritative = true;
        message.add_query(Query::query(name("PC.example.org."), RecordType::A));
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data));
        }
        message
    }

    fn a(last: u8) -> RData {
        RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn addresses_are_those_of_the_name_itself() {
        let answer = answer_with(
            ResponseCode::NoError,
            vec![("pc.example.org.", a(2)), ("PC.Example.org.", a(1)), ("nas.example.org.", a(3))],
        );
        let addresses = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last).into()).to_vec();
        assert_eq!(
            read(&answer, &question()).unwrap(),
            Found::Addresses { addresses, ttl: Some(60) }
        );
        let none = Found::Addresses { addresses: Vec::new(), ttl: None };
        for rcode in [ResponseCode::NoError, ResponseCode::NXDomain] {
            assert_eq!(read(&answer_with(rcode, Vec::new()), &question()).unwrap(), none);
        }
    }

    #[test]
    fn an_alias_is_reported_and_not_followed() {
        let target = RData::CNAME(CNAME(name("nas.example.org.")));
        let records = vec![("pc.example.org.", target), ("nas.example.org.", a(3))];
        let found = read(&answer_with(ResponseCode::NoError, records), &question()).unwrap();
        assert_eq!(found, Found::Alias("nas.example.org".to_owned()));
    }

    #[test]
    fn an_error_or_an_answer_without_authority_is_not_taken_for_the_records() {
        for rcode in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotAuth] {
            assert!(
                read(&answer_with(rcode, vec![("pc.example.org.", a(1))]), &question()).is_err()
            );
        }
        let mut cached = answer_with(ResponseCode::NoError, vec![("pc.example.org.", a(1))]);
        cached.metadata.authoritative = false;
        assert!(read(&cached, &question()).unwrap_err().contains("not authoritative"));
    }

    #[test]
    fn only_an_answer_to_this_question_is_accepted() {
        let fits = |change: fn(&mut Message)| {
            let mut message = answer_with(ResponseCode::NoError, Vec::new());
            change(&mut message);
            question().answer(&message.to_vec().unwrap()).is_some()
        };
        assert!(fits(|_| ()));
        assert!(!fits(|message| message.metadata.id = 8));
        assert!(!fits(|message| message.metadata.message_type = MessageType::Query));
        assert!(!fits(|message| message.metadata.op_code = OpCode::Update));
        assert!(!fits(|message| message.queries.clear()));
        assert!(!fits(|message| {
            message.queries = vec![Query::query(name("pc.example.org."), RecordType::AAAA)];
        }));
        assert!(!fits(|message| {
            message.queries = vec![Query::query(name("nas.example.org."), RecordType::A)];
        }));
        assert!(question().answer(b"?").is_none());
        let mut six = Question { family: Family::V6, ..question() };
        assert_eq!(
            address(&Record::from_rdata(name("x."), 1, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)))),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(
            Message::from_vec(&six.next_message().unwrap()).unwrap().queries[0].query_type(),
            RecordType::AAAA
        );
    }
}
