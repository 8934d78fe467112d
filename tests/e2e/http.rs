//! The protocol below the words: methods, paths, forms, old clients, sizes.

use crate::Scene;
use base64::Engine as _;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, raw};

const QUERY: &str = "hostname=pc.dyn.example&myip=192.0.2.1";

#[test]
fn only_get_and_post_update() {
    let scene = Scene::new();
    let path = format!("/update?{QUERY}");
    let head = scene.daemon.get(&path).user("alice", PASSWORD).with(&["-I"]).send().has_status(405);
    assert!(head.header("allow").is_some_and(|allow| allow.contains("GET")), "{head}");
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = scene.daemon.get(&path).user("alice", PASSWORD).with(&["-X", method]);
        let reply = request.send().has_status(405);
        assert!(
            reply.header("allow").is_some_and(|allow| allow.contains("POST")),
            "{method}: {reply}"
        );
    }
    assert_eq!(scene.a("pc"), Vec::<String>::new(), "no other method updates");
}

#[test]
fn a_form_works_like_a_query_and_the_query_wins() {
    let scene = Scene::new();
    let post = |path: &str, form: &str| {
        scene.daemon.get(path).user("alice", PASSWORD).with(&["--data", form]).send()
    };
    post("/update", QUERY).is(200, "good 192.0.2.1\n");
    post("/update?myip=192.0.2.2", QUERY).is(200, "good 192.0.2.2\n");
    let odd = scene.daemon.get("/update").user("alice", PASSWORD);
    odd.with(&["--data", "{}"]).header("Content-Type: application/json").send().has_status(415);
}

#[test]
fn paths_are_forgiving_about_slashes_and_nothing_else() {
    let scene = Scene::new();
    for path in ["/update/", "//update", "//update///"] {
        let request = scene.daemon.get(&format!("{path}?{QUERY}")).with(&["--path-as-is"]);
        let reply = request.user("alice", PASSWORD).send();
        assert_eq!(reply.status, 200, "{path}: {reply}");
    }
    for path in ["/", "/nic/update", "/Update", "/update/x", "/updates"] {
        let reply = scene.daemon.get(&format!("{path}?{QUERY}")).user("alice", PASSWORD).send();
        reply.has_status(404);
    }
}

#[test]
fn configured_endpoints_replace_the_default_one() {
    let endpoint = |path: &str, hostnames: &[&str]| {
        let names = hostnames.iter().map(|name| toml::Value::from(*name)).collect::<Vec<_>>();
        let params = toml::Table::from_iter([("hostname".to_owned(), toml::Value::from(names))]);
        toml::Table::from_iter([
            ("path".to_owned(), toml::Value::from(path)),
            ("params".to_owned(), toml::Value::from(params)),
        ])
    };
    let endpoints = vec![endpoint("/nic/update", &["hostname"]), endpoint("/duck", &["domains"])];
    let scene = Scene::with(|setup| setup.set_top("endpoints", endpoints));
    scene.daemon.get("/update").user("alice", PASSWORD).send().has_status(404);
    let ask = |path: &str| scene.daemon.get(path).user("alice", PASSWORD).send();
    ask(&format!("/nic/update?{QUERY}")).is(200, "good 192.0.2.1\n");
    ask("/duck?domains=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    ask(&format!("/duck?{QUERY}")).is(200, "notfqdn\n");
}

#[test]
fn a_client_of_http_1_0_is_answered_and_the_connection_closed() {
    let scene = Scene::new();
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("alice:{PASSWORD}"));
    for (asks, answer) in [("", "good"), ("Connection: keep-alive\r\n", "nochg")] {
        let request = format!(
            "GET /update?{QUERY} HTTP/1.0\r\n{asks}Authorization: Basic {credentials}\r\n\r\n"
        );
        let start = std::time::Instant::now();
        let said = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        assert!(start.elapsed().as_secs() < 5, "the connection was kept open after {asks:?}");
        let reply = Reply::parse(&said).expect("a reply");
        let reply = reply.is(200, &format!("{answer} 192.0.2.1\n"));
        assert_eq!(reply.header("connection"), Some("close"), "after {asks:?}: {reply}");
    }
}

#[test]
fn what_is_too_long_or_no_http_is_refused_and_hurts_nobody() {
    let scene = Scene::new();
    let long = "x".repeat(9 * 1024);
    scene
        .daemon
        .get(&format!("/update?{QUERY}&url={long}"))
        .user("alice", PASSWORD)
        .send()
        .has_status(414);
    let headers = format!("X-Long: {}", "x".repeat(20 * 1024));
    let reply = scene.daemon.get(&format!("/update?{QUERY}")).header(&headers).send();
    assert_eq!(reply.status, 431, "{reply}");
    let _ = raw(scene.daemon.address(), b"\x16\x03\x01\x02\x00nonsense\r\n\r\n");
    scene.update(QUERY).is(200, "good 192.0.2.1\n");
}

#[test]
fn a_head_within_16_kib_may_have_250_short_lines() {
    let scene = Scene::new();
    let ask = |lines: usize| {
        let lines = "a:\r\n".repeat(lines);
        let request =
            format!("GET /update HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
        let said = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        Reply::parse(&said).expect("a reply")
    };
    for fits in [64, 100, 101, 250] {
        ask(fits).is(401, "badauth\n");
    }
    assert_eq!(ask(600).status, 431);
}

#[test]
fn a_client_that_says_nothing_is_dropped_after_the_request_time_out() {
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
        let said = raw(scene.daemon.address(), request.as_bytes()).expect("an answer");
        Reply::parse(&said).unwrap_or_else(|| panic!("{line}: {said:?}")).has_status(404);
    }
    assert!(!scene.daemon.said().contains("panicked"), "{}", scene.daemon.said());
}
