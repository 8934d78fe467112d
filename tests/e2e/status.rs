//! `ddnsctl status` and its `--check`: what is a problem, and what is not.

use crate::Scene;
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::named::ZONE;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

#[test]
fn records_that_are_refused_are_a_problem_after_five_minutes() {
    let scene = Scene::new();
    scene.ctl().run(&["status", "--check"]).ok().prints(&["ok"]);
    scene.ctl().add_host("alice", "denied", ZONE, &[]);
    scene.update("hostname=denied.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    // the name server answers, and others of the zone are published
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.ctl().run(&["status", "--check"]).ok();
    let status = scene.ctl().json(&["status"]);
    assert_eq!((&status["problems"], &status["pending"]), (&serde_json::json!([]), &1.into()));
    let zone = &status["zones"][0];
    assert!(zone["last_error"].as_str().unwrap().contains("REFUSED"), "{zone}");
    assert!(zone["last_error_at"].as_str().unwrap().ends_with('Z'), "{zone}");

    let age = "UPDATE hosts SET unpublished_since = unpublished_since - 360000
               WHERE unpublished_since IS NOT NULL;";
    scene.daemon.setup().database().sql(age);
    let check = scene.ctl().run(&["status", "--check"]).exits(1);
    assert!(check.stdout.is_empty(), "{check}");
    check.prints(&["ddnsctl: 1 host has been pending in zone dyn.example for 6 min", "REFUSED"]);
    let table = scene.ctl().run(&["status"]).ok();
    assert!(table.stdout.starts_with("problem "), "{table}");
    let json = scene.ctl().run(&["--json", "status", "--check"]).exits(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(1), "{json}");
    assert!(json["pending_seconds"].as_i64() >= Some(360), "{json}");
}

#[test]
fn the_last_error_of_a_zone_stays_with_its_time_after_all_is_well() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    scene.ctl().run(&["status", "--check"]).exits(1).prints(&["zone dyn.example is down: "]);
    scene.named.start_again();
    eventually_equals(LONG, "the check to succeed", &Some(0), || {
        scene.ctl().run(&["status", "--check"]).code
    });
    let zone = scene.ctl().json(&["status"])["zones"][0].clone();
    assert_eq!((&zone["down"], &zone["zone"]), (&false.into(), &ZONE.into()), "{zone}");
    assert!(zone["last_error"].as_str().unwrap().contains("name server"), "{zone}");
    assert!(zone["last_error_at"].is_string(), "{zone}");
}

#[test]
fn a_check_without_a_daemon_fails_as_every_command() {
    let mut scene = Scene::new();
    assert!(scene.daemon.terminate().success());
    scene.ctl().run(&["status", "--check"]).exits(69);
}
