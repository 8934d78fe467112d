//! HTTP below the return codes, where it takes more than a row of `contract/bytes.rs`.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, basic, raw};

const QUERY: &str = "hostname=pc.dyn.example&myip=192.0.2.1";

#[test]
fn a_head_within_16_kib_may_have_250_short_lines() {
    let scene = Scene::new();
    let ask = |lines: usize| {
        let lines = "a:\r\n".repeat(lines);
        let request =
            format!("GET /update HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
        let received = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        Reply::parse(&received).expect("a reply")
    };
    for fits in [64, 100, 101, 250] {
        ask(fits).is(401, "badauth\n");
    }
    assert_eq!(ask(600).status, 431);
}

#[test]
fn a_client_that_sends_no_request_is_closed_after_the_request_time_out() {
    let scene = Scene::with(|setup| {
        setup.set("daemon.request_timeout", 2).set("dns_service.dns_timeout", 1)
    });
    for start in ["", "GET /upd", "GET /update HTTP/1.1\r\nX-Half: "] {
        let end = raw(scene.daemon.address(), start.as_bytes());
        let kept = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!kept, "still open after 30 s: {start:?}");
    }
    scene.update(QUERY).is(200, "good 192.0.2.1\n");
}

#[test]
fn a_request_without_a_path_is_not_found_and_breaks_nothing() {
    let scene = Scene::new();
    for line in ["CONNECT example.org:443", "GET example.org", "GET pc.dyn.example:80", "OPTIONS *"]
    {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let received = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        Reply::parse(&received).unwrap_or_else(|| panic!("{line}: {received:?}")).has_status(404);
    }
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
}

#[test]
fn a_request_that_hyper_would_refuse_is_served_or_refused_with_the_reason_and_a_line() {
    let scene = Scene::with(|setup| setup.set("daemon.log_requests", true));
    let ask = |request: &str| {
        let received = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        Reply::parse(&received).unwrap_or_else(|| panic!("{request:?}: {received:?}"))
    };
    let login = basic("alice", PASSWORD);
    let end = format!("HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}\r\n\r\n");
    // raw characters of the query, and a folded header line
    for (query, body) in [
        ("&ip6lanprefix=<ip6lanprefix>", "good 192.0.2.1\n"),
        ("&url=\"x\"&mx=a b", "nochg 192.0.2.1\n"),
    ] {
        ask(&format!("GET /update?{QUERY}{query} {end}")).is(200, body);
    }
    let folded = end.replace("Host: x", "Host: x\r\nX-Long: one\r\n two");
    ask(&format!("GET /update?{QUERY} {folded}")).is(200, "nochg 192.0.2.1\n");

    for (request, reason) in [
        (format!("GET %2fnic%2fupdate%3fhostname%3dh {end}"), "the target is no path"),
        (format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / {end}"), "the PROXY protocol"),
        ("\x16\x03\x01\0\x05hello".to_owned(), "this port takes plain HTTP"),
        (format!("GET / {end}").replace("Host: x", "Ho st: x"), "the request is malformed"),
    ] {
        let reply = ask(&request).has_status(400);
        assert!(reply.body.starts_with(reason), "{request:?}: {:?}", reply.body);
        let log = scene.daemon.log();
        let line = log.lines().find(|line| line.contains(reason));
        assert!(line.is_some_and(|line| line.contains("status=400")), "{request:?}: {log}");
    }
}
