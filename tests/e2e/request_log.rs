//! The request log: a line for everything that was asked, of parsed fields only.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{ask, basic, lines};
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
        let said = scene.daemon.said();
        let line = said.lines().find(|line| line.contains(&part)).ok_or(said.clone())?;
        let (start, end) = line.split_once(" request client=").ok_or(line)?;
        if start.ends_with("INFO ") { Ok(end.to_owned()) } else { Err(line.to_owned()) }
    })
}

#[test]
fn an_update_is_logged_by_its_fields_and_never_by_its_query() {
    let scene = logging();
    let query = "hostname=pc.dyn.example&myip=192.0.2.1&user=alice&password=hunter2&x=in%0Aject";
    ask(scene.daemon.address(), lines(&format!("GET //update/?{query}"), &[], "")).has_status(401);
    let said = line(&scene, "//update/");
    let fields = r#"127.0.0.1 method=GET path="//update/" user="alice" hosts="pc.dyn.example" addresses="192.0.2.1" word="badauth" status=401 ms="#;
    assert!(said.starts_with(fields), "{said}");
    let said = scene.daemon.said();
    for secret in ["hunter2", "password=", "in\nject", "in%0Aject", "inject"] {
        assert!(!said.contains(secret), "{secret:?} is in the log: {said}");
    }
}

#[test]
fn what_is_refused_before_it_is_read_is_logged_too() {
    let scene = logging();
    let alice = basic("alice", PASSWORD);
    let (form, json) =
        ("Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json");
    for (request, kind, body, status) in [
        ("GET /404/nothing?password=hunter2", form, "", 404),
        ("PUT /update/", form, "", 405),
        ("POST //update", json, "{}", 415),
        ("POST /update//", form, &"x".repeat(17 * 1024), 413),
        (&format!("GET ///update?{}", "x".repeat(8193)), form, "", 414),
    ] {
        ask(scene.daemon.address(), lines(request, &[&alice, kind], body)).has_status(status);
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let expected = format!("127.0.0.1 method={method} path={path:?} status={status}");
        assert_eq!(line(&scene, path), expected);
    }
    assert!(!scene.daemon.said().contains("hunter2"), "{}", scene.daemon.said());
    // announced, and never sent
    let half = "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nmyip";
    ask(scene.daemon.address(), half).has_status(408);
    assert_eq!(line(&scene, "/update"), r#"127.0.0.1 method=POST path="/update" status=408"#);
}

#[test]
fn a_template_whose_address_is_the_password_tells_nobody_the_password() {
    let scene = logging();
    for (parameters, said) in [
        ("myip=correct%20horse%3a+battery", "the ipv4 parameter holds 22 characters"),
        ("myip=192.0.2.1&myip6=correct+horse:+battery", "the ipv6 parameter holds 22 characters"),
    ] {
        scene.update(&format!("hostname=pc.dyn.example&{parameters}")).is(200, "badip\n");
        let shown = scene.ctl().json(&["hostname", "show", "pc", "dyn.example"]).to_string();
        assert!(shown.contains(said) && !shown.contains("horse"), "{shown}");
        assert!(scene.daemon.said().contains(said), "{}", scene.daemon.said());
    }
    assert!(!scene.daemon.said().contains("horse"), "{}", scene.daemon.said());
}
