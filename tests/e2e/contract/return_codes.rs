//! Each return code with its status in text and JSON, and lists of them.

use super::JSON;
use crate::Scene;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::http::{Reply, ask, lines};
use ddnsd_tests::named::{Named, ZONE, free_port};
use serde_json::{Value, json};
use std::net::{TcpListener, UdpSocket};

/// A return code without addresses, as JSON.
fn alone(code: &str) -> Value {
    json!({"status": code})
}

#[track_caller]
fn is_text(reply: Reply, status: u16, body: &str) -> Reply {
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{reply}");
    check_retry_after(reply.is(status, body))
}

#[track_caller]
fn is_json(reply: Reply, status: u16, body: &Value) -> Reply {
    assert_eq!(reply.header("content-type"), Some("application/json"), "{reply}");
    let reply = reply.has_status(status);
    assert_eq!(reply.json(), *body, "{reply}");
    check_retry_after(reply)
}

/// Retry-After is sent with temporary failures only.
#[track_caller]
fn check_retry_after(reply: Reply) -> Reply {
    let busy = [429, 503].contains(&reply.status);
    assert_eq!(reply.header("retry-after").is_some(), busy, "Retry-After: {reply}");
    reply
}

#[test]
fn errors_that_only_the_user_can_fix_are_200_in_text_and_have_matching_statuses_in_json() {
    let mut scene = Scene::new();
    scene.add_hosts(&["two"]);
    let many = vec!["pc.dyn.example"; 21].join(",");
    for (query, code, in_json) in [
        ("hostname=ghost.dyn.example", "nohost", 404),
        ("hostname=", "notfqdn", 400),
        ("", "notfqdn", 400),
        ("hostname=pc", "notfqdn", 400),
        (&*format!("hostname={many}"), "numhost", 400),
        ("hostname=pc.dyn.example&myip=x", "badip", 400),
        ("hostname=pc.dyn.example&myip=192.0.2.1,192.0.2.2", "badip", 400),
    ] {
        is_text(scene.get(query, &[]), 200, &format!("{code}\n"));
        is_json(scene.get(query, &[JSON]), in_json, &alone(code));
    }
    let good = "hostname=pc.dyn.example&myip=192.0.2.1&myip6=2001:DB8::1";
    let both = |code: &str| json!({"status": code, "ipv4": "192.0.2.1", "ipv6": "2001:db8::1"});
    is_text(scene.get(good, &[]), 200, "good 192.0.2.1 2001:db8::1\n");
    is_text(scene.get(good, &[]), 200, "nochg 192.0.2.1 2001:db8::1\n");
    is_json(scene.get(good, &[JSON]), 200, &both("nochg"));
    is_json(scene.get(&good.replace("pc", "two"), &[JSON]), 200, &both("good"));
    for headers in [vec![], vec!["Authorization: Basic YWxpY2U6d3Jvbmc="]] {
        let server = scene.daemon.address();
        let path = format!("GET /update?{good}");
        let text = ask(server, lines(&path, &headers, ""));
        let json = ask(server, lines(&path, &[&[JSON], &headers[..]].concat(), ""));
        let challenge = Some("Basic realm=\"ddns\"");
        let text = is_text(text, 401, "badauth\n");
        assert_eq!(text.header("www-authenticate"), challenge, "{text}");
        let json = is_json(json, 401, &alone("badauth"));
        assert_eq!(json.header("www-authenticate"), challenge, "{json}");
    }
    scene.named.stop();
    let dnserr = "hostname=pc.dyn.example&myip=192.0.2.9";
    assert_eq!(is_text(scene.get(dnserr, &[]), 503, "dnserr\n").retry_after(), 30);
    assert_eq!(is_json(scene.get(dnserr, &[JSON]), 503, &alone("dnserr")).retry_after(), 30);
    // an acknowledged address needs no name server
    is_text(scene.get(&good.replace("pc", "two"), &[]), 200, "nochg 192.0.2.1 2001:db8::1\n");
}

#[test]
fn retry_after_is_the_time_until_the_window_frees_for_abuse_and_30_seconds_for_911() {
    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 1)
    });
    let query = "hostname=pc.dyn.example&myip=192.0.2.1";
    is_text(scene.get(query, &[]), 200, "good 192.0.2.1\n");
    let text = is_text(scene.get(query, &[]), 503, "abuse\n").retry_after();
    let json = is_json(scene.get(query, &[JSON]), 429, &alone("abuse")).retry_after();
    assert!((40..=60).contains(&text) && json <= text, "Retry-After: {text}, then {json}");

    // a name server that does not answer delays the change, and later requests wait for it
    let named = Named::start();
    let port = free_port();
    let unanswering = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let _unanswering = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let setup = Daemon::builder(&named).set("dns_service.dns_port", i64::from(port));
    let setup = setup.set("daemon.request_timeout", 4).set("dns_service.dns_timeout", 3);
    // requests in flight count too, three in all
    let setup = setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 4);
    let scene = Scene { daemon: setup.start(), named };
    scene.ctl().add_user("alice");
    scene.ctl().add_host("alice", "pc", ZONE, &[]);
    let update = |last: u8, headers: &[&str]| {
        scene.get(&format!("hostname=pc.dyn.example&myip=192.0.2.{last}"), headers)
    };
    std::thread::scope(|threads| {
        let first = threads.spawn(|| update(1, &[]));
        unanswering.recv(&mut [0; 512]).unwrap();
        let second = threads.spawn(|| update(2, &[]));
        let json = is_json(update(3, &[JSON]), 503, &alone("911"));
        assert_eq!(json.retry_after(), 30);
        assert_eq!(is_text(second.join().unwrap(), 503, "911\n").retry_after(), 30);
        is_text(first.join().unwrap(), 503, "dnserr\n");
    });
    // 911 counts toward no limit, and dnserr counts as good
    for last in 4..=6 {
        assert_eq!(update(last, &[]).body, "dnserr\n");
    }
    is_text(update(7, &[]), 503, "abuse\n");
}

#[test]
fn a_list_is_a_success_if_any_line_is_and_otherwise_has_its_first_lines_status() {
    let mut scene = Scene::new();
    scene.add_hosts(&["two", "up"]);
    scene.get("hostname=up.dyn.example&myip=192.0.2.1", &[]).is(200, "good 192.0.2.1\n");
    let ip = "192.0.2.1";
    let line = |host: &str, code: &str| match code {
        "good" | "nochg" => json!({"hostname": host, "status": code, "ipv4": ip}),
        _ => json!({"hostname": host, "status": code}),
    };
    // hosts, their codes, the summary, the status in text and in JSON
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, u16);
    let (up, two) = ("up.dyn.example", "two.dyn.example");
    let (ghost, odd) = ("ghost.dyn.example", "a_b.dyn.example");
    let before: &[Row<'_>] = &[
        (&[(up, "nochg"), (up, "nochg")], "nochg", 200, 200),
        (&[(up, "nochg"), (ghost, "nohost")], "nohost", 200, 200),
        (&[(ghost, "nohost"), (up, "nochg")], "nohost", 200, 200),
        (&[(ghost, "nohost"), (odd, "notfqdn")], "nohost", 200, 404),
        (&[(odd, "notfqdn"), (ghost, "nohost")], "notfqdn", 200, 400),
        (&[(up, "nochg"), (odd, "notfqdn"), (ghost, "nohost")], "notfqdn", 200, 200),
        (&[("UP.dyn.EXAMPLE.", "nochg"), (ghost, "nohost")], "nohost", 200, 200),
    ];
    let without_dns: &[Row<'_>] = &[
        (&[(two, "dnserr"), (two, "dnserr")], "dnserr", 503, 503),
        (&[(two, "dnserr"), (ghost, "nohost")], "dnserr", 503, 503),
        (&[(ghost, "nohost"), (two, "dnserr")], "nohost", 200, 404),
        (&[(two, "dnserr"), (up, "nochg")], "dnserr", 200, 200),
        (&[(up, "nochg"), (two, "dnserr")], "dnserr", 200, 200),
    ];
    for (rows, stopped) in [(before, false), (without_dns, true)] {
        if stopped {
            scene.named.stop();
        }
        for (row, summary, in_text, in_json) in rows {
            let hosts: Vec<_> = row.iter().map(|(host, _)| *host).collect();
            let query = format!("hostname={}&myip={ip}", hosts.join(","));
            let text = row.iter().map(|(_, code)| match *code {
                "nochg" => format!("nochg {ip}\n"),
                code => format!("{code}\n"),
            });
            is_text(scene.get(&query, &[]), *in_text, &text.collect::<String>());
            let results: Vec<_> = row.iter().map(|(host, code)| line(host, code)).collect();
            let expected = json!({"status": summary, "results": results});
            is_json(scene.get(&query, &[JSON]), *in_json, &expected);
        }
    }
}

#[test]
fn a_mixed_list_of_twenty_has_a_line_for_each_in_its_order() {
    let scene = Scene::new();
    let labels: Vec<_> = (0..7).map(|n| format!("h{n}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    scene.get("hostname=h0.dyn.example,h1.dyn.example&myip=192.0.2.1", &[]).has_status(200);
    let kind = |n: usize| match n % 3 {
        0 => (format!("h{}.dyn.example", n / 3), if n < 6 { "nochg" } else { "good" }),
        1 => (format!("ghost{n}.dyn.example"), "nohost"),
        _ => (format!("no_{n}.dyn.example"), "notfqdn"),
    };
    let all: Vec<_> = (0..20).map(kind).collect();
    let hosts: Vec<_> = all.iter().map(|(host, _)| host.as_str()).collect();
    let query = format!("hostname={}&myip=192.0.2.1", hosts.join(","));
    let reply = scene.get(&query, &[JSON]).has_status(200).json();
    assert_eq!(reply["status"], "nohost", "the first that is not nochg");
    let results: Vec<_> = reply["results"].as_array().unwrap().iter().collect();
    assert_eq!(results.len(), 20);
    for (result, (host, code)) in results.into_iter().zip(&all) {
        assert_eq!((&result["hostname"], &result["status"]), (&json!(host), &json!(code)));
        assert_eq!(result.get("ipv4").is_some(), ["good", "nochg"].contains(code), "{result}");
    }
    scene
        .get(&format!("{query}&hostname=x").replace("=h0", "=pc.dyn.example,h0"), &[])
        .is(200, "numhost\n");
}

#[test]
fn names_beyond_ascii_are_returned_as_they_were_sent_and_published_as_a_labels() {
    let scene = Scene::new();
    scene.ctl().add_host("alice", "xn--strae-oqa", ZONE, &[]);
    scene.ctl().add_host("alice", "βόλος", ZONE, &[]);
    // non-transitional: ß stays, and final sigma is kept
    for (sent, escaped, label) in [
        ("straße.dyn.example", "stra%C3%9Fe.dyn.example", "xn--strae-oqa"),
        ("STRAßE.dyn.example", "STRA%C3%9FE.dyn.example", "xn--strae-oqa"),
        ("xn--strae-oqa.dyn.example", "xn--strae-oqa.dyn.example", "xn--strae-oqa"),
        ("straße。dyn。example", "stra%C3%9Fe%E3%80%82dyn%E3%80%82example", "xn--strae-oqa"),
        ("βόλος.dyn.example", "%CE%B2%CF%8C%CE%BB%CE%BF%CF%82.dyn.example", "xn--nxasmm1c"),
    ] {
        let query = format!("hostname={escaped},pc.dyn.example&myip=192.0.2.1");
        let reply = scene.get(&query, &[JSON]).has_status(200).json();
        assert_eq!(reply["results"][0]["hostname"], sent, "{reply}");
        let text = scene.get(&query, &[]).is(200, "nochg 192.0.2.1\nnochg 192.0.2.1\n");
        assert!(text.body.is_ascii(), "{text}");
        assert_eq!(scene.a(label), ["192.0.2.1"], "published for {sent}");
    }
    // "ss" is another name, and not a host of hers
    scene.get("hostname=strasse.dyn.example&myip=192.0.2.1", &[]).is(200, "nohost\n");
    for bad in ["xn--a.dyn.example", "%FF.dyn.example", "a%00b.dyn.example", "a%20b.dyn.example"] {
        scene.get(&format!("hostname={bad}&myip=192.0.2.1"), &[]).is(200, "notfqdn\n");
    }
}
