//! A host that is not updated expires, and its next update restores it.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::ZONE;
use std::time::Duration;

/// Longest wait for an expiry of a second or two.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_host_without_updates_expires_and_its_next_update_restores_it() {
    let scene = Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 1).set("defaults.expiry_ttl", 2)
    });
    scene.ctl().add_host("alice", "forever", ZONE, &["--expiry-ttl", "0"]);
    scene
        .update("hostname=pc.dyn.example,forever.dyn.example&myip=192.0.2.1,2001:db8::1")
        .is(200, "good 192.0.2.1 2001:db8::1\ngood 192.0.2.1 2001:db8::1\n");
    let gone = (Vec::<String>::new(), Vec::<String>::new());
    eventually_equals(SOON, "both records to expire", &gone, || (scene.a("pc"), scene.aaaa("pc")));
    assert_eq!(scene.a("forever"), ["192.0.2.1"], "expiry_ttl = 0 never expires");

    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec!["192.0.2.1".to_owned()], vec![]));
}

#[test]
fn cleanup_sweeps_at_once_and_prints_what_expired() {
    let scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 3600));
    scene.ctl().add_host("alice", "brief", ZONE, &["--expiry-ttl", "1"]);
    scene.update("hostname=pc.dyn.example,brief.dyn.example&myip=192.0.2.1").has_status(200);
    let output = eventually(SOON, "cleanup to remove the host", || {
        let output = scene.ctl().run(&["cleanup"]).ok().output();
        if output.contains("brief.dyn.example") { Ok(output) } else { Err(output) }
    });
    assert!(!output.contains("pc.dyn.example"), "what has not expired is not named: {output}");
    assert_eq!((scene.a("brief"), scene.a("pc")), (vec![], vec!["192.0.2.1".to_owned()]));
}

#[test]
fn nochg_restarts_the_expiry_time() {
    let scene = Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 3600).set("defaults.expiry_ttl", 4)
    });
    scene.add_hosts(&["nas"]);
    scene.update("hostname=pc.dyn.example,nas.dyn.example&myip=192.0.2.1").has_status(200);
    std::thread::sleep(Duration::from_millis(2500)); // the time that must pass, not a hope
    scene.update("hostname=nas.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    let output = eventually(SOON, "cleanup to remove the host without updates", || {
        let output = scene.ctl().run(&["cleanup"]).ok().output();
        if output.contains("pc.dyn.example") { Ok(output) } else { Err(output) }
    });
    assert!(!output.contains("nas.dyn.example"), "nochg counts as an update: {output}");
    assert_eq!((scene.a("pc"), scene.a("nas")), (vec![], vec!["192.0.2.1".to_owned()]));
}

#[test]
fn downtime_of_the_daemon_does_not_count_toward_expiry() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 3600));
    scene.ctl().add_host("alice", "brief", ZONE, &["--expiry-ttl", "5"]);
    scene.update("hostname=brief.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert!(scene.daemon.terminate().success());
    std::thread::sleep(Duration::from_millis(5200)); // the downtime itself
    scene.daemon.start_again();
    let output = scene.ctl().run(&["cleanup"]).ok().output();
    assert!(!output.contains("brief.dyn.example"), "cleanup right after the start: {output}");
    assert_eq!(scene.a("brief"), ["192.0.2.1"]);
}

#[test]
fn an_expiry_that_dns_did_not_acknowledge_is_published_later() {
    let mut scene = Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 3600).set("dns_service.dns_timeout", 1)
    });
    scene.ctl().add_host("alice", "brief", ZONE, &["--expiry-ttl", "1"]);
    scene.update("hostname=brief.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    eventually(SOON, "cleanup to try, and to print that it failed", || {
        let output = scene.ctl().run(&["cleanup"]).output();
        if output.contains("brief.dyn.example") { Ok(()) } else { Err(output) }
    });
    scene.named.start_again();
    eventually_equals(RECOVERY, "the removal in DNS", &Vec::<String>::new(), || scene.a("brief"));
}

#[test]
fn a_family_expires_while_the_other_one_keeps_changing() {
    let scene = Scene::with(|setup| {
        setup.set("dns_service.cleanup_interval", 1).set("rate_limit.enabled", false)
    });
    scene.ctl().add_host("alice", "brief", ZONE, &["--expiry-ttl", "3"]);
    scene.update("hostname=brief.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);
    let mut count = 1;
    eventually(SOON, "the A record to expire while AAAA changes", || {
        count += 1;
        scene
            .update(&format!("hostname=brief.dyn.example&myip=2001:db8::{count:x}"))
            .has_status(200);
        let left = scene.a("brief");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} after {count} updates")) }
    });
    assert_eq!(scene.aaaa("brief"), [format!("2001:db8::{count:x}")]);
}
