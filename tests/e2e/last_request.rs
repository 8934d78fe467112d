//! The last request for a host, as `ddnsctl hostname show` shows it to find out why a router's
//! updates do not arrive.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::Reply;
use ddnsd_tests::named::ZONE;
use serde_json::{Value, json};
use std::time::Duration;

const AGENT: &str = "inadyn/2.12.0";

impl Scene {
    /// The last request for a host of the zone.
    #[track_caller]
    fn last(&self, label: &str) -> Value {
        let shown = self.ctl().json(&["hostname", "show", label, ZONE]);
        shown.get("last_request").unwrap_or_else(|| panic!("no last_request: {shown}")).clone()
    }

    #[track_caller]
    fn ask(&self, user: &str, password: &str, query: &str) -> Reply {
        let request = self.daemon.get(&format!("/update?{query}")).with(&["-A", AGENT]);
        request.user(user, password).send()
    }

    /// Waits until the last request has this return code and a reason that contains that: a
    /// rejected one is recorded after its reply.
    #[track_caller]
    fn last_is(&self, label: &str, code: &str, reason: Option<&str>) {
        let last = eventually(Duration::from_secs(10), &format!("{code} for {label}"), || {
            let last = self.last(label);
            let why = last["reason"].as_str();
            let is_so = match reason {
                Some(reason) => why.is_some_and(|why| why.contains(reason)),
                None => why.is_none(),
            };
            if is_so && last["word"] == code { Ok(last) } else { Err(last.to_string()) }
        });
        assert_eq!((&last["client"], &last["user_agent"]), (&json!("127.0.0.1"), &json!(AGENT)));
        assert!(last["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{last}");
    }
}

#[test]
fn every_result_of_the_owners_requests_is_recorded() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    assert_eq!(scene.last("pc"), Value::Null);
    let ask = |query: &str| scene.ask("alice", PASSWORD, &format!("hostname=pc.{ZONE}&{query}"));
    ask("myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.last_is("pc", "good", None);
    ask("myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    scene.last_is("pc", "nochg", None);
    ask("myip=224.0.0.1").is(200, "badip\n");
    scene.last_is("pc", "badip", Some("224.0.0.1 can never be reached (multicast)"));
    scene.named.stop();
    let down = scene.ask("alice", PASSWORD, &format!("hostname=pc.{ZONE}&myip=192.0.2.2"));
    down.is(503, "dnserr\n");
    scene.last_is("pc", "dnserr", Some("name server 127.0.0.1:"));
    let table = scene.ctl().run(&["hostname", "show", "pc", ZONE]).ok().stdout;
    assert!(table.lines().any(|line| line.starts_with("last result") && line.contains("dnserr")));
}

#[test]
fn a_failed_authentication_is_recorded_for_no_other_users_host() {
    let scene = Scene::new();
    scene.ctl().add_user_with("mallory", "mallorys own").ok();
    let host = format!("hostname=pc.{ZONE}&myip=192.0.2.1");
    scene.ask("alice", PASSWORD, &host).is(200, "good 192.0.2.1\n");
    for (user, password, code) in [
        ("mallory", "mallorys own", "nohost\n"),
        ("mallory", "wrong", "badauth\n"),
        ("nobody", "wrong", "badauth\n"),
        ("Alice", PASSWORD, "badauth\n"),
    ] {
        assert_eq!(scene.ask(user, password, &host).body, code, "{user}");
        scene.last_is("pc", "good", None);
    }
    scene.daemon.get(&format!("/update?{host}")).send().is(401, "badauth\n");
    scene.last_is("pc", "good", None);
    for _ in 0..2 {
        // the second is rejected from the cache
        scene.ask("alice", "mistyped", &host).is(401, "badauth\n");
        scene.last_is("pc", "badauth", Some("wrong password"));
    }
}

#[test]
fn a_request_over_the_good_limit_is_recorded_and_a_rejected_guess_is_not() {
    let scene = Scene::with(|setup| {
        setup
            .set("rate_limit.enabled", true)
            .set("rate_limit.good_max_requests", 1)
            .set("rate_limit.bad_max_requests", 1)
    });
    scene.add_hosts(&["nas"]);
    let ask = |password| {
        let query = format!("hostname=pc.{ZONE}&myip=192.0.2.1");
        scene.ask("alice", password, &query)
    };
    ask(PASSWORD).is(200, "good 192.0.2.1\n");
    ask(PASSWORD).is(503, "abuse\n");
    scene.last_is("pc", "abuse", Some("too many good requests"));
    assert_eq!(scene.last("nas"), Value::Null, "it was not named");
    ask("one").is(401, "badauth\n");
    scene.last_is("pc", "badauth", Some("wrong password"));
    let before = scene.last("pc");
    ask("two").is(503, "abuse\n");
    assert_eq!(scene.last("pc"), before, "nothing is recorded beyond the bad limit");
}

#[test]
fn each_host_of_a_list_is_recorded_and_a_new_host_of_the_name_starts_without() {
    let scene = Scene::new();
    scene.add_hosts(&["nas", "tv"]);
    let list = format!("hostname=nas.{ZONE},other.{ZONE},pc.{ZONE}&myip=192.0.2.1");
    scene.ask("alice", PASSWORD, &list).has_status(200);
    scene.last_is("nas", "good", None);
    scene.last_is("pc", "good", None);
    assert_eq!(scene.last("tv"), Value::Null);
    scene.ctl().run(&["hostname", "delete", "pc", ZONE]).ok();
    scene.add_hosts(&["pc"]);
    assert_eq!(scene.last("pc"), Value::Null);
}

#[test]
fn the_last_request_survives_a_restart_and_newer_ones_replace_it() {
    let mut scene = Scene::new();
    let query = format!("hostname=pc.{ZONE}&myip=192.0.2.1");
    scene.ask("alice", PASSWORD, &query).is(200, "good 192.0.2.1\n");
    let before = scene.last("pc");
    scene.daemon.restart();
    assert_eq!(scene.last("pc"), before);
    scene.ask("alice", PASSWORD, &query).is(200, "nochg 192.0.2.1\n");
    scene.last_is("pc", "nochg", None);
    scene.daemon.restart();
    scene.last_is("pc", "nochg", None);
}

#[test]
fn a_user_agent_is_cut_and_escaped_for_the_terminal() {
    let scene = Scene::new();
    let ask = |agent: &str| {
        let request = scene.daemon.get(&format!("/update?hostname=pc.{ZONE}&myip=192.0.2.1"));
        request.user("alice", PASSWORD).with(&["-A", agent]).send();
        scene.last("pc")["user_agent"].clone()
    };
    assert_eq!(ask(""), Value::Null, "curl sends none");
    assert_eq!(ask(&"x".repeat(999)), "x".repeat(200));
    assert_eq!(ask("evil\u{9b}31m"), "evil\u{9b}31m");
    let table = scene.ctl().run(&["hostname", "show", "pc", ZONE]).ok().stdout;
    assert!(table.contains("last user agent  evil\\u{9b}31m\n"), "{table}");
}
