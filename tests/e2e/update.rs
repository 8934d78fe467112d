//! The first update and what follows it: `curl` in, `dig` out.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{quick_get, quick_get_by};
use ddnsd_tests::named::{Named, ZONE};
use std::collections::BTreeSet;

#[test]
fn a_first_update_answers_good_and_dns_shows_it_with_the_hosts_ttl() {
    let scene = Scene::new();
    scene.ctl().add_host("alice", "nas", ZONE, &["--dns-ttl", "77"]);

    let reply = scene.update("hostname=nas.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(scene.named.lookup("nas.dyn.example", "A"), [(77, "192.0.2.1".to_owned())]);

    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(60, "192.0.2.2".to_owned())]);
}

#[test]
fn the_same_address_again_answers_nochg_and_sends_the_name_server_nothing() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let messages = scene.change_messages();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    assert_eq!(scene.change_messages(), messages, "messages to the name server");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.7").is(200, "good 192.0.2.7\n");
    assert_eq!(scene.a("pc"), ["192.0.2.7"], "the new address replaces the old one");
}

#[test]
fn a_known_address_is_nochg_after_a_restart_too() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.daemon.restart();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

#[test]
fn both_families_change_in_one_request_and_each_alone() {
    let scene = Scene::new();
    scene
        .update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1")
        .is(200, "good 192.0.2.1 2001:db8::1\n");
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (one("192.0.2.1"), one("2001:db8::1")));

    scene
        .update("hostname=pc.dyn.example&myip=192.0.2.1&myip6=2001:db8::2")
        .is(200, "good 192.0.2.1 2001:db8::2\n");
    scene.update("hostname=pc.dyn.example&myip6=2001:db8::3").is(200, "good 2001:db8::3\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"], "a family that is not given stays as it is");
    assert_eq!(scene.aaaa("pc"), ["2001:db8::3"]);
    scene
        .update("hostname=pc.dyn.example&myip=2001:db8::3,192.0.2.1")
        .is(200, "nochg 192.0.2.1 2001:db8::3\n");
}

#[test]
fn without_an_address_the_clients_own_is_used() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example").is(200, "good 127.0.0.1\n");
    assert_eq!(scene.a("pc"), ["127.0.0.1"]);
    scene.update("hostname=pc.dyn.example&myip=&myip6=").is(200, "nochg 127.0.0.1\n");
}

#[test]
fn offline_removes_both_records_whatever_addresses_come_with_it() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);
    scene.update("hostname=pc.dyn.example&offline=YES&myip=192.0.2.9").is(200, "good\n");
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec![], vec![]));
    scene.update("hostname=pc.dyn.example&offline=YES").is(200, "nochg\n");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
}

#[test]
fn a_static_record_of_a_family_that_was_never_set_survives() {
    let scene = Scene::new();
    scene.named.nsupdate("update add pc.dyn.example. 300 AAAA 2001:db8::53");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (one("192.0.2.1"), one("2001:db8::53")));
}

#[test]
fn a_cname_at_the_name_is_dnserr_and_logged_as_such() {
    let scene = Scene::new();
    scene.named.nsupdate("update add pc.dyn.example. 300 CNAME www.example.");
    let reply = scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    assert!(reply.retry_after() > 0);
    assert_eq!(scene.named.data("pc.dyn.example", "CNAME"), ["www.example."]);
    let log = scene.daemon.log();
    assert!(log.contains("CNAME"), "the log does not name the CNAME: {log}");
}

#[test]
fn two_hundred_concurrent_updates_of_a_zone_travel_in_far_fewer_messages() {
    let scene = Scene::new();
    let labels: Vec<_> = (0..200).map(|i| format!("h{i}")).collect();
    std::thread::scope(|threads| {
        for part in labels.chunks(50) {
            threads.spawn(|| scene.add_hosts(&part.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    });
    // the password is cached from here on: the following updates wait for DNS only
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let (messages, serial) = (scene.change_messages(), scene.named.serial(ZONE));

    std::thread::scope(|threads| {
        for (i, label) in labels.iter().enumerate() {
            let server = scene.daemon.address();
            threads.spawn(move || {
                let path = format!("/update?hostname={label}.{ZONE}&myip=198.51.100.{i}");
                let reply = quick_get_by(i, server, &path, ("alice", PASSWORD));
                reply.expect("a reply").is(200, &format!("good 198.51.100.{i}\n"));
            });
        }
    });

    let expected: BTreeSet<_> = (0..200).map(|i| format!("198.51.100.{i}")).collect();
    let records = scene.named.addresses(ZONE);
    let shown: BTreeSet<_> =
        records.iter().filter(|r| r.name.starts_with('h')).map(|r| r.data.clone()).collect();
    assert_eq!(shown, expected, "what dig shows after 200 times good");
    let messages = scene.change_messages() - messages;
    let steps = scene.named.serial(ZONE) - serial;
    assert!(messages <= 40 && steps <= 40, "200 updates took {messages} messages, {steps} serials");
}

#[test]
fn other_zones_and_other_tsig_algorithms_are_served_too() {
    let named = Named::with(&[ZONE, "other.example"], "hmac-sha512");
    let daemon = ddnsd_tests::daemon::Daemon::builder(&named).start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon.ctl().add_host("alice", "@", "other.example", &[]);
    daemon
        .update("alice", "hostname=pc.dyn.example,other.example&myip=192.0.2.1")
        .is(200, "good 192.0.2.1\ngood 192.0.2.1\n");
    assert_eq!(named.data("pc.dyn.example", "A"), ["192.0.2.1"]);
    assert_eq!(named.data("other.example", "A"), ["192.0.2.1"]);
}

fn one(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

#[test]
fn sixty_four_clients_that_update_the_same_four_hosts_all_get_their_locks() {
    let scene = Scene::new();
    scene.add_hosts(&["a", "b", "c"]);
    // the password is cached from now on
    scene.update("hostname=pc.dyn.example&myip=192.0.2.200").is(200, "good 192.0.2.200\n");
    let server = scene.daemon.address();
    let hosts = ["a", "b", "c", "pc"].map(|label| format!("{label}.{ZONE}")).join(",");
    let bodies: Vec<_> = std::thread::scope(|threads| {
        let hosts = &hosts;
        let asked: Vec<_> = (1..=64)
            .map(|i| {
                let path = format!("/update?hostname={hosts}&myip=192.0.2.{i}");
                threads.spawn(move || quick_get(server, &path, "alice", PASSWORD).expect("a reply"))
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap().body).collect()
    });
    for (i, body) in bodies.iter().enumerate() {
        assert_eq!(*body, format!("good 192.0.2.{}\n", i + 1).repeat(4));
    }
    let last = scene.a("pc");
    assert!(["a", "b", "c"].iter().all(|label| scene.a(label) == last), "not all as {last:?}");
}
