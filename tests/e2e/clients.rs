//! The clients that people own, against the daemon: over plain HTTP and over TLS with an authority
//! of the test's own. What each does with an answer is in CLIENTS.md's tables.

use crate::Scene;
use crate::contract::endpoint;
use ddnsd_tests::authority::Authority;
use ddnsd_tests::clients::{Clients, PATH};
use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::process::{Finished, Running};
use ddnsd_tests::setup::Setup;
use nix::sys::signal::Signal;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

const ONE: [&str; 1] = ["pc.dyn.example"];
const TWO: [&str; 2] = ["pc.dyn.example", "two.dyn.example"];
const LONG: Duration = Duration::from_secs(30);
/// Without what must be escaped: routers do not.
const SIMPLE: &str = "s3cret";

/// A daemon on the path that clients know, which logs requests, with two hosts of carol.
struct Net {
    scene: Scene,
    authority: Option<Authority>,
}

/// How clients reach the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Http,
    Tls,
}

fn configured(setup: Setup, authority: Option<&Authority>) -> Setup {
    let setup =
        setup.set_top("endpoints", vec![endpoint(PATH, &[])]).set("daemon.log_requests", true);
    let Some(authority) = authority else { return setup };
    let signed = authority.sign("127.0.0.1");
    setup
        .set("daemon.ssl", true)
        .set("daemon.ssl_cert_file", signed.certificate.to_str().unwrap())
        .set("daemon.ssl_key_file", signed.key.to_str().unwrap())
}

fn furnish(ctl: &Ctl) {
    ctl.add_user_with("carol", SIMPLE).ok();
    ctl.add_host("carol", "pc", ZONE, &[]);
    ctl.add_host("carol", "two", ZONE, &[]);
}

impl Net {
    fn new(by: By) -> Self {
        Self::with(by, |setup| setup)
    }

    fn with(by: By, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let authority = (by == By::Tls).then(Authority::new);
        let scene = Scene::without_hosts(|setup| configure(configured(setup, authority.as_ref())));
        furnish(&scene.ctl());
        Self { scene, authority }
    }

    fn clients(&self) -> Clients {
        let ca = self.authority.as_ref().map(Authority::certificate);
        Clients::of(&self.scene.daemon, ca.as_deref(), "carol", SIMPLE)
    }

    /// What DNS holds for a host: A and AAAA.
    fn dns(&self, label: &str) -> (Vec<String>, Vec<String>) {
        (self.scene.a(label), self.scene.aaaa(label))
    }

    /// How many requests were answered with this return code.
    fn answered(&self, code: &str) -> usize {
        self.scene.daemon.log().matches(&format!("word=\"{code}\"")).count()
    }
}

fn holds(v4: &str, v6: &str) -> (Vec<String>, Vec<String>) {
    let one = |address: &str| {
        if address.is_empty() { vec![] } else { vec![address.to_owned()] }
    };
    (one(v4), one(v6))
}

#[test]
fn ddclient_updates_one_host_or_two_of_either_family_and_then_changes_nothing() {
    for by in [By::Http, By::Tls] {
        let net = Net::new(by);
        let clients = net.clients();
        clients.ddclient(&ONE, "192.0.2.1", "one").ok().prints(&["SUCCESS", "pc.dyn.example"]);
        assert_eq!(net.dns("pc"), holds("192.0.2.1", ""), "{by:?}");
        clients.ddclient(&TWO, "192.0.2.2", "two").ok().prints(&["two.dyn.example"]);
        clients.ddclient(&TWO, "2001:db8::2", "six").ok().prints(&["SUCCESS"]);
        for label in ["pc", "two"] {
            assert_eq!(net.dns(label), holds("192.0.2.2", "2001:db8::2"), "{by:?}");
        }
        // one request for both hosts; with its cache it sends no request again, without it does
        // nochg
        assert_eq!((net.answered("good"), net.answered("nochg")), (3, 0));
        clients.ddclient(&TWO, "192.0.2.2", "two").ok();
        assert_eq!((net.answered("good"), net.answered("nochg")), (3, 0), "{by:?}");
        clients.ddclient(&TWO, "192.0.2.2", "fresh").ok().prints(&["nochg"]);
        assert_eq!((net.answered("good"), net.answered("nochg")), (3, 1), "{by:?}");
    }
}

#[test]
fn ddclient_reports_errors_that_only_its_owner_can_fix() {
    let net = Net::new(By::Http);
    let wrong = net.clients().with_password("wrong").ddclient(&ONE, "192.0.2.1", "wrong");
    wrong.exits(1).prints(&["FAILED", "authorization failed"]);
    let ghost = net.clients().ddclient(&["ghost.dyn.example"], "192.0.2.1", "ghost");
    ghost.exits(1).prints(&["FAILED", "nohost"]);
    // of two hosts each gets its own
    let mixed = net.clients().ddclient(&["pc.dyn.example", "zz.dyn.example"], "192.0.2.1", "mix");
    mixed.exits(1).prints(&["SUCCESS", "pc.dyn.example", "FAILED", "zz.dyn.example"]);
    assert_eq!(net.dns("pc"), holds("192.0.2.1", ""));
    net.clients().ddclient(&ONE, "127.0.0.1", "bad").exits(1).prints(&["FAILED", "badip"]);
}

#[test]
fn inadyn_updates_one_host_or_two_of_either_family_or_both() {
    for by in [By::Http, By::Tls] {
        let net = Net::new(by);
        let clients = net.clients();
        clients.inadyn(&ONE, &["192.0.2.1"]).ok();
        assert_eq!((net.dns("pc"), net.answered("good")), (holds("192.0.2.1", ""), 1), "{by:?}");
        clients.inadyn(&TWO, &["2001:db8::2"]).ok();
        assert_eq!(net.dns("two"), holds("", "2001:db8::2"), "{by:?}");
        clients.inadyn(&TWO, &["192.0.2.3", "2001:db8::3"]).ok();
        for label in ["pc", "two"] {
            assert_eq!(net.dns(label), holds("192.0.2.3", "2001:db8::3"), "{by:?}");
        }
        assert_eq!((net.answered("good"), net.answered("nochg")), (7, 0), "{by:?}");
        clients.inadyn(&TWO, &["192.0.2.3", "2001:db8::3"]).ok();
        assert_eq!((net.answered("good"), net.answered("nochg")), (7, 4), "{by:?}");
    }
}

#[test]
fn inadyn_exits_after_an_error_that_only_its_owner_can_fix() {
    let net = Net::new(By::Http);
    net.clients().with_password("wrong").inadyn(&ONE, &["192.0.2.1"]).exits(50);
    net.clients().inadyn(&["ghost.dyn.example"], &["192.0.2.1"]).exits(48);
    assert_eq!(net.dns("pc"), holds("", ""));
}

#[test]
fn a_client_that_does_not_trust_the_authority_sends_no_password() {
    let net = Net::new(By::Tls);
    let other = Authority::new();
    let ca = other.certificate();
    let client = Clients::of(&net.scene.daemon, Some(&ca), "carol", SIMPLE);
    assert_ne!(client.curl("hostname=pc.dyn.example", &[]).code, Some(0));
    // it reports this as a temporary error
    client.inadyn(&ONE, &["192.0.2.1"]).prints(&["certificate"]);
    client.ddclient(&ONE, "192.0.2.1", "x").prints(&["FAILED"]);
    assert_eq!(net.answered("good") + net.answered("badauth"), 0, "{}", net.scene.daemon.log());
}

/// Checks that an inadyn daemon sends another request after this return code, on SIGUSR1.
#[track_caller]
fn retries(net: &Net, code: &str, inadyn: &mut Running, output: &Path) {
    for time in 1..=2 {
        eventually(LONG, &format!("request {time} that is answered {code}"), || {
            let text = std::fs::read_to_string(output).unwrap_or_default();
            if let Some(status) = inadyn.ended() {
                panic!("inadyn ended: {status}\n{text}");
            }
            let answered = net.answered(code);
            if answered >= time { Ok(()) } else { Err(format!("{answered}: {text}")) }
        });
        eventually(LONG, "inadyn to wait for the next time", || {
            let text = std::fs::read_to_string(output).unwrap_or_default();
            let waits = text.to_lowercase().matches("temporary").count();
            if waits >= time { Ok(()) } else { Err(text) }
        });
        inadyn.signal(Signal::SIGUSR1);
    }
    assert!(inadyn.ended().is_none(), "inadyn still runs after {code}");
}

#[test]
fn inadyn_retries_after_dnserr() {
    let mut net = Net::new(By::Http);
    net.scene.named.stop();
    let clients = net.clients();
    let (mut inadyn, output) = clients.inadyn_daemon(&ONE, "192.0.2.1");
    retries(&net, "dnserr", &mut inadyn, &output);
}

#[test]
fn inadyn_retries_after_abuse() {
    let net = Net::with(By::Http, |setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 1)
    });
    let clients = net.clients();
    clients.curl("hostname=two.dyn.example&myip=192.0.2.1", &[]).ok();
    let (mut inadyn, output) = clients.inadyn_daemon(&ONE, "192.0.2.1");
    retries(&net, "abuse", &mut inadyn, &output);
}

#[test]
fn inadyn_retries_after_911() {
    let named = Named::start();
    let port = free_port();
    let unanswered = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let setup = configured(Daemon::builder(&named), None)
        .set("dns_service.dns_port", i64::from(port))
        .set("daemon.request_timeout", 20)
        .set("dns_service.dns_timeout", 19);
    let scene = Scene { daemon: setup.start(), named };
    furnish(&scene.ctl());
    let net = Net { scene, authority: None };
    let clients = net.clients();
    std::thread::scope(|threads| {
        // its change gets no answer, and other updates of that host wait too long
        threads.spawn(|| clients.curl("hostname=pc.dyn.example&myip=192.0.2.9", &[]));
        unanswered.recv(&mut [0; 512]).unwrap();
        let (mut inadyn, output) = clients.inadyn_daemon(&ONE, "192.0.2.1");
        retries(&net, "911", &mut inadyn, &output);
    });
}

/// What a command-line client printed.
fn printed(finished: Finished) -> String {
    finished.ok().stdout
}

#[test]
fn curl_wget_and_urllib_update_either_family_and_both() {
    for by in [By::Http, By::Tls] {
        let net = Net::new(by);
        let clients = net.clients();
        let query = |hosts: &str, address: &str| format!("hostname={hosts}&myip={address}");
        let (one, two) = ("pc.dyn.example", "pc.dyn.example,two.dyn.example");
        let curl = |query: &str| printed(clients.curl(query, &[]));
        let wget = |query: &str| printed(clients.wget(query));
        let urllib = |query: &str| printed(clients.urllib(query)).replacen("200 ", "", 1);
        let ways: [&dyn Fn(&str) -> String; 3] = [&curl, &wget, &urllib];
        for (n, ask) in (1..).zip(ways) {
            let (v4, v6) = (format!("192.0.2.{n}"), format!("2001:db8::{n}"));
            assert_eq!(ask(&query(one, &v4)), format!("good {v4}\n"), "{by:?} {n}");
            assert_eq!(ask(&query(one, &v4)), format!("nochg {v4}\n"), "{by:?} {n}");
            assert_eq!(ask(&query(one, &v6)), format!("good {v6}\n"), "{by:?} {n}");
            let both = format!("{v4},{v6}");
            let answer = ask(&query(two, &both));
            assert_eq!(answer, format!("nochg {v4} {v6}\ngood {v4} {v6}\n"), "{by:?} {n}");
            assert_eq!(net.dns("two"), holds(&v4, &v6), "{by:?} {n}");
        }
        if by == By::Tls {
            for version in ["--http1.0", "--http1.1", "--http2", "--tls-max=1.2"] {
                let (version, value) = version.split_once('=').unwrap_or((version, ""));
                let arguments = [version, value, "-i"];
                let arguments: Vec<_> = arguments.into_iter().filter(|a| !a.is_empty()).collect();
                let output = printed(clients.curl(&query(one, "192.0.2.3"), &arguments));
                let is_2 = version != "--http1.0" && version != "--http1.1";
                assert_eq!(output.starts_with("HTTP/2 200"), is_2, "{output}");
                assert!(output.to_lowercase().contains("content-length: 16"), "{output}");
                assert!(output.ends_with("\r\n\r\nnochg 192.0.2.3\n"), "{output}");
            }
        }
    }
}

#[test]
fn curl_wget_and_urllib_report_errors() {
    let net = Net::new(By::Http);
    let (right, wrong) = (net.clients(), net.clients().with_password("wrong"));
    let query = "hostname=pc.dyn.example&myip=192.0.2.1";
    assert_eq!(printed(wrong.curl(query, &[])), "badauth\n");
    wrong.curl(query, &["-f"]).exits(22);
    wrong.wget(query).exits(6);
    // urllib stops when its credentials are refused
    let gave_up = wrong.urllib(query);
    assert!(gave_up.output().contains("401"), "{gave_up}");
    let ghost = "hostname=ghost.dyn.example";
    assert_eq!(printed(right.curl(ghost, &["-f"])), "nohost\n");
    assert_eq!(printed(right.wget(ghost)), "nohost\n");
    assert_eq!(printed(right.urllib(ghost)), "200 nohost\n");
    assert_eq!(net.dns("pc"), holds("", ""));
}

#[test]
fn a_first_request_without_credentials_counts_toward_no_limit() {
    let net = Net::with(By::Http, |setup| setup.without("rate_limit.enabled"));
    let clients = net.clients();
    // five good requests a minute are allowed, and each client sends two requests for one
    for n in 1..=5 {
        let query = format!("hostname=pc.dyn.example&myip=192.0.2.{n}");
        let output =
            printed(if n % 2 == 0 { clients.wget(&query) } else { clients.urllib(&query) });
        assert!(output.ends_with(&format!("good 192.0.2.{n}\n")), "{output}");
    }
    assert_eq!((net.answered("badauth"), net.answered("good")), (5, 5));
    assert!(!net.scene.daemon.log().contains("auth failed"), "{}", net.scene.daemon.log());
    clients.wget("hostname=pc.dyn.example&myip=192.0.2.9").exits(8);
    assert_eq!(net.answered("abuse"), 1);
}
