//! Whose address it is, behind proxies: each header as bytes, several lines of it, and peers that
//! have IPv4 addresses on an IPv6 socket.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{ask, basic, lines};

const TRUSTED: [&str; 4] = ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"];

/// Each row: header lines, and the address that is published for them; none is `badip`.
#[track_caller]
fn check(header: &str, rows: &[(&[&str], Option<&str>)]) {
    let scene = Scene::with(|setup| {
        setup.set("daemon.proxy_header", header).set("daemon.trusted_proxies", TRUSTED.to_vec())
    });
    let alice = basic("alice", PASSWORD);
    for (values, published) in rows {
        let sent: Vec<_> = values.iter().map(|value| format!("{header}: {value}")).collect();
        let mut headers = vec![alice.as_str()];
        headers.extend(sent.iter().map(String::as_str));
        let offline = "hostname=pc.dyn.example&offline=YES";
        scene.get(offline, &[]).has_status(200);
        let request = lines("GET /update?hostname=pc.dyn.example", &headers, "");
        let expected = published.map_or("badip\n".to_owned(), |is| format!("good {is}\n"));
        let reply = ask(scene.daemon.address(), &request);
        assert_eq!((reply.status, reply.body), (200, expected), "{request}");
    }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_over_all_its_lines() {
    check(
        "X-Forwarded-For",
        &[
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            (&["6.6.6.6,192.0.2.1,10.1.2.3"], Some("192.0.2.1")),
            (&["6.6.6.6", "192.0.2.1"], Some("192.0.2.1")),
            (&["6.6.6.6, 192.0.2.1", "10.0.0.1", "fd00::5"], Some("192.0.2.1")),
            (&["192.0.2.1:4711"], Some("192.0.2.1")),
            (&["[2001:db8::1]"], Some("2001:db8::1")),
            (&["[2001:db8::1]:4711, [fd00::1]:80"], Some("2001:db8::1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1")),
            (&["6.6.6.6, ::ffff:10.0.0.1"], Some("6.6.6.6")),
            // all are trusted: the leftmost
            (&["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            (&["10.0.0.3", "10.0.0.2"], Some("10.0.0.3")),
            // junk: the search stops at the last good one
            (&["192.0.2.1, junk, 10.0.0.2"], Some("10.0.0.2")),
            (&["192.0.2.1", "unknown", "10.0.0.2"], Some("10.0.0.2")),
            (&["192.0.2.1, ä, 10.0.0.2"], Some("10.0.0.2")),
            // junk to the left, sent by the client, does not hide its address
            (&["junk, 192.0.2.1"], Some("192.0.2.1")),
            (&["ä\"\\, 192.0.2.1"], Some("192.0.2.1")),
            (&["ä", "192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1, junk"], None),
            // empty elements are ignored
            (&["192.0.2.1, , 10.0.0.2"], Some("192.0.2.1")),
            (&["192.0.2.1,"], Some("192.0.2.1")),
            (&["192.0.2.1", ""], Some("192.0.2.1")),
            (&[","], None),
            // unreachable addresses are rejected; loopback is where ddnsd itself runs
            (&["0.0.0.0"], None),
            (&["::"], None),
            (&["224.1.1.1"], None),
            (&["255.255.255.255"], None),
            (&["fe80::1"], None),
            (&["127.0.0.1"], Some("127.0.0.1")),
            (&["junk"], None),
            (&["192.0.2.1:99999"], None),
            (&["192.0.2.1 10.0.0.2"], None),
            (&["localhost"], None),
            (&[""], None),
            (&[], None),
        ],
    );
}

#[test]
fn forwarded_is_read_with_quotes_and_parameters() {
    check(
        "Forwarded",
        &[
            (&["for=192.0.2.1"], Some("192.0.2.1")),
            (&["For=192.0.2.1;proto=https;by=10.0.0.1"], Some("192.0.2.1")),
            (&["proto=https; for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=\"192.0.2.1:4711\""], Some("192.0.2.1")),
            (&["for=\"[2001:db8::1]:4711\""], Some("2001:db8::1")),
            (&["for=\"192.0.2.1:_x\", for=\"10.0.0.1:_x\""], Some("192.0.2.1")),
            (&["for=\"[2001:db8::1]\";host=\"a,b;for=6.6.6.6\""], Some("2001:db8::1")),
            (&["for=::1"], Some("::1")),
            (&["host=\"x;for=6.6.6.6\";for=192.0.2.1"], Some("192.0.2.1")),
            // a quote that the client opens does not swallow what the proxy adds
            (&["for=\", for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=\"", "for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=6.6.6.6, for=192.0.2.1, for=10.0.0.1"], Some("192.0.2.1")),
            (&["for=6.6.6.6", "for=192.0.2.1", "for=10.0.0.1"], Some("192.0.2.1")),
            (&["for=192.0.2.1, for=_hidden, for=10.0.0.1"], Some("10.0.0.1")),
            (&["for=192.0.2.1, for=unknown"], None),
            (&["for=192.0.2.1, proto=https"], None),
            (&["192.0.2.1"], None),
        ],
    );
}

#[test]
fn x_real_ip_is_one_address() {
    check(
        "X-Real-IP",
        &[
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["6.6.6.6", "192.0.2.1"], Some("192.0.2.1")),
            (&["-"], None),
        ],
    );
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_sends_and_mapped_peers_are_ipv4() {
    let trusting = |networks: Vec<&'static str>| {
        Scene::with(|setup| {
            setup
                .set("daemon.host", "::")
                .set("daemon.proxy_header", "X-Forwarded-For")
                .set("daemon.trusted_proxies", networks)
        })
    };
    let alice = basic("alice", PASSWORD);
    let update = |scene: &Scene| {
        let port = scene.daemon.address().rsplit(':').next().unwrap();
        let headers = [alice.as_str(), "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.2"];
        let request = lines("GET /update?hostname=pc.dyn.example", &headers, "");
        ask(&format!("127.0.0.1:{port}"), request)
    };
    // the peer is ::ffff:127.0.0.1 on the socket of both families
    update(&trusting(vec!["127.0.0.0/8"])).is(200, "good 192.0.2.1\n");
    update(&trusting(vec!["10.0.0.0/8", "::1"])).is(200, "good 127.0.0.1\n");
    update(&trusting(vec!["::/0"])).is(200, "good 127.0.0.1\n");
}

#[test]
fn addresses_in_the_request_override_the_proxys_header() {
    let scene = Scene::with(|setup| {
        setup
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    });
    let query = "hostname=pc.dyn.example&myip=192.0.2.7";
    scene.get(query, &["X-Forwarded-For: 6.6.6.6"]).is(200, "good 192.0.2.7\n");
    scene.get(query, &[]).is(200, "nochg 192.0.2.7\n");
    // only the other family is given: the client's own is left alone
    scene
        .get("hostname=pc.dyn.example&myip6=2001:db8::7", &["X-Forwarded-For: 6.6.6.6"])
        .is(200, "good 2001:db8::7\n");
    assert_eq!(scene.a("pc"), ["192.0.2.7"]);
}
