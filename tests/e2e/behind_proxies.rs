//! nginx, haproxy and Caddy in front: the address is the client's, and no header that a client
//! sends is believed. Clients come from 127.0.0.x, the proxies ask from 127.0.0.1, which is
//! trusted.

use crate::Scene;
use crate::listen::has_ipv6;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{Reply, get};
use ddnsd_tests::proxy::{Kind, Proxy};

const KINDS: [Kind; 3] = [Kind::Nginx, Kind::Haproxy, Kind::Caddy];

/// A daemon that takes the client's address from this header.
fn trusting(header: &str) -> Scene {
    Scene::with(|setup| {
        setup
            .set("daemon.proxy_header", header)
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
            .set("rate_limit.enabled", true)
            .set("rate_limit.good_max_requests", 1000)
    })
}

/// An update without an address, from an address of this machine, with further arguments of curl.
#[track_caller]
fn ask(server: &str, from: &str, password: &str, arguments: &[&str]) -> Reply {
    let request = get(&format!("http://{server}/update?hostname=pc.dyn.example"));
    request.user("alice", password).with(&["--interface", from]).with(arguments).send()
}

/// What clients send to be taken for another client, or for none.
const FORGED: [&str; 9] = [
    "6.6.6.6",
    "6.6.6.6, 127.0.0.1",
    "127.0.0.1",
    "unknown",
    "\"",
    "for=\"",
    "for=6.6.6.6",
    "for=6.6.6.6;x=\"\\",
    "\u{e4}, 6.6.6.6",
];

#[test]
fn the_clients_address_is_right_and_a_forged_header_is_ignored() {
    for header in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
        let scene = trusting(header);
        for kind in KINDS {
            let proxy = Proxy::start(kind, "127.0.0.1", scene.daemon.address(), header);
            let mut last = 10;
            for forged in FORGED {
                for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
                    last += 1;
                    let (from, line) = (format!("127.0.0.{last}"), format!("{name}: {forged}"));
                    // two lines of it are no better
                    let arguments = ["-H", &line, "-H", &line];
                    let reply = ask(proxy.address(), &from, PASSWORD, &arguments);
                    let received = (reply.status, reply.body.as_str());
                    let expected = format!("good {from}\n");
                    assert_eq!(received, (200, &*expected), "{kind:?}, {header}, {line}");
                }
            }
            // an address that is given wins
            let given = get(&format!(
                "http://{}/update?hostname=pc.dyn.example&myip=192.0.2.1",
                proxy.address()
            ));
            given.user("alice", PASSWORD).send().is(200, "good 192.0.2.1\n");
        }
        // past the proxy: a peer that is not trusted is the client
        for line in ["X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6"] {
            let reply = ask(scene.daemon.address(), "127.0.0.9", PASSWORD, &["-H", line]);
            assert!(reply.body.ends_with(" 127.0.0.9\n"), "{line} was believed: {reply}");
        }
    }
}

#[test]
fn an_ipv6_client_is_seen_through_each_proxy() {
    if !has_ipv6("an_ipv6_client_is_seen_through_each_proxy") {
        return;
    }
    for header in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
        let scene = trusting(header);
        for kind in KINDS {
            let proxy = Proxy::start(kind, "[::1]", scene.daemon.address(), header);
            let reply = ask(proxy.address(), "::1", PASSWORD, &["-H", &format!("{header}: ::2")]);
            let reply = reply.has_status(200);
            assert!(reply.body.ends_with(" ::1\n"), "{kind:?}, {header}: {reply}");
        }
    }
}

#[test]
fn limits_and_the_log_use_the_client_behind_the_proxy() {
    for kind in KINDS {
        let scene = trusting("X-Forwarded-For");
        let proxy = Proxy::start(kind, "127.0.0.1", scene.daemon.address(), "X-Forwarded-For");
        for guess in ["one", "two", "three"] {
            let reply = ask(proxy.address(), "127.0.0.7", guess, &["-H", "X-Forwarded-For: \""]);
            let reply = reply.is(401, "badauth\n");
            assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"ddns\""), "{kind:?}");
        }
        let abuse = ask(proxy.address(), "127.0.0.7", PASSWORD, &[]).is(503, "abuse\n");
        assert!(abuse.retry_after() <= 60, "{kind:?}: {abuse}");
        ask(proxy.address(), "127.0.0.8", PASSWORD, &[]).is(200, "good 127.0.0.8\n");
        let log = scene.daemon.log();
        let refused = log.matches("auth failed user=\"alice\" client=127.0.0.7").count();
        assert_eq!(refused, 3, "{kind:?}: {log}");
    }
}

#[test]
fn forms_methods_and_old_versions_pass_through_each_proxy() {
    for kind in KINDS {
        let scene = trusting("X-Forwarded-For");
        let proxy = Proxy::start(kind, "127.0.0.1", scene.daemon.address(), "X-Forwarded-For");
        let url = format!("http://{}/update", proxy.address());
        let form = "hostname=pc.dyn.example&myip=192.0.2.1";
        let post = get(&url).user("alice", PASSWORD);
        post.with(&["--data", form]).send().is(200, "good 192.0.2.1\n");
        let chunked = ["-H", "Transfer-Encoding: chunked", "--data", form];
        get(&url).user("alice", PASSWORD).with(&chunked).send().is(200, "nochg 192.0.2.1\n");
        let slashes = get(&format!("http://{}//update/?{form}", proxy.address()));
        let slashes = slashes.user("alice", PASSWORD).with(&["--path-as-is", "--http1.0"]).send();
        assert_eq!((slashes.status, slashes.body.as_str()), (200, "nochg 192.0.2.1\n"), "{kind:?}");
        get(&url).with(&["-I"]).send().has_status(405);
    }
}

#[test]
fn a_proxy_that_is_not_configured_is_a_warning_once_a_reload() {
    let scene = Scene::new();
    let proxy = Proxy::start(Kind::Nginx, "127.0.0.1", scene.daemon.address(), "X-Forwarded-For");
    let warnings = || scene.daemon.log().matches("is not in daemon.trusted_proxies").count();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(warnings(), 0, "no proxy took part");
    for expected in [1, 2] {
        for _ in 0..2 {
            ask(proxy.address(), "127.0.0.1", "wrong", &[]).has_status(401);
        }
        assert_eq!(warnings(), expected, "{}", scene.daemon.log());
        scene.ctl().run(&["reload"]).ok();
    }
    let log = scene.daemon.log();
    assert!(log.contains("127.0.0.1 sends x-forwarded-for"), "{log}");
}
