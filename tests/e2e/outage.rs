//! The name server is down, refuses, or is not the one that was meant.

use crate::{RECOVERY, Scene};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::load::{Counting, in_database, in_dns};
use ddnsd_tests::named::{Named, ZONE, free_port, write_private};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

fn with_short_timeout() -> Scene {
    Scene::with(|setup| setup.set("dns_service.dns_timeout", 1))
}

#[test]
fn a_record_that_a_dead_name_server_missed_appears_when_it_is_back() {
    let mut scene = with_short_timeout();
    scene.named.stop();
    let reply = scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    assert_eq!(reply.retry_after(), 30);
    let pending = scene.ctl().host("pc.dyn.example");
    assert_eq!((pending.ipv4.as_deref(), pending.published), (Some("192.0.2.1"), false));

    scene.named.start_again();
    eventually_equals(
        RECOVERY,
        "the record to appear by itself",
        &vec!["192.0.2.1".to_owned()],
        || scene.a("pc"),
    );
    // a host with an unanswered message is sent twice before it counts as published
    eventually_equals(RECOVERY, "the host to be published", &true, || {
        scene.ctl().host("pc.dyn.example").published
    });
    let log = scene.daemon.log();
    let lines = log.lines().filter(|line| line.contains("address changed"));
    assert_eq!(lines.count(), 1, "a change that is published late is logged once: {log}");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

#[test]
fn while_the_name_server_does_not_answer_the_reply_comes_at_once_and_the_latest_address_wins() {
    let scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 5));
    scene.add_hosts(&["nas"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.pause();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(503, "dnserr\n");
    // either would wait for 5 s by itself
    let start = Instant::now();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3").is(503, "dnserr\n");
    scene.update("hostname=nas.dyn.example&myip=192.0.2.4").is(503, "dnserr\n");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "two updates while the zone is down took {took:?}");
    scene.named.go_on();
    let wanted = (vec!["192.0.2.3".to_owned()], vec!["192.0.2.4".to_owned()]);
    eventually_equals(RECOVERY, "the latest addresses in DNS", &wanted, || {
        (scene.a("pc"), scene.a("nas"))
    });
}

#[test]
fn what_a_paused_name_server_applies_late_is_overwritten_by_the_latest_address() {
    let scene = with_short_timeout();
    let mut clients: Vec<_> = (0..8).map(|i| Counting::new(&format!("h{i}"))).collect();
    scene.add_hosts(&clients.iter().map(Counting::label).collect::<Vec<_>>());
    for _ in 0..3 {
        assert_eq!(updates(&scene, &mut clients, 3), [("good".to_owned(), 24)].into());
        scene.named.pause();
        // what is sent meanwhile waits in the server's sockets, older addresses before newer ones
        for _ in 0..4 {
            let replies = updates(&scene, &mut clients, 2);
            assert_eq!(replies, [("dnserr".to_owned(), 16)].into());
            std::thread::sleep(Duration::from_millis(700)); // for the next try of the zone
        }
        scene.named.go_on();
        eventually(RECOVERY, "every last wanted address in DNS", || {
            let stands = in_dns(&scene.named, &clients);
            let judge = |client: &Counting| client.judge_settled(stands[&client.fqdn()]);
            clients.iter().try_for_each(judge)
        });
        eventually_equals(RECOVERY, "every host to be published", &true, || {
            scene.ctl().hosts().iter().all(|host| host.published)
        });
        // nothing that was read late comes after it
        let stands = in_dns(&scene.named, &clients);
        assert_eq!(stands, in_database(&scene.ctl(), &clients));
        std::thread::sleep(Duration::from_millis(2500)); // the time that a late message has
        assert_eq!(in_dns(&scene.named, &clients), stands);
    }
}

#[test]
fn going_back_to_the_acknowledged_address_while_dns_is_down_is_not_nochg() {
    let mut scene = with_short_timeout();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(503, "dnserr\n");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    scene.named.start_again();
    eventually_equals(RECOVERY, "the host to be published", &true, || {
        scene.ctl().host("pc.dyn.example").published
    });
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
}

#[test]
fn a_zone_that_the_server_does_not_have_is_dnserr_and_affects_no_other() {
    let scene = Scene::new();
    scene.ctl().add_host("alice", "pc", "elsewhere.example", &[]);
    scene
        .update("hostname=pc.elsewhere.example,pc.dyn.example&myip=192.0.2.1")
        .is(200, "dnserr\ngood 192.0.2.1\n");
    let log = scene.daemon.log();
    assert!(log.contains("NOTAUTH"), "the log does not name the RCODE: {log}");
}

#[test]
fn status_shows_what_is_pending_and_why_after_a_restart_too() {
    let mut scene = with_short_timeout();
    scene.ctl().add_host("alice", "pc", "elsewhere.example", &[]);
    scene.update("hostname=pc.elsewhere.example&myip=192.0.2.1").is(503, "dnserr\n");
    // a refusal or no answer: the error in the row, or the one since the start
    scene.named.stop();
    scene.daemon.restart();
    let status = scene.ctl().json(&["status"]);
    assert_eq!(status["pending"], 1);
    let zone = &status["zones"][0];
    assert_eq!((&zone["zone"], &zone["pending"]), (&"elsewhere.example".into(), &1.into()));
    let error = zone["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("name server 127.0.0.1:"), "{zone}");
}

#[test]
fn a_wrong_key_is_dnserr_and_no_response_to_it_counts() {
    let named = Named::start();
    let setup = Daemon::builder(&named);
    let key = setup.file("wrong.key");
    let text =
        "key \"ddns-key\" { algorithm hmac-sha256; secret \"d3Jvbmcga2V5IHdyb25nIGtleQ==\"; };\n";
    write_private(&key, text);
    let daemon = setup.set("dns_service.ddns_default_key_file", key.to_str().unwrap()).start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    assert_eq!(named.data("pc.dyn.example", "A"), Vec::<String>::new());
    let log = daemon.log();
    assert!(log.contains("NOTAUTH") || log.contains("BADSIG"), "the log names no cause: {log}");
    assert!(!log.contains("d3Jvbmcga2V5"), "the key is in the log: {log}");
}

#[test]
fn without_a_key_updates_go_unsigned_and_a_server_that_wants_one_refuses() {
    let named = Named::start();
    let daemon = Daemon::builder(&named).without("dns_service.ddns_default_key_file").start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    let log = daemon.log();
    assert!(log.contains("REFUSED"), "the log does not name the RCODE: {log}");
}

#[test]
fn zones_without_a_key_are_one_warning_at_start_and_at_reload() {
    let mut scene =
        Scene::without_hosts(|setup| setup.without("dns_service.ddns_default_key_file"));
    scene.ctl().add_user("alice");
    for (label, zone) in [("pc", "a.example"), ("nas", "a.example"), ("pc", "b.example")] {
        scene.ctl().add_host("alice", label, zone, &[]);
    }
    let mut seen = scene.daemon.log().len();
    let mut warned = |scene: &Scene, expected: &[&str]| {
        let log = scene.daemon.log();
        let lines = log[seen..].lines().filter(|line| line.contains("go unsigned, because"));
        let lines: Vec<_> = lines.filter(|line| line.contains("WARN")).collect();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line} holds {expected}");
        }
        seen = log.len();
    };
    scene.daemon.restart();
    warned(&scene, &["for them: a.example, b.example"]);
    scene.ctl().run(&["reload"]).ok();
    warned(&scene, &["zones=2"]);
    let key = scene.named.key_file().display().to_string();
    let keys = toml::Table::from_iter([("a.example".to_owned(), key.as_str().into())]);
    scene.daemon.reconfigure(|setup| setup.set("dns_service.zone_keys", keys));
    scene.ctl().run(&["reload"]).ok();
    warned(&scene, &["has a key for them: b.example"]);
    scene.daemon.reconfigure(|setup| setup.set("dns_service.ddns_default_key_file", key.as_str()));
    scene.ctl().run(&["reload"]).ok();
    warned(&scene, &[]);
}

#[test]
fn tcp_alone_serves_as_well() {
    let scene = Scene::with(|setup| setup.set("dns_service.dns_transport", "tcp"));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
    let Scene { daemon, mut named } = scene;
    named.stop();
    named.start_again();
    eventually_equals(RECOVERY, "a closed connection to be opened again", &200, || {
        daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.2").status
    });
    assert_eq!(named.data("pc.dyn.example", "A"), ["192.0.2.2"]);
}

/// A proxy to a name server that drops every datagram and passes TCP. Ends with the test's process.
fn without_udp(server: u16) -> u16 {
    let port = free_port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        let _swallows = udp;
        for stream in tcp.incoming() {
            let (client, server) = (stream.unwrap(), TcpStream::connect(("127.0.0.1", server)));
            let Ok(server) = server else { continue };
            let ends = [(&client, &server), (&server, &client)];
            for (from, to) in ends.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                let (mut from, mut to) = (from.unwrap(), to.unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    port
}

#[test]
fn where_udp_is_lost_and_tcp_works_an_update_is_nochg_in_the_end_and_a_deletion_ends() {
    let named = Named::start();
    let port = i64::from(without_udp(named.port()));
    let daemon = Daemon::builder(&named)
        .set("dns_service.dns_port", port)
        .set("dns_service.dns_timeout", 1)
        .start();
    let scene = Scene { daemon, named };
    scene.ctl().add_user("alice");
    scene.add_hosts(&["pc"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    eventually_equals(RECOVERY, "the host to be published", &true, || {
        scene.ctl().host("pc.dyn.example").published
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    scene.ctl().run(&["hostname", "delete", "pc", ZONE]).ok();
    assert_eq!(scene.a("pc"), Vec::<String>::new());
}

/// Every client sends that many updates, each answered; how often each reply came.
#[track_caller]
fn updates(scene: &Scene, clients: &mut [Counting], each: usize) -> BTreeMap<String, usize> {
    let server = scene.daemon.address();
    std::thread::scope(|threads| {
        let all: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                threads.spawn(move || {
                    (0..each).map(|_| client.update(server).expect("a reply")).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut replies = BTreeMap::new();
        for reply in all.into_iter().flat_map(|one| one.join().unwrap()) {
            *replies.entry(reply).or_default() += 1;
        }
        replies
    })
}

#[test]
fn after_an_outage_with_updates_and_restarts_every_last_wanted_address_is_published() {
    let mut scene = with_short_timeout();
    let mut clients: Vec<_> = (0..8).map(|i| Counting::new(&format!("h{i}"))).collect();
    scene.add_hosts(&clients.iter().map(Counting::label).collect::<Vec<_>>());
    assert_eq!(updates(&scene, &mut clients, 20), [("good".to_owned(), 160)].into());

    scene.named.stop();
    for restart in 0..3 {
        let replies = updates(&scene, &mut clients, 10);
        assert_eq!(replies, [("dnserr".to_owned(), 80)].into(), "outage, {restart} restarts");
        if restart == 1 {
            scene.daemon.kill9();
            scene.daemon.start_again();
        } else {
            scene.daemon.restart();
        }
    }
    scene.named.start_again();
    eventually(RECOVERY, "every last wanted address in DNS", || {
        let stands = in_dns(&scene.named, &clients);
        let judge = |client: &Counting| client.judge_settled(stands[&client.fqdn()]);
        clients.iter().try_for_each(judge)
    });
    assert_eq!(in_dns(&scene.named, &clients), in_database(&scene.ctl(), &clients));
    let replies = updates(&scene, &mut clients, 5);
    assert_eq!(replies, [("good".to_owned(), 40)].into(), "after the outage");
}

/// Hosts whose last update was long ago.
const EXPIRED: usize = 100_000;

/// Rows of alice's hosts whose records are due to be taken down.
fn expired_hosts() -> String {
    let mut sql = String::from("BEGIN;\n");
    let rows: Vec<_> = (0..EXPIRED)
        .map(|n| {
            let fqdn = format!("s{n}.{ZONE}");
            format!("(1, 's{n}', '{ZONE}', '{fqdn}', 1, '192.0.2.7', 1, -4000000, 1, 60, 0, 0)")
        })
        .collect();
    for some in rows.chunks(1000) {
        let columns = "user_id, label, zone, fqdn, state4, ipv4, set4_at, set4_uptime, check_at, acked_ttl, \
                       created_at, changed_at";
        writeln!(sql, "INSERT INTO hosts ({columns}) VALUES {};", some.join(",\n")).unwrap();
    }
    sql + "COMMIT;\n"
}

#[test]
fn a_hundred_thousand_due_expiries_do_not_delay_an_update() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert!(scene.daemon.terminate().success());
    let database = scene.daemon.setup().database().clone();
    database.sql(&expired_hosts());
    scene.daemon.start_again();
    // the sweep begins with the start; the password's verdict is cached after the first update
    let mut slowest = Duration::ZERO;
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    for n in 3..40 {
        let start = Instant::now();
        let address = format!("192.0.2.{n}");
        let query = format!("hostname=pc.dyn.example&myip={address}");
        scene.update(&query).is(200, &format!("good {address}\n"));
        slowest = slowest.max(start.elapsed());
        assert_eq!(scene.a("pc"), [address]);
    }
    let left = database.sql("SELECT COUNT(*) FROM hosts WHERE state4 = 1;");
    let left: usize = left.trim().parse().unwrap();
    assert!((2..EXPIRED).contains(&left), "the sweep is under way: {left} are left");
    println!("slowest update while {left} expiries wait: {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "a fresh update took {slowest:?}");
}
