//! Limits per client address.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::{ask, basic, connect_from, lines, quick_get};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

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
fn after_three_wrong_passwords_even_the_right_one_is_abuse() {
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
fn a_window_frees_in_time() {
    let scene = Scene::with(|setup| {
        setup
            .set("rate_limit.enabled", true)
            .set("rate_limit.good_window_seconds", 1)
            .set("rate_limit.good_max_requests", 1)
    });
    let ask = || scene.update("hostname=pc.dyn.example&myip=192.0.2.1").body;
    assert_eq!(ask(), "good 192.0.2.1\n");
    // what is refused meanwhile is not counted, else it never would
    let window = "the window of one second to free";
    eventually_equals(SOON, window, &"nochg 192.0.2.1\n".to_owned(), ask);
}

#[test]
fn a_window_of_bad_requests_frees_while_more_come() {
    let scene = Scene::with(|setup| {
        setup
            .set("rate_limit.enabled", true)
            .set("rate_limit.bad_window_seconds", 1)
            .set("rate_limit.bad_max_requests", 1)
            .set("rate_limit.good_max_requests", 100)
    });
    let ask = || scene.update("hostname=ghost.dyn.example").body;
    assert_eq!(ask(), "nohost\n");
    assert_eq!(ask(), "abuse\n");
    let window = "the window of one second to free";
    eventually_equals(SOON, window, &"nohost\n".to_owned(), ask);
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
fn parallel_guesses_stay_within_the_limit() {
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
fn parallel_bad_requests_of_a_logged_in_user_stay_within_the_limit() {
    let scene = logged_in();
    let server = scene.daemon.address();
    let codes = forty(|i| {
        let path = format!("/update?hostname=h{i}.dyn.example&myip=192.0.2.1");
        quick_get(server, &path, "alice", PASSWORD).expect("a reply").body
    });
    let count = |code| codes.iter().filter(|w| *w == code).count();
    assert_eq!(
        (count("nohost\n"), count("abuse\n")),
        (3, 37),
        "return codes of 40 requests: {codes:?}"
    );
}

#[test]
fn forty_routers_behind_one_address_update_at_once() {
    let scene = logged_in();
    let server = scene.daemon.address();
    let codes = forty(|_| {
        let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
        quick_get(server, path, "alice", PASSWORD).expect("a reply").body
    });
    assert_eq!(codes, vec!["nochg 192.0.2.1\n"; 40]);
}

#[test]
fn only_what_is_new_and_within_the_limits_is_hashed() {
    let query = "hostname=pc.dyn.example&myip=192.0.2.1";
    let guess = |scene: &Scene, user: &str, password: &str| {
        let request = scene.daemon.get(&format!("/update?{query}"));
        request.user(user, password).send().status
    };
    let scene = limited();
    let before = scene.counter("passwords.hashed");
    let guesses: Vec<_> = (0..12).map(|n| guess(&scene, "alice", &format!("guess {n}"))).collect();
    assert_eq!(guesses, [&[401; 3][..], &[503; 9]].concat());
    assert_eq!(scene.counter("passwords.hashed"), before + 3, "nothing beyond the bad limit");

    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.bad_max_requests", 100)
    });
    let before = scene.counter("passwords.hashed");
    for user in ["alice", "nobody"] {
        assert_eq!([(); 4].map(|()| guess(&scene, user, "wrong")), [401; 4]);
    }
    assert_eq!(scene.counter("passwords.hashed"), before + 2, "no repeat");
    for unreadable in ["Basic %%%", "Basic /////w==", "Basic YQpiOng=", "Bearer x"] {
        let header = format!("Authorization: {unreadable}");
        let request = lines(&format!("GET /update?{query}"), &[&header], "");
        ask(scene.daemon.address(), request).is(401, "badauth\n");
    }
    assert_eq!(scene.counter("passwords.hashed"), before + 2, "no unreadable header");
    let right = lines(&format!("GET /update?{query}"), &[&basic("alice", PASSWORD)], "");
    for code in ["good", "nochg", "nochg"] {
        ask(scene.daemon.address(), &right).is(200, &format!("{code} 192.0.2.1\n"));
    }
    assert_eq!(scene.counter("passwords.hashed"), before + 3, "a known password once");
}

/// Whether the daemon keeps a connection on which nothing was sent.
fn is_kept(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0; 8]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn one_address_has_256_connections_and_a_trusted_proxy_more() {
    let scene = Scene::with(|setup| {
        setup
            .set("daemon.request_timeout", 60)
            .set("daemon.proxy_header", "X-Real-IP")
            .set("daemon.trusted_proxies", vec!["127.0.3.2"])
    });
    let server = scene.daemon.address();
    let open = |last: u8| connect_from(Ipv4Addr::new(127, 0, 3, last), server).unwrap();
    let mut client: Vec<_> = (0..257).map(|_| open(1)).collect();
    let mut proxy: Vec<_> = (0..257).map(|_| open(2)).collect();
    let mut other = open(3);
    // connections are taken in their order: once this is answered, all before it are decided
    scene.daemon.get("/update").send().is(401, "badauth\n");
    eventually(SOON, "the 257th to be closed", || {
        if is_kept(&mut client[256]) { Err(String::new()) } else { Ok(()) }
    });
    assert!(client[..256].iter_mut().all(is_kept), "the 256 before it are kept");
    assert!(proxy.iter_mut().all(is_kept), "all of a proxy are kept");
    assert!(is_kept(&mut other), "another address has its own");
    // and each that ends makes room for another
    drop(client);
    eventually(SOON, "room for another", || {
        let mut again = open(1);
        std::thread::sleep(Duration::from_millis(50));
        if is_kept(&mut again) { Ok(()) } else { Err(String::new()) }
    });
}

#[test]
fn hashing_has_less_priority_than_all_else() {
    let scene = Scene::without_hosts(|setup| setup);
    let tasks = format!("/proc/{}/task", scene.daemon.pid());
    let nice_of = |task: std::path::PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        // proc(5): the name is in brackets, the nice value is the 19th field
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        let nice: i32 = fields.split(' ').nth(16).unwrap().parse().unwrap();
        (name.split_once('(').unwrap().1.starts_with("hash-"), nice)
    };
    eventually(SOON, "the hashing threads, and only they, to be nice", || {
        let tasks = std::fs::read_dir(&tasks).unwrap().map(|task| nice_of(task.unwrap().path()));
        let tasks: Vec<_> = tasks.collect();
        let others = tasks.iter().filter(|(hashes, _)| !hashes).map(|(_, nice)| *nice);
        let least = others.max().unwrap_or_default();
        let hashing: Vec<_> = tasks.iter().filter(|(hashes, _)| *hashes).collect();
        let are_nice = hashing.iter().all(|(_, nice)| *nice == (least + 10).min(19));
        if !hashing.is_empty() && are_nice { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
}
