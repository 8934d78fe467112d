//! HTTP below the return codes, where it takes more than a row of `contract/bytes.rs`.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, basic, raw, read_all};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

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
    // each request of a kept connection may have as many, whatever came before
    let head = |lines: usize, last: &str| {
        let lines = "a:\r\n".repeat(lines);
        format!("GET /update HTTP/1.1\r\nHost: x\r\n{last}{lines}\r\n")
    };
    let mut connection = TcpStream::connect(scene.daemon.address()).unwrap();
    for (lines, last) in
        [(1, ""), (250, ""), (2, ""), (98, ""), (99, ""), (250, "Connection: close\r\n")]
    {
        connection.write_all(head(lines, last).as_bytes()).unwrap();
    }
    let received = read_all(connection).expect("answers");
    assert_eq!(received.matches("HTTP/1.1 401").count(), 6, "{received}");
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
fn a_kept_connection_is_closed_after_the_request_time_out() {
    let scene = Scene::with(|setup| {
        setup.set("daemon.request_timeout", 2).set("dns_service.dns_timeout", 1)
    });
    let start = Instant::now();
    let ask = |mut connection: &TcpStream, next: &str| {
        write!(connection, "GET /update HTTP/1.1\r\nHost: x\r\n\r\n{next}").unwrap();
    };
    let connections = ["", "GET /upd", "GET /update HTTP/1.1\r\nX-Half: "].map(|next| {
        let connection = TcpStream::connect(scene.daemon.address()).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        ask(&connection, "");
        (connection, next)
    });
    // the time counts from the last request
    std::thread::sleep(Duration::from_secs(1));
    for (connection, next) in &connections {
        ask(connection, next);
    }
    for (connection, next) in connections {
        let received = read_all(connection).expect("answers and the end");
        assert_eq!(received.matches("badauth\n").count(), 2, "{next:?}: {received}");
        let kept = start.elapsed();
        assert!((Duration::from_secs(3)..Duration::from_secs(9)).contains(&kept), "{kept:?}");
    }
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

    let kept = format!("GET /update?{QUERY} HTTP/1.1\r\nHost: x\r\n{login}\r\n\r\n");
    let form = format!(
        "POST /update HTTP/1.1\r\nHost: x\r\n{login}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{QUERY}",
        QUERY.len()
    );
    let raw_query = format!("GET /update?{QUERY}&prefix=<ip6lanprefix> {end}");
    for earlier in ["", &kept, &form] {
        let replies = on_one_connection(&scene, &[earlier, &raw_query]);
        let last = replies.last().expect("a reply").clone();
        last.is(200, "nochg 192.0.2.1\n");
    }
    let refusals = [
        (format!("GET %2fnic%2fupdate%3fhostname%3dh {end}"), "the target is no path"),
        (format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / {end}"), "the PROXY protocol"),
        ("\x16\x03\x01\0\x05hello".to_owned(), "this port takes plain HTTP"),
        (format!("GET / {end}").replace("Host: x", "Ho st: x"), "the request is malformed"),
        ("GET / HTTP/1.1\r\nHost:".to_owned(), "the connection ended within the head"),
    ];
    let mut expected = Vec::new();
    for (request, reason) in &refusals {
        for earlier in [&[][..], &[&*kept], &[&*form], &[&*form, &*kept]] {
            let sent = [earlier, &[request]].concat();
            let together = sent.concat();
            // one after the other, and pipelined
            for sent in [&sent[..], &[&together]] {
                let replies = on_one_connection(&scene, sent);
                assert_eq!(replies.len(), earlier.len() + 1, "{sent:?}: {replies:?}");
                let [earlier @ .., refused] = &replies[..] else { panic!("{sent:?}") };
                assert!(earlier.iter().all(|reply| reply.status == 200), "{sent:?}: {replies:?}");
                let refused = refused.clone().has_status(400);
                assert!(refused.body.starts_with(reason), "{sent:?}: {refused}");
                assert_eq!(refused.header("connection"), Some("close"), "{refused}");
                expected.push(*reason);
            }
        }
    }
    let log = scene.daemon.log();
    let refused = log.lines().filter(|line| line.contains("status=400"));
    let logged: Vec<_> = refused.filter(|line| line.contains("client=127.0.0.1")).collect();
    assert_eq!(logged.len(), expected.len(), "{log}");
    for (line, reason) in logged.iter().zip(expected) {
        assert!(line.contains(reason), "{reason}: {line}");
    }
}

/// Sends requests on one connection, each after the reply to the one before it, and closes its
/// half. Returns all replies.
fn on_one_connection(scene: &Scene, requests: &[&str]) -> Vec<Reply> {
    let mut stream = TcpStream::connect(scene.daemon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut received = Vec::new();
    let (last, earlier) = requests.split_last().expect("a request");
    for request in earlier.iter().filter(|request| !request.is_empty()) {
        stream.write_all(request.as_bytes()).unwrap();
        while !received.ends_with(b"192.0.2.1\n") {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).expect("a reply in time");
            assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..length]);
        }
        received.push(b'\n');
    }
    stream.write_all(last.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    received.extend(read_all(stream).expect("replies until the end").bytes());
    let text = String::from_utf8(received).unwrap();
    let replies = text.split("HTTP/1.1 ").skip(1);
    let reply = |text: &str| Reply::parse(&format!("HTTP/1.1 {}\n", text.trim_end_matches('\n')));
    replies.map(|text| reply(text).unwrap_or_else(|| panic!("{text:?}"))).collect()
}
