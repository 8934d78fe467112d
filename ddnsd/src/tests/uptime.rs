//! The service clock over restarts: it goes on where it was stored, and counts no time between
//! runs.

use super::daemon::{Daemon, hash};
use super::{both, host_names, name, runtime};
use crate::clock::SET_AHEAD;
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::update::answer_to;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// `dns_timeout`.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The expiry TTL of the only host.
const TTL: Duration = Duration::from_secs(2);
/// Longer than it takes until the host expires, on a busy machine.
const LONG: Duration = Duration::from_secs(10);
const YEAR: i64 = 365 * 24 * 3_600_000;

/// A name server that acknowledges everything.
fn server() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut message = vec![0; 65_535];
        loop {
            let (length, from) = udp.recv_from(&mut message).unwrap();
            let _ = udp.send_to(&answer_to(&message[..length], 0), from);
        }
    });
    address
}

/// Stores a service clock that has counted for a year.
async fn store_a_year(file: &Path) {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let store = sqlx::query("UPDATE meta SET value = ? WHERE name = 'uptime'");
    let stored = store.bind(YEAR.to_string()).execute(&mut conn).await.unwrap();
    assert_eq!(stored.rows_affected(), 1);
}

async fn has_address(daemon: &Daemon) -> bool {
    let page = daemon.hosts.show(&host_names("pc")).await.unwrap();
    !page.details.host.wanted.addresses().is_empty()
}

#[test]
fn a_host_expires_after_its_ttl_of_uptime_despite_a_kill_and_a_clock_jump() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server = server();
    runtime().block_on(async {
        let daemon = Daemon::start(&file, server, TIMEOUT).await;
        daemon.add_user(&hash().await).await;
        daemon.add_host("pc", Some(2)).await;
        store_a_year(&file).await;
    });
    runtime().block_on(async {
        let daemon = Daemon::start(&file, server, TIMEOUT).await;
        daemon.run_timers();
        let codes = daemon.update(&[name("pc")], Change::Set(both(1))).await;
        assert_eq!(codes, [ReturnCode::Good]);
        sleep(TTL / 2).await;
        assert!(has_address(&daemon).await);
    });
    SET_AHEAD.set(24 * 3_600_000);
    runtime().block_on(async {
        let daemon = Daemon::start(&file, server, TIMEOUT).await;
        daemon.run_timers();
        let start = Instant::now();
        while has_address(&daemon).await {
            assert!(start.elapsed() < LONG, "it never expires");
            sleep(Duration::from_millis(20)).await;
        }
        assert!(start.elapsed() > TTL / 4, "the downtime or the jump counted");
    });
    SET_AHEAD.set(0);
}

#[test]
fn the_service_clock_goes_on_where_it_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server = server();
    runtime().block_on(async {
        let daemon = Daemon::start(&file, server, TIMEOUT).await;
        daemon.add_user(&hash().await).await;
        daemon.add_host("pc", Some(3600)).await;
        let codes = daemon.update(&[name("pc")], Change::Set(both(1))).await;
        assert_eq!(codes, [ReturnCode::Good]);
        // as if the daemon ran for a year without an update
        store_a_year(&file).await;
    });
    runtime().block_on(async {
        let daemon = Daemon::start(&file, server, TIMEOUT).await;
        daemon.run_timers();
        let start = Instant::now();
        while has_address(&daemon).await {
            assert!(start.elapsed() < LONG, "it does not expire");
            sleep(Duration::from_millis(20)).await;
        }
    });
}
