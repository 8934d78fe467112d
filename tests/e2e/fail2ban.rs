//! The shipped fail2ban filter finds the addresses of refused logins in every log target, and no
//! user name can have another address banned.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{ask, lines};
use ddnsd_tests::process::{program, run};
use ddnsd_tests::setup::{Setup, source};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Percent-escaped names that try to have 9.9.9.9 banned, or to hide their own address.
const HOSTILE: [&str; 10] = [
    "plain",
    "x%22+client=9.9.9.9",
    "x%22+client=9.9.9.9+%22",
    "x%5C%22+client=9.9.9.9+%5C",
    "client=9.9.9.9",
    "%5C",
    "x%0A2026-11-24T10:00:00.000%2B00:00+WARN++auth+failed+user=%22x%22+client=9.9.9.9",
    "x%0D%0ANov+24+10:00:00+h+ddnsd[1]:+auth+failed+user=%22%22+client=9.9.9.9",
    "x%E2%80%A8%1B%5B2K%00auth+failed+client=9.9.9.9",
    "%FF%22+client=9.9.9.9",
];

/// What `fail2ban-regex` finds in a log by the shipped filter, in order.
#[track_caller]
fn found(log: &Path) -> Vec<String> {
    let mut regex = Command::new(program("fail2ban-regex"));
    regex.args(["-o", "ip"]).arg(log).arg(source("files/fail2ban/filter.d/ddnsd.conf"));
    run(&mut regex, "").ok().stdout.lines().map(str::to_owned).collect()
}

/// A daemon that logs at DEBUG and takes the client's address from a header.
fn scene(configure: impl FnOnce(Setup) -> Setup) -> Scene {
    Scene::with(|setup| {
        configure(setup)
            .set("daemon.log_requests", true)
            .set("daemon.log_level", "DEBUG")
            .set("daemon.proxy_header", "X-Real-IP")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    })
}

/// Logs in with each hostile name from an address of its own, with hostile values in all fields
/// that a client chooses. Returns the addresses.
fn attack(scene: &Scene) -> Vec<String> {
    let forged = r#"WARN  auth failed user="x" client=9.9.9.9"#;
    let agent = format!("User-Agent: {forged}");
    let server = scene.daemon.address();
    let mut clients = Vec::new();
    for (number, name) in HOSTILE.iter().enumerate() {
        let client = if number % 2 == 0 {
            format!("192.0.2.{number}")
        } else {
            format!("2001:db8::{number}")
        };
        let headers = [agent.clone(), format!("X-Real-IP: {client}")];
        let headers = headers.each_ref().map(String::as_str);
        let wrong =
            format!("GET /update?user={name}&pass=x&hostname=auth+failed&myip=client=9.9.9.9");
        ask(server, lines(&wrong, &headers, "")).is(401, "badauth\n");
        // neither a path nor a request without credentials is a refused login
        ask(server, lines("GET /auth%20failed%20client=9.9.9.9", &headers, "")).has_status(404);
        ask(server, lines("GET /update?hostname=x", &headers, "")).has_status(401);
        clients.push(client);
    }
    let query = "hostname=client=9.9.9.9,pc.dyn.example&myip=9.9.9.9,client=9.9.9.9";
    let right = scene.daemon.get(&format!("/update?{query}")).user("alice", PASSWORD);
    right.header(&agent).send().has_status(200);
    clients
}

#[test]
fn only_addresses_of_refused_logins_are_found_in_the_log_file() {
    let scene = scene(|setup| {
        // the harness reads this file and waits for the line `ready`
        let log = setup.file("log").to_str().unwrap().to_owned();
        setup.set("daemon.log_target", "file").set("daemon.log_file", log)
    });
    let clients = attack(&scene);
    let log = scene.daemon.log();
    assert_eq!(found(&scene.daemon.setup().file("log")), clients, "{log}");
}

#[test]
fn refused_logins_are_found_on_standard_output() {
    let scene = scene(|setup| setup);
    let clients = attack(&scene);
    let log = scene.daemon.log();
    assert_eq!(found(&scene.daemon.setup().file("log")), clients, "{log}");
}

/// Writes the datagrams of a syslog socket to the harness's log, one per line.
fn syslogd(socket: &UnixDatagram, log: &Path) {
    let mut log = File::options().create(true).append(true).open(log).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length) = socket.recv(&mut buffer) {
        log.write_all(&[&buffer[..length], b"\n"].concat()).unwrap();
    }
}

#[test]
fn refused_logins_are_found_as_syslog_and_the_journal_write_them() {
    let scene = scene(|setup| {
        let path = setup.file("syslog");
        let log = setup.file("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::thread::spawn(move || syslogd(&socket, &log));
        setup.set("daemon.log_target", "syslog").set("daemon.syslog_socket", path.to_str().unwrap())
    });
    let clients = attack(&scene);
    let log = eventually(Duration::from_secs(10), "a message of each refused login", || {
        let log = scene.daemon.log();
        // priority 28: a warning of a daemon
        let is_refusal = |line: &&str| line.starts_with("<28>") && line.contains("auth failed");
        let refused = log.lines().filter(is_refusal).count();
        if refused == clients.len() { Ok(log) } else { Err(log) }
    });
    // "<28>Nov 24 10:00:00 ddnsd[77]: text"; daemons write it with a time and host of their own
    let texts: Vec<_> = log.lines().map(|line| line.split_once(" ddnsd[").unwrap().1).collect();
    for stamp in ["Nov 24 10:00:00", "2026-11-24T10:00:00.123456+01:00"] {
        let file = scene.daemon.setup().file("messages");
        let lines = texts.iter().map(|text| format!("{stamp} host ddnsd[{text}\n"));
        std::fs::write(&file, lines.collect::<String>()).unwrap();
        assert_eq!(found(&file), clients, "with {stamp}: {log}");
    }
}

#[test]
fn the_shipped_jail_is_read_by_fail2ban() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("fail2ban");
    run(Command::new("cp").args(["-r", "/etc/fail2ban"]).arg(&etc), "").ok();
    for file in ["filter.d/ddnsd.conf", "jail.d/ddnsd.conf"] {
        std::fs::copy(source("files/fail2ban").join(file), etc.join(file)).unwrap();
    }
    let mut client = Command::new(program("fail2ban-client"));
    let dump = run(client.arg("-c").arg(&etc).arg("-d"), "").ok();
    for part in [
        "['add', 'ddnsd', 'systemd']",
        "['set', 'ddnsd', 'maxretry', 10]",
        "'_SYSTEMD_UNIT=ddnsd.service'",
        "auth failed user=",
    ] {
        assert!(dump.stdout.contains(part), "no {part} in {dump}");
    }
}
