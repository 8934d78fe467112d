//! One update of the router renews the whole LAN: its prefix and the suffix of each host.

use crate::contract::endpoint;
use crate::{RECOVERY, Scene};
use ddnsd_tests::clients::{Clients, PATH};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::quick_get;
use ddnsd_tests::named::{Named, ZONE};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest wait for an expiry of a second or two.
const SOON: Duration = Duration::from_secs(15);
const ROUTER: &str = "router.dyn.example";

/// A scene with the router, whose suffix is `::1`, and the follower nas, whose suffix is `::5`.
fn lan() -> Scene {
    lan_of(Scene::new())
}

fn lan_of(scene: Scene) -> Scene {
    scene.ctl().add_host("alice", "router", ZONE, &["--ipv6-suffix", "::1"]);
    add_follower(&scene, "nas", "::5");
    scene
}

fn add_follower(scene: &Scene, label: &str, suffix: &str) {
    let options = ["--ipv6-suffix", suffix, "--follows", ROUTER];
    scene.ctl().add_host("alice", label, ZONE, &options);
}

fn shown(scene: &Scene, label: &str) -> Value {
    scene.ctl().json(&["hostname", "show", label, ZONE])
}

fn modify(scene: &Scene, label: &str, options: &[&str]) {
    let arguments = [&["hostname", "modify", label, ZONE], options].concat();
    scene.ctl().run(&arguments).ok();
}

fn one(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

#[test]
fn a_fritzbox_renews_itself_and_the_hosts_behind_it_whatever_its_prefix_is() {
    let scene = lan();
    scene.ctl().add_host(
        "alice",
        "sub",
        ZONE,
        &["--ipv6-suffix", "::5:0:0:0:1", "--follows", ROUTER],
    );
    let mac = ["--ipv6-suffix", "mac:00:11:22:33:44:55", "--follows", ROUTER];
    scene.ctl().add_host("alice", "printer", ZONE, &mac);
    let send = |prefix: &str| {
        // the box sends its own address, which another prefix may hold
        let own = "2001:db8:ffff::9";
        scene.update(&format!("hostname={ROUTER}&myip=192.0.2.1&myip6={own}&ip6lanprefix={prefix}"))
    };
    for (prefix, nas, sub, printer) in [
        ("2001:db8:1:200::/56", "2001:db8:1:200::5", "2001:db8:1:205::1", "2001:db8:1:200"),
        ("2001:db8:2:220::/59", "2001:db8:2:220::5", "2001:db8:2:225::1", "2001:db8:2:220"),
        // bits behind the length are dropped
        ("2001:db8:3:2ff::1/56", "2001:db8:3:200::5", "2001:db8:3:205::1", "2001:db8:3:200"),
        ("2001:db8:4:4::/64", "2001:db8:4:4::5", "", "2001:db8:4:4"),
    ] {
        send(prefix).is(200, "good 192.0.2.1 2001:db8:ffff::9\n");
        assert_eq!(scene.aaaa("router"), ["2001:db8:ffff::9"], "{prefix}");
        assert_eq!(scene.aaaa("nas"), [nas], "{prefix}");
        assert_eq!(scene.aaaa("sub"), if sub.is_empty() { vec![] } else { one(sub) }, "{prefix}");
        let of_mac = format!("{printer}:211:22ff:fe33:4455");
        assert_eq!(scene.aaaa("printer"), [of_mac], "{prefix}");
        assert!(scene.a("nas").is_empty(), "a follower's A record is its own");
        let messages = scene.change_messages();
        send(prefix).is(200, "nochg 192.0.2.1 2001:db8:ffff::9\n");
        assert_eq!(scene.change_messages(), messages, "the same prefix again");
    }
    // the subnet's bits do not fit a /64
    let why = shown(&scene, "sub")["no_ipv6"].as_str().unwrap().to_owned();
    assert!(why.contains("2001:db8:4:4::/64"), "{why}");
    assert!(scene.daemon.log().contains(&why), "the log does not say it");
    // a box without IPv6 sends an empty prefix, or leaves the placeholder as it is
    let quiet = format!("hostname={ROUTER}&myip=192.0.2.1&myip6=&ip6lanprefix=");
    scene.update(&quiet).is(200, "nochg 192.0.2.1\n");
    assert!(!scene.daemon.log().contains("placeholder"));
    let unfilled = format!("hostname={ROUTER}&myip=192.0.2.1&ip6lanprefix=<ip6lanprefix>");
    scene.update(&unfilled).is(200, "nochg 192.0.2.1\n");
    assert!(scene.daemon.log().contains("placeholder"));
    assert_eq!(scene.aaaa("nas"), ["2001:db8:4:4::5"]);
}

#[test]
fn the_prefix_may_stand_in_an_address_parameter_and_makes_the_routers_own_address() {
    let scene = lan();
    let send = |query: &str| scene.update(&format!("hostname={ROUTER}&{query}"));
    send("myip=192.0.2.1,2001:db8:1::/64").is(200, "good 192.0.2.1 2001:db8:1::1\n");
    assert_eq!(
        (scene.aaaa("router"), scene.aaaa("nas")),
        (one("2001:db8:1::1"), one("2001:db8:1::5"))
    );
    // without an address the client's own IPv4 address is used, as ever
    send("prefix=2001:db8:2::/64").is(200, "good 127.0.0.1 2001:db8:2::1\n");
    assert_eq!(scene.aaaa("nas"), ["2001:db8:2::5"]);
    // a bad prefix does not stop the address beside it
    for bad in ["2001:db8::/0", "2001:db8::/65", "2001:db8::/129", "fe80::/64", "x"] {
        let reply = send(&format!("myip=192.0.2.1&prefix={bad}"));
        assert!(["good 192.0.2.1\n", "nochg 192.0.2.1\n"].contains(&&*reply.body), "{reply}");
        send(&format!("prefix={bad}")).is(200, "badip\n");
    }
    assert!(scene.daemon.log().contains("the IPv6 prefix was ignored"));
    assert_eq!(scene.aaaa("nas"), ["2001:db8:2::5"]);
}

#[test]
fn twenty_followers_in_two_zones_change_in_two_messages() {
    let named = Named::with(&[ZONE, "other.example"], "hmac-sha256");
    let daemon = Daemon::builder(&named).start();
    let scene = Scene { daemon, named };
    scene.ctl().add_user("alice");
    scene.ctl().add_host("alice", "router", ZONE, &[]);
    for n in 1..=20 {
        let zone = if n % 2 == 0 { ZONE } else { "other.example" };
        let suffix = format!("::{n:x}");
        let options = ["--ipv6-suffix", suffix.as_str(), "--follows", ROUTER];
        scene.ctl().add_host("alice", &format!("h{n}"), zone, &options);
    }
    // the first request reads the password; the router has no suffix and keeps its AAAA
    let send = |net: u32| {
        let query = format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:{net}::/64");
        scene.update(&query)
    };
    send(1).is(200, "good 192.0.2.1\n");
    let before = scene.change_messages();
    send(2).is(200, "good 192.0.2.1\n");
    assert_eq!(scene.change_messages() - before, 2, "messages for twenty hosts in two zones");
    for n in 1..=20_u32 {
        let zone = if n % 2 == 0 { ZONE } else { "other.example" };
        let found = scene.named.data(&format!("h{n}.{zone}"), "AAAA");
        assert_eq!(found, [format!("2001:db8:2::{n:x}")]);
    }
    assert!(scene.aaaa("router").is_empty());
    send(2).is(200, "nochg 192.0.2.1\n");
}

#[test]
fn a_followers_own_update_changes_its_a_record_only() {
    let scene = lan();
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:1::/64")).has_status(200);
    let own = "hostname=nas.dyn.example&myip=192.0.2.5&myip6=2001:db8:9::9&prefix=2001:db8:9::/64";
    scene.update(own).is(200, "good 192.0.2.5 2001:db8:1::5\n");
    scene.update(own).is(200, "nochg 192.0.2.5 2001:db8:1::5\n");
    scene.update("hostname=nas.dyn.example&myip6=2001:db8:9::9").is(200, "nochg 2001:db8:1::5\n");
    assert_eq!((scene.a("nas"), scene.aaaa("nas")), (one("192.0.2.5"), one("2001:db8:1::5")));
    // one request may name both
    scene
        .update(&format!("hostname={ROUTER},nas.dyn.example&myip=192.0.2.6&prefix=2001:db8:2::/64"))
        .is(200, "good 192.0.2.6 2001:db8:2::1\ngood 192.0.2.6 2001:db8:2::5\n");
    assert_eq!((scene.a("nas"), scene.aaaa("nas")), (one("192.0.2.6"), one("2001:db8:2::5")));
}

#[test]
fn offline_of_the_leader_takes_its_followers_down_and_their_own_lasts_until_their_next_update() {
    let scene = lan();
    add_follower(&scene, "tv", "::7");
    let prefix = |net: u32| {
        scene.update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:{net}::/64"))
    };
    prefix(1).is(200, "good 192.0.2.1 2001:db8:1::1\n");
    scene.update("hostname=nas.dyn.example&myip=192.0.2.5").has_status(200);
    scene.update(&format!("hostname={ROUTER}&offline=YES")).is(200, "good\n");
    assert_eq!((scene.aaaa("nas"), scene.aaaa("tv")), (vec![], vec![]));
    assert_eq!(scene.a("nas"), ["192.0.2.5"], "its A record is its own");
    assert_eq!(shown(&scene, "router")["ipv6_prefix"], Value::Null, "the prefix is forgotten");
    add_follower(&scene, "late", "::8");
    assert!(scene.aaaa("late").is_empty());

    prefix(2).is(200, "good 192.0.2.1 2001:db8:2::1\n");
    assert_eq!(scene.aaaa("late"), ["2001:db8:2::8"]);
    scene.update("hostname=tv.dyn.example&offline=YES").is(200, "good\n");
    prefix(3).is(200, "good 192.0.2.1 2001:db8:3::1\n");
    assert_eq!((scene.aaaa("tv"), scene.aaaa("nas")), (vec![], one("2001:db8:3::5")));
    scene
        .update("hostname=tv.dyn.example&myip=192.0.2.7")
        .is(200, "good 192.0.2.7 2001:db8:3::7\n");
    assert_eq!(scene.aaaa("tv"), ["2001:db8:3::7"]);
}

#[test]
fn a_new_suffix_or_leader_is_published_at_once_from_the_stored_prefix() {
    let scene = lan();
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:1::/64")).has_status(200);
    assert_eq!(shown(&scene, "router")["ipv6_prefix"], "2001:db8:1::/64");
    modify(&scene, "nas", &["--ipv6-suffix", "::6"]);
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::6"]);
    modify(&scene, "router", &["--ipv6-suffix", "::2"]);
    assert_eq!(scene.aaaa("router"), ["2001:db8:1::2"]);
    modify(&scene, "pc", &["--ipv6-suffix", "::7", "--follows", ROUTER]);
    assert_eq!(scene.aaaa("pc"), ["2001:db8:1::7"]);
    add_follower(&scene, "tv", "mac:00:11:22:33:44:55");
    assert_eq!(scene.aaaa("tv"), ["2001:db8:1:0:211:22ff:fe33:4455"]);
    // what does not fit is taken down
    modify(&scene, "tv", &["--ipv6-suffix", "::5:0:0:0:1"]);
    assert!(scene.aaaa("tv").is_empty());
    assert!(shown(&scene, "tv")["no_ipv6"].as_str().unwrap().contains("bits inside"));
    // who follows no more keeps the address until its own next update
    modify(&scene, "pc", &["--follows", "none"]);
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:2::/64")).has_status(200);
    assert_eq!((scene.aaaa("pc"), scene.aaaa("nas")), (one("2001:db8:1::7"), one("2001:db8:2::6")));
    scene.update("hostname=pc.dyn.example&prefix=2001:db8:3::/64").has_status(200);
    assert_eq!(scene.aaaa("pc"), ["2001:db8:3::7"]);
}

#[test]
fn after_a_new_suffix_and_ttl_in_one_command_the_same_update_is_nochg() {
    let scene = lan();
    let update =
        || scene.update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:1::/64"));
    update().has_status(200);
    modify(&scene, "router", &["--ipv6-suffix", "::2", "--expiry-ttl", "7200"]);
    assert_eq!(scene.aaaa("router"), ["2001:db8:1::2"]);
    update().is(200, "nochg 192.0.2.1 2001:db8:1::2\n");
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_nothing_is_stored() {
    let scene = lan();
    scene.ctl().add_user("bob");
    scene.ctl().add_host("bob", "bobs", ZONE, &[]);
    let refused = |arguments: &[&str], why: &str| {
        let message = scene.ctl().run(arguments).exits(1).output();
        assert!(message.contains(why), "{arguments:?}: {message}");
    };
    let pc = |option: &str, value: &str, why: &str| {
        refused(&["hostname", "modify", "pc", ZONE, option, value], why);
        let new = format!("new-{}", value.len());
        refused(&["hostname", "add", "alice", &new, ZONE, option, value], why);
    };
    for (suffix, why) in [
        ("pc", "is no IPv6 address"),
        ("192.0.2.1", "IPv4"),
        ("fe80::1%eth0", "zone index"),
        ("2001:db8::1", "begins with the prefix"),
        ("mac:00:11:22:33:44", "six bytes"),
    ] {
        pc("--ipv6-suffix", suffix, why);
    }
    pc("--follows", ROUTER, "needs a suffix");
    pc("--follows", "ghost.dyn.example", "there is no hostname ghost.dyn.example");
    let follow = |label: &str, leader: &str, why: &str| {
        let options = ["--ipv6-suffix", "::9", "--follows", leader];
        refused(&[&["hostname", "modify", label, ZONE][..], &options].concat(), why);
    };
    follow("pc", "bobs.dyn.example", "another user");
    follow("pc", "pc.dyn.example", "itself");
    follow("pc", "nas.dyn.example", "follows a host itself");
    follow("router", "pc.dyn.example", "other hosts follow");
    refused(&["hostname", "modify", "nas", ZONE, "--ipv6-suffix", "none"], "needs a suffix");
    let itself = [
        "hostname",
        "add",
        "alice",
        "x",
        ZONE,
        "--ipv6-suffix",
        "::9",
        "--follows",
        "x.dyn.example",
    ];
    refused(&itself, "itself");
    for label in ["pc", "router"] {
        assert_eq!(shown(&scene, label)["follows"], Value::Null);
    }
    assert_eq!(shown(&scene, "nas")["ipv6_suffix"], "::5");
    let hosts = scene.ctl().json(&["hostname", "list"]);
    assert_eq!(hosts.as_array().unwrap().len(), 4, "{hosts}");
    // a host that is followed is deleted by force only, which ends the following
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:1::/64")).has_status(200);
    refused(&["hostname", "delete", "router", ZONE], "nas.dyn.example follow it");
    scene.ctl().run(&["hostname", "delete", "router", ZONE, "--force"]).ok();
    assert_eq!(shown(&scene, "nas")["follows"], Value::Null);
    assert_eq!((scene.aaaa("router"), scene.aaaa("nas")), (vec![], one("2001:db8:1::5")));
    scene.update("hostname=nas.dyn.example&prefix=2001:db8:2::/64").has_status(200);
    assert_eq!(scene.aaaa("nas"), ["2001:db8:2::5"]);
}

#[test]
fn sixty_four_hosts_follow_one_and_one_more_is_refused() {
    let scene = lan();
    // nas is the first
    for n in 2..=64 {
        add_follower(&scene, &format!("f{n}"), &format!("::1:{n:x}"));
    }
    let one_more = ["--ipv6-suffix", "::9", "--follows", ROUTER];
    let arguments = [&["hostname", "modify", "pc", ZONE][..], &one_more].concat();
    let message = scene.ctl().run(&arguments).exits(1).output();
    assert!(message.contains("at most 64"), "{message}");
    let before = scene.change_messages();
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:1::/64")).has_status(200);
    assert_eq!(scene.change_messages() - before, 1);
    assert_eq!(scene.aaaa("f64"), ["2001:db8:1::1:40"]);
}

#[test]
fn a_prefix_expires_with_the_addresses_made_of_it() {
    let scene = lan_of(Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 1).set("defaults.expiry_ttl", 3)
    }));
    let send = |net: u32| {
        let reply = scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:{net}::/64"));
        reply.has_status(200);
    };
    send(1);
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::5"]);
    eventually_equals(SOON, "nas to expire", &vec![], || scene.aaaa("nas"));
    eventually_equals(SOON, "the prefix to be forgotten", &Value::Null, || {
        shown(&scene, "router")["ipv6_prefix"].clone()
    });
    add_follower(&scene, "late", "::8");
    assert!(scene.aaaa("late").is_empty(), "it is made of a forgotten prefix");
    send(2);
    assert_eq!(
        (scene.aaaa("nas"), scene.aaaa("late")),
        (one("2001:db8:2::5"), one("2001:db8:2::8"))
    );
}

#[test]
fn a_kill_in_the_middle_of_a_change_leaves_all_followers_with_the_new_prefix() {
    let mut scene = lan();
    for n in 0..10 {
        add_follower(&scene, &format!("f{n}"), &format!("::1:{n:x}"));
    }
    let query = |net: u32| format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:{net}::/64");
    scene.update(&query(1)).is(200, "good 192.0.2.1 2001:db8:1::1\n");
    scene.named.pause();
    let server = scene.daemon.address().to_owned();
    let path = format!("/update?{}", query(2));
    let client = std::thread::spawn(move || quick_get(&server, &path, "alice", PASSWORD));
    // stored, and not yet answered by the name server
    eventually(SOON, "the change to be stored", || {
        let shown = shown(&scene, "f9");
        if shown["ipv6"] == "2001:db8:2::1:9" { Ok(()) } else { Err(shown.to_string()) }
    });
    scene.daemon.kill9();
    let reply = client.join().unwrap();
    assert!(reply.is_none_or(|reply| !reply.body.starts_with("good")), "it was answered good");
    scene.named.go_on();
    scene.daemon.start_again();
    for n in 0..10 {
        let label = format!("f{n}");
        let new = vec![format!("2001:db8:2::1:{n:x}")];
        eventually_equals(RECOVERY, "the follower's new address", &new, || scene.aaaa(&label));
    }
    let known = "nochg 192.0.2.1 2001:db8:2::1\n".to_owned();
    eventually_equals(RECOVERY, "all of it to be known", &known, || scene.update(&query(2)).body);
}

#[test]
fn a_name_server_that_is_down_is_dnserr_for_the_leader_and_made_up_for_later() {
    let mut scene = lan();
    scene
        .update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:1::/64"))
        .has_status(200);
    scene.named.stop();
    let query =
        format!("hostname={ROUTER}&myip=192.0.2.1&myip6=2001:db8:1::1&prefix=2001:db8:2::/64");
    // the router's own address stays: only its followers change
    scene.update(&query).is(503, "dnserr\n");
    scene.named.start_again();
    let new = one("2001:db8:2::5");
    eventually_equals(RECOVERY, "the follower's new address", &new, || scene.aaaa("nas"));
    let known = "nochg 192.0.2.1 2001:db8:1::1\n".to_owned();
    eventually_equals(RECOVERY, "all of it to be known", &known, || scene.update(&query).body);
}

#[test]
fn two_leaders_of_one_user_change_at_once_and_each_has_its_own_followers() {
    let scene = lan();
    scene.ctl().add_host("alice", "office", ZONE, &["--ipv6-suffix", "::1"]);
    let follows = ["--ipv6-suffix", "::5", "--follows", "office.dyn.example"];
    scene.ctl().add_host("alice", "files", ZONE, &follows);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    let server = scene.daemon.address();
    std::thread::scope(|threads| {
        for (leader, net) in [("router", "a"), ("office", "b")] {
            threads.spawn(move || {
                for n in 1..=20 {
                    let path = format!(
                        "/update?hostname={leader}.{ZONE}&myip=192.0.2.1&prefix=2001:db8:{net}:{n}::/64"
                    );
                    let reply = quick_get(server, &path, "alice", PASSWORD).expect("a reply");
                    reply.is(200, &format!("good 192.0.2.1 2001:db8:{net}:{n}::1\n"));
                }
            });
        }
    });
    assert_eq!(scene.aaaa("nas"), ["2001:db8:a:20::5"]);
    assert_eq!(scene.aaaa("files"), ["2001:db8:b:20::5"]);
    // one list renews both networks
    scene
        .update(&format!("hostname={ROUTER},office.dyn.example&myip=192.0.2.1&prefix=fd00:1::/64"))
        .is(200, "good 192.0.2.1 fd00:1::1\ngood 192.0.2.1 fd00:1::1\n");
    assert_eq!((scene.aaaa("nas"), scene.aaaa("files")), (one("fd00:1::5"), one("fd00:1::5")));
}

#[test]
fn a_real_ddclient_sends_the_prefix_beside_its_address() {
    let scene = lan_of(Scene::with(|setup| setup.set_top("endpoints", vec![endpoint(PATH, &[])])));
    let simple = "s3cret";
    scene.ctl().add_user_with("carol", simple).ok();
    scene.ctl().add_host("carol", "gate", ZONE, &["--ipv6-suffix", "::1"]);
    let follows = ["--ipv6-suffix", "::5", "--follows", "gate.dyn.example"];
    scene.ctl().add_host("carol", "box", ZONE, &follows);
    let client = Clients::of(&scene.daemon, None, "carol", simple);
    // its own `myip` comes second: the first that is not empty counts
    let script = format!("{PATH}?myip=192.0.2.1%2C2001:db8:1::/64&template=");
    let run = client.ddclient_at(&script, &["gate.dyn.example"], "192.0.2.1", "cache").output();
    assert_eq!(scene.aaaa("box"), ["2001:db8:1::5"], "{run}");
    assert_eq!((scene.a("gate"), scene.aaaa("gate")), (one("192.0.2.1"), one("2001:db8:1::1")));
}

#[test]
fn a_suspended_follower_is_left_alone_and_gets_its_address_when_it_is_resumed() {
    let scene = lan();
    let prefix = |net: u32| {
        scene.update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:{net}::/64"))
    };
    prefix(1).has_status(200);
    scene.ctl().run(&["hostname", "suspend", "nas", ZONE]).ok();
    prefix(2).is(200, "good 192.0.2.1 2001:db8:2::1\n");
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::5"]);
    prefix(2).is(200, "nochg 192.0.2.1 2001:db8:2::1\n");
    scene.ctl().run(&["hostname", "resume", "nas", ZONE]).ok();
    assert_eq!(scene.aaaa("nas"), ["2001:db8:2::5"]);
}

#[test]
fn an_export_and_import_keeps_suffix_leader_and_prefix() {
    let scene = lan();
    scene.update(&format!("hostname={ROUTER}&prefix=2001:db8:1::/64")).has_status(200);
    let file = scene.ctl().run(&["export"]).ok().stdout;
    let empty = Scene::without_hosts(|setup| setup);
    empty.ctl().run_with_input(&["import", "-"], &file).ok();
    for label in ["router", "nas"] {
        let (before, after) = (shown(&scene, label), shown(&empty, label));
        for key in ["ipv6_suffix", "follows", "ipv6_prefix", "ipv6"] {
            assert_eq!(after[key], before[key], "{key} of {label}");
        }
    }
    empty.update(&format!("hostname={ROUTER}&prefix=2001:db8:2::/64")).has_status(200);
    assert_eq!(empty.aaaa("nas"), ["2001:db8:2::5"]);
    let line = format!(
        r#"{{"hostname":"x","zone":"{ZONE}","user":"alice","ipv6_suffix":"::9","follows":"{ROUTER}"}}"#
    );
    empty.ctl().run_with_input(&["import", "-"], &line).ok();
    empty.update(&format!("hostname={ROUTER}&prefix=2001:db8:3::/64")).has_status(200);
    assert_eq!(empty.aaaa("x"), ["2001:db8:3::9"]);
}

#[test]
fn a_leader_that_is_taken_down_takes_its_followers_aaaa_down_and_brings_them_back() {
    let scene = lan();
    add_follower(&scene, "tv", "::7");
    let prefix = |net: u32| {
        scene.update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:{net}::/64"))
    };
    prefix(1).is(200, "good 192.0.2.1 2001:db8:1::1\n");
    scene.update("hostname=nas.dyn.example&myip=192.0.2.5").has_status(200);
    scene.ctl().run(&["hostname", "suspend", "tv", ZONE]).ok();
    // suspended alone, nothing goes
    scene.ctl().run(&["hostname", "suspend", "router", ZONE]).ok();
    assert_eq!((scene.a("router"), scene.aaaa("nas")), (one("192.0.2.1"), one("2001:db8:1::5")));
    scene.ctl().run(&["hostname", "suspend", "router", ZONE, "--take-down"]).ok();
    assert_eq!((scene.a("router"), scene.aaaa("router")), (vec![], vec![]));
    assert_eq!((scene.a("nas"), scene.aaaa("nas")), (one("192.0.2.5"), vec![]));
    assert_eq!(scene.aaaa("tv"), ["2001:db8:1::7"], "it is suspended, and left alone");
    assert_eq!(shown(&scene, "router")["ipv6_prefix"], Value::Null);
    scene.ctl().run(&["hostname", "resume", "router", ZONE]).ok();
    prefix(1).is(200, "good 192.0.2.1 2001:db8:1::1\n");
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::5"]);
}

#[test]
fn a_router_without_an_address_in_ipv6_forgets_its_prefix_with_its_followers() {
    let scene = Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 1).set("defaults.expiry_ttl", 3)
    });
    scene.ctl().add_host("alice", "router", ZONE, &[]);
    for n in 1..=3 {
        add_follower(&scene, &format!("f{n}"), &format!("::{n}"));
    }
    // its A record expires in the sweep in which the followers expire
    scene
        .update(&format!("hostname={ROUTER}&myip=192.0.2.1&prefix=2001:db8:1::/64"))
        .is(200, "good 192.0.2.1\n");
    for n in 1..=3 {
        eventually_equals(SOON, "a follower to expire", &vec![], || scene.aaaa(&format!("f{n}")));
    }
    eventually_equals(SOON, "the router to expire", &vec![], || scene.a("router"));
    assert_eq!(shown(&scene, "router")["ipv6_prefix"], Value::Null);
}

/// The line of a host of an import.
fn line(label: &str, user: &str, suffix: &str, leader: &str) -> String {
    let host = json!({"hostname": label, "zone": ZONE, "user": user, "ipv6_suffix": suffix,
        "follows": format!("{leader}.{ZONE}")});
    format!("{host}\n")
}

#[test]
fn an_import_with_a_bad_leader_or_suffix_is_refused_with_its_line_and_stores_nothing() {
    let scene = lan();
    scene.ctl().add_user("bob");
    let leader = format!("{}\n", json!({"hostname": "late", "zone": ZONE, "user": "alice"}));
    let many: String =
        (1..=65).map(|n| line(&format!("m{n}"), "alice", &format!("::{n:x}"), "late")).collect();
    let more: String =
        (2..=65).map(|n| line(&format!("m{n}"), "alice", &format!("::{n:x}"), "router")).collect();
    let good = json!({"hostname": "good", "zone": ZONE, "user": "alice"});
    let refused = |lines: &str, at: usize, why: &str| {
        // a good line beside them is not stored either
        let run = scene.ctl().run_with_input(&["import", "-"], &format!("{good}\n{lines}"));
        let message = run.exits(1).output();
        assert!(message.contains(why), "{message}");
        assert!(message.contains(&format!("line {}", at + 1)), "not line {}: {message}", at + 1);
        let mut hosts: Vec<_> = scene.ctl().hosts().into_iter().map(|host| host.fqdn).collect();
        hosts.sort();
        assert_eq!(hosts, ["nas.dyn.example", "pc.dyn.example", ROUTER], "after {why}");
    };
    let follower = line("x", "alice", "::9", "late");
    refused(&format!("{follower}{leader}"), 1, "put that line before this one");
    refused(&line("x", "alice", "::9", "ghost"), 1, "neither before it");
    refused(&line("x", "alice", "::9", "x"), 1, "cannot follow itself");
    // a chain in the file, and one that begins in the database
    let chain = format!("{leader}{follower}{}", line("y", "alice", "::a", "x"));
    refused(&chain, 3, "follows a host itself");
    refused(&line("x", "alice", "::9", "nas"), 1, "follows a host itself");
    // another user's, in the file and in the database
    refused(&format!("{leader}{}", line("x", "bob", "::9", "late")), 2, "belongs to user alice");
    refused(&line("x", "bob", "::9", "router"), 1, "another user");
    refused(&format!("{leader}{many}"), 66, "more than 64 hosts");
    // nas follows the router already
    refused(&more, 64, "at most 64 hosts");
    for (suffix, why) in [
        ("pc", "is no IPv6 address"),
        ("192.0.2.1", "IPv4"),
        ("fe80::1%eth0", "zone index"),
        ("2001:db8::1", "begins with the prefix"),
        ("mac:00:11:22:33:44", "six bytes"),
    ] {
        refused(&line("x", "alice", suffix, "router"), 1, why);
    }
    let without = line("x", "alice", "::9", "router").replace("\"ipv6_suffix\":\"::9\",", "");
    refused(&without, 1, "needs an ipv6_suffix");
    assert_eq!(shown(&scene, "nas")["follows"], ROUTER);
}
