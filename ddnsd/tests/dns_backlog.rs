//! A backlog of unpublished hosts at a name server that is silent about some of them: the republisher, the
//! queue and the transport together.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use arc_swap::ArcSwap;
use ddnsd::clock::Clock;
use ddnsd::config::{Database, DnsTransport, Rfc2136, ZoneKeys};
use ddnsd::db::{Db, NewHost, NewUser, Want};
use ddnsd::dns::Dns;
use ddnsd::model::host::{Defaults, Seen};
use ddnsd::model::name::{Email, Fqdn, Label, UserName, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd::model::time::Millis;
use ddnsd::model::user::PasswordHash;
use ddnsd::stories::publishing::Publisher;
use ddnsd::stories::republish::Republish;
use ddnsd::stories::turns::Turns;
use ddnsd_tests::update::answer_to;
use hickory_proto::op::Message;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const TIMEOUT: Duration = Duration::from_millis(300);
const ZONE: &str = "example.org";

/// Answers every update, by UDP and TCP, but those with one of these names. Keeps the names of the others.
#[derive(Clone)]
struct Server {
    silent: &'static [&'static str],
    applied: Arc<Mutex<BTreeSet<String>>>,
}

impl Server {
    async fn start(silent: &'static [&'static str]) -> (Self, SocketAddr) {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // the port may be taken for UDP
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let (server, address) =
            (Self { silent, applied: Arc::default() }, tcp.local_addr().unwrap());
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
        if labels.iter().any(|label| self.silent.contains(&label.as_str())) {
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
    let db = Db::open(&file, Arc::default()).await.unwrap();
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
        let want = Want { host, records, seen, check_at: None, owed: None, at };
        assert!(db.want(vec![want]).await.unwrap()[0].is_some());
    }
    db
}

fn republisher(db: Db, server: SocketAddr) -> Republish {
    let (transport, keys) = (DnsTransport::Auto, ZoneKeys::default());
    let config = Rfc2136 { server, timeout: TIMEOUT, transport, keys };
    let dns = Dns::new(config, Arc::default(), Clock);
    let defaults = Arc::new(ArcSwap::from_pointee(Defaults { dns_ttl: 60, expiry_ttl: 3600 }));
    Republish::new(db.clone(), Publisher::new(db, dns, Clock, defaults), Turns::default(), Clock)
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
