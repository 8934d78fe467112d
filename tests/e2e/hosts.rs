//! Host names as clients write them, lists of them, and the return codes for illegal ones.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::named::ZONE;
use serde_json::{Value, json};

#[test]
fn a_host_is_found_in_every_form_of_its_name() {
    let scene = Scene::new();
    scene.ctl().add_host("alice", "bücher", ZONE, &[]);
    for (query, answer) in [
        ("hostname=PC.Dyn.Example", "good 192.0.2.1\n"),
        ("hostname=pc.dyn.example.", "nochg 192.0.2.1\n"),
        ("host=pc.dyn.example", "nochg 192.0.2.1\n"),
        ("hostname=,pc.dyn.example,,", "nochg 192.0.2.1\n"),
        ("hostname=b%C3%BCcher.dyn.example", "good 192.0.2.1\n"),
        ("hostname=XN--bcher-kva.dyn.example", "nochg 192.0.2.1\n"),
    ] {
        let reply = scene.update(&format!("{query}&myip=192.0.2.1"));
        assert_eq!(reply.body, answer, "the answer to {query}");
    }
    assert_eq!(scene.a("xn--bcher-kva"), ["192.0.2.1"]);
}

#[test]
fn several_hosts_get_a_line_each_in_their_order() {
    let scene = Scene::new();
    scene.add_hosts(&["one", "two"]);
    // if a busy machine loses a datagram, the host answers good until it was published twice
    let two = || scene.update("hostname=two.dyn.example&myip=192.0.2.1").body;
    eventually_equals(RECOVERY, "two to be known", &"nochg 192.0.2.1\n".to_owned(), two);
    scene
        .update("hostname=one.dyn.example,two.dyn.example,pc.dyn.example&myip=192.0.2.1")
        .is(200, "good 192.0.2.1\nnochg 192.0.2.1\ngood 192.0.2.1\n");
    let twice = || scene.update("hostname=pc.dyn.example,pc.dyn.example&myip=192.0.2.1").body;
    let known = "nochg 192.0.2.1\nnochg 192.0.2.1\n".to_owned();
    eventually_equals(RECOVERY, "pc to be known", &known, twice);
}

#[test]
fn each_host_of_a_list_has_its_own_result() {
    let scene = Scene::new();
    scene
        .update("hostname=ghost.dyn.example,pc.dyn.example,single,a_b.dyn.example&myip=192.0.2.1")
        .is(200, "nohost\ngood 192.0.2.1\nnotfqdn\nnotfqdn\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
    scene
        .update("hostname=ghost.dyn.example,pc.dyn.example&myip=127.0.0.1")
        .is(200, "nohost\nbadip\n");
}

#[test]
fn a_name_that_is_not_fully_qualified_answers_notfqdn() {
    let scene = Scene::new();
    for bad in ["", "pc", "a_b.dyn.example", "*.dyn.example", "-x.dyn.example", "192.0.2.1"] {
        let reply = scene.update(&format!("hostname={bad}&myip=192.0.2.1"));
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "notfqdn\n"),
            "the answer to {bad:?}"
        );
    }
    scene.update("myip=192.0.2.1").is(200, "notfqdn\n");
}

#[test]
fn twenty_hosts_are_accepted_and_one_more_is_numhost() {
    let scene = Scene::new();
    let twenty = vec!["pc.dyn.example"; 20].join(",");
    let reply = scene.update(&format!("hostname={twenty}&myip=192.0.2.1")).has_status(200);
    assert_eq!(reply.body.lines().count(), 20, "{reply}");
    scene.update(&format!("hostname={twenty},pc.dyn.example&myip=192.0.2.2")).is(200, "numhost\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
}

#[test]
fn the_hosts_of_one_list_travel_in_one_message() {
    let scene = Scene::new();
    let labels: Vec<String> = (1..20).map(|n| format!("h{n}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    let list: Vec<String> = labels.iter().map(|label| format!("{label}.{ZONE}")).collect();
    let before = scene.change_messages();
    let reply = scene.update(&format!("hostname={}&myip=192.0.2.7", list.join(",")));
    reply.is(200, &"good 192.0.2.7\n".repeat(19));
    assert_eq!(scene.change_messages() - before, 1, "messages for 19 hosts");
}

#[test]
fn cleanup_and_sync_show_readable_names_and_give_both_forms_in_json() {
    let mut scene = Scene::with(|setup| {
        setup.set("dns_service.dns_timeout", 1).set("dns_service.cleanup_interval", 3600)
    });
    let ctl = scene.ctl();
    let both = json!({"fqdn": "xn--bro-hoa.dyn.example", "unicode": "büro.dyn.example"});
    let elsewhere = json!({"fqdn": "xn--bro-hoa.other.example", "unicode": "büro.other.example"});
    let named = |value: &Value, expected: &Value| {
        assert_eq!((&value["fqdn"], &value["unicode"]), (&expected["fqdn"], &expected["unicode"]));
    };
    ctl.add_host("alice", "büro", "dyn.example", &["--expiry-ttl", "1"]);
    ctl.add_host("alice", "büro", "other.example", &[]);
    let falls_silent = |scene: &Scene| {
        scene.update("hostname=b%C3%BCro.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
        std::thread::sleep(std::time::Duration::from_millis(1100));
    };
    falls_silent(&scene);
    ctl.run(&["cleanup"]).ok().prints(&["büro.dyn.example  expired"]);
    falls_silent(&scene);
    assert_eq!(ctl.json(&["cleanup"])["expired"], json!([both]));

    // a zone that the name server does not have
    scene.update("hostname=b%C3%BCro.other.example&myip=192.0.2.1").has_status(503);
    scene.daemon.setup().database().sql("UPDATE hosts SET unpublished_since = NULL;");
    ctl.run(&["sync", "--check"]).exits(1).prints(&["büro.other.example", "not compared"]);
    let synced = ctl.run(&["--json", "sync", "--check"]).exits(1);
    let synced: Value = serde_json::from_str(&synced.stdout).unwrap();
    named(&synced["failed"][0], &elsewhere);

    falls_silent(&scene);
    scene.named.stop();
    let failed = ctl.run(&["--json", "cleanup"]).exits(1);
    let failed: Value = serde_json::from_str(&failed.stdout).unwrap();
    named(&failed["failed"][0], &both);
    let left = ctl.run(&["--json", "hostname", "delete", "büro", "dyn.example", "--force"]).ok();
    let left: Value = serde_json::from_str(&left.stdout).unwrap();
    let record = &left["left_in_dns"][0];
    named(record, &both);
    assert_eq!((&record["type"], &record["address"]), (&json!("A"), &json!("192.0.2.1")));
}
