//! Addresses as clients write them, and those that can never be reached.

use crate::Scene;

#[test]
fn addresses_are_accepted_in_every_form_that_clients_write() {
    let scene = Scene::new();
    for (query, answer) in [
        ("myip=192.0.2.1", "good 192.0.2.1\n"),
        ("ipv4=192.0.2.2", "good 192.0.2.2\n"),
        ("ip4=192.0.2.3", "good 192.0.2.3\n"),
        ("myip=2001%3adb8%3a%3a5", "good 2001:db8::5\n"),
        ("ipv6=2001:DB8:0::6", "good 2001:db8::6\n"),
        ("myip=::ffff:192.0.2.4", "good 192.0.2.4\n"),
        ("myip6=192.0.2.5", "good 192.0.2.5\n"),
        ("myip=%20192.0.2.6%20,%202001:db8::7", "good 192.0.2.6 2001:db8::7\n"),
        ("myip=&ipv4=192.0.2.7", "good 192.0.2.7\n"),
        ("myip=&myip=192.0.2.8", "good 192.0.2.8\n"),
        ("myip=,&ipv4=192.0.2.17", "good 192.0.2.17\n"),
        ("myip=%20,+,&myip=192.0.2.18", "good 192.0.2.18\n"),
        ("myip=192.0.2.9,192.0.2.9", "good 192.0.2.9\n"),
        ("system=dyndns&wildcard=ON&mx=x&backmx=NO&url=x&myip=192.0.2.10", "good 192.0.2.10\n"),
    ] {
        let reply = scene.update(&format!("hostname=pc.dyn.example&{query}"));
        assert_eq!(reply.body, answer, "the answer to {query}");
    }
    assert_eq!(
        (scene.a("pc"), scene.aaaa("pc")),
        (vec!["192.0.2.10".into()], vec!["2001:db8::7".into()])
    );
}

#[test]
fn an_unreachable_address_answers_badip_and_changes_nothing() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    for bad in [
        "no",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1,192.0.2.2",
        "192.0.2.3,nonsense",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
        "::",
        "::1",
        "ff02::1",
        "fe80::1",
        "2001:db8::1%25eth0",
    ] {
        let reply = scene.update(&format!("hostname=pc.dyn.example&myip={bad}"));
        assert_eq!((reply.status, reply.body.as_str()), (200, "badip\n"), "the answer to {bad}");
    }
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec!["192.0.2.1".into()], vec![]));
    let json = scene.daemon.get("/update?hostname=pc.dyn.example&myip=no");
    let json = json.user("alice", ddnsd_tests::ctl::PASSWORD).accept_json().send();
    assert_eq!(json.has_status(400).json(), serde_json::json!({"status": "badip"}));
}

#[test]
fn a_rejected_address_is_logged_once_with_the_reason() {
    let scene = Scene::new();
    scene.add_hosts(&["nas"]);
    let lines = |reason: &str| {
        let log = scene.daemon.log();
        let lines = log.lines().filter(|line| line.contains(reason)).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    scene.update("hostname=other.dyn.example&myip=ff02::1").is(200, "nohost\n");
    scene.update("hostname=pc.dyn.example,nas.dyn.example&myip=224.0.0.1");
    let refused = lines("224.0.0.1 can never be reached (multicast)");
    assert_eq!(refused.len(), 1, "one line for both hosts: {refused:?}");
    for part in ["INFO", "pc.dyn.example", "nas.dyn.example", "client=127.0.0.1"] {
        assert!(refused[0].contains(part), "no {part} in {refused:?}");
    }
    assert_eq!(lines("ff02::1").len(), 0, "no reply was about this address");
}

#[test]
fn a_rejected_address_is_escaped_in_the_log() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=evil%0aINFO%1b[31m");
    let log = scene.daemon.log();
    assert_eq!(log.matches("characters that are no address").count(), 1, "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("INFO")), "{log}");
}

#[test]
fn a_proxys_header_counts_only_from_a_trusted_proxy() {
    let trusting = Scene::with(|setup| {
        setup
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    });
    let from = |scene: &Scene, line: &str| {
        let request = scene.daemon.get("/update?hostname=pc.dyn.example");
        request.user("alice", ddnsd_tests::ctl::PASSWORD).header(line).send()
    };
    from(&trusting, "X-Forwarded-For: 6.6.6.6, 192.0.2.44").is(200, "good 192.0.2.44\n");
    from(&trusting, "X-Other: 1").is(200, "badip\n");
    let strict = Scene::with(|setup| setup.set("daemon.proxy_header", "X-Forwarded-For"));
    from(&strict, "X-Forwarded-For: 192.0.2.44").is(200, "good 127.0.0.1\n");
}

#[test]
fn an_update_to_the_address_of_this_machine_logs_what_may_be_wrong() {
    let mut scene = Scene::new();
    scene.add_hosts(&["two"]);
    let warnings = |scene: &Scene| {
        let log = scene.daemon.log();
        let all = log.lines().filter(|line| line.contains("proxy_header and trusted_proxies"));
        let all: Vec<_> = all.map(str::to_owned).collect();
        assert!(
            all.iter().all(|line| line.contains(" WARN") && line.contains("127.0.0.1")),
            "{all:?}"
        );
        all.len()
    };
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(warnings(&scene), 0);
    scene.update("hostname=pc.dyn.example").is(200, "good 127.0.0.1\n");
    assert_eq!(warnings(&scene), 1);
    scene.update("hostname=pc.dyn.example").is(200, "nochg 127.0.0.1\n");
    assert_eq!(warnings(&scene), 1, "once it is published it is no news");
    // within ten seconds another one is only counted
    assert!(scene.daemon.terminate().success());
    scene.daemon.start_again();
    let both = scene.update("hostname=pc.dyn.example,two.dyn.example");
    both.is(200, "nochg 127.0.0.1\ngood 127.0.0.1\n");
    assert_eq!(warnings(&scene), 2, "wherever in the list it is new");
}
