//! Replies as JSON.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::Reply;
use serde_json::json;

#[track_caller]
fn ask(scene: &Scene, query: &str) -> Reply {
    let request = scene.daemon.get(&format!("/update?{query}")).user("alice", PASSWORD);
    let reply = request.accept_json().send();
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{reply}");
    reply
}

#[test]
fn good_and_nochg_carry_the_addresses_of_the_request() {
    let scene = Scene::new();
    let both = "hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1";
    let good = ask(&scene, both).has_status(200).json();
    assert_eq!(good, json!({"status": "good", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}));
    let nochg = ask(&scene, "hostname=pc.dyn.example&myip=192.0.2.1").has_status(200).json();
    assert_eq!(nochg, json!({"status": "nochg", "ipv4": "192.0.2.1"}));
    let down = ask(&scene, "hostname=pc.dyn.example&offline=YES").has_status(200).json();
    assert_eq!(down, json!({"status": "good"}));
}

#[test]
fn a_list_is_an_array_in_the_order_and_spelling_of_the_request() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    let list = ask(&scene, "hostname=PC.dyn.example,ghost.dyn.example,x&myip=192.0.2.1");
    assert_eq!(
        list.has_status(200).json(),
        json!({"status": "nohost", "results": [
            {"hostname": "PC.dyn.example", "status": "nochg", "ipv4": "192.0.2.1"},
            {"hostname": "ghost.dyn.example", "status": "nohost"},
            {"hostname": "x", "status": "notfqdn"},
        ]})
    );
    let same = ask(&scene, "hostname=pc.dyn.example,pc.dyn.example&myip=192.0.2.1");
    assert_eq!(same.json()["status"], "nochg");
    let single = ask(&scene, "hostname=,pc.dyn.example,&myip=192.0.2.1");
    assert_eq!(single.json(), json!({"status": "nochg", "ipv4": "192.0.2.1"}));
}

#[test]
fn errors_have_matching_status_codes() {
    let scene = Scene::new();
    let many = vec!["pc.dyn.example"; 21].join(",");
    for (query, status, code) in [
        ("hostname=ghost.dyn.example", 404, "nohost"),
        ("hostname=x", 400, "notfqdn"),
        (&format!("hostname={many}"), 400, "numhost"),
        ("hostname=pc.dyn.example&myip=no", 400, "badip"),
        ("hostname=ghost.dyn.example,x", 404, "nohost"),
    ] {
        let reply = ask(&scene, query);
        let seen = (reply.status, reply.json()["status"].clone());
        assert_eq!(seen, (status, json!(code)), "the answer to {query}");
    }
    let anonymous = scene.daemon.get("/update?hostname=pc.dyn.example").accept_json().send();
    assert_eq!(anonymous.header("www-authenticate"), Some("Basic realm=\"ddns\""));
    assert_eq!(anonymous.has_status(401).json(), json!({"status": "badauth"}));
}

#[test]
fn the_accept_header_is_weighed_by_its_q_values() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    for (accept, is_json) in [
        ("*/*", false),
        ("text/plain, application/json;q=0.5", false),
        ("text/plain;q=0.5, application/json", true),
        ("application/json;q=0", false),
    ] {
        let request = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.1");
        let request = request.user("alice", PASSWORD).header(&format!("Accept: {accept}"));
        let reply = request.send().has_status(200);
        assert_eq!(reply.body.starts_with('{'), is_json, "Accept: {accept} got {reply}");
    }
}
