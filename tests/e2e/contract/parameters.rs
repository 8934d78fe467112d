//! Parameters: every name in every place, and the rules of which one counts.

use super::endpoint;
use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{ask, basic, lines};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const ESCAPED: &str = "correct%20horse%3a+battery";

/// Where a row's parameters are put.
#[derive(Clone, Copy, Debug)]
enum Place {
    Query,
    Form,
    /// The host in the query, the rest in the form.
    Both,
}

/// How a row names the families' addresses.
const ADDRESSES: [(&str, &str); 6] = [
    ("{4}={v4}", "{v4}"),
    ("{6}={v6}", "{v6}"),
    ("{4}={v4}&{6}={v6}", "{v4} {v6}"),
    ("{6}={v4}&{4}={v6}", "{v4} {v6}"),
    ("{4}={v6},{v4}&{6}=", "{v4} {v6}"),
    ("{4}=&{6}=%20{v6}%20,+{v4}", "{v4} {v6}"),
];

#[test]
fn every_name_works_in_every_place() {
    let scene = Scene::new();
    let server = scene.daemon.address();
    let alice = basic("alice", PASSWORD);
    let mut rows = 0;
    for host in ["hostname", "host"] {
        for (v4_name, v6_name) in [("myip", "myip6"), ("ipv4", "ipv6"), ("ip4", "ip6")] {
            for login in ["", "username {} password", "user {} pass", "user {} token"] {
                for place in [Place::Query, Place::Form, Place::Both] {
                    for (template, answer) in ADDRESSES {
                        rows += 1;
                        // each row has addresses of its own, so `good` shows that they were read
                        let v4 = format!("198.51.{}.{}", 100 + rows / 250, 1 + rows % 250);
                        let v6 = format!("2001:db8::{rows:x}");
                        let fill = |text: &str| {
                            let text = text.replace("{4}", v4_name).replace("{6}", v6_name);
                            text.replace("{v4}", &v4).replace("{v6}", &v6)
                        };
                        let mut rest = fill(template);
                        let mut headers = vec![];
                        match login.split_once(" {} ") {
                            None => headers.push(alice.as_str()),
                            Some((user, password)) => {
                                rest = format!("{user}=alice&{rest}&{password}={ESCAPED}");
                            }
                        }
                        let host = format!("{host}=pc.dyn.example");
                        let request = match place {
                            Place::Query => {
                                lines(&format!("GET /update?{rest}&{host}"), &headers, "")
                            }
                            Place::Form => {
                                headers.push(FORM);
                                lines("POST /update", &headers, &format!("{host}&{rest}"))
                            }
                            Place::Both => {
                                headers.push(FORM);
                                lines(&format!("POST /update?{host}"), &headers, &rest)
                            }
                        };
                        let reply = ask(server, &request);
                        let expected = format!("good {}\n", fill(answer));
                        let got = (reply.status, reply.body.as_str());
                        assert_eq!(got, (200, &*expected), "the answer to {request}");
                    }
                }
            }
        }
    }
    assert_eq!(rows, 432);
    assert_eq!(scene.a("pc").len() + scene.aaaa("pc").len(), 2);
}

#[test]
fn the_first_value_that_is_not_empty_by_the_first_name_counts() {
    let scene = Scene::new();
    scene.add_hosts(&["two"]);
    let (pc, two) = ("hostname=pc.dyn.example", "hostname=two.dyn.example");
    // the connection's address; an earlier row may have set it
    let own = "127.0.0.1";
    let mut last = 0;
    // `{new}` is an address that no earlier row used
    for (query, form, answer) in [
        // empty counts as not given: the next alias, the next of the same name, then the connection
        (&*format!("{pc}&myip=&myip6="), "", own),
        (&format!("{pc}&myip=%20&ipv4=+&ip4=,"), "", own),
        (&format!("{pc}&myip"), "", own),
        (&format!("{pc}&myip=&ip4={{new}}"), "", "good {new}"),
        (&format!("{pc}&ip4=192.0.2.1&ipv4=192.0.2.2&myip={{new}}"), "", "good {new}"),
        (&format!("{pc}&ip4=192.0.2.1&ipv4={{new}}"), "", "good {new}"),
        (&format!("{pc}&myip=&myip={{new}}&myip=192.0.2.1"), "", "good {new}"),
        ("hostname=&host=pc.dyn.example&myip={new}", "", "good {new}"),
        ("host=two.dyn.example&hostname=pc.dyn.example&myip={new}", "", "good {new}"),
        ("hostname=,,&hostname=pc.dyn.example&myip={new}", "", "good {new}"),
        // the query before the form, by the same name and by an earlier one
        (pc, "myip={new}", "good {new}"),
        (&format!("{pc}&myip={{new}}"), "myip=192.0.2.1", "good {new}"),
        (&format!("{pc}&myip="), "myip={new}", "good {new}"),
        (&format!("{pc}&ipv4=192.0.2.1"), "myip={new}", "good {new}"),
        (pc, &*format!("{two}&myip={{new}}"), "good {new}"),
        // escapes, spaces, plus signs, semicolons, names in another case
        ("%68ostname=pc%2edyn%2Eexample&%6dyip={new}", "", "good {new}"),
        (&format!("{pc}&myip=+%09{{new}}%20"), "", "good {new}"),
        (&format!("&&{pc}&&=&=x&myip={{new}}&"), "", "good {new}"),
        (&format!("{pc}&MYIP={{new}}"), "", "good {new}"),
        (&format!("{pc}&amp;myip={{new}}"), "", "good {new}"),
        (&format!("{pc}&ip={{new}}"), "", "good {new}"),
        (&format!("{pc}&myipv4={{new}}"), "", "good {new}"),
        (&format!("{pc};myip={{new}}"), "", "notfqdn"),
        (&format!("{pc}&myip={{new}}%00"), "", "badip"),
        (&format!("{pc}&myip=0x7f.1"), "", "badip"),
        (&format!("{pc}&myip=192.0.2.01"), "", "badip"),
        (&format!("{pc}&myip=192.0.2.1/32"), "", "badip"),
        (&format!("{pc}&myip=192.0.2.1:80"), "", "badip"),
        (&format!("{pc}&myip=[2001:db8::1]"), "", "badip"),
        (&format!("{pc}&myip={{new}}&myip6=no"), "", "badip"),
        (&format!("{pc}&myip={{new}}&myip6=::1"), "", "badip"),
        (&format!("{pc}&myip={{new}}&myip6=::ffff:{{new}}"), "", "good {new}"),
        // parameters of other services are ignored
        (
            &format!("{pc}&system=x&wildcard=ON&mx=m&backmx=YES&url=u&myip={{new}}"),
            "",
            "good {new}",
        ),
        (
            &format!("{pc}&notify_change=1&action=y&offline=NO&offline=&myip={{new}}"),
            "",
            "good {new}",
        ),
        // offline whatever else is given; online again
        (&format!("{pc}&offline=YES&myip=no"), "", "good"),
        (&format!("{pc}&offline=yes"), "", "nochg"),
        ("hostname=two.dyn.example&myip=192.0.2.77", "", "good 192.0.2.77"),
        (&format!("{pc},two.dyn.example&offline=Yes"), "", "nochg\ngood"),
        (&format!("{pc}&myip={{new}}"), "", "good {new}"),
        (pc, "offline=YES", "good"),
    ] {
        last += 1;
        let new = format!("203.0.113.{last}");
        let fill = |text: &str| text.replace("{new}", &new);
        let alice = basic("alice", PASSWORD);
        let request = if form.is_empty() {
            lines(&format!("GET /update?{}", fill(query)), &[&alice], "")
        } else {
            lines(&format!("POST /update?{}", fill(query)), &[&alice, FORM], &fill(form))
        };
        let reply = ask(scene.daemon.address(), &request);
        let body = match answer {
            "127.0.0.1" => reply.body.replace("good ", "").replace("nochg ", ""),
            _ => reply.body,
        };
        let got = (reply.status, body);
        assert_eq!(got, (200, format!("{}\n", fill(answer))), "the answer to {request}");
    }
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec![], vec![]));
}

#[test]
fn configured_names_replace_the_defaults_and_an_empty_list_disables() {
    let endpoints = vec![
        endpoint("/nic/update", &[]),
        endpoint(
            "/duck",
            &[("hostname", &["domains"]), ("ipv4", &["ip"]), ("password", &["token"])],
        ),
        endpoint("/header", &[("username", &[]), ("password", &[])]),
        endpoint("/connection", &[("ipv4", &[]), ("ipv6", &[])]),
        endpoint(
            "/clash",
            &[("ipv4", &["url"]), ("hostname", &["system"]), ("ipv6", &["offline"])],
        ),
        endpoint("/nameless", &[("hostname", &[])]),
    ];
    let scene = Scene::with(|setup| setup.set_top("endpoints", endpoints));
    let alice = basic("alice", PASSWORD);
    let (host, login) = ("hostname=pc.dyn.example", format!("username=alice&password={ESCAPED}"));
    for (path, query, has_header, status, answer) in [
        ("/nic/update", &*format!("{host}&myip=192.0.2.1"), true, 200, "good 192.0.2.1"),
        ("/nic/update", &format!("{host}&myip=192.0.2.1&{login}"), false, 200, "nochg 192.0.2.1"),
        ("/nic//update", &format!("{host}&myip=192.0.2.1"), true, 200, "nochg 192.0.2.1"),
        ("//nic///update//", &format!("{host}&myip=192.0.2.1"), true, 200, "nochg 192.0.2.1"),
        ("/nicupdate", &format!("{host}&myip=192.0.2.1"), true, 404, "there is nothing here"),
        ("/duck", "domains=pc.dyn.example&ip=192.0.2.2", true, 200, "good 192.0.2.2"),
        ("/duck", &format!("{host}&ip=192.0.2.3"), true, 200, "notfqdn"),
        (
            "/duck",
            "domains=pc.dyn.example&myip=192.0.2.3&myip6=2001:db8::3",
            true,
            200,
            "good 2001:db8::3",
        ),
        (
            "/duck",
            &format!("domains=pc.dyn.example&ip=192.0.2.2&user=alice&token={ESCAPED}"),
            false,
            200,
            "nochg 192.0.2.2",
        ),
        (
            "/duck",
            &format!("domains=pc.dyn.example&ip=192.0.2.2&user=alice&pass={ESCAPED}"),
            false,
            401,
            "badauth",
        ),
        ("/header", &format!("{host}&myip=192.0.2.2&{login}"), false, 401, "badauth"),
        ("/header", &format!("{host}&myip=192.0.2.2&{login}"), true, 200, "nochg 192.0.2.2"),
        ("/connection", &format!("{host}&myip=192.0.2.9&myip6=no"), true, 200, "good 127.0.0.1"),
        ("/clash", "system=pc.dyn.example&url=192.0.2.4", true, 200, "good 192.0.2.4"),
        // here `offline` is an address and nothing else
        ("/clash", "system=pc.dyn.example&url=192.0.2.4&offline=YES", true, 200, "badip"),
        ("/clash", "system=pc.dyn.example&offline=2001:db8::4", true, 200, "good 2001:db8::4"),
        ("/nameless", &format!("{host}&host=pc.dyn.example"), true, 200, "notfqdn"),
        ("/update", &format!("{host}&myip=192.0.2.1"), true, 404, "there is nothing here"),
    ] {
        let header: &[&str] = if has_header { &[&alice] } else { &[] };
        let request = lines(&format!("GET {path}?{query}"), header, "");
        let reply = ask(scene.daemon.address(), &request);
        assert_eq!((reply.status, reply.body), (status, format!("{answer}\n")), "{request}");
    }
}

#[test]
fn an_address_in_an_unknown_parameter_is_named_in_a_warning() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&wan=192.0.2.1").is(200, "good 127.0.0.1\n");
    let log = scene.daemon.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("unknown parameter")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("parameter=\"wan\""), "{log}");
}
