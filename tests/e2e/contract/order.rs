//! The order of checks, and what each reply counts as. Each row is a client of its own by a trusted
//! proxy's header, with the limits at their defaults: 5 good and 3 bad requests a minute.

use super::JSON;
use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, ask, basic, lines};
use std::cell::Cell;

fn limited() -> Scene {
    Scene::with(|setup| {
        setup
            .without("rate_limit.enabled")
            .set("daemon.proxy_header", "X-Real-IP")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    })
}

/// Clients, each with an address of its own.
struct Clients<'a> {
    scene: &'a Scene,
    next: Cell<u16>,
}

struct Client<'a> {
    scene: &'a Scene,
    line: String,
}

impl Clients<'_> {
    fn another(&self) -> Client<'_> {
        let number = self.next.replace(self.next.get() + 1);
        let line = format!("X-Real-IP: 203.0.{}.{}", number / 200, 1 + number % 200);
        Client { scene: self.scene, line }
    }
}

const NO_CREDENTIALS: &str = "X-No-Credentials: 1";
const KNOWN: &str = "hostname=pc.dyn.example&myip=192.0.2.1";

impl Client<'_> {
    #[track_caller]
    fn get(&self, query: &str, credentials: &str) -> Reply {
        let request = format!("GET /update?{query}");
        ask(self.scene.daemon.address(), lines(&request, &[&self.line, credentials], ""))
    }

    #[track_caller]
    fn code(&self, query: &str, credentials: &str) -> String {
        self.get(query, credentials).body.split([' ', '\n']).next().unwrap().to_owned()
    }
}

#[test]
fn checks_run_in_the_documented_order() {
    let scene = limited();
    let clients = Clients { scene: &scene, next: Cell::new(0) };
    let (right, wrong) = (basic("alice", PASSWORD), basic("alice", "wrong"));
    let many = format!("hostname={}&myip=no", vec!["x"; 21].join(","));

    let over_bad = clients.another();
    for n in 1..=3 {
        assert_eq!(over_bad.code(KNOWN, &basic("alice", &format!("wrong {n}"))), "badauth");
    }
    // none given, whatever the limits say; then the bad limit; then the password
    assert_eq!(over_bad.code(KNOWN, NO_CREDENTIALS), "badauth");
    assert_eq!(over_bad.get(KNOWN, NO_CREDENTIALS).status, 401);
    assert_eq!(over_bad.code(KNOWN, &right), "abuse");
    assert_eq!(over_bad.code(KNOWN, &wrong), "abuse");
    assert_eq!(over_bad.code(KNOWN, "Authorization: Basic !"), "abuse");

    let over_good = clients.another();
    for _ in 0..5 {
        over_good.get(KNOWN, &right).has_status(200);
    }
    // the password, then the good limit, then hosts and addresses
    assert_eq!(over_good.code(KNOWN, &wrong), "badauth");
    for query in [KNOWN, "hostname=ghost.dyn.example", "", &many, "hostname=pc.dyn.example&myip=no"]
    {
        assert_eq!(over_good.code(query, &right), "abuse", "{query}");
    }
    assert_eq!(over_good.code(KNOWN, NO_CREDENTIALS), "badauth");

    // hosts, then addresses
    for (query, code) in [
        ("hostname=ghost.dyn.example&myip=no", "nohost"),
        ("hostname=x&myip=no", "notfqdn"),
        ("myip=no", "notfqdn"),
        (&many, "numhost"),
        ("hostname=pc.dyn.example&myip=no", "badip"),
        ("hostname=ghost.dyn.example,pc.dyn.example&myip=no", "nohost"),
    ] {
        assert_eq!(clients.another().code(query, &right), code, "{query}");
        assert_eq!(clients.another().code(query, &wrong), "badauth", "{query}");
        assert_eq!(clients.another().code(query, NO_CREDENTIALS), "badauth", "{query}");
    }
}

#[test]
fn each_return_code_counts_toward_its_limit() {
    let mut scene = limited();
    scene.add_hosts(&["two"]);
    scene.ctl().add_host("alice", "far", "other.example", &[]);
    scene.update(KNOWN).has_status(200);
    scene.named.stop();
    let scene = scene;
    let clients = Clients { scene: &scene, next: Cell::new(0) };
    let right = basic("alice", PASSWORD);
    // the query, its first code, and how often it is answered before `abuse`
    for (query, code, often) in [
        ("hostname=pc.dyn.example&myip=no", "badip", 5),
        ("hostname=far.other.example&myip=192.0.2.1", "dnserr", 5),
        ("hostname=ghost.dyn.example", "nohost", 3),
        ("hostname=x", "notfqdn", 3),
        ("", "notfqdn", 3),
        (&format!("hostname={}", vec!["x"; 21].join(",")), "numhost", 3),
        ("hostname=x,ghost.dyn.example", "notfqdn", 3),
        ("hostname=far.other.example,ghost.dyn.example&myip=192.0.2.1", "dnserr", 5),
        ("hostname=ghost.dyn.example,far.other.example&myip=192.0.2.1", "nohost", 3),
    ] {
        let client = clients.another();
        for n in 1..=often {
            assert_eq!(client.code(query, &right), code, "{query}, time {n}");
        }
        let refused = client.get(query, &right).is(503, "abuse\n").retry_after();
        assert!((1..=60).contains(&refused), "{query}: {refused}");
    }
    // what was given as credentials counts, whatever it is
    for (query, credentials) in [
        (KNOWN, "Authorization: Basic %%%"),
        (KNOWN, "Authorization: Basic /////w=="),
        (&format!("{KNOWN}&user=alice"), NO_CREDENTIALS),
        (&format!("{KNOWN}&user=no%0Aname&pass=x"), NO_CREDENTIALS),
    ] {
        let client = clients.another();
        for n in 1..=3 {
            assert_eq!(client.code(query, credentials), "badauth", "{query}, time {n}");
        }
        assert_eq!(client.code(query, credentials), "abuse", "{query} {credentials}");
        assert_eq!(
            client.code(KNOWN, NO_CREDENTIALS),
            "badauth",
            "none given, whatever the limits say"
        );
    }
    // a request without credentials counts toward no limit
    let client = clients.another();
    for _ in 0..20 {
        client.get(KNOWN, NO_CREDENTIALS).is(401, "badauth\n");
    }
    assert_eq!(client.code("hostname=pc.dyn.example&myip=no", &right), "badip");
}

#[test]
fn a_list_is_one_request_and_counts_as_good_if_any_line_is() {
    let scene = limited();
    let clients = Clients { scene: &scene, next: Cell::new(0) };
    let right = basic("alice", PASSWORD);
    let list = "hostname=ghost.dyn.example,pc.dyn.example,x,ghost.dyn.example&myip=192.0.2.1";
    let client = clients.another();
    for n in 1..=5 {
        assert_eq!(client.code(list, &right), "nohost", "time {n}");
    }
    assert_eq!(client.code(list, &right), "abuse");
    // good and bad ones are counted apart
    let client = clients.another();
    for _ in 0..2 {
        assert_eq!(client.code("hostname=x", &right), "notfqdn");
        assert_eq!(client.code(KNOWN, &right), "nochg");
    }
    assert_eq!(client.code("hostname=x", &right), "notfqdn");
    assert_eq!(client.code(KNOWN, &right), "abuse", "over the bad limit, all is refused");
}

#[test]
fn addresses_of_one_64_bit_prefix_are_one_client_and_ipv4_neighbours_are_not() {
    let scene = limited();
    let right = basic("alice", PASSWORD);
    let from = |address: &str| {
        let header = format!("X-Real-IP: {address}");
        let request = "GET /update?hostname=x";
        ask(scene.daemon.address(), lines(request, &[&header, &right, JSON], "")).status
    };
    for last in [":1", "ffff:ffff:ffff:ffff", ":abcd"] {
        assert_eq!(from(&format!("2001:db8:0:1:{last}")), 400);
    }
    assert_eq!(from("2001:db8:0:1::9"), 429);
    assert_eq!(from("2001:db8:0:2::9"), 400);
    for last in 1..=4 {
        assert_eq!(from(&format!("198.51.100.{last}")), 400);
    }
}
