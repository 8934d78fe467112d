//! A name server and ddnsd with many hosts, as the scenarios need them. Hosts are put into the
//! database itself, as published; the name server learns of them with their first change.

use crate::load::Server;
use crate::request::{Hosts, first_address};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::primary::{Primary, ZONE};
use ddnsd_tests::process::{program, run_within};
use ddnsd_tests::setup::Setup;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

/// Hosts that one run of `sqlite3` adds.
const CHUNK: u32 = 100_000;

/// Starts ddnsd with these hosts.
pub(crate) fn start(
    primary: &dyn Primary,
    hosts: Hosts,
    configure: impl FnOnce(Setup) -> Setup,
) -> Daemon {
    let setup = Setup::new(primary).on_sqlite();
    // nothing is checked but what is changed: the name server has none of these hosts at first
    let setup = configure(setup.set("dns_service.verify_interval", 0));
    let mut daemon = setup.start();
    daemon.ctl().add_user_with("u0", PASSWORD).ok();
    assert!(daemon.terminate().success(), "a graceful stop");
    fill(daemon.setup(), hosts);
    daemon.start_again();
    daemon
}

/// The port of plain HTTP.
pub(crate) fn server(daemon: &Daemon) -> Server {
    let port = daemon.url().rsplit(':').next().and_then(|port| port.parse().ok());
    Server { port: port.expect("a port"), tls: None }
}

fn fill(setup: &Setup, Hosts { hosts, users }: Hosts) {
    sql(
        setup,
        &format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {users})
             INSERT INTO users (name, email, password_hash, created_at, changed_at)
             SELECT 'u' || i, email, password_hash, created_at, changed_at
             FROM n, users WHERE name = 'u0' AND {users} > 1;"
        ),
    );
    for from in (0..hosts).step_by(CHUNK as usize) {
        let to = hosts.min(from + CHUNK);
        let first = u32::from(first_address(0));
        sql(
            setup,
            &format!(
                "PRAGMA synchronous = OFF;
                 WITH RECURSIVE n (i, a) AS (SELECT {from}, {first} + {from}
                     UNION ALL SELECT i + 1, a + 1 FROM n WHERE i + 1 < {to}),
                 r (i, ip) AS (SELECT i, (a >> 24) || '.' || (a >> 16 & 255) || '.' ||
                     (a >> 8 & 255) || '.' || (a & 255) FROM n)
                 INSERT INTO hosts (user_id, label, zone, fqdn, state4, ipv4, acked_ipv4, acked_ttl,
                     created_at, changed_at)
                 SELECT u.id, 'h' || i, '{ZONE}', 'h' || i || '.{ZONE}', 1, ip, ip, 60, 0, 0
                 FROM r JOIN users u ON u.name = 'u' || (i % {users});"
            ),
        );
    }
}

/// As [`fill`] for a MariaDB, which keeps nothing of it in the memory of a running ddnsd.
pub(crate) fn rows_for_mariadb(Hosts { hosts, users }: Hosts) -> String {
    let mut text = String::new();
    for user in 1..users {
        let columns = "email, password_hash, created_at, changed_at";
        let from = format!("SELECT 'u{user}', {columns} FROM users WHERE name = 'u0'");
        writeln!(text, "INSERT INTO users (name, {columns}) {from};").expect("text");
    }
    for host in 0..hosts {
        let (user, ip) = (host % users, first_address(host));
        let row = format!("'h{host}', '{ZONE}', 'h{host}.{ZONE}', 1, '{ip}', '{ip}', 60, 0, 0");
        writeln!(
            text,
            "INSERT INTO hosts (user_id, label, zone, fqdn, state4, ipv4, acked_ipv4, acked_ttl,
                 created_at, changed_at)
             SELECT id, {row} FROM users WHERE name = 'u{user}';"
        )
        .expect("text");
    }
    format!("BEGIN;\n{text}COMMIT;\n")
}

/// Runs statements in the database of a stopped ddnsd.
pub(crate) fn sql(setup: &Setup, statements: &str) {
    let mut sqlite = Command::new(program("sqlite3"));
    sqlite.arg("-bail").arg(setup.sqlite_file());
    run_within(Duration::from_secs(120), &mut sqlite, statements).ok();
}
