//! Wall clocks that jump while the daemon runs or is off (libfaketime): only hosts without updates
//! expire. The monotonic clock stays true, as it does when an administrator or NTP sets the wall
//! clock.

use crate::tls::{install, secure, with_tls};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::faketime::library;
use ddnsd_tests::named::Named;
use ddnsd_tests::own_server::OwnServer;
use ddnsd_tests::primary::{OPEN, Primary, ZONE};
use ddnsd_tests::process::run;
use ddnsd_tests::setup::{Setup, binary};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A daemon whose wall clock the test sets. Most updates go unsigned: TSIG would refuse such
/// clocks.
struct Scene {
    named: Named,
    daemon: Daemon,
    offset: PathBuf,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let scene = Self::without_hosts(|setup| setup.without("dns_service.ddns_default_key_file"));
        for (label, ttl) in [("pc", "600"), ("brief", "6")] {
            scene.daemon.ctl().add_host("alice", label, OPEN, &["--expiry-ttl", ttl]);
        }
        scene.update("pc");
        scene
    }

    /// With alice.
    #[track_caller]
    fn without_hosts(configure: impl FnOnce(Setup) -> Setup) -> Self {
        let named = Named::start();
        let setup = Daemon::builder(&named).set("dns_service.cleanup_interval", 1);
        let (setup, offset) = with_clock(configure(setup), "+0");
        let daemon = setup.start();
        daemon.ctl().add_user("alice");
        Self { named, daemon, offset }
    }

    #[track_caller]
    fn update(&self, label: &str) {
        let query = format!("hostname={label}.{OPEN}&myip=192.0.2.1");
        self.daemon.update("alice", &query).has_status(200);
    }

    /// Sets the wall clock: this far from the true time.
    #[track_caller]
    fn set_clock(&self, offset: &str) {
        set_clock(&self.offset, offset);
    }

    #[track_caller]
    fn a(&self, label: &str) -> Vec<String> {
        self.named.data(&format!("{label}.{OPEN}"), "A")
    }

    /// A host that is updated stays, and one that is not expires.
    #[track_caller]
    fn only_hosts_without_updates_expire(&self) {
        self.daemon.ctl().run(&["cleanup"]).ok().prints(&["0 expired"]);
        assert_eq!((self.a("pc"), self.a("brief")), (one(), one()));
        let gone = (one(), Vec::new());
        eventually_equals(
            Duration::from_secs(30),
            "the host without updates to expire",
            &gone,
            || (self.a("pc"), self.a("brief")),
        );
    }
}

/// A clock this far from the true time, and the file that holds the offset.
pub(crate) fn with_clock(setup: Setup, offset: &str) -> (Setup, PathBuf) {
    let file = setup.file("clock");
    std::fs::write(&file, offset).unwrap();
    let variable = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
    let library = format!("LD_PRELOAD={}", library());
    let options = ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let setup = setup.wrapped_in(&["env", &library, &variable, options[0], options[1]]);
    (setup, file)
}

#[track_caller]
pub(crate) fn set_clock(file: &Path, offset: &str) {
    // in one step, so that the daemon never reads half of it
    let new = file.with_extension("new");
    std::fs::write(&new, offset).unwrap();
    std::fs::rename(&new, file).unwrap();
}

fn one() -> Vec<String> {
    vec!["192.0.2.1".to_owned()]
}

#[test]
fn a_clock_that_jumps_ahead_and_back_expires_no_host_early() {
    let scene = Scene::new();
    for offset in ["+2d", "-3d", "+0", "+40d"] {
        scene.update("brief");
        scene.set_clock(offset);
        scene.only_hosts_without_updates_expire();
        assert!(scene.daemon.log().contains("the clock "), "a jump is logged");
    }
}

#[test]
fn a_stopped_process_expires_no_host_because_of_that_time() {
    let scene = Scene::without_hosts(|setup| setup);
    scene.daemon.ctl().add_host("alice", "pc", OPEN, &["--expiry-ttl", "9"]);
    scene.update("pc");
    scene.daemon.signal(Signal::SIGSTOP);
    // longer than it lives
    std::thread::sleep(Duration::from_secs(12));
    scene.daemon.signal(Signal::SIGCONT);
    eventually(Duration::from_secs(10), "the stop to be logged", || {
        let log = scene.daemon.log();
        if log.contains("ddnsd did not run, or waited for its database, for 1") {
            Ok(())
        } else {
            Err(log)
        }
    });
    scene.daemon.ctl().run(&["cleanup"]).ok().prints(&["0 expired"]);
    assert_eq!(scene.a("pc"), one());
    eventually_equals(
        Duration::from_secs(30),
        "the host without updates to expire",
        &Vec::new(),
        || scene.a("pc"),
    );
}

#[test]
fn a_stop_during_a_sweep_expires_no_host_because_of_that_time() {
    let scene = Scene::without_hosts(|setup| setup);
    for (label, ttl) in [("pc", "9"), ("brief", "1")] {
        scene.daemon.ctl().add_host("alice", label, OPEN, &["--expiry-ttl", ttl]);
        scene.update(label);
    }
    scene.named.pause();
    eventually(Duration::from_secs(10), "a sweep to wait for the name server", || {
        let brief = scene.daemon.ctl().json(&["hostname", "show", "brief", OPEN]);
        if brief["state"] == "pending" { Ok(()) } else { Err(brief.to_string()) }
    });
    let query = format!("hostname=pc.{OPEN}&myip=192.0.2.1");
    scene.daemon.update("alice", &query).is(200, "nochg 192.0.2.1\n");
    scene.daemon.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(12));
    scene.named.go_on();
    scene.daemon.signal(Signal::SIGCONT);
    scene.daemon.ctl().run(&["cleanup"]).ok().prints(&["0 expired"]);
    assert!(scene.daemon.log().contains("ddnsd did not run, or waited for its database, for 1"));
    assert_eq!(scene.a("pc"), one());
}

#[test]
fn a_daemon_that_was_off_for_a_day_expires_no_host_early() {
    let mut scene = Scene::new();
    for (offset, killed) in [("+1d", false), ("+2d", true), ("-1d", false), ("-2d", true)] {
        scene.update("brief");
        if killed {
            scene.daemon.kill9();
        } else {
            assert!(scene.daemon.terminate().success());
        }
        scene.set_clock(offset);
        scene.daemon.start_again();
        scene.only_hosts_without_updates_expire();
    }
}

#[test]
fn a_clock_that_differs_from_the_name_servers_is_logged_as_badtime() {
    let scene = Scene::without_hosts(|setup| setup);
    scene.daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    let update = || scene.daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1");
    scene.set_clock("+1h");
    update().is(503, "dnserr\n");
    let log = scene.daemon.log();
    let cause = "NOTAUTH/BADTIME (the clocks differ by more than 300 s; the server's shows 20";
    assert!(log.contains(cause), "{log}");
    scene.set_clock("+0");
    update().has_status(200);
    assert_eq!(scene.named.data("pc.dyn.example", "A"), ["192.0.2.1"]);
}

/// A board without a battery, before NTP has set its clock.
pub(crate) const BEFORE_1970: &str = "-60y";

#[test]
fn a_clock_before_1970_changes_no_reply() {
    let server = OwnServer::of(&[ZONE]);
    let setup = Daemon::builder(&server).set("daemon.log_level", "debug");
    let (setup, offset) = with_clock(setup, BEFORE_1970);
    let mut daemon = setup.start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    let path = "/update?hostname=pc.dyn.example&myip=192.0.2.";
    for (last, reply) in
        [(1, "good 192.0.2.1\n"), (1, "nochg 192.0.2.1\n"), (2, "good 192.0.2.2\n")]
    {
        daemon.get(&format!("{path}{last}")).user("alice", PASSWORD).send().is(200, reply);
    }
    daemon.get(&format!("{path}2")).user("alice", "wrong").send().is(401, "badauth\n");
    assert_eq!(server.data("pc.dyn.example", "A"), ["192.0.2.2"]);
    // a client on the same board
    let mut ctl = Command::new(binary("ddnsctl"));
    ctl.env("LD_PRELOAD", library()).env("FAKETIME", BEFORE_1970);
    ctl.arg("--socket").arg(daemon.setup().socket());
    run(ctl.args(["hostname", "list"]), "").ok().prints(&["192.0.2.2"]);
    daemon.ctl().run(&["status"]).ok();
    assert!(daemon.log().starts_with("19"), "{}", daemon.log());

    let authority = Authority::new();
    install(daemon.setup(), &authority.sign("ddns.example"));
    daemon.reconfigure(with_tls);
    daemon.restart();
    for (last, version) in [(3, "--http1.1"), (4, "--http2"), (5, "--tlsv1.2")] {
        let path = format!("{path}{last}");
        let ask = |password| {
            let request = secure(&daemon, &authority, "ddns.example", &path);
            request.user("alice", password).with(&[version]).send()
        };
        ask(PASSWORD).is(200, &format!("good 192.0.2.{last}\n"));
        ask(PASSWORD).is(200, &format!("nochg 192.0.2.{last}\n"));
        ask("wrong").is(401, "badauth\n");
    }
    set_clock(&offset, "+0");
    let request = secure(&daemon, &authority, "ddns.example", &format!("{path}5"));
    request.user("alice", PASSWORD).send().is(200, "nochg 192.0.2.5\n");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
