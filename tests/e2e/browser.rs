//! A page of another site that makes a browser send an update, with the password that the browser
//! remembers.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::Request;

const UPDATE: &str = "/update?hostname=pc.dyn.example&myip=192.0.2.1";

fn request(scene: &Scene, headers: &[&str]) -> Request {
    let request = scene.daemon.get(UPDATE).user("alice", PASSWORD);
    headers.iter().fold(request, |request, header| request.header(header))
}

#[test]
fn an_update_that_a_page_of_another_site_sends_is_403_and_counts_as_nothing() {
    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.bad_max_requests", 2)
    });
    for headers in [
        &["Sec-Fetch-Site: cross-site"][..],
        // a host of another user is of the same site
        &["Sec-Fetch-Site: same-site"],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &["Referer: http://evil.example/127.0.0.1"],
    ] {
        let reply = request(&scene, headers).send().has_status(403);
        assert!(reply.body.contains("a page of another site"), "{headers:?}: {reply}");
        let posted = ["-d", "hostname=pc.dyn.example&myip=192.0.2.1"];
        request(&scene, headers).with(&posted).send().has_status(403);
    }
    assert_eq!(scene.a("pc"), Vec::<String>::new());
    request(&scene, &[]).send().is(200, "good 192.0.2.1\n");
}

#[test]
fn an_update_that_its_owner_sends_by_a_browser_is_carried_out() {
    let scene = Scene::new();
    let own = format!("Referer: {}/", scene.daemon.url());
    let (origin, near) = (own.replace("Referer", "Origin"), ["Sec-Fetch-Site: same-origin"]);
    request(&scene, &["Sec-Fetch-Site: none"]).send().is(200, "good 192.0.2.1\n");
    for headers in [&near[..], &[&own], &[origin.trim_end_matches('/')]] {
        request(&scene, headers).send().is(200, "nochg 192.0.2.1\n");
    }
}

#[test]
fn behind_a_trusted_proxy_that_replaces_host_only_the_browsers_own_word_counts() {
    let scene = Scene::with(|setup| {
        setup
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    });
    let client = "X-Forwarded-For: 192.0.2.7";
    let page = "Origin: https://ddns.example";
    request(&scene, &[client, page]).send().is(200, "good 192.0.2.1\n");
    request(&scene, &[client, page, "Sec-Fetch-Site: cross-site"]).send().has_status(403);
}
