//! A model of a name server: RFC 2136 over UDP and TCP for one zone, whole messages or nothing. While it
//! storms it loses requests and answers, refuses, and applies what it holds back late. It keeps what ever
//! stood at each name, and sees at once if a host is half replaced.

use ddnsd_tests::chance::Chance;
use ddnsd_tests::update::answer_to;
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, RData, RecordType};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
const YXRRSET: u8 = 7;

/// The numbers in a name's A and AAAA record.
pub(super) type Held = (Option<u32>, Option<u32>);

/// What stood at a name from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) held: Held,
}

#[derive(Default)]
struct State {
    events: HashMap<String, Vec<Event>>,
    aliases: HashSet<String>,
    wrong: Vec<String>,
    slowest: Duration,
    /// Until when whatever comes is lost or late: losses repeat.
    deaf_until: Option<Instant>,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// What is sent to it is late by less than twice this.
    timeout: Duration,
    state: Arc<Mutex<State>>,
    chance: Arc<Mutex<Chance>>,
    calm: Arc<std::sync::atomic::AtomicBool>,
}

/// What becomes of a message.
enum Fate {
    Answered { first: Duration },
    Refused(u8),
    Lost,
    AppliedSilently { first: Duration },
}

impl Server {
    /// Starts it in this runtime; it ends with it.
    pub(super) async fn start(timeout: Duration, chance: Chance) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // the port may be taken for UDP
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let server = Self {
            address: tcp.local_addr().unwrap(),
            timeout,
            state: Arc::default(),
            chance: Arc::new(Mutex::new(chance)),
            calm: Arc::default(),
        };
        tokio::spawn(server.clone().datagrams(udp));
        tokio::spawn(server.clone().connections(tcp));
        tokio::spawn(server.clone().watch());
        server
    }

    /// From now on it does what it is told.
    pub(super) fn calm_down(&self) {
        self.state.lock().unwrap().aliases.clear();
        self.calm.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Puts a CNAME at a name, which is then in the way of addresses, or takes it away.
    pub(super) fn alias(&self, name: &str, there: bool) {
        let mut state = self.state.lock().unwrap();
        let held = state.events.get(name).and_then(|events| events.last());
        if there && held.is_none_or(|event| event.held == (None, None)) {
            state.aliases.insert(name.to_owned());
        } else if !there {
            state.aliases.remove(name);
        }
    }

    /// What stands at a name.
    pub(super) fn held(&self, name: &str) -> Held {
        let state = self.state.lock().unwrap();
        state.events.get(name).and_then(|events| events.last()).map_or((None, None), |it| it.held)
    }

    /// What stood at a name at some time between two, the first of it since before.
    pub(super) fn between(&self, name: &str, from: Instant, to: Instant) -> Vec<Held> {
        let state = self.state.lock().unwrap();
        let events = state.events.get(name).map_or(&[][..], Vec::as_slice);
        let before =
            events.iter().rfind(|event| event.at <= from).map_or((None, None), |it| it.held);
        let during = events.iter().filter(|event| event.at > from && event.at <= to);
        std::iter::once(before).chain(during.map(|event| event.held)).collect()
    }

    /// What was applied to a name between two times, whether it changed anything or not.
    pub(super) fn applied(&self, name: &str, from: Instant, to: Instant) -> Vec<Held> {
        self.between(name, from, to).split_off(1)
    }

    /// What went wrong, seen by itself.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.state.lock().unwrap().wrong.clone()
    }

    /// How long this machine kept it waiting at the worst: what is read late is applied late.
    pub(super) fn slowest(&self) -> Duration {
        self.state.lock().unwrap().slowest
    }

    async fn watch(self) {
        let tick = Duration::from_millis(5);
        loop {
            let before = Instant::now();
            sleep(tick).await;
            let late = before.elapsed().saturating_sub(tick);
            let mut state = self.state.lock().unwrap();
            state.slowest = state.slowest.max(late);
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
                if let Some(answer) = server.treat(&message).await {
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
                let _ = server.converse(stream).await;
            });
        }
    }

    async fn converse(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut message = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut message).await?;
            let Some(answer) = self.treat(&message).await else {
                if self.chance.lock().unwrap().once_in(2) {
                    return Ok(()); // hangs up
                }
                continue;
            };
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
            stream.write_all(&answer).await?;
        }
    }

    async fn treat(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let arrived = Instant::now();
        let answer = |rcode| Some(answer_to(bytes, rcode));
        match self.fate() {
            Fate::Lost => None,
            Fate::Refused(rcode) => answer(rcode),
            Fate::Answered { first } => {
                sleep(first).await;
                answer(self.apply(bytes, arrived)?)
            }
            Fate::AppliedSilently { first } => {
                sleep(first).await;
                self.apply(bytes, arrived);
                None
            }
        }
    }

    fn fate(&self) -> Fate {
        if self.calm.load(std::sync::atomic::Ordering::SeqCst) {
            return Fate::Answered { first: Duration::ZERO };
        }
        let mut chance = self.chance.lock().unwrap();
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap();
        let now = Instant::now();
        let mut state = self.state.lock().unwrap();
        if chance.once_in(80) {
            state.deaf_until = Some(now + chance.millis(timeout, 5 * timeout));
        }
        let is_deaf = state.deaf_until.is_some_and(|until| now < until);
        match if is_deaf { 12 + chance.below(5) } else { chance.below(20) } {
            0..=11 => Fate::Answered { first: Duration::ZERO },
            12 => Fate::Lost,
            13 => Fate::AppliedSilently { first: Duration::ZERO },
            14..=16 => Fate::AppliedSilently { first: chance.millis(0, timeout * 3 / 2) },
            17 => Fate::Answered { first: chance.millis(0, timeout) },
            18 => Fate::Refused(SERVFAIL),
            _ => Fate::Refused(REFUSED),
        }
    }

    /// The whole message or nothing; nothing at all of one that is later than anything can be.
    fn apply(&self, bytes: &[u8], arrived: Instant) -> Option<u8> {
        let message = Message::from_vec(bytes).unwrap();
        let mut state = self.state.lock().unwrap();
        let at = Instant::now();
        if at.duration_since(arrived) >= self.timeout * 2 {
            return None;
        }
        let required = message.answers.iter().map(|record| record.name.to_ascii());
        if required.into_iter().any(|name| state.aliases.contains(name.trim_end_matches('.'))) {
            return Some(YXRRSET);
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
                (RData::A(a), ..) => held.0 = Some(u32::from(a.0) & 0xff_ffff),
                (RData::AAAA(a), ..) => {
                    held.1 = Some(u32::try_from(u128::from(a.0) & 0xff_ffff).unwrap());
                }
                other => state.wrong.push(format!("an update that we never send: {other:?}")),
            }
        }
        for (name, held) in changed {
            // hosts that always say both families are numbered alike in both
            if !name.starts_with("mixed") && held.0 != held.1 {
                state.wrong.push(format!("{name} is half replaced: {held:?}"));
            }
            state.events.entry(name).or_default().push(Event { at, held });
        }
        Some(NOERROR)
    }
}
