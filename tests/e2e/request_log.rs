//! The request log: one line per request, with parsed fields only.

use crate::Scene;
use crate::tls::{install, secure, with_tls};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{ask, basic, lines};
use std::net::UdpSocket;
use std::time::Duration;

fn logging() -> Scene {
    Scene::with(|setup| {
        setup
            .set("daemon.log_requests", true)
            .set("daemon.request_timeout", 2)
            .set("dns_service.dns_timeout", 1)
    })
}

/// The end of the line of the request for this path, from `client=` on.
#[track_caller]
fn line(scene: &Scene, path: &str) -> String {
    let part = format!("path={path:?}");
    eventually(Duration::from_secs(10), &format!("a line of {path}"), || {
        let log = scene.daemon.log();
        let line = log.lines().find(|line| line.contains(&part)).ok_or(log.clone())?;
        let (start, end) = line.split_once(" request client=").ok_or(line)?;
        if start.ends_with("INFO ") { Ok(end.to_owned()) } else { Err(line.to_owned()) }
    })
}

#[test]
fn an_update_is_logged_with_its_fields_and_never_with_its_query() {
    let scene = logging();
    let query = "hostname=pc.dyn.example&myip=192.0.2.1&user=alice&password=hunter2&x=in%0Aject";
    ask(scene.daemon.address(), lines(&format!("GET //update/?{query}"), &[], "")).has_status(401);
    let line = line(&scene, "//update/");
    let fields = r#"127.0.0.1 method=GET path="//update/" user="alice" hosts="pc.dyn.example" addresses="192.0.2.1" word="badauth" status=401 ms="#;
    assert!(line.starts_with(fields), "{line}");
    let log = scene.daemon.log();
    for secret in ["hunter2", "password=", "in\nject", "in%0Aject", "inject"] {
        assert!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
}

#[test]
fn requests_rejected_before_they_are_read_are_logged_too() {
    let scene = logging();
    let alice = basic("alice", PASSWORD);
    let (form, json) =
        ("Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json");
    for (request, kind, body, status) in [
        ("PUT /update/", form, "", 405),
        ("POST //update", json, "{}", 415),
        ("POST /update//", form, &"x".repeat(17 * 1024), 413),
        (&format!("GET ///update?{}", "x".repeat(8193)), form, "", 414),
    ] {
        ask(scene.daemon.address(), lines(request, &[&alice, kind], body)).has_status(status);
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let expected = format!("127.0.0.1 method={method} path={path:?} status={status} reason=");
        assert!(line(&scene, path).starts_with(&expected), "{expected}");
    }
    assert!(!scene.daemon.log().contains("hunter2"), "{}", scene.daemon.log());
    // the rest of the body is never sent
    let half = "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nmyip";
    ask(scene.daemon.address(), half).has_status(408);
    let expected = r#"127.0.0.1 method=POST path="/update" status=408 reason="#;
    assert!(line(&scene, "/update").starts_with(expected), "{}", line(&scene, "/update"));
}

#[test]
fn of_an_unknown_path_only_parts_that_cannot_be_a_token_are_logged() {
    let scene = logging();
    for (path, shown) in [
        ("/update/hunter2/hunter2?x=hunter2", "/update/…"),
        ("//update//hunter2", "/update/…"),
        ("/nic/update?password=hunter2", "/nic/update"),
        ("/nic/update/hunter2", "/nic/update/…"),
        ("/hunter2/update", "/…"),
        ("/", "/"),
    ] {
        let before = scene.daemon.log().len();
        ask(scene.daemon.address(), lines(&format!("GET {path}"), &[], "")).has_status(404);
        let expected = format!(
            r#"request client=127.0.0.1 method=GET path={shown:?} status=404 reason="there is nothing here""#
        );
        eventually(Duration::from_secs(10), &format!("the line of {path}"), || {
            let log = scene.daemon.log();
            let is_there = log[before..].lines().any(|line| line.ends_with(&expected));
            if is_there { Ok(()) } else { Err(log) }
        });
    }
    assert!(!scene.daemon.log().contains("hunter2"), "{}", scene.daemon.log());
}

#[test]
fn the_log_contains_no_credentials_at_any_level() {
    let authority = Authority::new();
    let scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        with_tls(setup).set("daemon.log_requests", true).set("daemon.log_level", "DEBUG")
    });
    let query = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
    let secure = |path: &str| secure(&scene.daemon, &authority, "ddns.example", path);
    let escaped = "correct%20horse%3a+battery";
    for version in ["--http1.1", "--http2"] {
        secure(query).user("alice", PASSWORD).with(&[version]).send().has_status(200);
        secure(query).user("alice", "wrong horse").with(&[version]).send().has_status(401);
        let by_name = format!("{query}&user=alice&pass={escaped}");
        secure(&by_name).with(&[version]).send().has_status(200);
        secure("/update/pc/horse-token").with(&[version]).send().has_status(404);
        secure(query).header("Authorization: Bearer horse-token").with(&[version]).send();
    }
    let log = scene.daemon.log();
    let token = |password: &str| {
        let header = basic("alice", password);
        header.rsplit(' ').next().unwrap().trim_end_matches('=').to_owned()
    };
    for secret in ["horse", &token(PASSWORD), &token("wrong horse")] {
        assert!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
}

#[test]
fn a_client_that_disconnects_has_its_line() {
    // a name server that never answers keeps the request in progress
    let unanswering = UdpSocket::bind("127.0.0.1:0").unwrap();
    unanswering.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = i64::from(unanswering.local_addr().unwrap().port());
    let authority = Authority::new();
    let scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        let setup = with_tls(setup).set("daemon.log_requests", true);
        let setup = setup.set("dns_service.dns_port", port).set("daemon.request_timeout", 30);
        setup.set("dns_service.dns_timeout", 20)
    });
    let path = "//update?hostname=pc.dyn.example&myip=192.0.2.1";
    let request = secure(&scene.daemon, &authority, "ddns.example", path);
    request.user("alice", PASSWORD).with(&["--http2"]).hang_up_after(1);
    unanswering.recv(&mut [0; 512]).expect("the update was sent");
    let line = line(&scene, "//update");
    let fields = r#"127.0.0.1 method=GET path="//update" user="alice" hosts="pc.dyn.example" addresses="192.0.2.1" status=499 ms="#;
    assert!(line.starts_with(fields), "{line}");
}

#[test]
fn a_password_in_place_of_an_address_or_host_is_not_logged() {
    let scene = logging();
    scene.update("hostname=pc.dyn.example,correct%20horse&myip=192.0.2.1").has_status(200);
    assert!(line(&scene, "/update").contains(
        r#"hosts="pc.dyn.example,(13 characters that are no name)" addresses="192.0.2.1""#
    ));
    for (parameters, reason) in [
        ("myip=correct%20horse%3a+battery", "the ipv4 parameter holds 22 characters"),
        ("myip=192.0.2.1&myip6=correct+horse:+battery", "the ipv6 parameter holds 22 characters"),
    ] {
        scene.update(&format!("hostname=pc.dyn.example&{parameters}")).is(200, "badip\n");
        let shown = scene.ctl().json(&["hostname", "show", "pc", "dyn.example"]).to_string();
        assert!(shown.contains(reason) && !shown.contains("horse"), "{shown}");
        assert!(scene.daemon.log().contains(reason), "{}", scene.daemon.log());
    }
    assert!(!scene.daemon.log().contains("horse"), "{}", scene.daemon.log());
}
