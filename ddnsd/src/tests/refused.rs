//! Hosts that a slow name server refuses for ever delay no other host.

use super::daemon::{Daemon, ZONE, hash};
use super::{both, name, runtime};
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::update::answer_to;
use hickory_proto::op::Message;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Hosts that are refused. One after the other they take 40 s.
const REFUSED: u32 = 1_000;
/// How long the server takes for a message.
const SLOW: Duration = Duration::from_millis(20);
/// `dns_timeout`.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Within this time after an outage, everything that was pending must be published.
const RECOVERY: Duration = Duration::from_secs(30);

/// A server that refuses each message about a host whose name begins with `r`.
#[derive(Clone, Default)]
struct Strict {
    is_unavailable: Arc<AtomicBool>,
    takes_all: Arc<AtomicBool>,
}

impl Strict {
    fn start(&self) -> SocketAddr {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            // the port may be in use for UDP
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let (by_udp, by_tcp) = (self.clone(), self.clone());
        std::thread::spawn(move || {
            let mut message = vec![0; 65_535];
            loop {
                let (length, from) = udp.recv_from(&mut message).unwrap();
                if let Some(answer) = by_udp.answer(&message[..length]) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let server = by_tcp.clone();
                std::thread::spawn(move || server.serve_connection(stream.unwrap()));
            }
        });
        address
    }

    fn serve_connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message)?;
            if let Some(answer) = self.answer(&message) {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, answer.as_slice()].concat())?;
            }
        }
    }

    fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.is_unavailable.load(Ordering::SeqCst) {
            return None;
        }
        std::thread::sleep(SLOW);
        let message = Message::from_vec(bytes).unwrap();
        let strict = !self.takes_all.load(Ordering::SeqCst);
        let is_refused = strict
            && message.authorities.iter().any(|record| record.name.to_ascii().starts_with('r'));
        Some(answer_to(bytes, if is_refused { 5 } else { 0 }))
    }
}

/// Adds hosts that have been unpublished for long, for this reason.
async fn add_refused(file: &Path, reason: &str) {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {REFUSED})
         INSERT INTO hosts (user_id, label, zone, fqdn, state4, ipv4, set4_at, unpublished_since,
             last_error, created_at, changed_at)
         SELECT 1, 'r' || n, '{ZONE}', 'r' || n || '.{ZONE}', 1, '192.0.2.1', 1, n, {reason}, 1, 1
         FROM n"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
}

async fn attempts(file: &Path) -> i64 {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let most = "SELECT MAX(attempts) FROM hosts WHERE label LIKE 'r%'";
    sqlx::query_scalar(most).fetch_one(&mut conn).await.unwrap()
}

#[test]
fn a_thousand_refused_hosts_delay_no_other_and_are_published_once_they_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server = Strict::default();
    let address = server.start();
    runtime().block_on(async {
        let daemon = Daemon::start(&file, address, TIMEOUT).await;
        daemon.add_user(&hash().await).await;
        for label in ["pc", "nas"] {
            daemon.add_host(label, None).await;
        }
        add_refused(&file, "'refused'").await;
        daemon.run_timers();
        sleep(Duration::from_secs(3)).await; // the republisher tries them meanwhile
        server.is_unavailable.store(true, Ordering::SeqCst);
        for n in 1..=3 {
            let codes = daemon.update(&[name("pc"), name("nas")], Change::Set(both(n))).await;
            assert_eq!(codes, [ReturnCode::Dnserr; 2]);
        }
        server.is_unavailable.store(false, Ordering::SeqCst);
        let back = Instant::now();
        let unpublished = async || daemon.db.counts().await.unwrap().unpublished;
        while unpublished().await > u64::from(REFUSED) {
            assert!(back.elapsed() < RECOVERY, "what was pending is not published in time");
            sleep(Duration::from_millis(20)).await;
        }
        println!("published after {:?}", back.elapsed());
        // an update is answered with the refusal, and not with a time-out in the queue
        for n in 1..=5 {
            let codes = daemon.update(&[name(&format!("r{n}"))], Change::Set(both(n))).await;
            assert_eq!(codes, [ReturnCode::Dnserr]);
        }
        let tries = attempts(&file).await;
        assert!(tries <= 2, "the same refusal is stored {tries} times");

        server.takes_all.store(true, Ordering::SeqCst);
        let accepted = Instant::now();
        while unpublished().await > 0 {
            assert!(accepted.elapsed() < RECOVERY, "{} are left", unpublished().await);
            sleep(Duration::from_millis(20)).await;
        }
        println!("all accepted after {:?}", accepted.elapsed());
    });
}

#[test]
fn an_update_overtakes_a_backlog_whose_batches_are_halved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let address = Strict::default().start();
    runtime().block_on(async {
        let daemon = Daemon::start(&file, address, TIMEOUT).await;
        daemon.add_user(&hash().await).await;
        daemon.add_host("pc", None).await;
        let codes = daemon.update(&[name("pc")], Change::Set(both(1))).await;
        assert_eq!(codes, [ReturnCode::Good]);
        add_refused(&file, "NULL").await;
        daemon.run_timers();
        // halving the first message of 200 hosts takes 8 s until each is sent alone
        for n in 2..8 {
            sleep(Duration::from_millis(500)).await;
            let start = Instant::now();
            let codes = daemon.update(&[name("pc")], Change::Set(both(n))).await;
            let took = start.elapsed();
            assert_eq!(codes, [ReturnCode::Good]);
            assert!(took < Duration::from_secs(4), "an update took {took:?}");
        }
    });
}
