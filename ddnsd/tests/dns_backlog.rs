//! A backlog of unpublished hosts at a name server that does not answer some of them: the
//! republisher and the exit to DNS together.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use arc_swap::ArcSwap;
use ddnsd::clock::Clock;
use ddnsd::config::{Database, DnsTransport, Rfc2136, ZoneKeys};
use ddnsd::db::{Db, NewHost, NewUser, UnpublishedHost, UnpublishedKind, Want};
use ddnsd::dns::{Dns, DnsError, Lane, Published};
use ddnsd::model::change::RecordChange;
use ddnsd::model::host::{Defaults, Host, HostId, Lan, Seen};
use ddnsd::model::name::{Email, Fqdn, Label, UserName, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::time::{Millis, Uptime};
use ddnsd::model::user::PasswordHash;
use ddnsd::rules::retry::Retry;
use ddnsd::stories::host_locks::HostLocks;
use ddnsd::stories::publisher::Publisher;
use ddnsd::stories::republish::Republish;
use ddnsd_tests::update::answer_to;
use futures::future::join_all;
use hickory_proto::op::Message;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const TIMEOUT: Duration = Duration::from_millis(300);
const ZONE: &str = "example.org";

/// Refuses every update of the host `refused`, and answers every other one, by UDP and TCP, but
/// those with one of these names. Keeps the names of what it applied.
#[derive(Clone)]
struct Server {
    unanswered: &'static [&'static str],
    applied: Arc<Mutex<BTreeSet<String>>>,
}

impl Server {
    async fn start(unanswered: &'static [&'static str]) -> (Self, SocketAddr) {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // the port may be taken for UDP
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let (server, address) =
            (Self { unanswered, applied: Arc::default() }, tcp.local_addr().unwrap());
        let by_udp = server.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = by_udp.answer(&buffer[..length]) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let by_tcp = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(by_tcp.clone().converse(stream));
            }
        });
        (server, address)
    }

    async fn converse(self, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut request = vec![0; usize::from(length)];
            stream.read_exact(&mut request).await.unwrap();
            if let Some(answer) = self.answer(&request) {
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let message = Message::from_vec(request).unwrap();
        let labels = message.authorities.iter().map(|record| record.name.to_ascii());
        let labels: Vec<_> =
            labels.map(|name| name.split('.').next().unwrap().to_owned()).collect();
        if labels.iter().any(|label| label == "refused") {
            return Some(answer_to(request, 5));
        }
        if labels.iter().any(|label| self.unanswered.contains(&label.as_str())) {
            return None;
        }
        self.applied.lock().unwrap().extend(labels);
        Some(answer_to(request, 0))
    }

    fn applied(&self) -> usize {
        self.applied.lock().unwrap().len()
    }
}

/// A database in which so many hosts, `h0` and so on, are wanted and unpublished, in this order.
async fn backlog(folder: &Path, hosts: u8) -> Db {
    let file = Database::Sqlite { path: folder.join("ddnsd.sqlite"), pool_size: 1 };
    let db = Db::open(&file, "test".into(), Arc::default()).await.unwrap();
    let user = UserName::parse("alice").unwrap();
    let email = Email::parse("alice@example.org").unwrap();
    let at = Clock.now().wall;
    db.add_user(NewUser { name: user.clone(), email, hash: PasswordHash("x".into()), at })
        .await
        .unwrap();
    for n in 0..hosts {
        let (label, zone) = (Label::parse(&format!("h{n}")).unwrap(), Zone::parse(ZONE).unwrap());
        let fqdn = Fqdn::parse(&format!("h{n}.{ZONE}")).unwrap();
        let new = NewHost {
            user: user.clone(),
            label,
            zone,
            fqdn: fqdn.clone(),
            dns_ttl: None,
            expiry_ttl: None,
            suffix: None,
            leader: None,
            at,
        };
        assert!(db.add_host(new).await.unwrap());
        let host = db.host(&fqdn).await.unwrap().unwrap();
        let records = WantedRecords {
            v4: Wanted::Present(Ipv4Addr::new(192, 0, 2, n)),
            v6: Wanted::Untouched,
        };
        let at = Millis(at.0 + i64::from(n));
        let seen = Seen { v4: Some(at), v6: None };
        let want = Want {
            host,
            records,
            seen,
            check_at: None,
            is_expiry: false,
            notices: None,
            lan: Lan::default(),
            publish: true,
            at,
            uptime: Uptime(0),
            is_sent: true,
        };
        assert!(db.want(vec![want]).await.unwrap()[0].is_some());
    }
    db
}

fn dns(server: SocketAddr) -> Dns {
    let (transport, keys) = (DnsTransport::Auto, ZoneKeys::default());
    Dns::new(Rfc2136 { server, timeout: TIMEOUT, transport, keys }, Arc::default(), Clock)
}

fn publisher(db: Db, server: SocketAddr) -> Publisher {
    let defaults = Arc::new(ArcSwap::from_pointee(Defaults { dns_ttl: 60, expiry_ttl: 3600 }));
    Publisher::new(db, dns(server), Clock, defaults)
}

fn republisher(db: Db, server: SocketAddr) -> Republish {
    Republish::new(db.clone(), publisher(db, server), HostLocks::default(), Clock)
}

async fn host(db: &Db, n: usize) -> Arc<Host> {
    db.host(&Fqdn::parse(&format!("h{n}.{ZONE}")).unwrap()).await.unwrap().unwrap()
}

async fn unpublished(db: &Db, host: HostId) -> UnpublishedHost {
    let first = (Millis(i64::MIN), HostId(0));
    let page = db.unpublished(UnpublishedKind::WithAddress, first, 200).await.unwrap();
    page.rows.into_iter().find(|row| row.host == host).unwrap()
}

fn change(label: &str) -> RecordChange {
    RecordChange {
        fqdn: Fqdn::parse(&format!("{label}.{ZONE}")).unwrap(),
        zone: Zone::parse(ZONE).unwrap(),
        ttl: 60,
        records: WantedRecords {
            v4: Wanted::Present(Ipv4Addr::new(192, 0, 2, 1)),
            v6: Wanted::Untouched,
        },
        unpublished_since: None,
    }
}

#[tokio::test]
async fn hosts_that_the_server_never_answers_keep_no_other_from_being_published() {
    let folder = tempfile::tempdir().unwrap();
    let db = backlog(folder.path(), 60).await;
    let (server, address) = Server::start(&["h3", "h5"]).await;
    let republish = republisher(db, address);
    let mut runs = 0;
    while server.applied() < 58 {
        republish.run().await.unwrap();
        runs += 1;
        assert!(runs < 30, "{} are published after {runs} runs", server.applied());
    }
}

#[tokio::test]
async fn hosts_that_the_server_ignores_are_sent_again_seldom_and_one_at_a_time() {
    const IGNORED: [&str; 10] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"];
    let folder = tempfile::tempdir().unwrap();
    let db = backlog(folder.path(), 11).await;
    let (server, address) = Server::start(&IGNORED).await;
    let (publisher, host_locks) = (publisher(db.clone(), address), HostLocks::default());
    for _ in 0..2 {
        for n in 0..IGNORED.len() {
            assert!(publisher.publish(host(&db, n).await, Lane::Background).await.is_err());
            // an answer in between: it is not the server
            publisher.publish(host(&db, 10).await, Lane::Background).await.unwrap();
        }
    }
    assert_eq!(server.applied(), 1);
    let mut ids = Vec::new();
    for n in 0..IGNORED.len() {
        let host = host(&db, n).await;
        let row = unpublished(&db, host.id).await;
        assert_eq!(publisher.next_retry(&row), Retry::NotYet, "h{n}");
        ids.push(host.id);
    }
    publisher.forget_refusals();
    let republish = Republish::new(db, publisher, host_locks.clone(), Clock);
    let held = || ids.iter().filter(|id| host_locks.try_lock(**id).is_none()).count();
    let run = republish.run();
    tokio::pin!(run);
    let mut most = 0;
    let done = loop {
        tokio::select! {
            done = &mut run => break done.unwrap(),
            () = tokio::time::sleep(TIMEOUT / 10) => most = most.max(held()),
        }
    };
    assert_eq!((done, most), (0, 1), "the other hosts are not locked meanwhile");
}

#[tokio::test]
async fn a_message_of_the_previous_run_may_come_late_though_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let db = backlog(folder.path(), 1).await;
    let (server, address) = Server::start(&[]).await;
    let file = SqliteConnectOptions::new().filename(folder.path().join("ddnsd.sqlite"));
    let later = Clock.now().wall.plus_millis(3_600_000).0;
    let set = format!("UPDATE hosts SET unpublished_since = {later}");
    let mut conn = file.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut conn).await.unwrap();
    let republish = republisher(db.clone(), address);
    // the start takes its time
    tokio::time::sleep(Duration::from_millis(20)).await;
    republish.start().await.unwrap();
    republish.run().await.unwrap();
    assert_eq!(server.applied(), 1);
    let host = host(&db, 0).await;
    assert_eq!(host.acked.addresses, host.wanted.addresses());
    assert!(host.unpublished_since.is_some(), "its acknowledgement is not final");
}

#[tokio::test]
async fn an_ignored_host_does_not_affect_the_other_hosts_of_its_refused_message() {
    let (server, address) = Server::start(&["ignored"]).await;
    let dns = dns(address);
    let first = dns.publish(change("ignored"), Lane::Background).await;
    assert!(matches!(first, Published::Unconfirmed(DnsError::NoAnswer { .. })), "{first:?}");
    let other = dns.publish(change("other"), Lane::Background).await;
    assert!(matches!(other, Published::Acknowledged { .. }), "{other:?}");
    let labels = ["refused", "ignored", "third", "fourth"];
    let sent = dns.publish_all(labels.map(change).to_vec(), Lane::Background);
    let [refused, ignored, third, fourth] = &join_all(sent).await[..] else { panic!("four") };
    assert!(matches!(refused, Published::Refused(_)), "{refused:?}");
    let is_its_own = matches!(ignored, Published::Unconfirmed(DnsError::HostUnanswered { .. }));
    assert!(is_its_own, "{ignored:?}");
    assert!(matches!(third, Published::Acknowledged { .. }), "{third:?}");
    assert!(matches!(fourth, Published::Acknowledged { .. }), "{fourth:?}");
    assert_eq!(server.applied(), 3);
}
