//! The name server in ddnsd itself: what it answers, whom it lets transfer a zone, and that zones
//! survive restarts, kills and reloads. With `dig`, unbound as a resolver, BIND and Knot as
//! secondaries.

use ddnsd_tests::chance::Chance;
use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::Reply;
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::own_server::OwnServer;
use ddnsd_tests::primary::Primary;
use ddnsd_tests::secondary::{Secondary, SecondaryProgram};
use ddnsd_tests::setup::Setup;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Longest time until a secondary has a change.
const SECONDS: Duration = Duration::from_secs(10);

/// A daemon that serves its zones, and the user alice with the host `pc.dyn.example`.
struct Own {
    daemon: Daemon,
    server: OwnServer,
}

impl Own {
    #[track_caller]
    fn new() -> Self {
        Self::with(&[ZONE], |setup| setup)
    }

    #[track_caller]
    fn with(zones: &[&str], configure: impl FnOnce(Setup) -> Setup) -> Self {
        let server = OwnServer::of(zones);
        let daemon = configure(Daemon::builder(&server)).start();
        daemon.ctl().add_user("alice");
        daemon.ctl().add_host("alice", "pc", ZONE, &[]);
        Self { daemon, server }
    }

    fn ctl(&self) -> Ctl {
        self.daemon.ctl()
    }

    #[track_caller]
    fn update(&self, query: &str) -> Reply {
        self.daemon.update("alice", query)
    }

    /// What dig prints must contain each of these.
    #[track_caller]
    fn dig(&self, question: &[&str], parts: &[&str]) -> String {
        let answer = self.server.dig(question);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let answer = answer.lines().map(words).collect::<Vec<_>>().join("\n");
        for part in parts {
            assert!(
                answer.contains(part),
                "{part:?} is not in the answer to {question:?}:\n{answer}"
            );
        }
        answer
    }

    /// The addresses that a transfer shows.
    #[track_caller]
    fn transferred(&self) -> Vec<String> {
        let answer = self.server.dig(&["+onesoa", "+tcp", ZONE, "AXFR"]);
        let lines =
            answer.lines().filter(|line| line.contains("\tA\t") || line.contains("\tAAAA\t"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

//----- Answers -----

#[test]
fn an_update_is_in_the_next_answer_with_authority_and_in_the_case_of_the_question() {
    let own = Own::new();
    own.update("hostname=pc.dyn.example&myip=192.0.2.7,2001:db8::7")
        .is(200, "good 192.0.2.7 2001:db8::7\n");
    own.dig(
        &["pC.Dyn.EXAMPLE", "A"],
        &["NOERROR", "flags: qr aa;", "pC.Dyn.EXAMPLE. 60 IN A 192.0.2.7", "udp: 1232"],
    );
    own.dig(&["+tcp", "pc.dyn.example", "AAAA"], &["NOERROR", "AAAA 2001:db8::7"]);
    own.update("hostname=pc.dyn.example&myip=192.0.2.8").is(200, "good 192.0.2.8\n");
    assert_eq!(own.server.data("pc.dyn.example", "A"), ["192.0.2.8"]);
    own.update("hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    own.dig(&["pc.dyn.example", "A"], &["NXDOMAIN", "ANSWER: 0, AUTHORITY: 1"]);
}

#[test]
fn what_does_not_exist_is_told_from_what_has_no_such_record() {
    let own = Own::new();
    own.ctl().add_host("alice", "a.b", ZONE, &[]);
    own.update("hostname=pc.dyn.example,a.b.dyn.example&myip=192.0.2.7");
    let soa = "dyn.example. 60 IN SOA ns.dyn.example. hostmaster.dyn.example.";
    own.dig(&["nothing.dyn.example", "A"], &["NXDOMAIN", "flags: qr aa;", soa]);
    own.dig(&["_acme-challenge.pc.dyn.example", "TXT"], &["NXDOMAIN", soa]);
    own.dig(&["pc.dyn.example", "AAAA"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]);
    own.dig(&["pc.dyn.example", "MX"], &["NOERROR", "ANSWER: 0", soa]);
    // a name above a host exists
    own.dig(&["b.dyn.example", "A"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]);
    own.dig(&["dyn.example", "DS"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]);
}

#[test]
fn the_zone_has_its_own_records_beside_those_of_a_host_of_its_name() {
    let own = Own::new();
    own.ctl().add_host("alice", "@", ZONE, &["--dns-ttl", "77"]);
    own.update("hostname=dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    own.dig(&["dyn.example", "A"], &["dyn.example. 77 IN A 192.0.2.1"]);
    own.dig(&["dyn.example", "SOA"], &["dyn.example. 3600 IN SOA ns.dyn.example."]);
    own.dig(
        &["dyn.example", "NS"],
        &["dyn.example. 3600 IN NS ns.dyn.example.", "ns.dyn.example. 3600 IN A 127.0.0.1"],
    );
    let any = own.dig(&["+notcp", "dyn.example", "ANY"], &["ANSWER: 1,"]);
    assert!(!any.contains("SOA"), "one RRset is enough:\n{any}");
}

#[test]
fn what_it_does_not_serve_or_know_is_refused() {
    let own = Own::new();
    let refused = &["REFUSED", "ANSWER: 0, AUTHORITY: 0"];
    own.dig(&["example", "A"], refused);
    own.dig(&["pc.other.example", "A"], refused);
    own.dig(&[".", "NS"], refused);
    own.dig(&["version.bind", "CH", "TXT"], refused);
    own.dig(&["-c", "HS", "pc.dyn.example", "A"], refused);
    own.dig(&["+opcode=STATUS", "dyn.example", "SOA"], &["NOTIMP"]);
    own.dig(&["+opcode=UPDATE", "dyn.example", "SOA"], &["NOTIMP"]);
    own.dig(&["+edns=1", "+noednsnegotiation", "dyn.example", "SOA"], &["BADVERS"]);
    own.dig(&["-y", "hmac-sha256:key:c2VjcmV0", "dyn.example", "SOA"], &["NOTAUTH", "BADKEY"]);
}

#[test]
fn an_answer_that_does_not_fit_is_truncated_and_whole_by_tcp() {
    let long = "a-name-server-with-quite-a-long-name-that-takes-its-place-in-answers";
    let long = &long[..50];
    let names: Vec<_> = (0..13).map(|n| format!("ns{n}.{long}.{n}.example.net")).collect();
    let own = Own::with(&[ZONE], |setup| setup.builtin("nameservers", names.clone()));
    own.dig(&["+noedns", "+ignore", ZONE, "NS"], &["flags: qr aa tc;", "ANSWER: 0"]);
    own.dig(&["+bufsize=4096", ZONE, "NS"], &["flags: qr aa;", "ANSWER: 13"]);
    own.dig(&["+noedns", "+tcp", ZONE, "NS"], &["flags: qr aa;", "ANSWER: 13"]);
}

#[test]
fn a_zone_below_another_one_answers_for_its_own_names() {
    let own = Own::with(&[ZONE, "lan.dyn.example"], |setup| setup);
    own.ctl().add_host("alice", "pc", "lan.dyn.example", &[]);
    let refused = own.ctl().run(&["hostname", "add", "alice", "nas.lan", ZONE]).exits(1);
    refused.one_sentence().prints(&["nas.lan.dyn.example", "lies in zone `lan.dyn.example`"]);
    own.update("hostname=pc.lan.dyn.example&myip=192.0.2.9").is(200, "good 192.0.2.9\n");
    own.dig(&["pc.lan.dyn.example", "A"], &["NOERROR", "192.0.2.9"]);
    own.dig(&["no.lan.dyn.example", "A"], &["NXDOMAIN", "lan.dyn.example. 60 IN SOA"]);
    own.dig(&["lan.dyn.example", "DS"], &["NOERROR", "dyn.example. 60 IN SOA"]);
    let outer = own.dig(&["+tcp", ZONE, "AXFR"], &["lan.dyn.example. 3600 IN NS"]);
    assert!(!outer.contains("192.0.2.9"), "{outer}");
}

#[test]
fn a_resolver_finds_hosts_through_it() {
    let own = Own::new();
    own.update("hostname=pc.dyn.example&myip=192.0.2.7,2001:db8::7");
    let mut resolver = Secondary::new(SecondaryProgram::Unbound);
    resolver.start(own.server.port());
    assert_eq!(resolver.data("pc.dyn.example", "A"), ["192.0.2.7"]);
    assert_eq!(resolver.data("pc.dyn.example", "AAAA"), ["2001:db8::7"]);
    assert_eq!(resolver.data("no.dyn.example", "A"), [""; 0]);
    own.update("hostname=pc.dyn.example&myip=192.0.2.8").is(200, "good 192.0.2.8\n");
    eventually_equals(
        SECONDS,
        "the resolver to see the change",
        &vec!["192.0.2.8".to_owned()],
        || resolver.data("pc.dyn.example", "A"),
    );
}

//----- Transfers -----

#[test]
fn secondaries_follow_within_seconds() {
    let mut secondaries = [SecondaryProgram::Bind, SecondaryProgram::Knot].map(Secondary::new);
    let notify: Vec<_> = secondaries.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
    let mut own = Own::with(&[ZONE], |setup| setup.builtin("notify", notify));
    own.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    for secondary in &mut secondaries {
        secondary.start(own.server.port());
    }
    for round in 2..6 {
        let address = format!("192.0.2.{round}");
        own.update(&format!("hostname=pc.dyn.example&myip={address}"));
        for secondary in &secondaries {
            eventually_equals(SECONDS, "a secondary to follow", &vec![address.clone()], || {
                secondary.data("pc.dyn.example", "A")
            });
            assert_eq!(secondary.serial(), Some(own.server.serial(ZONE)));
        }
    }
    own.daemon.kill9();
    own.daemon.start_again();
    own.update("hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    for secondary in &secondaries {
        eventually_equals(SECONDS, "a secondary to follow after a kill", &vec![], || {
            secondary.data("pc.dyn.example", "A")
        });
    }
}

#[test]
fn a_secondary_that_does_not_answer_is_logged_once() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let own = Own::with(&[ZONE], |setup| setup.builtin("notify", vec![address.clone()]));
    own.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let mut message = [0; 512];
    silent.set_read_timeout(Some(SECONDS)).unwrap();
    let (length, from) = silent.recv_from(&mut message).unwrap();
    // opcode NOTIFY, AA; one question, the SOA record as answer
    assert_eq!(&message[2..8], [0x24, 0, 0, 1, 0, 1]);
    // an answer with an error is final
    message[2] |= 0x80;
    message[3] = 5;
    silent.send_to(&message[..length], from).unwrap();
    let log = eventually(SECONDS, "the warning", || {
        let log = own.daemon.log();
        if log.contains("answers REFUSED") { Ok(log) } else { Err(log) }
    });
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("REFUSED"));
    assert_eq!(warnings.count(), 1, "{log}");
}

#[test]
fn only_the_allowed_networks_may_transfer_a_zone() {
    let mut own = Own::new();
    own.update("hostname=pc.dyn.example&myip=192.0.2.1");
    let expected = ["ns.dyn.example. 3600 IN A 127.0.0.1", "pc.dyn.example. 60 IN A 192.0.2.1"];
    assert_eq!(own.transferred(), expected);
    let serial = own.server.serial(ZONE);
    own.dig(&["+tcp", ZONE, &format!("IXFR={serial}")], &["SOA"]);
    let current = own.dig(&["+tcp", ZONE, &format!("IXFR={serial}")], &[]);
    assert!(!current.contains("192.0.2.1"), "{current}");
    own.dig(&["+tcp", ZONE, &format!("IXFR={}", serial - 1)], &["192.0.2.1"]);
    own.daemon.reconfigure(|setup| setup.builtin("allow_transfer", vec!["192.0.2.0/24"]));
    own.ctl().run(&["reload"]).ok();
    for question in ["AXFR", "IXFR=1"] {
        let refused = own.dig(&["+tcp", ZONE, question], &[]);
        assert!(!refused.contains("192.0.2.1"), "{refused}");
    }
}

#[test]
fn a_transfer_of_many_hosts_is_whole_while_they_change() {
    let own = Own::new();
    let user = own.ctl().run(&["export"]).ok().stdout;
    let user = user.lines().next().unwrap().replace("\"alice\"", "\"bob\"");
    let host = |n: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        format!(
            r#"{{"hostname":"h{n}","zone":"{ZONE}","user":"bob","ipv4":"{address}","ipv6":"2001:db8::{n:x}"}}"#
        )
    };
    let lines: Vec<_> = std::iter::once(user).chain((0..5_000).map(host)).collect();
    own.ctl().run_with_input(&["import", "-"], &lines.join("\n")).ok();
    own.ctl().run(&["sync"]).ok();
    eventually_equals(Duration::from_secs(60), "all hosts to be served", &10_001, || {
        own.transferred().len()
    });
    std::thread::scope(|threads| {
        let changes = threads.spawn(|| {
            for last in 1..100 {
                own.update(&format!("hostname=pc.dyn.example&myip=192.0.2.{last}"));
            }
        });
        while !changes.is_finished() {
            let transferred = own.transferred().len();
            assert!((10_001..=10_002).contains(&transferred), "{transferred}");
        }
    });
}

//----- Restarts -----

#[test]
fn after_kills_amid_updates_the_zone_is_as_the_database_says_and_its_serial_has_not_fallen() {
    let mut chance = Chance::seeded();
    let mut own = Own::new();
    let mut serial = own.server.serial(ZONE);
    for round in 0..12 {
        let address = own.daemon.address().to_owned();
        let (user, password) = ("alice", ddnsd_tests::ctl::PASSWORD);
        let moment = chance.millis(0, 150);
        let mut acknowledged = None;
        std::thread::scope(|threads| {
            let updates = threads.spawn(|| {
                let mut last = None;
                for number in 0.. {
                    let ip = format!("10.{round}.{}.{}", number / 250, number % 250);
                    let path = format!("/update?hostname=pc.dyn.example&myip={ip}");
                    match ddnsd_tests::http::quick_get(&address, &path, user, password) {
                        Some(reply) if reply.body.starts_with("good") => last = Some(number),
                        _ => break,
                    }
                }
                last
            });
            std::thread::sleep(moment); // the random moment itself
            serial = serial.max(own.server.serial(ZONE));
            own.daemon.kill9();
            acknowledged = updates.join().unwrap();
        });
        own.daemon.start_again();
        let now = own.server.serial(ZONE);
        assert!(now > serial, "round {round}: {now} after {serial}");
        serial = now;
        let served = own.server.data("pc.dyn.example", "A");
        let wanted = own.ctl().host("pc.dyn.example").ipv4;
        assert_eq!(served, wanted.into_iter().collect::<Vec<_>>(), "round {round}");
        if let Some(number) = acknowledged {
            let octets: Vec<u32> = served[0].split('.').map(|part| part.parse().unwrap()).collect();
            assert!(octets[1] == round && octets[2] * 250 + octets[3] >= number, "{served:?}");
        }
    }
}

#[test]
fn moving_from_another_name_server_serves_all_hosts_at_once() {
    let named = Named::start();
    let mut daemon = Daemon::builder(&named).start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &["--dns-ttl", "99"]);
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let server = OwnServer::of(&[ZONE]);
    daemon.reconfigure(|setup| {
        setup
            .set("dns_service.backend", "builtin")
            .builtin("listen", vec![format!("127.0.0.1:{}", server.port())])
            .builtin("zones", vec![ZONE])
            .builtin("nameservers", vec!["ns.example.net"])
    });
    daemon.ctl().run(&["reload"]).ok().prints(&["dns_service.backend", "restart"]);
    daemon.restart();
    assert_eq!(server.lookup("pc.dyn.example", "A"), [(99, "192.0.2.1".to_owned())]);
    eventually_equals(SECONDS, "the host to be published", &true, || {
        daemon.ctl().host("pc.dyn.example").published
    });
    assert_eq!(
        daemon.setup().database().sql("SELECT value FROM meta WHERE name = 'target'").trim(),
        "builtin"
    );
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

//----- Zones -----

#[test]
fn hosts_of_a_zone_that_is_not_served_are_kept_and_counted_in_a_warning() {
    let mut own = Own::with(&[ZONE, "other.example"], |setup| setup);
    for label in ["a", "b"] {
        own.ctl().add_host("alice", label, "other.example", &[]);
        own.update(&format!("hostname={label}.other.example&myip=192.0.2.3"));
    }
    own.daemon.reconfigure(|setup| setup.builtin("zones", vec![ZONE]));
    own.daemon.restart();
    let log = own.daemon.log();
    let warning = "hosts in zones that dns_service.builtin.zones does not name: other.example";
    assert!(log.contains(warning) && log.contains("hosts=2"), "{log}");
    own.dig(&["a.other.example", "A"], &["REFUSED"]);
    own.update("hostname=a.other.example&myip=192.0.2.3").is(503, "dnserr\n");
    let shown = own.ctl().run(&["hostname", "show", "a", "other.example"]).ok();
    shown.prints(&["does not serve zone `other.example`"]);
    // served again, they are there at once
    own.daemon.reconfigure(|setup| setup.builtin("zones", vec![ZONE, "other.example"]));
    own.ctl().run(&["reload"]).ok().prints(&["dns_service.builtin.zones"]);
    for label in ["a", "b"] {
        assert_eq!(own.server.data(&format!("{label}.other.example"), "A"), ["192.0.2.3"]);
    }
    eventually_equals(SECONDS, "both to be published", &true, || {
        own.ctl().hosts().iter().all(|host| host.published || host.ipv4.is_none())
    });
    own.update("hostname=a.other.example&myip=192.0.2.3").is(200, "nochg 192.0.2.3\n");
}

#[test]
fn a_reload_changes_the_zones_own_records_and_raises_the_serial() {
    let mut own = Own::new();
    own.update("hostname=pc.dyn.example&myip=192.0.2.1");
    let serial = own.server.serial(ZONE);
    own.daemon.reconfigure(|setup| {
        let port = free_port();
        setup
            .builtin("nameservers", vec!["ns1.example.net"])
            .builtin("hostmaster", "first.last@example.org")
            .builtin("listen", vec![format!("127.0.0.1:{port}")])
    });
    let reloaded = own.ctl().run(&["reload"]).ok();
    reloaded.prints(&["dns_service.builtin.nameservers", "builtin.listen", "needs a restart"]);
    own.dig(&[ZONE, "SOA"], &["SOA ns1.example.net. first\\.last.example.org."]);
    assert!(own.server.serial(ZONE) > serial);
    assert_eq!(own.server.data("pc.dyn.example", "A"), ["192.0.2.1"]);
}

#[test]
fn a_host_whose_name_becomes_that_of_a_name_server_is_kept_and_not_served() {
    let mut own = Own::new();
    own.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let glue = |address: &str| {
        toml::Table::from_iter([("pc.dyn.example".to_owned(), vec![address].into())])
    };
    own.daemon.reconfigure(|setup| setup.builtin("nameserver_addresses", glue("192.0.2.53")));
    own.ctl().run(&["reload"]).ok();
    for restarted in [false, true] {
        assert_eq!(own.server.data("pc.dyn.example", "A"), ["192.0.2.53"], "{restarted}");
        own.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
        assert!(own.daemon.log().contains("hosts are not served"), "{}", own.daemon.log());
        own.daemon.restart();
    }
}

#[test]
fn a_host_that_cannot_be_served_is_refused() {
    let own = Own::new();
    for (label, zone, why) in [
        ("pc", "other.example", "does not serve zone `other.example`"),
        ("ns", ZONE, "`ns.dyn.example` is a name server"),
    ] {
        let refused = own.ctl().run(&["hostname", "add", "alice", label, zone]).exits(1);
        refused.one_sentence().prints(&[why]);
        let line = format!(r#"{{"hostname":"{label}","zone":"{zone}","user":"alice"}}"#);
        own.ctl().run_with_input(&["import", "-"], &line).exits(1).prints(&[why]);
    }
    assert_eq!(own.ctl().hosts().len(), 1);
}

#[test]
fn an_address_that_cannot_be_bound_ends_the_start_with_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = OwnServer::of(&[ZONE]);
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::new(&server).builtin("listen", vec![address.clone()]);
    let ended = setup.run(&[]).exits(1).one_sentence();
    ended.prints(&["dns_service.builtin.listen", &address, "(TCP)", "stop the name server"]);
    let missing = Setup::new(&server).builtin("listen", vec!["192.0.2.1:5353"]);
    missing.run(&[]).exits(1).one_sentence().prints(&["does not have the address"]);
}

//----- Bounds -----

#[test]
fn a_tcp_client_that_sends_no_whole_query_is_closed_and_one_with_many_connections_is_refused() {
    let own = Own::new();
    let connect = || TcpStream::connect(("127.0.0.1", own.server.port())).unwrap();
    let start = Instant::now();
    let mut half = connect();
    half.write_all(&[0, 40, 1, 2, 3]).unwrap();
    let held: Vec<_> = (0..31).map(|_| connect()).collect();
    let mut one_more = connect();
    one_more.set_read_timeout(Some(SECONDS)).unwrap();
    assert_eq!(one_more.read(&mut [0; 8]).unwrap_or(0), 0, "closed at once");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    half.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(half.read(&mut [0; 8]).unwrap_or(0), 0, "closed after its time");
    assert!(start.elapsed() > Duration::from_secs(6), "{:?}", start.elapsed());
    drop(held);
    eventually(SECONDS, "an answer by TCP", || {
        let answer = own.server.dig(&["+tcp", ZONE, "SOA"]);
        if answer.contains("NOERROR") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn several_queries_of_one_connection_are_answered_in_order() {
    let own = Own::new();
    let mut stream = TcpStream::connect(("127.0.0.1", own.server.port())).unwrap();
    let query = |id: u8| {
        let mut message = vec![0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(b"\x03dyn\x07example\x00\x00\x06\x00\x01");
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        [&length[..], &message].concat()
    };
    stream.write_all(&(1..=5).flat_map(query).collect::<Vec<_>>()).unwrap();
    for id in 1..=5 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((answer[1], answer[2], answer[3]), (id, 0x84, 0));
    }
}

#[test]
fn datagrams_that_are_no_queries_get_no_answer_or_an_error_and_end_nothing() {
    let own = Own::new();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", own.server.port())).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let formerr: [&[u8]; 4] = [
        b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        // a name that points to itself
        b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",
        b"\x00\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x03dyn",
    ];
    for message in formerr {
        // what is too short, or an answer itself, is not answered
        client.send(b"").unwrap();
        client.send(&message[..11]).unwrap();
        client.send(b"\x00\x01\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00").unwrap();
        client.send(message).unwrap();
        let mut answer = [0; 512];
        let length = client.recv(&mut answer).unwrap();
        assert_eq!((&answer[..3], answer[3] & 0xf), (&[0, 1, 0x81][..], 1), "FORMERR");
        assert!(length <= message.len(), "an error is not longer than its query");
    }
    own.dig(&[ZONE, "SOA"], &["NOERROR"]);
}
