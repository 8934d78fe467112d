//! Plain questions to the name server that takes the updates. In: a name and a family. Out: what stands
//! there, as this server itself answers (RFC 1035), within `dns_timeout`. Nothing is resolved further.

use super::error::Rcode;
use super::tcp::{Connection, Connections};
use super::udp::Udp;
use crate::clock::Clock;
use crate::config::{DnsTransport, Rfc2136};
use crate::model::address::Family;
use crate::model::name::Fqdn;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions out at a time.
const MAX_OUT: usize = 32;
/// Room for an answer by UDP: without EDNS it has 512 octets at most (RFC 1035, 4.2.1).
const UDP_ANSWER_BYTES: usize = 4096;

/// What the server answers for a name and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These addresses, sorted, none if there is no such record; and their TTL.
    Addresses {
        /// Addresses of the family.
        addresses: Vec<IpAddr>,
        /// Seconds; `None` if there is no record.
        ttl: Option<u32>,
    },
    /// A CNAME stands at the name, and this is its target.
    Alias(String),
}

/// Why it is not known what the server holds.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// Nothing that is an answer came back in time.
    #[error(
        "name server {server} does not answer within {} s (is it running, and reachable by UDP and \
         TCP?)", .timeout.as_secs_f32()
    )]
    NoAnswer {
        /// Which server.
        server: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
    /// The network refused or broke off.
    #[error("cannot reach name server {server} (is it running?): {source}")]
    Unreachable {
        /// Which server.
        server: SocketAddr,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// It does not say what it holds.
    #[error("name server {server} does not answer for this name: {why}")]
    Refused {
        /// Which server.
        server: SocketAddr,
        /// What it says instead, and the likely cause.
        why: String,
    },
}

impl LookupError {
    /// Whether the server said nothing, so that asking it for another host is of no use.
    pub fn is_unanswered(&self) -> bool {
        !matches!(self, LookupError::Refused { .. })
    }
}

/// The way to ask.
pub(super) struct Lookup {
    server: SocketAddr,
    timeout: Duration,
    mode: DnsTransport,
    clock: Clock,
    udp: Arc<Udp>,
    connections: Connections,
    permits: Semaphore,
}

impl Lookup {
    /// Asks the server that takes the updates.
    pub(super) fn new(config: &Rfc2136, udp: Arc<Udp>, clock: Clock) -> Self {
        Self {
            server: config.server,
            timeout: config.timeout,
            mode: config.transport,
            clock,
            udp,
            connections: Connections::new(config.server),
            permits: Semaphore::new(MAX_OUT),
        }
    }

    /// Asks what stands at a name. Waits while too many questions are out.
    pub(super) async fn ask(&self, name: &Fqdn, family: Family) -> Result<Found, LookupError> {
        // never closed, so this never fails
        let _permit = self.permits.acquire().await;
        // a checked name is a DNS name
        let mut name = Name::from_ascii(name.as_str()).unwrap_or_default();
        name.set_fqdn(true);
        let question = Question { id: rand::random(), name, family };
        let server = self.server;
        match timeout(self.timeout, self.tries(&question)).await {
            Ok(Ok(Some(answer))) => {
                read(&answer, &question).map_err(|why| LookupError::Refused { server, why })
            }
            Ok(Err(error)) => Err(LookupError::Unreachable { server, source: Arc::new(error) }),
            Ok(Ok(None)) | Err(_) => Err(LookupError::NoAnswer { server, timeout: self.timeout }),
        }
    }

    /// `None` if all that came was truncated.
    async fn tries(&self, question: &Question) -> io::Result<Option<Message>> {
        let bytes = question.bytes()?;
        let mut is_lost = false;
        if self.mode == DnsTransport::Auto && self.udp.is_worth_a_try(self.clock.now().mono) {
            // a lost datagram costs a third, and leaves the rest for TCP
            match timeout(self.timeout / 3, self.by_udp(question, &bytes)).await {
                Ok(Ok(answer)) if !answer.truncation => return Ok(Some(answer)),
                Ok(Ok(_) | Err(_)) => {}
                Err(_elapsed) => is_lost = true,
            }
        }
        let first = match self.connections.kept(self.clock.now().mono) {
            // closed meanwhile, or forgotten by a firewall on the way
            Some(kept) => timeout(self.timeout / 3, self.by_tcp(kept, question, &bytes)).await.ok(),
            None => Some(self.by_tcp(self.connections.fresh().await?, question, &bytes).await),
        };
        let answer = match first {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => {
                self.by_tcp(self.connections.fresh().await?, question, &bytes).await?
            }
        };
        if is_lost {
            self.udp.fell_silent(self.clock.now().mono);
        }
        Ok(Some(answer).filter(|answer| !answer.truncation))
    }

    async fn by_udp(&self, question: &Question, bytes: &[u8]) -> io::Result<Message> {
        let socket = self.udp.socket().await?;
        socket.send(bytes).await?;
        let mut buffer = vec![0; UDP_ANSWER_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(answer) = question.answer(buffer.get(..length).unwrap_or_default()) {
                return Ok(answer);
            }
        }
    }

    async fn by_tcp(
        &self,
        mut connection: Connection,
        question: &Question,
        bytes: &[u8],
    ) -> io::Result<Message> {
        connection.write(bytes).await?;
        loop {
            if let Some(answer) = question.answer(&connection.read().await?) {
                self.connections.keep(connection, self.clock.now().mono);
                return Ok(answer);
            }
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

    fn bytes(&self) -> io::Result<Vec<u8>> {
        // recursion is not desired, which is the default
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(self.name.clone(), self.kind()));
        message.to_vec().map_err(io::Error::other)
    }

    /// What came, if it is an answer to this.
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

/// What an answer says of the name, or why it says nothing.
fn read(answer: &Message, question: &Question) -> Result<Found, String> {
    match answer.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if answer.authoritative => {}
        ResponseCode::NoError | ResponseCode::NXDomain => {
            return Err("it is not authoritative (is it primary for the zone?)".to_owned());
        }
        ResponseCode::Refused => {
            return Err("REFUSED (does it have the zone, and may this address ask it?)".to_owned());
        }
        other => return Err(format!("{} (its log may say why)", Rcode(other))),
    }
    // what an alias leads to is another name's
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

    fn says(rcode: ResponseCode, records: Vec<(&str, RData)>) -> Message {
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
        let answer = says(
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
            assert_eq!(read(&says(rcode, Vec::new()), &question()).unwrap(), none);
        }
    }

    #[test]
    fn an_alias_is_told_and_not_followed() {
        let target = RData::CNAME(CNAME(name("nas.example.org.")));
        let records = vec![("pc.example.org.", target), ("nas.example.org.", a(3))];
        let found = read(&says(ResponseCode::NoError, records), &question()).unwrap();
        assert_eq!(found, Found::Alias("nas.example.org".to_owned()));
    }

    #[test]
    fn an_error_or_somebody_elses_answer_says_nothing_of_the_name() {
        for rcode in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotAuth] {
            assert!(read(&says(rcode, vec![("pc.example.org.", a(1))]), &question()).is_err());
        }
        let mut cached = says(ResponseCode::NoError, vec![("pc.example.org.", a(1))]);
        cached.metadata.authoritative = false;
        assert!(read(&cached, &question()).unwrap_err().contains("not authoritative"));
    }

    #[test]
    fn only_an_answer_to_this_very_question_is_one() {
        let fits = |change: fn(&mut Message)| {
            let mut message = says(ResponseCode::NoError, Vec::new());
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
        let six = Question { family: Family::V6, ..question() };
        assert_eq!(
            address(&Record::from_rdata(name("x."), 1, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)))),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(
            Message::from_vec(&six.bytes().unwrap()).unwrap().queries[0].query_type(),
            RecordType::AAAA
        );
    }
}
