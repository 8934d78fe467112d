//! Suspended users and hosts: who is rejected, what stays in DNS, what does not expire.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::ZONE;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const PC: &str = "hostname=pc.dyn.example&myip=192.0.2.1";

impl Scene {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.ctl().run(arguments).ok().output()
    }

    fn shown(&self, label: &str) -> serde_json::Value {
        self.ctl().json(&["hostname", "show", label, ZONE])
    }
}

#[test]
fn a_suspended_user_is_rejected_as_with_a_wrong_password_until_resumed() {
    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.bad_max_requests", 3)
    });
    scene.update(PC).is(200, "good 192.0.2.1\n");
    scene.update(PC).is(200, "nochg 192.0.2.1\n"); // its password is cached now
    scene.run(&["user", "suspend", "alice"]);
    assert_eq!(scene.shown("pc")["state"], "suspended");
    let rejected = scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(401, "badauth\n");
    assert_eq!(rejected.header("www-authenticate"), Some("Basic realm=\"ddns\""));
    eventually(SOON, "the reason of the last request", || {
        let last = scene.shown("pc")["last_request"].to_string();
        if last.contains("the user is suspended") { Ok(()) } else { Err(last) }
    });
    assert!(scene.daemon.log().contains("auth failed user=\"alice\" client=127.0.0.1"));
    assert_eq!(scene.a("pc"), ["192.0.2.1"], "its records stay");
    scene.update(PC).is(401, "badauth\n");
    scene.update(PC).is(401, "badauth\n");
    scene.update(PC).is(503, "abuse\n");

    assert!(scene.run(&["user", "suspend", "alice"]).contains("nothing to do"));
    scene.run(&["user", "resume", "alice"]);
    assert!(scene.run(&["user", "resume", "alice"]).contains("nothing to do"));
    assert_eq!(scene.shown("pc")["state"], "published");
    let ghost = scene.ctl().run(&["user", "suspend", "ghost"]);
    ghost.exits(1).prints(&["no user ghost"]).one_sentence();
}

#[test]
fn a_resumed_user_logs_in_with_the_same_password() {
    let scene = Scene::new();
    scene.update(PC).is(200, "good 192.0.2.1\n");
    scene.run(&["user", "suspend", "alice"]);
    scene.update(PC).is(401, "badauth\n");
    scene.run(&["user", "resume", "alice"]);
    scene.update(PC).is(200, "nochg 192.0.2.1\n");
    scene.run(&["user", "suspend", "alice"]);
    scene.daemon.get(&format!("/update?{PC}")).user("alice", "wrong").send().is(401, "badauth\n");
    let users = scene.ctl().json(&["user", "list"]);
    assert!(users[0]["suspended_at"].is_string(), "{users}");
}

#[test]
fn a_suspended_host_is_nohost_which_counts_as_nothing() {
    let scene = Scene::with(|setup| {
        let setup = setup.set("rate_limit.enabled", true).set("rate_limit.bad_max_requests", 3);
        setup.set("rate_limit.good_max_requests", 5)
    });
    scene.add_hosts(&["nas"]);
    scene.update(PC).is(200, "good 192.0.2.1\n");
    scene.run(&["hostname", "suspend", "pc", ZONE]);
    // more than bad_max_requests and good_max_requests
    for _ in 0..7 {
        scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "nohost\n");
    }
    // nothing is said about its addresses, and other hosts of a list are served
    scene.update("hostname=pc.dyn.example&myip=224.0.0.1").is(200, "nohost\n");
    let both = scene.update("hostname=pc.dyn.example,nas.dyn.example&myip=192.0.2.2");
    both.is(200, "nohost\ngood 192.0.2.2\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"], "its records stay");
    eventually(SOON, "the last request to be shown", || {
        let shown = scene.shown("pc");
        let is_there = shown["last_request"]["reason"] == "the hostname is suspended";
        if is_there && shown["state"] == "suspended" { Ok(()) } else { Err(shown.to_string()) }
    });
    let taken = scene.ctl().run(&["hostname", "add", "alice", "pc", ZONE]);
    taken.exits(1).prints(&["exists already"]);

    scene.run(&["hostname", "resume", "pc", ZONE]);
    scene.update(PC).is(200, "nochg 192.0.2.1\n");
    assert_eq!(scene.shown("pc")["state"], "published");
}

#[test]
fn a_suspended_host_is_taken_down_and_its_next_update_after_that_restores_it() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.add_hosts(&["nas"]);
    scene.update("hostname=pc.dyn.example,nas.dyn.example&myip=192.0.2.1").has_status(200);
    scene.run(&["hostname", "suspend", "pc", ZONE]);
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
    scene.run(&["hostname", "suspend", "pc", ZONE, "--take-down"]);
    assert_eq!(scene.a("pc"), Vec::<String>::new());
    let again = scene.run(&["hostname", "suspend", "pc", ZONE, "--take-down"]);
    assert!(again.contains("nothing to do"), "{again}");
    scene.run(&["hostname", "resume", "pc", ZONE]);
    assert_eq!(scene.shown("pc")["state"], "absent");
    scene.update(PC).is(200, "good 192.0.2.1\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);

    scene.named.stop();
    // each time that it is asked for
    for _ in 0..2 {
        let down = scene.run(&["hostname", "suspend", "nas", ZONE, "--take-down"]);
        assert!(down.contains("not yet taken down"), "{down}");
        let shown = scene.shown("nas");
        assert!(shown["last_error"].is_string(), "{shown}");
    }
    scene.named.start_again();
    eventually_equals(RECOVERY, "the removal in DNS", &Vec::<String>::new(), || scene.a("nas"));
}

#[test]
fn nothing_of_a_suspended_user_or_host_expires_and_on_resume_its_time_starts_again() {
    let scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 3600));
    scene.ctl().add_user("bob");
    let brief = ["--expiry-ttl", "6"];
    scene.ctl().add_host("alice", "own", ZONE, &brief);
    scene.ctl().add_host("bob", "host", ZONE, &brief);
    scene.ctl().add_host("bob", "control", ZONE, &brief);
    scene.update("hostname=own.dyn.example&myip=192.0.2.1").has_status(200);
    let of_bob = "hostname=host.dyn.example,control.dyn.example&myip=192.0.2.1";
    scene.daemon.update("bob", of_bob).has_status(200);
    scene.run(&["user", "suspend", "alice"]);
    scene.run(&["hostname", "suspend", "host", ZONE]);
    let mut swept = String::new();
    eventually(SOON, "the host that is not suspended to expire", || {
        swept += &scene.run(&["cleanup"]);
        if swept.contains("control.dyn.example") { Ok(()) } else { Err(swept.clone()) }
    });
    swept += &scene.run(&["cleanup"]);
    assert!(!swept.contains("own.") && !swept.contains("host."), "{swept}");

    scene.run(&["user", "resume", "alice"]);
    scene.run(&["hostname", "resume", "host", ZONE]);
    let early = scene.run(&["cleanup"]);
    assert!(!early.contains("own.") && !early.contains("host."), "at once: {early}");
    let gone = (Vec::<String>::new(), Vec::<String>::new());
    eventually_equals(SOON, "both to expire in the end", &gone, || {
        scene.run(&["cleanup"]);
        (scene.a("own"), scene.a("host"))
    });
}
