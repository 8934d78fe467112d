//! Name servers that acknowledge and do not serve: each ends as `unserved` or is repaired. And what
//! must not be taken for that.

use crate::Scene;
use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::{Named, NamedStatements, ZONE};
use ddnsd_tests::powerdns::PowerDns;
use ddnsd_tests::primary::Primary;
use ddnsd_tests::setup::Setup;
use ddnsd_tests::update::answer_to;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A difference is confirmed, repaired and confirmed again, 15 s each, on a busy machine.
const UNSERVED: Duration = Duration::from_secs(120);
/// A difference is confirmed after 15 s.
const REPAIRED: Duration = Duration::from_secs(60);
/// What a cache may answer lasts for 90 s.
const CACHED: Duration = Duration::from_secs(180);
const PC: &str = "hostname=pc.dyn.example&myip=192.0.2.1";

/// A daemon for a server, with alice and `pc.dyn.example`.
fn daemon(server: &dyn Primary, configure: impl FnOnce(Setup) -> Setup) -> Daemon {
    let daemon = configure(Daemon::builder(server)).start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon
}

/// Every host each second.
fn often(setup: Setup) -> Setup {
    setup.set("dns_service.verify_interval", 1)
}

fn state(ctl: &Ctl, label: &str) -> String {
    let shown = ctl.json(&["hostname", "show", label, ZONE]);
    shown["state"].as_str().expect("a state").to_owned()
}

fn reason(ctl: &Ctl, label: &str) -> String {
    let shown = ctl.json(&["hostname", "show", label, ZONE]);
    shown["unserved"].as_str().unwrap_or_default().to_owned()
}

fn counter(ctl: &Ctl, name: &str) -> u64 {
    ctl.json(&["status"])["counters"][name].as_u64().expect("a counter")
}

#[track_caller]
fn becomes(ctl: &Ctl, label: &str, expected: &str, within: Duration) {
    eventually_equals(within, "the host's state", &expected.to_owned(), || state(ctl, label));
}

/// Until a check of this host's change has come, and found nothing.
#[track_caller]
fn is_checked(ctl: &Ctl, checks: u64) {
    eventually(REPAIRED, "a check", || {
        let hosts = counter(ctl, "checks.hosts");
        if hosts >= checks { Ok(()) } else { Err(format!("{hosts} hosts checked")) }
    });
}

#[test]
fn a_policy_that_drops_updates_makes_the_host_unserved_until_it_lets_them_through() {
    let server = PowerDns::with_policy();
    let daemon = daemon(&server, |setup| setup);
    let ctl = daemon.ctl();
    server.shut(true);
    daemon.update("alice", PC).is(200, "good 192.0.2.1\n");
    daemon.update("alice", PC).is(200, "nochg 192.0.2.1\n");
    becomes(&ctl, "pc", "unserved", UNSERVED);
    let why = reason(&ctl, "pc");
    assert!(why.contains("A 192.0.2.1 and answers NXDOMAIN (does a policy"), "{why}");
    let log = daemon.log();
    let warnings = log.lines().filter(|line| line.contains("not served") && line.contains("WARN"));
    assert_eq!(warnings.count(), 1, "{log}");
    ctl.run(&["status", "--check"]).exits(1).prints(&["1 host is unserved in zone dyn.example"]);
    assert_eq!(counter(&ctl, "checks.repaired"), 1);
    assert!(ctl.run(&["hostname", "list"]).output().contains("unserved"));
    let repaired = ctl.run(&["sync"]).exits(1);
    repaired.prints(&["not yet repaired: the name server acknowledged it, and does not hold it"]);

    daemon.update("alice", PC).is(503, "dnserr\n");
    daemon.update("alice", PC).is(503, "dnserr\n");
    server.shut(false);
    // it is published, and no check has found it yet
    daemon.update("alice", PC).is(503, "dnserr\n");
    assert_eq!(server.data("pc.dyn.example", "A"), ["192.0.2.1"]);
    becomes(&ctl, "pc", "published", REPAIRED);
    daemon.update("alice", PC).is(200, "nochg 192.0.2.1\n");
    ctl.run(&["status", "--check"]).ok();
}

#[test]
fn a_policy_that_keeps_records_makes_removals_unserved_and_deletes_nothing() {
    let server = PowerDns::with_policy();
    let daemon = daemon(&server, |setup| setup.set("dns_service.cleanup_interval", 1));
    let ctl = daemon.ctl();
    ctl.add_host("alice", "nas", ZONE, &[]);
    ctl.add_host("alice", "brief", ZONE, &["--expiry-ttl", "3"]);
    daemon.update("alice", PC).is(200, "good 192.0.2.1\n");
    let both = "hostname=nas.dyn.example,brief.dyn.example&myip=192.0.2.2";
    daemon.update("alice", both).is(200, "good 192.0.2.2\ngood 192.0.2.2\n");
    server.shut(true);
    daemon.update("alice", "hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    let refused = ctl.run(&["hostname", "delete", "nas", ZONE]).exits(1);
    refused.prints(&["acknowledged it, but still holds them"]);
    assert_eq!(server.data("nas.dyn.example", "A"), ["192.0.2.2"]);
    becomes(&ctl, "pc", "unserved", UNSERVED);
    becomes(&ctl, "brief", "unserved", UNSERVED);
    let why = reason(&ctl, "pc");
    assert!(why.contains("it should hold no A record and answers A 192.0.2.1"), "{why}");
    // of an unserved host, too, whose removal was acknowledged before
    ctl.run(&["hostname", "delete", "pc", ZONE]).exits(1);
    let forced = ctl.run(&["hostname", "delete", "pc", ZONE, "--force"]).ok();
    assert!(forced.output().contains("deleted pc"), "{forced}");
    server.shut(false);
    ctl.run(&["sync"]).ok().prints(&["brief.dyn.example", "repaired"]);
    becomes(&ctl, "brief", "expired", UNSERVED);
    assert_eq!(server.data("brief.dyn.example", "A"), Vec::<String>::new());
    ctl.run(&["hostname", "delete", "nas", ZONE]).ok();
}

#[test]
fn a_view_that_the_key_does_not_choose_is_neither_compared_nor_repaired() {
    let zone = |file: &str, more: &str| {
        format!(r#"zone "{ZONE}" {{ type primary; file "{file}"; {more} }};"#)
    };
    let writable = zone("dyn.example.zone", "update-policy { grant ddns-key zonesub ANY; };");
    let other = zone("first.zone", "");
    let zones = format!(
        "view inner {{ match-clients {{ key ddns-key; }}; {writable} }};\n\
         view outer {{ match-clients {{ any; }}; {other} }};\n"
    );
    let statements = NamedStatements { options: String::new(), zones, key_file: None };
    let server = Named::with_statements(statements);
    let daemon = daemon(&server, often);
    let ctl = daemon.ctl();
    daemon.update("alice", PC).is(200, "good 192.0.2.1\n");
    assert_eq!(server.data("pc.dyn.example", "A"), Vec::<String>::new(), "it is another view");
    for _ in 0..2 {
        ctl.run(&["sync"]).ok().prints(&["1 compared, 0 differ"]);
    }
    eventually(REPAIRED, "a query", || match counter(&ctl, "checks.queries") {
        0 => Err("none yet".to_owned()),
        _ => Ok(()),
    });
    assert_eq!((state(&ctl, "pc"), counter(&ctl, "checks.differed")), ("published".into(), 0));
}

#[test]
fn a_server_that_answers_queries_for_the_key_only_can_be_compared() {
    let zones = format!(
        r#"zone "{ZONE}" {{ type primary; file "{ZONE}.zone"; update-policy {{ grant ddns-key zonesub ANY; }}; }};"#
    );
    let options = "allow-query { key ddns-key; };".to_owned();
    let server = Named::with_statements(NamedStatements { options, zones, key_file: None });
    let daemon = daemon(&server, |setup| setup);
    let ctl = daemon.ctl();
    daemon.update("alice", PC).is(200, "good 192.0.2.1\n");
    ctl.run(&["sync"]).ok().prints(&["1 compared, 0 differ"]);
    server.nsupdate("update delete pc.dyn.example. A\nupdate add pc.dyn.example. 60 A 192.0.2.9");
    ctl.run(&["sync"]).ok().prints(&["192.0.2.9", "repaired"]);
    ctl.run(&["sync"]).ok().prints(&["1 compared, 0 differ"]);
}

#[test]
fn records_that_are_deleted_or_changed_behind_our_back_come_back() {
    let scene = Scene::with(often);
    scene.add_hosts(&["nas"]);
    scene.update(PC).is(200, "good 192.0.2.1\n");
    scene.update("hostname=nas.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    scene.named.nsupdate(
        "update delete pc.dyn.example.\nupdate delete nas.dyn.example. A\n\
         update add nas.dyn.example. 60 A 192.0.2.99",
    );
    eventually_equals(
        REPAIRED,
        "both records",
        &(vec!["192.0.2.1".to_owned()], vec!["192.0.2.2".to_owned()]),
        || (scene.a("pc"), scene.a("nas")),
    );
    scene.ctl().run(&["status", "--check"]).ok();
    // the line follows the record
    eventually_equals(REPAIRED, "a line for each", &2, || {
        scene.daemon.log().matches("published again").count()
    });
}

#[test]
fn what_a_server_lost_while_it_was_away_comes_back_without_waiting_for_the_round() {
    let mut scene = Scene::with(|setup| {
        setup.set("dns_service.verify_interval", 86_400).set("dns_service.dns_timeout", 1)
    });
    scene.update(PC).is(200, "good 192.0.2.1\n");
    // the first round has passed
    is_checked(&scene.ctl(), 2);
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").is(503, "dnserr\n");
    scene.add_hosts(&["nas"]);
    scene.named.restore_first_files();
    scene.named.start_again();
    eventually_equals(REPAIRED, "the record", &vec!["192.0.2.1".to_owned()], || scene.a("pc"));
}

#[test]
fn another_writer_of_the_name_is_named_after_three_repairs() {
    let scene = Scene::with(often);
    let ctl = scene.ctl();
    scene.update(PC).is(200, "good 192.0.2.1\n");
    // a change that no check has seen in place would look as if the server had dropped it
    let mut in_place_at = None;
    eventually(Duration::from_secs(300), "the host to be unserved", || {
        if scene.a("pc") == ["192.0.2.1"] {
            let checks = counter(&ctl, "checks.hosts");
            if checks >= *in_place_at.get_or_insert(checks) + 2 {
                in_place_at = None;
                scene.named.nsupdate(
                    "update delete pc.dyn.example. A\nupdate add pc.dyn.example. 60 A 192.0.2.66",
                );
            }
        }
        match state(&ctl, "pc").as_str() {
            "unserved" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let why = reason(&ctl, "pc");
    assert!(why.contains("something else writes this name") && why.contains("192.0.2.66"), "{why}");
    assert_eq!(counter(&ctl, "checks.repaired"), 3);
    // its next update is published again
    scene.update(PC).is(503, "dnserr\n");
    becomes(&ctl, "pc", "published", REPAIRED);
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
}

#[test]
fn a_delegation_or_a_dname_that_hides_a_host_makes_it_unserved() {
    let scene = Scene::without_hosts(|setup| setup);
    let ctl = scene.ctl();
    ctl.add_user("alice");
    scene.named.nsupdate(
        "update add lab.dyn.example. 300 NS ns.elsewhere.example.\n\
         update add old.dyn.example. 300 DNAME new.dyn.example.",
    );
    let added = ctl.run(&["hostname", "add", "alice", "pc.lab", ZONE]).ok();
    assert!(added.output().contains("there is NS records at lab.dyn.example"), "{added}");
    ctl.add_host("alice", "pc.old", ZONE, &[]);
    let reply = scene.update("hostname=pc.lab.dyn.example,pc.old.dyn.example&myip=192.0.2.1");
    for (label, line) in ["pc.lab", "pc.old"].iter().zip(reply.body.lines()) {
        // what is refused at once needs no check
        if line.starts_with("good") {
            becomes(&ctl, label, "unserved", CACHED);
            let why = reason(&ctl, label);
            assert!(why.contains("clients do not find them"), "{why}");
        } else {
            assert_eq!(line, "dnserr");
        }
    }
    assert!(reply.body.contains("good"), "{reply}");
}

#[test]
fn a_host_under_a_name_with_records_is_added_with_a_warning() {
    let scene = Scene::new();
    scene.named.nsupdate(
        "update add www.dyn.example. 300 A 192.0.2.7\nupdate add www.dyn.example. 300 A 192.0.2.8",
    );
    let ctl = scene.ctl();
    let added = ctl.run(&["hostname", "add", "alice", "www", ZONE]).ok();
    let warning = "www.dyn.example has A 192.0.2.7 192.0.2.8 already";
    assert!(added.output().contains(warning), "{added}");
    let server = ctl.run(&["hostname", "add", "alice", "ns", ZONE]).ok();
    assert!(server.output().contains("ns.dyn.example has A 127.0.0.1 already"), "{server}");
    let free = ctl.run(&["hostname", "add", "alice", "tv", ZONE]).ok();
    assert!(!free.output().contains("warning"), "{free}");
}

#[test]
fn a_wildcard_above_a_removed_name_is_not_taken_for_its_record() {
    let scene = Scene::with(often);
    let ctl = scene.ctl();
    scene.named.nsupdate("update add *.dyn.example. 300 A 192.0.2.250");
    scene.update(PC).is(200, "good 192.0.2.1\n");
    scene.update("hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    is_checked(&ctl, counter(&ctl, "checks.hosts") + 3);
    assert_eq!((state(&ctl, "pc"), counter(&ctl, "checks.differed")), ("absent".into(), 0));
    ctl.run(&["sync"]).ok().prints(&["1 compared, 0 differ"]);
    ctl.run(&["hostname", "delete", "pc", ZONE]).ok();
}

#[test]
fn a_secondary_that_forwards_updates_and_shows_them_later_is_not_called_wrong() {
    let primary = Named::start();
    let zones = format!(
        r#"zone "{ZONE}" {{ type secondary; file "secondary.zone"; max-refresh-time 5;
             masters {{ 127.0.0.1 port {}; }}; allow-update-forwarding {{ any; }}; }};"#,
        primary.port()
    );
    let key_file = Some(primary.key_file());
    let statements = NamedStatements { options: String::new(), zones, key_file };
    let secondary = Named::with_statements(statements);
    let daemon = daemon(&secondary, often);
    let ctl = daemon.ctl();
    eventually(REPAIRED, "the update to be forwarded", || {
        let reply = daemon.update("alice", PC);
        if reply.body.starts_with("good") { Ok(()) } else { Err(reply.body) }
    });
    is_checked(&ctl, counter(&ctl, "checks.hosts") + 3);
    eventually_equals(CACHED, "the record", &vec!["192.0.2.1".to_owned()], || {
        secondary.data("pc.dyn.example", "A")
    });
    assert_eq!((state(&ctl, "pc"), counter(&ctl, "checks.differed")), ("published".into(), 0));
    assert_eq!(counter(&ctl, "checks.unserved"), 0);
}

#[test]
fn an_answer_that_powerdns_has_cached_is_not_called_wrong() {
    let server = PowerDns::with_caches();
    let daemon = daemon(&server, |setup| setup);
    let ctl = daemon.ctl();
    assert_eq!(server.data("pc.dyn.example", "A"), Vec::<String>::new(), "it caches that");
    daemon.update("alice", PC).is(200, "good 192.0.2.1\n");
    eventually(CACHED, "what is cached to be gone", || {
        let asked = counter(&ctl, "checks.queries");
        let found = server.data("pc.dyn.example", "A");
        if asked >= 1 && found == ["192.0.2.1"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert_eq!(counter(&ctl, "checks.unserved"), 0);
    assert_eq!(state(&ctl, "pc"), "published");
}

#[test]
fn a_limit_of_the_zones_ttls_is_logged_once_and_never_unserved() {
    let zones = format!(
        r#"zone "{ZONE}" {{ type primary; file "{ZONE}.zone"; max-zone-ttl 300; update-policy {{ grant ddns-key zonesub ANY; }}; }};"#
    );
    let statements = NamedStatements { options: String::new(), zones, key_file: None };
    let server = Named::with_statements(statements);
    let daemon = daemon(&server, |setup| setup.set("defaults.dns_ttl", 3600));
    let ctl = daemon.ctl();
    ctl.add_host("alice", "nas", ZONE, &[]);
    let both = "hostname=pc.dyn.example,nas.dyn.example&myip=192.0.2.1";
    daemon.update("alice", both).is(200, "good 192.0.2.1\ngood 192.0.2.1\n");
    for label in ["pc", "nas"] {
        eventually_equals(CACHED, "the TTL to be shown", &Some(300), || {
            ctl.json(&["hostname", "show", label, ZONE])["served_ttl"].as_u64()
        });
        assert_eq!(state(&ctl, label), "published");
    }
    let log = daemon.log();
    assert_eq!(log.matches("with a TTL of 300 s instead of 3600 s").count(), 1, "{log}");
    ctl.run(&["sync", "--check"]).ok();
}

/// A server that answers updates, and drops queries. Counts the queries.
fn answers_updates_only() -> (u16, Arc<AtomicU64>) {
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        // the port may be in use for UDP
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            break (tcp, udp);
        }
    };
    let port = tcp.local_addr().unwrap().port();
    let queries = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            if let Some(answer) = answered(&buffer[..length]) {
                let _ = udp.send_to(&answer, from);
            }
        }
    });
    let counted = Arc::clone(&queries);
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let (stream, counted) = (stream.unwrap(), Arc::clone(&counted));
            std::thread::spawn(move || serve(stream, &counted));
        }
    });
    (port, queries)
}

/// The opcode of an update is 5.
fn answered(message: &[u8]) -> Option<Vec<u8>> {
    (message[2] >> 3 == 5).then(|| answer_to(message, 0))
}

fn serve(mut stream: TcpStream, queries: &AtomicU64) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        match answered(&message) {
            None => drop(queries.fetch_add(1, Ordering::Relaxed)),
            Some(answer) => {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, answer.as_slice()].concat())?;
            }
        }
    }
}

#[test]
fn a_server_that_drops_queries_is_logged_once_and_updates_are_not_hindered() {
    let bind = Named::start();
    let (port, queries) = answers_updates_only();
    let daemon = daemon(&bind, |setup| {
        let setup = setup.without("dns_service.ddns_default_key_file");
        setup.set("dns_service.dns_port", i64::from(port)).set("dns_service.dns_timeout", 1)
    });
    let ctl = daemon.ctl();
    eventually(REPAIRED, "queries to be dropped several times", || {
        let number = queries.load(Ordering::Relaxed);
        let start = Instant::now();
        let query = format!("hostname=pc.dyn.example&myip=192.0.2.{}", 1 + number % 200);
        let reply = daemon.update("alice", &query);
        assert_eq!(reply.status, 200, "{reply}");
        assert!(start.elapsed() < Duration::from_millis(900), "it waited for a query");
        let log = daemon.log();
        if log.contains("cannot ask what clients find") { Ok(()) } else { Err(log) }
    });
    for last in 1..=50 {
        let query = format!("hostname=pc.dyn.example&myip=198.51.100.{last}");
        daemon.update("alice", &query).is(200, &format!("good 198.51.100.{last}\n"));
    }
    is_checked(&ctl, counter(&ctl, "checks.hosts") + 1);
    let log = daemon.log();
    assert_eq!(log.matches("cannot ask what clients find").count(), 1, "{log}");
    assert_eq!((state(&ctl, "pc"), counter(&ctl, "dns.unanswered")), ("published".into(), 0));
}
