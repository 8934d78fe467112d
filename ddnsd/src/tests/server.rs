//! A model of a name server: RFC 2136 over UDP and TCP for one zone, a whole message or nothing of
//! it, and queries. Until it is made reliable it loses requests and replies, refuses some, and
//! applies others late. It records what each name held at each time, and notices a host of which
//! only one family is replaced.

use ddnsd_tests::chance::Chance;
use ddnsd_tests::update::answer_to;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
const YXRRSET: u8 = 7;
const NXRRSET: u8 = 8;

/// The numbers in a name's A and AAAA record.
pub(super) type Held = (Option<u32>, Option<u32>);

/// What a name holds from a time on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) held: Held,
}

#[derive(Default)]
struct State {
    events: HashMap<String, Vec<Event>>,
    aliases: HashSet<String>,
    /// Names whose changes are acknowledged and not applied.
    dropped: HashSet<String>,
    problems: Vec<String>,
    /// When this machine had delayed the server for long.
    delayed: Vec<Instant>,
    /// Until when every message is lost or late, because losses come in bursts.
    burst_until: Option<Instant>,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// `dns_timeout`; a message is late by less than twice this.
    timeout: Duration,
    state: Arc<Mutex<State>>,
    chance: Arc<Mutex<Chance>>,
    is_reliable: Arc<AtomicBool>,
}

/// What the server does with a message.
enum Treatment {
    Apply { delay: Duration },
    Refuse(u8),
    Lose,
    ApplyAndLoseReply { delay: Duration },
}

impl Server {
    /// Starts it in the current runtime and ends with it.
    pub(super) async fn start(timeout: Duration, chance: Chance) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // the port may be in use for UDP
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let server = Self {
            address: tcp.local_addr().unwrap(),
            timeout,
            state: Arc::default(),
            chance: Arc::new(Mutex::new(chance)),
            is_reliable: Arc::default(),
        };
        tokio::spawn(server.clone().datagrams(udp));
        tokio::spawn(server.clone().connections(tcp));
        tokio::spawn(server.clone().notice_delays());
        server
    }

    /// From now on it applies and answers every message at once.
    pub(super) fn make_reliable(&self) {
        self.state.lock().unwrap().aliases.clear();
        self.is_reliable.store(true, Ordering::SeqCst);
    }

    /// Loses or delays every message for a while.
    pub(super) fn begin_burst(&self, length: Duration) {
        self.state.lock().unwrap().burst_until = Some(Instant::now() + length);
    }

    /// Adds a CNAME at a name that holds no address, so that addresses are refused, or removes it.
    pub(super) fn alias(&self, name: &str, there: bool) {
        let mut state = self.state.lock().unwrap();
        let held = state.events.get(name).and_then(|events| events.last());
        if there && held.is_none_or(|event| event.held == (None, None)) {
            state.aliases.insert(name.to_owned());
        } else if !there {
            state.aliases.remove(name);
        }
    }

    /// From now on it acknowledges changes of a name and does not apply them, or applies them.
    pub(super) fn drop_changes(&self, name: &str, drops: bool) {
        let mut state = self.state.lock().unwrap();
        if drops {
            state.dropped.insert(name.to_owned());
        } else {
            state.dropped.remove(name);
        }
    }

    pub(super) fn drops(&self, name: &str) -> bool {
        self.state.lock().unwrap().dropped.contains(name)
    }

    /// Changes what a name holds, as somebody may by hand.
    pub(super) fn change_by_hand(&self, name: &str, held: Held) {
        let event = Event { at: Instant::now(), held };
        self.state.lock().unwrap().events.entry(name.to_owned()).or_default().push(event);
    }

    /// What a name holds now.
    pub(super) fn held(&self, name: &str) -> Held {
        let state = self.state.lock().unwrap();
        state.events.get(name).and_then(|events| events.last()).map_or((None, None), |it| it.held)
    }

    /// What a name held between two times, beginning with what it held at the first.
    pub(super) fn between(&self, name: &str, from: Instant, to: Instant) -> Vec<Held> {
        let state = self.state.lock().unwrap();
        let events = state.events.get(name).map_or(&[][..], Vec::as_slice);
        let before =
            events.iter().rfind(|event| event.at <= from).map_or((None, None), |it| it.held);
        let during = events.iter().filter(|event| event.at > from && event.at <= to);
        std::iter::once(before).chain(during.map(|event| event.held)).collect()
    }

    /// What messages set a name to between two times, changed or not.
    pub(super) fn applied(&self, name: &str, from: Instant, to: Instant) -> Vec<Held> {
        self.between(name, from, to).split_off(1)
    }

    /// Problems with the messages themselves.
    pub(super) fn problems(&self) -> Vec<String> {
        self.state.lock().unwrap().problems.clone()
    }

    /// Whether this machine delayed the server since then, by more than a message may be delayed.
    pub(super) fn was_delayed(&self, since: Instant) -> bool {
        self.state.lock().unwrap().delayed.iter().any(|at| *at >= since)
    }

    async fn notice_delays(self) {
        let tick = Duration::from_millis(5);
        loop {
            let before = Instant::now();
            sleep(tick).await;
            if before.elapsed() > tick + self.timeout / 3 {
                self.state.lock().unwrap().delayed.push(Instant::now());
            }
        }
    }

    async fn datagrams(self, udp: UdpSocket) {
        let udp = Arc::new(udp);
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let (server, udp, message) =
                (self.clone(), Arc::clone(&udp), buffer[..length].to_vec());
            tokio::spawn(async move {
                if let Some(answer) = server.handle(&message).await {
                    let _ = udp.send_to(&answer, from).await;
                }
            });
        }
    }

    async fn connections(self, tcp: TcpListener) {
        loop {
            let (stream, _) = tcp.accept().await.unwrap();
            let server = self.clone();
            tokio::spawn(async move {
                let _ = server.serve_connection(stream).await;
            });
        }
    }

    async fn serve_connection(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut message = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut message).await?;
            let Some(answer) = self.handle(&message).await else {
                if self.chance.lock().unwrap().once_in(2) {
                    return Ok(()); // closes the connection
                }
                continue;
            };
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
            stream.write_all(&answer).await?;
        }
    }

    async fn handle(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let arrived = Instant::now();
        let message = Message::from_vec(bytes).unwrap();
        if message.op_code == OpCode::Query {
            let lost = matches!(self.treatment(), Treatment::Lose);
            return (!lost).then(|| self.answer_query(&message));
        }
        let answer = |rcode| Some(answer_to(bytes, rcode));
        match self.treatment() {
            Treatment::Lose => None,
            Treatment::Refuse(rcode) => answer(rcode),
            Treatment::Apply { delay } => {
                sleep(delay).await;
                answer(self.apply(bytes, arrived)?)
            }
            Treatment::ApplyAndLoseReply { delay } => {
                sleep(delay).await;
                self.apply(bytes, arrived);
                None
            }
        }
    }

    fn answer_query(&self, query: &Message) -> Vec<u8> {
        let asked = &query.queries[0];
        let held = self.held(asked.name().to_ascii().trim_end_matches('.'));
        let mut answer = Message::response(query.id, OpCode::Query);
        answer.metadata.authoritative = true;
        answer.add_query(asked.clone());
        let data = match asked.query_type() {
            RecordType::A => held.0.map(|n| RData::A(super::v4(n).into())),
            _ => held.1.map(|n| RData::AAAA(super::v6(n).into())),
        };
        if held == (None, None) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_answers(data.map(|data| Record::from_rdata(asked.name().clone(), 60, data)));
        answer.to_vec().unwrap()
    }

    fn treatment(&self) -> Treatment {
        if self.is_reliable.load(Ordering::SeqCst) {
            return Treatment::Apply { delay: Duration::ZERO };
        }
        let mut chance = self.chance.lock().unwrap();
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap();
        let now = Instant::now();
        let mut state = self.state.lock().unwrap();
        if chance.once_in(80) {
            state.burst_until = Some(now + chance.millis(timeout, 5 * timeout));
        }
        let is_burst = state.burst_until.is_some_and(|until| now < until);
        match if is_burst { 12 + chance.below(5) } else { chance.below(20) } {
            0..=11 => Treatment::Apply { delay: Duration::ZERO },
            12 => Treatment::Lose,
            13 => Treatment::ApplyAndLoseReply { delay: Duration::ZERO },
            14..=16 => Treatment::ApplyAndLoseReply { delay: late(&mut chance, timeout) },
            17 => Treatment::Apply { delay: chance.millis(0, timeout) },
            18 => Treatment::Refuse(SERVFAIL),
            _ => Treatment::Refuse(REFUSED),
        }
    }

    /// Applies the whole message or nothing of it, and nothing of one that is later than the
    /// network makes it.
    fn apply(&self, bytes: &[u8], arrived: Instant) -> Option<u8> {
        let message = Message::from_vec(bytes).unwrap();
        let mut state = self.state.lock().unwrap();
        let at = Instant::now();
        if at.duration_since(arrived) >= self.timeout * 2 {
            return None;
        }
        if let Some(rcode) = message.answers.iter().find_map(|record| state.failing(record)) {
            return Some(rcode);
        }
        let mut changed: HashMap<String, Held> = HashMap::new();
        for record in &message.authorities {
            let name = record.name.to_ascii().trim_end_matches('.').to_owned();
            let before = state.events.get(&name).and_then(|events| events.last());
            let before = before.map_or((None, None), |event| event.held);
            let held = changed.entry(name).or_insert(before);
            match (&record.data, record.record_type(), record.dns_class) {
                (_, RecordType::A, DNSClass::ANY) => held.0 = None,
                (_, RecordType::AAAA, DNSClass::ANY) => held.1 = None,
                (RData::A(a), ..) => held.0 = Some(super::number4(a.0)),
                (RData::AAAA(a), ..) => held.1 = Some(super::number6(a.0)),
                other => state.problems.push(format!("ddnsd never sends this update: {other:?}")),
            }
        }
        for (name, held) in changed {
            if state.dropped.contains(&name) {
                continue;
            }
            // every host but `mixed` and those of the LAN gets the same number in both families
            let is_free = ["mixed", "lan-"].iter().any(|start| name.starts_with(start));
            if !is_free && held.0 != held.1 {
                state.problems.push(format!("{name}: only one family is replaced: {held:?}"));
            }
            state.events.entry(name).or_default().push(Event { at, held });
        }
        Some(NOERROR)
    }
}

impl State {
    /// Why a prerequisite does not hold; `None` if it does.
    fn failing(&mut self, required: &Record) -> Option<u8> {
        let name = required.name.to_ascii();
        let name = name.trim_end_matches('.');
        let held = self.events.get(name).and_then(|events| events.last());
        let held = held.map_or((None, None), |event| event.held);
        let exists = |is_there: bool| is_there.then_some(YXRRSET);
        let is = |is_same: bool| (!is_same).then_some(NXRRSET);
        match (&required.data, required.record_type(), required.dns_class) {
            (_, RecordType::CNAME, DNSClass::NONE) => exists(self.aliases.contains(name)),
            (_, RecordType::A, DNSClass::NONE) => exists(held.0.is_some()),
            (_, RecordType::AAAA, DNSClass::NONE) => exists(held.1.is_some()),
            (RData::A(a), _, DNSClass::IN) => is(held.0 == Some(super::number4(a.0))),
            (RData::AAAA(aaaa), _, DNSClass::IN) => is(held.1 == Some(super::number6(aaaa.0))),
            other => {
                self.problems.push(format!("ddnsd never requires this: {other:?}"));
                None
            }
        }
    }
}

/// A delay that is often close to the longest one.
fn late(chance: &mut Chance, timeout: u64) -> Duration {
    let least = if chance.once_in(2) { timeout * 3 / 2 } else { 0 };
    chance.millis(least, timeout * 19 / 10)
}
