//! Limits per client address.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::quick_get;

fn limited() -> Scene {
    Scene::with(|setup| setup.without("rate_limit.enabled"))
}

#[test]
fn the_sixth_good_request_in_a_minute_is_abuse() {
    let scene = limited();
    for i in 1..=5 {
        scene
            .update(&format!("hostname=pc.dyn.example&myip=192.0.2.{i}"))
            .is(200, &format!("good 192.0.2.{i}\n"));
    }
    let reply = scene.update("hostname=pc.dyn.example&myip=192.0.2.6").is(503, "abuse\n");
    assert!((1..=60).contains(&reply.retry_after()), "{reply}");
    let json = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.6");
    let json = json.user("alice", PASSWORD).accept_json().send().has_status(429);
    assert_eq!(json.json(), serde_json::json!({"status": "abuse"}));
    assert!((1..=60).contains(&json.retry_after()), "{json}");
    assert_eq!(scene.a("pc"), ["192.0.2.5"], "a refused request changes nothing");
}

#[test]
fn the_fourth_wrong_password_is_abuse_and_so_is_the_right_one_then() {
    let scene = limited();
    let ask = |password: &str| {
        let request = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.1");
        request.user("alice", password).send()
    };
    for wrong in ["one", "two", "two"] {
        ask(wrong).is(401, "badauth\n");
    }
    let reply = ask("three").is(503, "abuse\n");
    assert!((1..=60).contains(&reply.retry_after()), "{reply}");
    ask(PASSWORD).is(503, "abuse\n");
}

#[test]
fn requests_without_credentials_count_toward_no_limit() {
    let scene = limited();
    for _ in 0..8 {
        scene.daemon.get("/update?hostname=pc.dyn.example").send().is(401, "badauth\n");
    }
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
}

#[test]
fn a_window_frees_itself() {
    let scene = Scene::with(|setup| {
        setup
            .set("rate_limit.enabled", true)
            .set("rate_limit.good_window_seconds", 1)
            .set("rate_limit.good_max_requests", 1)
    });
    let ask = || scene.update("hostname=pc.dyn.example&myip=192.0.2.1").body;
    assert_eq!(ask(), "good 192.0.2.1\n");
    ddnsd_tests::eventually::eventually_equals(
        std::time::Duration::from_secs(10),
        "the window of one second to free",
        &"nochg 192.0.2.1\n".to_owned(),
        ask,
    );
}

/// The statuses or bodies of 40 requests that run at once.
fn forty<T: Send>(ask: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let ask = &ask;
    std::thread::scope(|threads| {
        let asked: Vec<_> = (0..40).map(|i| threads.spawn(move || ask(i))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn parallel_guesses_are_no_more_than_the_limit_allows() {
    let scene = limited();
    let server = scene.daemon.address();
    let statuses = forty(|i| {
        let path = "/update?hostname=pc.dyn.example";
        quick_get(server, path, "alice", &format!("guess {i}")).expect("a reply").status
    });
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(401), count(503)), (3, 37), "statuses of 40 guesses: {statuses:?}");
}

/// Alice's password is known already, and only the bad limit is near.
fn logged_in() -> Scene {
    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 100)
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene
}

#[test]
fn parallel_bad_requests_of_who_is_logged_in_are_no_more_than_the_limit_allows() {
    let scene = logged_in();
    let server = scene.daemon.address();
    let words = forty(|i| {
        let path = format!("/update?hostname=h{i}.dyn.example&myip=192.0.2.1");
        quick_get(server, &path, "alice", PASSWORD).expect("a reply").body
    });
    let count = |word| words.iter().filter(|w| *w == word).count();
    assert_eq!((count("nohost\n"), count("abuse\n")), (3, 37), "words of 40 requests: {words:?}");
}

#[test]
fn forty_routers_behind_one_address_update_at_once() {
    let scene = logged_in();
    let server = scene.daemon.address();
    let words = forty(|_| {
        let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
        quick_get(server, path, "alice", PASSWORD).expect("a reply").body
    });
    assert_eq!(words, vec!["nochg 192.0.2.1\n"; 40]);
}
