//! The whole job against each of BIND, Knot and PowerDNS, signed with TSIG, and without a key.

use crate::RECOVERY;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::faketime::library;
use ddnsd_tests::http::quick_get_by;
use ddnsd_tests::knot::Knot;
use ddnsd_tests::named::{Named, write_private};
use ddnsd_tests::powerdns::PowerDns;
use ddnsd_tests::primary::{OPEN, Primary, ZONE};
use ddnsd_tests::setup::Setup;
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::time::Duration;

/// Hosts that come at once; as many as a message holds.
const MANY: usize = 200;

/// Which program a test runs on, and how it refuses.
struct Kind {
    start: fn() -> Box<dyn Primary>,
    /// To a key of the right name with another secret.
    wrong_secret: &'static str,
    /// To a signature of ten minutes ahead.
    wrong_clock: &'static str,
    /// To a zone that it does not have.
    wrong_zone: &'static str,
    /// To an unsigned update where it wants a key.
    unsigned: &'static str,
    /// To a name that the key may not change; `None` where there are no such policies.
    denied: Option<&'static str>,
}

const BIND: Kind = Kind {
    start: || Box::new(Named::start()),
    wrong_secret: "NOTAUTH/BADSIG",
    wrong_clock: "NOTAUTH/BADTIME (the clocks differ by more than 300 s; the server's shows 20",
    wrong_zone: "NOTAUTH (",
    unsigned: "REFUSED (",
    denied: Some("REFUSED ("),
};
const KNOT: Kind = Kind {
    start: || Box::new(Knot::start()),
    wrong_secret: "NOTAUTH/BADSIG",
    wrong_clock: "NOTAUTH/BADTIME (the clocks differ by more than 300 s; the server's shows 20",
    wrong_zone: "NOTAUTH (",
    unsigned: "NOTAUTH (",
    denied: Some("NOTAUTH/BADKEY ("),
};
const POWERDNS: Kind = Kind {
    start: || Box::new(PowerDns::start()),
    wrong_secret: "REFUSED (",
    wrong_clock: "REFUSED (",
    wrong_zone: "NOTAUTH (",
    unsigned: "REFUSED (",
    denied: None,
};

/// Runs each of these functions on each of the three.
macro_rules! on_every_server {
    ($($test:ident),* $(,)?) => {
        mod bind {
            $(#[test] fn $test() { super::$test(&super::BIND); })*
        }
        mod knot {
            $(#[test] fn $test() { super::$test(&super::KNOT); })*
        }
        mod powerdns {
            $(#[test] fn $test() { super::$test(&super::POWERDNS); })*
        }
    };
}

on_every_server!(
    records_are_added_changed_expired_restored_and_deleted,
    two_hundred_hosts_at_once_go_in_few_messages,
    a_cname_and_a_forbidden_name_among_many_fail_alone,
    a_wrong_key_and_a_wrong_zone_are_reported_and_change_nothing,
    clocks_that_differ_are_reported_and_change_nothing,
    without_a_key_updates_go_unsigned_where_that_is_allowed,
    what_a_dead_server_missed_is_there_when_it_is_back,
    every_answer_to_an_unsigned_update_names_the_zone,
);

/// A server, a daemon that updates it, and alice.
struct Place {
    server: Box<dyn Primary>,
    daemon: Daemon,
}

impl Place {
    #[track_caller]
    fn new(kind: &Kind, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let server = (kind.start)();
        let setup = Daemon::builder(&*server)
            .set("dns_service.cleanup_interval", 3600)
            // the default: an update that follows another may be answered a second late by Knot
            .set("dns_service.dns_timeout", 5);
        let daemon = configure(setup).start();
        daemon.ctl().add_user("alice");
        Self { server, daemon }
    }

    /// Adds hosts of alice, by one import.
    #[track_caller]
    fn add_hosts(&self, labels: &[String]) {
        let mut lines = String::new();
        for label in labels {
            let line = serde_json::json!({"hostname": label, "zone": ZONE, "user": "alice"});
            writeln!(lines, "{line}").unwrap();
        }
        self.daemon.ctl().run_with_input(&["import", "-"], &lines).ok();
    }

    /// Why the host is not published.
    fn error(&self, label: &str, zone: &str) -> String {
        let shown = self.daemon.ctl().json(&["hostname", "show", label, zone]);
        shown["last_error"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn good(&self, query: &str, addresses: &str) {
        self.daemon.update("alice", query).is(200, &format!("good {addresses}\n"));
    }

    /// The A and AAAA records of a name.
    #[track_caller]
    fn records(&self, name: &str) -> [Vec<(u32, String)>; 2] {
        ["A", "AAAA"].map(|kind| self.server.lookup(name, kind))
    }

    /// `ddnsctl status`'s number of this name.
    #[track_caller]
    fn counter(&self, name: &str) -> u64 {
        let status = self.daemon.ctl().json(&["status"]);
        status["counters"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    #[track_caller]
    fn in_step(&self) {
        self.daemon.ctl().run(&["sync", "--check"]).ok();
    }
}

fn one(address: &str) -> Vec<(u32, String)> {
    vec![(60, address.to_owned())]
}

fn records_are_added_changed_expired_restored_and_deleted(kind: &Kind) {
    let place = Place::new(kind, |setup| setup);
    let ctl = place.daemon.ctl();
    ctl.add_host("alice", "pc", ZONE, &[]);
    ctl.add_host("alice", "@", ZONE, &["--dns-ttl", "77"]);
    ctl.add_host("alice", "brief", ZONE, &["--expiry-ttl", "1"]);
    let pc = "hostname=pc.dyn.example&myip=";

    place.good(&format!("{pc}192.0.2.1"), "192.0.2.1");
    assert_eq!(place.records("pc.dyn.example"), [one("192.0.2.1"), vec![]]);
    place.good(&format!("{pc}192.0.2.2"), "192.0.2.2");
    place.good(&format!("{pc}2001:db8::1"), "2001:db8::1");
    assert_eq!(place.records("pc.dyn.example"), [one("192.0.2.2"), one("2001:db8::1")]);
    place.daemon.update("alice", &format!("{pc}192.0.2.2")).is(200, "nochg 192.0.2.2\n");
    place.good("hostname=dyn.example&myip=192.0.2.3", "192.0.2.3");
    assert_eq!(place.records(ZONE), [vec![(77, "192.0.2.3".to_owned())], vec![]]);
    assert_eq!(place.server.data(ZONE, "NS"), ["ns.dyn.example."], "nothing else is touched");

    place.good("hostname=brief.dyn.example&myip=192.0.2.4,2001:db8::4", "192.0.2.4 2001:db8::4");
    eventually(Duration::from_secs(15), "the sweep to take the host down", || {
        let output = ctl.run(&["cleanup"]).output();
        if output.contains("brief.dyn.example") { Ok(()) } else { Err(output) }
    });
    assert_eq!(place.records("brief.dyn.example"), [vec![], vec![]]);
    place.good("hostname=brief.dyn.example&myip=192.0.2.4", "192.0.2.4");
    assert_eq!(place.records("brief.dyn.example"), [one("192.0.2.4"), vec![]]);

    ctl.run(&["hostname", "modify", "pc", ZONE, "--dns-ttl", "30"]).ok();
    assert_eq!(place.server.lookup("pc.dyn.example", "A"), [(30, "192.0.2.2".to_owned())]);
    place.in_step();
    ctl.run(&["hostname", "delete", "pc", ZONE]).ok();
    assert_eq!(place.records("pc.dyn.example"), [vec![], vec![]]);
    assert_eq!(place.counter("dns.unanswered"), 0);
}

/// Updates of all hosts at once; the replies.
#[track_caller]
fn all_at_once(place: &Place, labels: &[String], address: &str) -> Vec<String> {
    let server = place.daemon.address();
    std::thread::scope(|threads| {
        let updates: Vec<_> = labels
            .iter()
            .enumerate()
            .map(|(number, label)| {
                let path = format!("/update?hostname={label}.{ZONE}&myip={address}");
                threads.spawn(move || quick_get_by(number, server, &path, ("alice", PASSWORD)))
            })
            .collect();
        let replies = updates.into_iter().map(|update| update.join().unwrap());
        replies.map(|reply| reply.expect("a reply").body).collect()
    })
}

fn two_hundred_hosts_at_once_go_in_few_messages(kind: &Kind) {
    let place = Place::new(kind, |setup| setup);
    let labels: Vec<_> = (0..MANY).map(|host| format!("h{host}")).collect();
    place.add_hosts(&labels);
    // the password's verdict is cached from then on
    place.good("hostname=h0.dyn.example&myip=192.0.2.1", "192.0.2.1");
    let before = place.counter("dns.messages");
    let replies = all_at_once(&place, &labels, "192.0.2.2");
    assert!(replies.iter().all(|reply| reply == "good 192.0.2.2\n"), "{replies:?}");
    let messages = place.counter("dns.messages") - before;
    assert!(messages <= MANY as u64 / 2, "{messages} messages for {MANY} hosts");
    let names: Vec<_> = labels.iter().map(|label| format!("{label}.{ZONE}")).collect();
    let found = place.server.lookup_all(&names, "A");
    assert_eq!(found.len(), MANY);
    assert!(found.iter().all(|record| record.data == "192.0.2.2"), "{found:?}");
    place.in_step();
}

fn a_cname_and_a_forbidden_name_among_many_fail_alone(kind: &Kind) {
    let place = Place::new(kind, |setup| setup);
    let mut labels: Vec<_> = (0..16).map(|host| format!("h{host}")).collect();
    labels.insert(5, "alias".to_owned());
    labels.insert(11, "denied".to_owned());
    place.add_hosts(&labels);
    place.server.nsupdate("update add alias.dyn.example. 60 CNAME ns.dyn.example.");

    let names: Vec<_> = labels.iter().map(|label| format!("{label}.{ZONE}")).collect();
    let reply = place
        .daemon
        .update("alice", &format!("hostname={}&myip=192.0.2.1", names.join(",")))
        .has_status(200);
    let fails = |label: &str| label == "alias" || label == "denied" && kind.denied.is_some();
    for (label, line) in labels.iter().zip(reply.body.lines()) {
        let expected = if fails(label) { "dnserr" } else { "good 192.0.2.1" };
        assert_eq!(line, expected, "{label}: {reply}");
        let a = place.server.lookup(&format!("{label}.{ZONE}"), "A");
        let a: Vec<_> = a.into_iter().filter(|(_, address)| address == "192.0.2.1").collect();
        assert_eq!(a.is_empty(), fails(label), "{label}");
    }
    assert_eq!(place.server.data("alias.dyn.example", "CNAME"), ["ns.dyn.example."]);
    let why = |label: &str| place.error(label, ZONE);
    assert!(why("alias").contains("YXRRSET (a CNAME stands at the name"), "{}", why("alias"));
    assert!(kind.denied.is_none_or(|code| why("denied").contains(code)), "{}", why("denied"));

    // and it is published by itself once the alias is gone
    place.server.nsupdate("update delete alias.dyn.example. CNAME");
    eventually_equals(RECOVERY, "the record in the place of the alias", &one("192.0.2.1"), || {
        place.server.lookup("alias.dyn.example", "A")
    });
}

fn a_wrong_key_and_a_wrong_zone_are_reported_and_change_nothing(kind: &Kind) {
    let place = Place::new(kind, |setup| {
        let key = setup.file("wrong.key");
        let secret = "d3Jvbmcga2V5IHdyb25nIGtleQ==";
        let text = format!("key ddns-key {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
        write_private(&key, &text);
        let keys = toml::Table::from_iter([(ZONE.to_owned(), key.to_str().unwrap().into())]);
        setup.set("dns_service.zone_keys", keys)
    });
    let ctl = place.daemon.ctl();
    ctl.add_host("alice", "pc", ZONE, &[]);
    ctl.add_host("alice", "pc", "elsewhere.example", &[]);
    for (zone, code) in [(ZONE, kind.wrong_secret), ("elsewhere.example", kind.wrong_zone)] {
        let query = format!("hostname=pc.{zone}&myip=192.0.2.1");
        place.daemon.update("alice", &query).is(503, "dnserr\n");
        let shown = ctl.host(&format!("pc.{zone}"));
        assert!(!shown.published, "{shown:?}");
        let why = place.error("pc", zone);
        assert!(why.contains(code), "{zone}: no {code} in {why}");
    }
    let log = place.daemon.log();
    let of_first = |line: &str| line.contains("pc.dyn.example") && line.contains(kind.wrong_secret);
    assert!(log.lines().any(of_first), "{log}");
    assert_eq!(place.records("pc.dyn.example"), [vec![], vec![]]);
    let zones = ctl.json(&["status"])["zones"].clone();
    let zones = zones.as_array().unwrap();
    assert!(zones.iter().all(|zone| zone["down"] == false), "they answer: {zones:?}");
}

fn clocks_that_differ_are_reported_and_change_nothing(kind: &Kind) {
    let library = format!("LD_PRELOAD={}", library());
    let wrapper = ["env", &library, "FAKETIME=+10m", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let place = Place::new(kind, |setup| setup.wrapped_in(&wrapper));
    place.daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    place.daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    let log = place.daemon.log();
    assert!(log.contains(kind.wrong_clock), "{log}");
    assert_eq!(place.records("pc.dyn.example"), [vec![], vec![]]);
}

fn without_a_key_updates_go_unsigned_where_that_is_allowed(kind: &Kind) {
    let place = Place::new(kind, |setup| setup.without("dns_service.ddns_default_key_file"));
    let ctl = place.daemon.ctl();
    ctl.add_host("alice", "pc", OPEN, &[]);
    ctl.add_host("alice", "pc", ZONE, &[]);
    place.good("hostname=pc.open.example&myip=192.0.2.1", "192.0.2.1");
    assert_eq!(place.records("pc.open.example"), [one("192.0.2.1"), vec![]]);
    place.daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    assert_eq!(place.records("pc.dyn.example"), [vec![], vec![]]);
    let log = place.daemon.log();
    assert!(log.contains(kind.unsigned), "{log}");
}

fn what_a_dead_server_missed_is_there_when_it_is_back(kind: &Kind) {
    let mut place = Place::new(kind, |setup| setup);
    place.add_hosts(&["pc".to_owned(), "nas".to_owned()]);
    place.good("hostname=pc.dyn.example&myip=192.0.2.1", "192.0.2.1");
    place.server.stop();
    for address in ["192.0.2.2", "192.0.2.3"] {
        let query = format!("hostname=pc.dyn.example,nas.dyn.example&myip={address}");
        place.daemon.update("alice", &query).is(503, "dnserr\ndnserr\n");
    }
    place.server.start_again();
    for name in ["pc.dyn.example", "nas.dyn.example"] {
        eventually_equals(RECOVERY, "the latest address", &one("192.0.2.3"), || {
            place.server.lookup(name, "A")
        });
    }
    eventually_equals(RECOVERY, "all to be published", &true, || {
        place.daemon.ctl().hosts().iter().all(|host| host.published)
    });
    place.in_step();
}

/// A name as it is sent.
fn wire(name: &str) -> Vec<u8> {
    let labels = name
        .split('.')
        .flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes()));
    labels.chain([0]).collect()
}

/// Without a key only the id and the zone distinguish a response from a forged one: `ddnsd`
/// requires both.
fn every_answer_to_an_unsigned_update_names_the_zone(kind: &Kind) {
    let server = (kind.start)();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", server.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // class NONE: no A may stand there (RFC 2136, 2.4.3); ANY: they go (2.5.2)
    let (is_none, delete) = ([0, 1, 0, 254], [0, 1, 0, 255]);
    for (zone, label, record, rcode) in [
        (OPEN, "pc", delete, Some(0)),
        (OPEN, "ns", is_none, Some(7)),
        (ZONE, "pc", delete, None),
        ("nowhere.example", "pc", delete, Some(9)),
    ] {
        let (required, updated) = if record == is_none { (1, 0) } else { (0, 1) };
        let mut message = vec![0, 7, 0x28, 0, 0, 1, 0, required, 0, updated, 0, 0];
        message.extend([wire(zone), vec![0, 6, 0, 1]].concat());
        let zone_section = message[12..].to_vec();
        message.extend(wire(&format!("{label}.{zone}")));
        message.extend([&record[..], &[0; 6]].concat());
        socket.send(&message).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let answer = &answer[..length];
        if let Some(rcode) = rcode {
            assert_eq!(answer[3] & 15, rcode, "{zone}: {answer:?}");
        }
        assert_eq!(answer[..2], [0, 7]);
        assert_eq!(answer[4..6], [0, 1], "{zone}, {label}: {answer:?}");
        assert!(answer[12..].starts_with(&zone_section), "{zone}, {label}: {answer:?}");
    }
}

#[test]
fn every_tsig_algorithm_signs_and_verifies() {
    for algorithm in ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let named = Named::with(&[ZONE], algorithm);
        let daemon = Daemon::builder(&named).start();
        daemon.ctl().add_user("alice");
        daemon.ctl().add_host("alice", "pc", ZONE, &[]);
        daemon
            .update("alice", "hostname=pc.dyn.example&myip=192.0.2.1")
            .is(200, "good 192.0.2.1\n");
        assert_eq!(named.data("pc.dyn.example", "A"), ["192.0.2.1"], "{algorithm}");
    }
}
