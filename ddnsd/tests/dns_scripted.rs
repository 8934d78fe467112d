//! The DNS exit against a scripted name server: it drops, forges, closes and stalls.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use ddnsd::clock::Clock;
use ddnsd::config::{DnsBackend, DnsTransport, Rfc2136, TsigAlgorithm, TsigKey, ZoneKeys};
use ddnsd::counters::DnsCounters;
use ddnsd::dns::{Dns, DnsError, Lane, Published};
use ddnsd::model::change::RecordChange;
use ddnsd::model::name::{Fqdn, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::secret::SecretBytes;
use ddnsd_tests::update::answer_to;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::{self, TSIG, make_tsig_record};
use hickory_proto::serialize::binary::BinEncoder;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

const TIMEOUT: Duration = Duration::from_millis(900);
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;
const YXRRSET: u8 = 7;
/// What both sides sign with.
const SECRET: &[u8] = b"secret";

/// The server's sockets, UDP and TCP on one port; each test is its script.
struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            // the port may be taken for UDP
            if let Ok(udp) = UdpSocket::bind(address).await {
                return Self { udp, tcp, address };
            }
        }
    }

    fn dns(&self, signed: bool, transport: DnsTransport) -> (Dns, Arc<DnsCounters>) {
        let counters = Arc::new(DnsCounters::default());
        (Dns::new(self.config(signed, transport), Arc::clone(&counters), Clock), counters)
    }

    fn config(&self, signed: bool, transport: DnsTransport) -> Rfc2136 {
        let key = signed.then(|| {
            Arc::new(TsigKey {
                name: "k".into(),
                algorithm: TsigAlgorithm::Sha256,
                secret: SecretBytes::new(SECRET.to_vec()),
            })
        });
        let keys = ZoneKeys { default: key, zones: Vec::new() };
        Rfc2136 { server: self.address, timeout: TIMEOUT, transport, keys }
    }

    async fn datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_535];
        let (length, from) = self.udp.recv_from(&mut buffer).await.unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    async fn connection(&self) -> TcpStream {
        self.tcp.accept().await.unwrap().0
    }
}

async fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut message).await.unwrap();
    message
}

async fn reply_framed(stream: &mut TcpStream, answer: &[u8]) {
    stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
    stream.write_all(answer).await.unwrap();
}

/// An answer signed as RFC 8945, 5.3 says, for the request with this MAC, with so many octets of
/// its own.
fn signed(answer: &[u8], secret: &[u8], request_mac: &[u8], octets: usize) -> Vec<u8> {
    let name = Name::from_ascii("k.").unwrap();
    let id = u16::from_be_bytes([answer[0], answer[1]]);
    let seconds = u64::try_from(Clock.now().wall.0 / 1000).unwrap();
    let tsig =
        TSIG::new(tsig::TsigAlgorithm::HmacSha256, seconds, 300, Vec::new(), id, None, Vec::new());
    let mut variables = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name).unwrap();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).unwrap();
    mac.update(&u16::try_from(request_mac.len()).unwrap().to_be_bytes());
    for part in [request_mac, answer, &variables] {
        mac.update(part);
    }
    let mut mac = mac.finalize().into_bytes().to_vec();
    mac.truncate(octets);
    let mut message = Message::from_vec(answer).unwrap();
    message.set_signature(Box::new(make_tsig_record(name, tsig.set_mac(mac))));
    message.to_vec().unwrap()
}

fn mac_of(request: &[u8]) -> Vec<u8> {
    Message::from_vec(request).unwrap().signature().unwrap().data.mac.clone()
}

/// As the server should sign it.
fn well_signed(request: &[u8], rcode: u8) -> Vec<u8> {
    signed(&answer_to(request, rcode), SECRET, &mac_of(request), usize::MAX)
}

fn change(host: i64) -> RecordChange {
    RecordChange {
        fqdn: Fqdn::parse(&format!("h{host}.example.org")).unwrap(),
        zone: Zone::parse("example.org").unwrap(),
        ttl: 60,
        records: WantedRecords { v4: Wanted::Present(Ipv4Addr::LOCALHOST), v6: Wanted::Absent },
        unpublished_since: None,
    }
}

async fn publish(dns: &Dns, host: i64) -> Published {
    dns.publish(change(host), Lane::Interactive).await
}

/// Whether an acknowledgement is final; `None` if it is not acknowledged.
fn is_final(published: &Published) -> Option<bool> {
    match published {
        Published::Acknowledged { final_from } => Some(final_from.is_none()),
        _ => None,
    }
}

/// From when on an acknowledgement is final that is not yet.
fn final_from(published: &Published) -> Option<Instant> {
    match published {
        Published::Acknowledged { final_from } => *final_from,
        _ => None,
    }
}

#[tokio::test]
async fn after_a_lost_datagram_tcp_is_tried_and_its_host_is_not_final_until_that_cannot_be_late() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (lost, _) = server.datagram().await;
        let mut stream = server.connection().await;
        let repeated = framed(&mut stream).await;
        assert_ne!(lost[..2], repeated[..2], "another id");
        assert_eq!(lost[2..], repeated[2..]);
        reply_framed(&mut stream, &answer_to(&repeated, NOERROR)).await;
        for _ in 0..3 {
            let next = framed(&mut stream).await;
            reply_framed(&mut stream, &answer_to(&next, NOERROR)).await;
        }
    };
    let client = async {
        let first = publish(&dns, 1).await;
        assert_eq!(is_final(&first), Some(false), "the lost one may be late");
        let again = async {
            let second = publish(&dns, 1).await;
            assert_eq!(final_from(&second), final_from(&first), "the wait does not begin again");
            for host in [2, 3] {
                assert_eq!(is_final(&publish(&dns, host).await), Some(true), "{host}");
            }
        };
        timeout(TIMEOUT / 3, again).await.unwrap();
    };
    tokio::join!(script, client);
    assert_eq!((counters.messages.get(), counters.unanswered.get()), (5, 1));
}

#[tokio::test]
async fn where_tcp_comes_first_udp_is_tried_when_tcp_gets_no_answer_either() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let script = async {
        server.datagram().await;
        let mut stream = server.connection().await;
        let request = framed(&mut stream).await;
        reply_framed(&mut stream, &answer_to(&request, NOERROR)).await;
        framed(&mut stream).await; // no answer any more, here or on another connection
        for _ in 0..2 {
            let (request, from) = server.datagram().await;
            server.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
        }
    };
    let client = async {
        assert_eq!(is_final(&publish(&dns, 1).await), Some(false));
        assert_eq!(is_final(&publish(&dns, 2).await), Some(false), "TCP may be late");
        assert_eq!(is_final(&publish(&dns, 3).await), Some(true), "UDP at once");
    };
    tokio::join!(script, client);
    assert_eq!((counters.tcp.get(), counters.messages.get()), (3, 6));
}

#[tokio::test]
async fn where_no_program_takes_udp_the_datagram_cannot_be_late() {
    let Server { udp, tcp, address } = Server::start().await;
    let server = Server { udp: UdpSocket::bind("127.0.0.1:0").await.unwrap(), tcp, address };
    drop(udp);
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let mut stream = server.connection().await;
        for _ in 0..2 {
            let request = framed(&mut stream).await;
            reply_framed(&mut stream, &answer_to(&request, NOERROR)).await;
        }
    };
    let client = async {
        for host in [1, 2] {
            assert_eq!(is_final(&publish(&dns, host).await), Some(true), "{host}");
        }
    };
    tokio::join!(script, timeout(TIMEOUT / 3, client)).1.unwrap();
    assert_eq!((counters.messages.get(), counters.unanswered.get()), (2, 0));
}

#[tokio::test]
async fn answers_with_another_id_or_from_elsewhere_are_dropped_and_the_true_one_awaited() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        elsewhere.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
        let mut wrong_id = answer_to(&request, NOERROR);
        wrong_id[0] ^= 1;
        server.udp.send_to(&wrong_id, from).await.unwrap();
        server.udp.send_to(b"?", from).await.unwrap();
        server.udp.send_to(&answer_to(&request, REFUSED), from).await.unwrap();
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    assert!(matches!(published, Published::Refused(_)), "{published:?}");
    assert_eq!((counters.dropped.get(), counters.refused.get()), (2, 1));
}

#[tokio::test]
async fn without_a_key_an_answer_without_the_zone_or_with_another_is_not_accepted() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        let mut bare = answer_to(&request, NOERROR)[..12].to_vec();
        bare[5] = 0;
        server.udp.send_to(&bare, from).await.unwrap();
        let mut other = answer_to(&request, NOERROR);
        other[13] ^= 1; // the zone's first letter
        server.udp.send_to(&other, from).await.unwrap();
        server.udp.send_to(&answer_to(&request, REFUSED), from).await.unwrap();
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    assert!(matches!(published, Published::Refused(_)), "{published:?}");
    assert_eq!((counters.dropped.get(), counters.refused.get()), (2, 1));
}

#[tokio::test]
async fn an_unsigned_success_is_sent_again_by_tcp_and_does_not_count() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(true, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        server.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
        let mut stream = server.connection().await;
        let request = framed(&mut stream).await;
        reply_framed(&mut stream, &answer_to(&request, NOERROR)).await;
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    let Published::Unconfirmed(error @ DnsError::Unverified { .. }) = published else {
        panic!("{published:?}")
    };
    assert!(error.to_string().contains("NOERROR (a success that is not signed"), "{error}");
    assert_eq!((counters.messages.get(), counters.unanswered.get()), (2, 2));
}

#[tokio::test]
async fn an_unsigned_response_by_udp_is_reported_and_no_answer_when_tcp_gets_none() {
    let mut server = Server::start().await;
    for tcp in ["gets no answer", "is not served"] {
        if tcp == "is not served" {
            server.tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        }
        let (dns, counters) = server.dns(true, DnsTransport::Auto);
        let script = async {
            let (request, from) = server.datagram().await;
            assert_eq!(hosts_of(&request).len(), 8);
            server.udp.send_to(&answer_to(&request, REFUSED), from).await.unwrap();
            server.datagram().await; // none of it is sent in parts
        };
        let changes = dns.publish_all((1..=8).map(change).collect(), Lane::Interactive);
        let all = tokio::select! {
            all = timeout(2 * TIMEOUT, join_all(changes)) => all.unwrap(),
            () = script => panic!("{tcp}: halved"),
        };
        for published in all {
            let Published::Unconfirmed(error @ DnsError::NoAnswerByTcp { .. }) = published else {
                panic!("{tcp}: {published:?}")
            };
            assert!(error.is_unanswered());
            assert!(error.to_string().contains("REFUSED (does it know TSIG key `k`"), "{error}");
        }
        let health = &dns.zones()[0];
        assert!(health.down);
        let zone = counters.zones.of(health.zone.as_str());
        assert!(zone.results().any(|(name, count)| (name, count.get()) == ("unsigned", 1)));
        let error = zone.last_error().unwrap().text;
        assert!(error.contains("by TCP (is it reachable"), "{error}");
        assert!(counters.messages.get() <= 2);
    }
}

/// Makes an answer of a request.
type Answer = fn(&[u8]) -> Vec<u8>;

/// The whole request as an answer, with its TSIG, as Unbound answers an update.
fn echoed(request: &[u8]) -> Vec<u8> {
    let mut answer = request.to_vec();
    answer[2] |= 0x80;
    answer[3] = NOTIMP;
    answer
}

/// Answers everything alike, by UDP and TCP.
async fn answer_all(server: &Server, answer: Answer, closes: bool) {
    let mut open = Vec::new();
    loop {
        tokio::select! {
            (request, from) = server.datagram() => {
                server.udp.send_to(&answer(&request), from).await.unwrap();
            }
            mut stream = server.connection() => {
                let request = framed(&mut stream).await;
                reply_framed(&mut stream, &answer(&request)).await;
                if !closes {
                    open.push(stream);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_came_and_is_not_believed_is_reported_whether_by_udp_or_tcp() {
    let cases: [(Answer, &str); 6] = [
        (echoed, "NOTIMP came and was dropped, because it repeats the TSIG of the request"),
        (
            |request| signed(&answer_to(request, REFUSED), b"another", &mac_of(request), 32),
            "REFUSED came and was dropped, because its MAC is wrong (are algorithm and secret of \
             TSIG key `k` the same",
        ),
        (
            |request| signed(&answer_to(request, NOERROR), SECRET, &mac_of(request), 4),
            "NOERROR came and was dropped, because its MAC is too short",
        ),
        (
            |request| [&[!request[0]], &well_signed(request, SERVFAIL)[1..]].concat(),
            "SERVFAIL came and was dropped, because its id is not that of the request",
        ),
        (|_| b"rubbish".to_vec(), "a message came and was dropped, because it is no DNS message"),
        (|request| request.to_vec(), "because it is no response to an update"),
    ];
    let ways = [(DnsTransport::Auto, false), (DnsTransport::Tcp, false), (DnsTransport::Tcp, true)];
    let tried = ways.into_iter().flat_map(|way| cases.map(|case| (way, case)));
    join_all(tried.map(async |((transport, closes), (answer, expected))| {
        let server = Server::start().await;
        let (dns, counters) = server.dns(true, transport);
        let published = tokio::select! {
            published = publish(&dns, 1) => published,
            () = answer_all(&server, answer, closes) => unreachable!(),
        };
        let Published::Unconfirmed(error @ DnsError::Dropped { .. }) = published else {
            panic!("{transport:?}, {expected}: {published:?}")
        };
        assert!(error.to_string().contains(expected), "{transport:?}, {expected}: {error}");
        assert!(error.is_unanswered() && dns.zones()[0].down);
        let zone = counters.zones.of("example.org");
        assert_eq!(zone.last_error().unwrap().text, error.to_string());
    }))
    .await;
}

#[tokio::test]
async fn a_truncated_answer_is_reported_when_tcp_brings_nothing() {
    let Server { udp, address, .. } = Server::start().await;
    let server = Server { udp, tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(), address };
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        let mut answer = answer_to(&request, NOERROR);
        answer[2] |= 2;
        server.udp.send_to(&answer, from).await.unwrap();
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    let Published::Unconfirmed(error) = published else { panic!("{published:?}") };
    assert!(error.to_string().contains("it was truncated, and nothing better came"), "{error}");
}

#[tokio::test]
async fn a_server_that_stalls_costs_one_timeout_and_takes_the_zone_down() {
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let second = async {
        server.datagram().await;
        publish(&dns, 2).await
    };
    let both = async { tokio::join!(publish(&dns, 1), second) };
    let (first, second) = timeout(2 * TIMEOUT, both).await.unwrap();
    assert!(matches!(first, Published::Unconfirmed(DnsError::NoAnswer { .. })), "{first:?}");
    assert!(matches!(second, Published::Unconfirmed(DnsError::Down { .. })), "{second:?}");
    assert!(dns.zones()[0].down);
}

#[tokio::test]
async fn what_the_previous_server_acknowledges_does_not_count_for_the_new_one() {
    let (old, new) = (Server::start().await, Server::start().await);
    let (dns, _) = old.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = old.datagram().await;
        let prepared =
            dns.prepare(DnsBackend::Rfc2136(new.config(false, DnsTransport::Auto))).await;
        assert!(prepared.is_elsewhere());
        prepared.commit();
        old.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
        let (request, from) = new.datagram().await;
        new.udp.send_to(&answer_to(&request, REFUSED), from).await.unwrap();
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    let Published::Refused(DnsError::Refused { server, .. }) = published else {
        panic!("{published:?}")
    };
    assert_eq!(server, new.address);
}

#[tokio::test]
async fn while_the_records_move_nothing_is_sent_and_then_to_the_server_in_force() {
    let (old, new) = (Server::start().await, Server::start().await);
    let (dns, _) = old.dns(false, DnsTransport::Auto);
    for (is_committed, server) in [(false, &old), (true, &new)] {
        let prepared =
            dns.prepare(DnsBackend::Rfc2136(new.config(false, DnsTransport::Auto))).await;
        let mut one = Box::pin(publish(&dns, 1));
        assert!(futures::poll!(&mut one).is_pending());
        let many = dns.publish_all(vec![change(2), change(3)], Lane::Interactive);
        let mut many = Box::pin(join_all(many));
        assert!(futures::poll!(&mut many).is_pending());
        assert!(dns.zones().iter().all(|zone| zone.queued == 0), "it waits before any queue");
        if is_committed {
            prepared.commit();
        } else {
            drop(prepared);
        }
        let script = async {
            loop {
                let (request, from) = server.datagram().await;
                server.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
            }
        };
        tokio::select! {
            (one, many) = async { tokio::join!(one, many) } => {
                let done = many.iter().chain([&one]).filter_map(is_final);
                assert_eq!(done.count(), 3, "{one:?} {many:?}");
            }
            () = script => {}
        }
    }
}

#[tokio::test]
async fn another_key_for_the_same_server_is_used_at_once_and_what_failed_by_the_old_is_sent_again()
{
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        let prepared =
            dns.prepare(DnsBackend::Rfc2136(server.config(true, DnsTransport::Auto))).await;
        assert!(!prepared.is_elsewhere());
        prepared.commit();
        server.udp.send_to(&answer_to(&request, REFUSED), from).await.unwrap();
        let (signed, _) = server.datagram().await;
        assert!(signed.len() > request.len(), "it is signed now");
    };
    tokio::select! {
        published = publish(&dns, 1) => panic!("it waits for an answer: {published:?}"),
        () = script => {}
    }
}

#[tokio::test]
async fn a_connection_closed_in_the_middle_of_a_response_is_replaced() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Tcp);
    let script = async {
        let mut stream = server.connection().await;
        let request = framed(&mut stream).await;
        let answer = answer_to(&request, NOERROR);
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer[..5]).await.unwrap();
        drop(stream);
        let mut stream = server.connection().await;
        for _ in 0..2 {
            let request = framed(&mut stream).await;
            reply_framed(&mut stream, &answer_to(&request, NOERROR)).await;
        }
    };
    let client = async {
        assert_eq!(is_final(&publish(&dns, 1).await), Some(false));
        assert_eq!(is_final(&publish(&dns, 2).await), Some(true), "by the kept connection");
    };
    tokio::join!(client, script);
    assert_eq!((counters.messages.get(), counters.tcp.get()), (3, 3));
}

#[tokio::test]
async fn a_kept_connection_without_answers_costs_a_part_of_the_time_and_not_the_zone() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Tcp);
    let script = async {
        let mut stream = server.connection().await;
        let request = framed(&mut stream).await;
        reply_framed(&mut stream, &answer_to(&request, NOERROR)).await;
        // a firewall on the way has forgotten the connection: what is sent on it is lost
        let mut another = server.connection().await;
        let request = framed(&mut another).await;
        reply_framed(&mut another, &answer_to(&request, NOERROR)).await;
        drop(stream);
    };
    let client = async {
        assert_eq!(is_final(&publish(&dns, 1).await), Some(true));
        assert_eq!(is_final(&publish(&dns, 2).await), Some(false), "by another connection");
    };
    tokio::join!(client, script);
    assert_eq!(counters.tcp.get(), 3);
    assert!(!dns.is_down(&Zone::parse("example.org").unwrap()));
}

/// As it comes when not all of it fits.
fn truncated(mut answer: Vec<u8>) -> Vec<u8> {
    answer[2] |= 0x02;
    answer
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_by_tcp() {
    let server = Server::start().await;
    let well = |is_signed, request: &[u8], answer: Vec<u8>| {
        if is_signed { signed(&answer, SECRET, &mac_of(request), usize::MAX) } else { answer }
    };
    for is_signed in [false, true] {
        let (dns, counters) = server.dns(is_signed, DnsTransport::Auto);
        let script = async {
            let (request, from) = server.datagram().await;
            let answer = well(is_signed, &request, truncated(answer_to(&request, NOERROR)));
            server.udp.send_to(&answer, from).await.unwrap();
            let mut stream = server.connection().await;
            let request = framed(&mut stream).await;
            let answer = well(is_signed, &request, answer_to(&request, NOERROR));
            reply_framed(&mut stream, &answer).await;
        };
        let (published, ()) = tokio::join!(publish(&dns, 1), script);
        assert_eq!(is_final(&published), Some(true));
        assert_eq!((counters.dropped.get(), counters.unanswered.get()), (0, 0));
    }
}

#[tokio::test]
async fn a_truncated_answer_by_tcp_is_an_error_and_no_success() {
    let server = Server::start().await;
    let (dns, _) = server.dns(true, DnsTransport::Tcp);
    let script = async {
        for _ in 0..2 {
            let mut stream = server.connection().await;
            let request = framed(&mut stream).await;
            let answer = truncated(answer_to(&request, NOERROR));
            let answer = signed(&answer, SECRET, &mac_of(&request), usize::MAX);
            reply_framed(&mut stream, &answer).await;
        }
    };
    let (published, ()) = tokio::join!(publish(&dns, 1), script);
    assert!(matches!(published, Published::Unconfirmed(_)), "{published:?}");
}

#[tokio::test]
async fn answers_with_a_wrong_mac_or_a_replayed_one_are_dropped_and_the_true_one_awaited() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(true, DnsTransport::Auto);
    let script = async {
        let (first, from) = server.datagram().await;
        server.udp.send_to(&well_signed(&first, NOERROR), from).await.unwrap();
        let (request, from) = server.datagram().await;
        let (answer, mac) = (answer_to(&request, NOERROR), mac_of(&request));
        // the server's response to the first request, with the second's id
        let mut replayed = signed(&answer, SECRET, &mac_of(&first), usize::MAX);
        server.udp.send_to(&replayed, from).await.unwrap();
        replayed = well_signed(&first, NOERROR);
        replayed[..2].copy_from_slice(&request[..2]);
        server.udp.send_to(&replayed, from).await.unwrap();
        let guessed = signed(&answer, b"guessed", &mac, usize::MAX);
        server.udp.send_to(&guessed, from).await.unwrap();
        let mut flipped = well_signed(&request, REFUSED);
        flipped[3] = NOERROR;
        server.udp.send_to(&flipped, from).await.unwrap();
        server.udp.send_to(&well_signed(&request, REFUSED), from).await.unwrap();
    };
    let client = async {
        assert_eq!(is_final(&publish(&dns, 1).await), Some(true));
        let published = publish(&dns, 1).await;
        assert!(matches!(published, Published::Refused(_)), "{published:?}");
    };
    tokio::join!(client, script);
    assert_eq!((counters.dropped.get(), counters.messages.get()), (4, 2));
}

#[tokio::test]
async fn a_mac_that_is_cut_to_less_than_half_proves_nothing() {
    let server = Server::start().await;
    // RFC 8945, 5.2.2.1: half of SHA-256 is 16 octets
    for (octets, dropped) in [(16, 0), (15, 2), (9, 2)] {
        let (dns, counters) = server.dns(true, DnsTransport::Auto);
        let cut =
            |request: &[u8]| signed(&answer_to(request, NOERROR), SECRET, &mac_of(request), octets);
        let script = async {
            let (request, from) = server.datagram().await;
            server.udp.send_to(&cut(&request), from).await.unwrap();
            if octets < 16 {
                let mut stream = server.connection().await;
                let request = framed(&mut stream).await;
                reply_framed(&mut stream, &cut(&request)).await;
                reply_framed(&mut stream, &well_signed(&request, REFUSED)).await;
            }
        };
        let (published, ()) = tokio::join!(publish(&dns, 1), script);
        match octets {
            16 => assert_eq!(is_final(&published), Some(true), "half is enough"),
            _ => assert!(matches!(published, Published::Refused(_)), "{published:?}"),
        }
        assert_eq!(counters.dropped.get(), dropped);
    }
}

#[tokio::test]
async fn one_servfail_fails_one_change_and_takes_no_zone_down() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(true, DnsTransport::Auto);
    let script = async {
        for rcode in [SERVFAIL, NOERROR] {
            let (request, from) = server.datagram().await;
            server.udp.send_to(&well_signed(&request, rcode), from).await.unwrap();
        }
    };
    let client = async {
        let published = publish(&dns, 1).await;
        let Published::Refused(error) = published else { panic!("{published:?}") };
        assert!(error.to_string().contains("SERVFAIL (see its log"), "{error}");
        assert!(!dns.zones()[0].down);
        assert_eq!(is_final(&publish(&dns, 1).await), Some(true));
    };
    tokio::join!(client, script);
    assert_eq!((counters.refused.get(), counters.unanswered.get()), (1, 0));
}

/// The hosts of an update, by number.
fn hosts_of(request: &[u8]) -> BTreeSet<i64> {
    let message = Message::from_vec(request).unwrap();
    let names = message.authorities.iter().map(|record| record.name.to_ascii());
    names.map(|name| name[1..].split('.').next().unwrap().parse().unwrap()).collect()
}

impl Server {
    /// Answers each datagram after so long, many at a time; `None` is no answer.
    async fn answer_each(&self, after: Duration, rcode: impl Fn(&BTreeSet<i64>) -> Option<u8>) {
        let mut answers = FuturesUnordered::new();
        loop {
            tokio::select! {
                (request, from) = self.datagram() => {
                    if let Some(rcode) = rcode(&hosts_of(&request)) {
                        answers.push(async move {
                            sleep(after).await;
                            self.udp.send_to(&answer_to(&request, rcode), from).await.unwrap();
                        });
                    }
                }
                Some(()) = answers.next() => {}
            }
        }
    }
}

#[tokio::test]
async fn a_host_that_is_added_again_waits_for_the_deleted_one_and_for_its_late_messages() {
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (request, from) = server.datagram().await;
        // both are queued, and only one of them is in flight
        assert!(timeout(TIMEOUT / 10, server.datagram()).await.is_err());
        server.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
        server.datagram().await; // no answer
        framed(&mut server.connection().await).await;
        let (request, from) = server.datagram().await;
        server.udp.send_to(&answer_to(&request, NOERROR), from).await.unwrap();
    };
    let client = async {
        let both = vec![change(1), change(1)];
        let published = join_all(dns.publish_all(both, Lane::Interactive)).await;
        assert_eq!(is_final(&published[0]), Some(true));
        assert!(matches!(published[1], Published::Unconfirmed(DnsError::NoAnswer { .. })));
        let again = dns.publish(change(1), Lane::Background).await;
        assert_eq!(is_final(&again), Some(false));
    };
    tokio::join!(client, script);
}

#[tokio::test]
async fn hosts_that_are_refused_in_the_background_delay_no_interactive_change() {
    const ROUND_TRIP: Duration = Duration::from_millis(25);
    const CULPRITS: i64 = 1000;
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let rcode = |hosts: &BTreeSet<i64>| {
        Some(if hosts.range(CULPRITS..).next().is_some() { YXRRSET } else { NOERROR })
    };
    let next = AtomicI64::new(CULPRITS);
    let background = join_all((0..20).map(|_| async {
        loop {
            let culprit = next.fetch_add(1, Ordering::Relaxed);
            let published = dns.publish(change(culprit), Lane::Background).await;
            assert!(matches!(published, Published::Refused(_)), "{published:?}");
        }
    }));
    let fresh = join_all((0..3).map(|client| {
        let dns = &dns;
        async move {
            for n in 0..10 {
                let start = Clock.now().mono;
                assert_eq!(is_final(&publish(dns, client * 10 + n).await), Some(true));
                let took = Clock.now().mono - start;
                assert!(took < 12 * ROUND_TRIP, "{took:?}");
            }
        }
    }));
    tokio::select! {
        _ = fresh => {}
        _ = background => {}
        () = server.answer_each(ROUND_TRIP, rcode) => {}
    }
    assert!(next.into_inner() > CULPRITS + 20, "some of the background was done meanwhile");
}

#[tokio::test]
async fn a_change_that_waited_for_one_of_its_host_follows_while_the_rest_of_that_batch_is_in_flight()
 {
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let script = async {
        let (both, from) = server.datagram().await;
        server.udp.send_to(&answer_to(&both, REFUSED), from).await.unwrap();
        let (first, from) = server.datagram().await;
        let again = dns.publish_all(vec![change(1)], Lane::Interactive).next().unwrap();
        server.udp.send_to(&answer_to(&first, NOERROR), from).await.unwrap();
        // the second of both stays unanswered until then
        let (second, from) = server.datagram().await;
        assert_eq!((hosts_of(&first), hosts_of(&second)), ([1].into(), [2].into()));
        let (request, newer) = server.datagram().await;
        assert_eq!(hosts_of(&request), [1].into());
        server.udp.send_to(&answer_to(&request, NOERROR), newer).await.unwrap();
        assert_eq!(is_final(&again.await), Some(true));
        server.udp.send_to(&answer_to(&second, NOERROR), from).await.unwrap();
    };
    let both = dns.publish_all(vec![change(1), change(2)], Lane::Background);
    let (both, ()) =
        timeout(TIMEOUT / 3, async { tokio::join!(join_all(both), script) }).await.unwrap();
    assert!(both.iter().all(|published| is_final(published) == Some(true)), "{both:?}");
}

/// How each of some changes that travel together ends, by host.
async fn outcomes(dns: &Dns, hosts: std::ops::RangeInclusive<i64>, lane: Lane) -> Vec<String> {
    let published = join_all(dns.publish_all(hosts.map(change).collect(), lane)).await;
    let outcome = |published| match published {
        Published::Acknowledged { final_from: None } => "done".to_owned(),
        Published::Acknowledged { final_from: Some(_) } => "not final".to_owned(),
        Published::Refused(DnsError::Refused { .. }) => "refused".to_owned(),
        Published::Unconfirmed(DnsError::NoAnswer { .. }) => "no answer".to_owned(),
        other => format!("{other:?}"),
    };
    published.into_iter().map(outcome).collect()
}

#[tokio::test]
async fn hosts_refused_for_different_reasons_fail_alone_and_are_isolated() {
    let server = Server::start().await;
    let (dns, counters) = server.dns(false, DnsTransport::Auto);
    let rcode = |hosts: &BTreeSet<i64>| {
        Some(match (hosts.contains(&3), hosts.contains(&6)) {
            (true, _) => REFUSED,
            (false, true) => YXRRSET,
            (false, false) => NOERROR,
        })
    };
    let client = async {
        let (ok, no) = ("done", "refused");
        let expected = [ok, ok, no, ok, ok, no, ok, ok];
        assert_eq!(outcomes(&dns, 1..=8, Lane::Interactive).await, expected);
        let before = counters.messages.get();
        assert_eq!(outcomes(&dns, 1..=8, Lane::Interactive).await, expected);
        assert_eq!(counters.messages.get() - before, 5, "1 2, 3, 4 5, 6, 7 8");
    };
    tokio::select! {
        () = client => {}
        () = server.answer_each(Duration::ZERO, rcode) => {}
    }
}

#[tokio::test]
async fn an_unanswered_part_of_a_batch_does_not_affect_the_answered_ones() {
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let is_over = AtomicBool::new(false);
    let rcode = |hosts: &BTreeSet<i64>| match (hosts.contains(&1), hosts.contains(&5)) {
        (true, _) => Some(REFUSED),
        (false, true) if !is_over.load(Ordering::Relaxed) => None,
        _ => Some(NOERROR),
    };
    let client = async {
        let (ok, no, none, not_final) = ("done", "refused", "no answer", "not final");
        let expected = [no, ok, ok, ok, none, none, none, none];
        assert_eq!(outcomes(&dns, 1..=8, Lane::Interactive).await, expected);
        assert!(dns.zones()[0].down);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(
            outcomes(&dns, 2..=8, Lane::Background).await,
            [ok, ok, ok, not_final, not_final, not_final, not_final]
        );
    };
    tokio::select! {
        () = client => {}
        () = server.answer_each(Duration::ZERO, rcode) => {}
    }
}

#[tokio::test]
async fn after_an_unanswered_part_the_rest_of_its_batch_is_not_sent_and_cannot_be_late() {
    let server = Server::start().await;
    let (dns, _) = server.dns(false, DnsTransport::Auto);
    let is_over = AtomicBool::new(false);
    let rcode = |hosts: &BTreeSet<i64>| match hosts.len() {
        8 => Some(REFUSED),
        _ if is_over.load(Ordering::Relaxed) => Some(NOERROR),
        _ => None,
    };
    let client = async {
        assert_eq!(outcomes(&dns, 1..=8, Lane::Interactive).await, ["no answer"; 8]);
        is_over.store(true, Ordering::Relaxed);
        let sent = outcomes(&dns, 1..=4, Lane::Background).await;
        assert_eq!(sent, ["not final"; 4]);
        assert_eq!(outcomes(&dns, 5..=8, Lane::Background).await, ["done"; 4]);
    };
    tokio::select! {
        () = client => {}
        () = server.answer_each(Duration::ZERO, rcode) => {}
    }
}

#[tokio::test]
async fn after_a_message_that_is_applied_late_the_next_acknowledgement_is_not_final() {
    let server = Server::start().await;
    let (dns, _) = server.dns(true, DnsTransport::Auto);
    let script = async {
        let (held_back, from) = server.datagram().await;
        let mut stream = server.connection().await;
        framed(&mut stream).await; // stalls, too
        let (request, newer) = server.datagram().await;
        // the late response: its socket is closed, and it does not count on another
        let late = well_signed(&held_back, NOERROR);
        server.udp.send_to(&late, from).await.unwrap();
        server.udp.send_to(&late, newer).await.unwrap();
        server.udp.send_to(&well_signed(&request, NOERROR), newer).await.unwrap();
    };
    let client = async {
        let first = publish(&dns, 1).await;
        assert!(matches!(first, Published::Unconfirmed(DnsError::NoAnswer { .. })), "{first:?}");
        // down now: the republisher's lane is the one that tries
        let again = dns.publish(change(1), Lane::Background).await;
        assert_eq!(is_final(&again), Some(false), "the caller sends it once more");
    };
    tokio::join!(client, script);
}
