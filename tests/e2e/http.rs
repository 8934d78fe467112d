//! HTTP below the return codes, where it takes more than a row of `contract/bytes.rs`.

use crate::Scene;
use ddnsd_tests::http::{Reply, raw};

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
