//! Reloads by `ddnsctl reload` or SIGHUP: changes take effect, keys that need a restart are named,
//! a bad file changes nothing, and no request is lost.

use crate::tls::{install, secure, with_tls};
use crate::{RECOVERY, Scene};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::{get, quick_get};
use ddnsd_tests::named::{Named, ZONE, free_port, write_private};
use ddnsd_tests::process::Finished;
use ddnsd_tests::setup::Setup;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

impl Scene {
    /// Changes the configuration and reloads it.
    #[track_caller]
    fn reload(&mut self, configure: impl FnOnce(Setup) -> Setup) -> Finished {
        self.daemon.reconfigure(configure);
        self.ctl().run(&["reload"]).ok()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.ctl().json(&["status"])["counters"][name].as_u64().expect("a counter")
    }
}

fn endpoint(path: &str) -> toml::Value {
    toml::Value::Array(vec![toml::Value::Table(toml::Table::from_iter([(
        "path".to_owned(),
        path.into(),
    )]))])
}

//----- What takes effect -----

#[test]
fn endpoints_and_proxies_are_reloaded() {
    let mut scene = Scene::new();
    let output = scene.reload(|setup| {
        setup
            .set_top("endpoints", endpoint("/nic/update"))
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.0/8"])
    });
    output.prints(&["endpoints.\"/nic/update\".hostname", "daemon.proxy_header", "127.0.0.0/8"]);
    scene.daemon.get("/update").send().has_status(404);
    let request = scene.daemon.get("/nic/update?hostname=pc.dyn.example").user("alice", PASSWORD);
    request.header("X-Forwarded-For: 192.0.2.77").send().is(200, "good 192.0.2.77\n");
}

#[test]
fn limits_are_reloaded_and_earlier_requests_still_count() {
    let mut scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 2)
    });
    let ask = |scene: &Scene| scene.update("hostname=pc.dyn.example&myip=192.0.2.1").body;
    let replies = [ask(&scene), ask(&scene), ask(&scene)];
    assert_eq!(replies, ["good 192.0.2.1\n", "nochg 192.0.2.1\n", "abuse\n"]);
    scene.reload(|setup| setup.set("rate_limit.good_max_requests", 3));
    assert_eq!([ask(&scene), ask(&scene)], ["nochg 192.0.2.1\n", "abuse\n"]);
    scene.reload(|setup| setup.set("rate_limit.enabled", false));
    assert_eq!(ask(&scene), "nochg 192.0.2.1\n");
}

#[test]
fn the_password_cache_is_reloaded() {
    let mut scene = Scene::new();
    let ask = |scene: &Scene| {
        scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
        scene.counter("passwords.hashed")
    };
    let first = ask(&scene);
    let second = ask(&scene);
    assert_eq!(first, second, "a cached password is not hashed again");
    scene.reload(|setup| setup.set("auth.cache_ttl", 0).set("daemon.thread_pool_size", 1));
    assert_eq!([ask(&scene), ask(&scene)], [second + 1, second + 2]);
    scene.reload(|setup| setup.set("auth.cache_ttl", 3600).set("daemon.thread_pool_size", 4));
    let third = ask(&scene);
    assert_eq!(ask(&scene), third);
}

#[test]
fn defaults_are_reloaded_and_hosts_expire_by_them() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 3600));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.reload(|setup| setup.set("defaults.dns_ttl", 77));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(77, "192.0.2.2".to_owned())]);
    scene
        .reload(|setup| setup.set("defaults.expiry_ttl", 1).set("dns_service.cleanup_interval", 1));
    eventually_equals(SOON, "the host to expire by the new default", &vec![], || scene.a("pc"));
}

#[test]
fn the_request_timeout_is_read_when_a_connection_begins() {
    let mut scene = Scene::with(|setup| setup.set("daemon.request_timeout", 60));
    let mut before = TcpStream::connect(scene.daemon.address()).unwrap();
    // connections are accepted in order, so the first one is accepted now
    scene.daemon.get("/update").send().has_status(401);
    scene.reload(|setup| setup.set("daemon.request_timeout", 2).set("dns_service.dns_timeout", 1));
    let mut after = TcpStream::connect(scene.daemon.address()).unwrap();
    let start = Instant::now();
    after.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(after.read(&mut [0; 8]).expect("closed in time"), 0);
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    before.set_nonblocking(true).unwrap();
    let open = before.read(&mut [0; 8]).expect_err("the earlier connection is open");
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn mail_is_reloaded_without_an_error() {
    let mut scene = Scene::new();
    let output = scene.reload(|setup| {
        let setup = setup.set("email.enabled", true).set("email.smtp_host", "localhost");
        setup.set("email.from_address", "ddns@example.org")
    });
    output.prints(&["email.enabled", "email.smtp_host"]);
}

//----- The log -----

#[test]
fn the_log_is_reloaded_and_reopened() {
    let mut scene = Scene::new();
    let log = scene.daemon.setup().file("ddnsd.log");
    let path = log.display().to_string();
    scene.reload(|setup| {
        let setup = setup.set("daemon.log_target", "file").set("daemon.log_file", path.as_str());
        setup.set("daemon.log_requests", true)
    });
    let lines = |marker: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains(marker)).count()
    };
    assert_eq!(lines("configuration reloaded"), 1, "the new log has the line");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    assert_eq!(lines("word=\"good\""), 1, "{:?}", std::fs::read_to_string(&log));

    let moved = log.with_extension("moved");
    std::fs::rename(&log, &moved).unwrap();
    scene.daemon.signal(Signal::SIGHUP);
    eventually_equals(SOON, "the file to be reopened", &1, || lines("configuration reloaded"));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").has_status(200);
    assert_eq!(lines("word=\"good\""), 1);

    // also if the configuration is bad
    std::fs::rename(&log, &moved).unwrap();
    std::fs::write(scene.daemon.setup().config(), "nonsense").unwrap();
    scene.ctl().run(&["reload"]).exits(1);
    assert_eq!(lines("nothing was changed"), 1);

    scene.reload(|setup| setup.set("daemon.log_level", "ERROR"));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3").has_status(200);
    assert_eq!(lines("192.0.2.3"), 0, "INFO is not logged any more");
}

#[test]
fn a_log_file_that_cannot_be_reopened_fails_the_reload_but_not_the_configuration() {
    let mut scene = Scene::new();
    let folder = scene.daemon.setup().file("logs");
    let moved = scene.daemon.setup().file("moved");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("ddnsd.log").display().to_string();
    scene.reload(|setup| {
        setup.set("daemon.log_target", "file").set("daemon.log_file", path.as_str())
    });
    std::fs::rename(&folder, &moved).unwrap();
    scene.daemon.reconfigure(|setup| setup.set("defaults.dns_ttl", 77));
    let output = scene.ctl().run(&["reload"]).exits(1);
    output.prints(&["1 key has changed", "the log file is still the old one", path.as_str()]);
    let json = scene.ctl().run(&["--json", "reload"]).exits(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["log_problem"].as_str().unwrap().contains(&path), "{json}");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(77, "192.0.2.1".to_owned())]);
    let old = std::fs::read_to_string(moved.join("ddnsd.log")).unwrap();
    assert!(old.contains("address changed"), "the old file is in use: {old}");

    // another target makes up for it
    scene.reload(|setup| setup.set("daemon.log_target", "stdout"));
}

#[test]
fn a_log_that_cannot_be_opened_changes_nothing() {
    let mut scene = Scene::new();
    scene.daemon.reconfigure(|setup| {
        let setup = setup.set("daemon.log_target", "file");
        setup.set("daemon.log_file", "/nonexistent/ddnsd.log").set("defaults.dns_ttl", 77)
    });
    let output = scene.ctl().run(&["reload"]).exits(1);
    output.prints(&["/nonexistent/ddnsd.log", "nothing was changed"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(60, "192.0.2.1".to_owned())]);
    assert!(scene.daemon.log().contains("address changed"), "the old log is in use");
}

#[test]
fn debug_on_the_command_line_beats_the_log_level_after_a_reload_too() {
    let mut scene =
        Scene::with(|setup| setup.wrapped_in(&["sh", "-c", r#"exec "$0" --debug "$@""#]));
    let output = scene.reload(|setup| setup.set("daemon.log_level", "ERROR"));
    assert!(!output.stdout.contains("log_level"), "it has no effect: {output}");
    let before = scene.daemon.log().matches("DEBUG").count();
    scene.ctl().run(&["status"]).ok();
    assert!(scene.daemon.log().matches("DEBUG").count() > before, "{}", scene.daemon.log());
}

//----- What fails -----

#[test]
fn a_database_that_refuses_the_move_to_another_name_server_changes_nothing() {
    let mut scene = Scene::new();
    let second = Named::start();
    let sql = |scene: &Scene, sql: &str| scene.daemon.setup().database().sql(sql);
    sql(&scene, "ALTER TABLE meta RENAME TO meta_elsewhere;");
    scene.daemon.reconfigure(|setup| {
        let setup = setup.set("dns_service.dns_port", i64::from(second.port()));
        setup.set("defaults.dns_ttl", 77)
    });
    scene.ctl().run(&["reload"]).exits(1).prints(&["meta", "nothing was changed"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(60, "192.0.2.1".to_owned())]);
    sql(&scene, "ALTER TABLE meta_elsewhere RENAME TO meta;");
    scene.reload(|setup| setup).prints(&["dns_service.dns_port", "defaults.dns_ttl"]);
}

#[test]
fn a_bad_file_changes_nothing_and_every_problem_is_reported() {
    let mut scene = Scene::new();
    scene.daemon.reconfigure(|setup| {
        setup
            .set("defaults.dns_ttl", 77)
            .set("daemon.request_timeout", 0)
            .set("auth.cache_tll", 3)
            .set("dns_service.ddns_default_key_file", "/nonexistent/key")
            .set_top("endpoints", endpoint("no slash"))
    });
    let problems = [
        "daemon.request_timeout: must be",
        "did you mean `cache_ttl`?",
        "/nonexistent/key",
        "no slash",
    ];
    let output = scene.ctl().run(&["reload"]).exits(1);
    assert_eq!(output.stdout, "", "problems are on stderr: {output}");
    output.prints(&problems).prints(&["nothing was changed"]);
    let json = scene.ctl().run(&["--json", "reload"]).exits(1);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["problems_total"], &json["changed"]), (&json!(4), &json!([])), "{json}");
    let log = scene.daemon.log();
    assert!(problems.iter().all(|problem| log.contains(problem)), "{log}");

    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(60, "192.0.2.1".to_owned())]);
    std::fs::remove_file(scene.daemon.setup().config()).unwrap();
    scene.ctl().run(&["reload"]).exits(1).prints(&["config.toml", "cannot be read"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

#[test]
fn keys_that_need_a_restart_are_named_at_each_reload_and_the_rest_takes_effect() {
    let mut scene = Scene::new();
    let listen = toml::Table::from_iter([("listen".to_owned(), vec!["127.0.0.1:5353"].into())]);
    let output = scene.reload(|setup| {
        setup
            .set("daemon.port", 1)
            .set("daemon.host", "localhost")
            .set("database.pool_size", 7)
            .set("admin.mode", "0600")
            .set("metrics.listen", "127.0.0.1:9153")
            .set("dns_service.backend", "builtin")
            .set("dns_service.builtin", listen)
            .set("defaults.dns_ttl", 77)
    });
    output.prints(&["defaults.dns_ttl", "1 key has changed; 7 need a restart of ddnsd"]);
    let json = scene.ctl().json(&["reload"]);
    let keys = |of: &str| -> Vec<String> {
        let rows = json[of].as_array().unwrap().iter();
        rows.map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("changed"), [""; 0]);
    let restart = [
        "admin.mode",
        "daemon.host",
        "daemon.port",
        "database.pool_size",
        "dns_service.backend",
        "dns_service.builtin.listen",
        "metrics.listen",
    ];
    assert_eq!(keys("needs_restart"), restart);
    let row = &json["needs_restart"][3];
    assert_eq!((&row["old"], &row["new"]), (&json!("5"), &json!("7")));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(77, "192.0.2.1".to_owned())]);
}

//----- TLS -----

#[test]
fn new_connections_get_the_new_certificate_and_a_bad_one_keeps_the_old() {
    let authority = Authority::new();
    let mut scene = Scene::with(|setup| {
        install(&setup, &authority.sign("one.example"));
        with_tls(setup)
    });
    let ask = |scene: &Scene, name: &str| secure(&scene.daemon, &authority, name, "/update").send();
    ask(&scene, "one.example").is(401, "badauth\n");

    let one = authority.sign("one.example");
    let two = authority.sign("two.example");
    std::fs::copy(&two.certificate, scene.daemon.setup().file("cert.pem")).unwrap();
    let output = scene.ctl().run(&["reload"]).exits(1);
    output.prints(&["does not hold the key of the certificate", "nothing was changed"]);
    ask(&scene, "one.example").is(401, "badauth\n");

    write_private(&scene.daemon.setup().file("key.pem"), "rubbish");
    scene.ctl().run(&["reload"]).exits(1).prints(&["key.pem", "holds no readable private key"]);
    ask(&scene, "one.example").is(401, "badauth\n");

    install(scene.daemon.setup(), &two);
    let json = scene.ctl().json(&["reload"]);
    let changed = json!([
        {"key": "daemon.ssl_cert_file", "old": null, "new": null},
        {"key": "daemon.ssl_key_file", "old": null, "new": null},
    ]);
    assert_eq!(json["changed"], changed);
    ask(&scene, "two.example").is(401, "badauth\n");

    install(scene.daemon.setup(), &one);
    scene.daemon.signal(Signal::SIGHUP);
    eventually(SOON, "the certificate to be the first one's again", || {
        let tried = std::panic::catch_unwind(|| ask(&scene, "one.example").status);
        if tried.is_ok() { Ok(()) } else { Err("it is not".to_owned()) }
    });
    scene.reload(|setup| setup.set("daemon.ssl", false)).prints(&["daemon.ssl"]);
    let plain = format!("http://{}/update", scene.daemon.address());
    get(&plain).send().is(401, "badauth\n");
}

#[test]
fn tls_is_switched_on_for_new_connections_only() {
    let authority = Authority::new();
    let mut scene = Scene::new();
    install(scene.daemon.setup(), &authority.sign("ddns.example"));
    let mut kept = Kept::open(scene.daemon.address());
    kept.asks();
    scene.reload(with_tls).prints(&["daemon.ssl"]);
    kept.asks();
    secure(&scene.daemon, &authority, "ddns.example", "/update").send().is(401, "badauth\n");
}

#[test]
fn certificates_and_tls_itself_change_under_load_and_no_request_is_lost() {
    let authority = Authority::new();
    let mut scene = Scene::new();
    let certificates = [authority.sign("ddns.example"), authority.sign("ddns.example")];
    let address = scene.daemon.address().to_owned();
    let done = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let _over = Over(&done);
        for _ in 0..4 {
            // it began without TLS and stays so
            let mut kept = Kept::open(&address);
            kept.asks();
            let done = &done;
            let asked = &asked;
            threads.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    kept.asks();
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..12 {
            let before = asked.load(Ordering::Relaxed);
            install(scene.daemon.setup(), &certificates[round % 2]);
            if round % 4 == 3 {
                scene.reload(|setup| setup.set("daemon.ssl", false));
                get(&format!("http://{address}/update")).send().is(401, "badauth\n");
            } else {
                scene.reload(with_tls);
                let request = secure(&scene.daemon, &authority, "ddns.example", "/update");
                request.send().is(401, "badauth\n");
            }
            eventually(SOON, "further requests on the kept connections", || {
                let more = asked.load(Ordering::Relaxed) - before;
                if more >= 8 { Ok(()) } else { Err(format!("{more}")) }
            });
        }
    });
}

/// Stops the threads when a test ends or fails, because their scope waits for them.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A plain connection that stays open.
struct Kept(TcpStream);

impl Kept {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(stream)
    }

    #[track_caller]
    fn asks(&mut self) {
        use std::io::Write;
        self.0.write_all(b"GET /update HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with("badauth\n") {
            let mut part = [0; 512];
            let length = self.0.read(&mut part).expect("an answer");
            assert!(length > 0, "it was closed: {answer}");
            answer.push_str(std::str::from_utf8(&part[..length]).unwrap());
        }
    }
}

//----- The name server -----

#[test]
fn another_name_server_gets_every_record_and_the_old_one_nothing_more() {
    let mut scene = Scene::new();
    scene.add_hosts(&["nas", "unused"]);
    let pair = "hostname=pc.dyn.example,nas.dyn.example&myip=192.0.2.1";
    scene.update(pair).has_status(200);
    let second = Named::start();
    let key = second.key_file().display().to_string();
    let output = scene.reload(|setup| {
        let setup = setup.set("dns_service.dns_port", i64::from(second.port()));
        setup.set("dns_service.ddns_default_key_file", key)
    });
    output.prints(&["dns_service.dns_port"]);
    // a keepalive right after the reload: its reply is true for the new server
    scene.update("hostname=nas.dyn.example&myip=192.0.2.1").has_status(200);
    assert_eq!(second.data("nas.dyn.example", "A"), ["192.0.2.1"]);
    let before = scene.named.serial(ZONE);
    eventually_equals(RECOVERY, "every record on the new server", &vec!["192.0.2.1"; 2], || {
        let hosts = ["pc.dyn.example", "nas.dyn.example"];
        let all = hosts.iter().flat_map(|host| second.data(host, "A"));
        all.map(|data| if data == "192.0.2.1" { "192.0.2.1" } else { "other" }).collect()
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    assert_eq!(second.data("pc.dyn.example", "A"), ["192.0.2.2"]);
    assert_eq!(scene.named.serial(ZONE), before, "the old server got nothing more");
    assert_eq!(second.addresses(ZONE).len(), 2, "a host without updates is not there");

    // the next start knows that the records are there
    scene.daemon.restart();
    let messages = second.update_messages();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "nochg 192.0.2.2\n");
    assert_eq!(second.update_messages(), messages, "nothing was sent again");
}

#[test]
fn records_that_a_former_name_server_still_holds_are_removed_when_it_is_used_again() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let second = Named::start();
    let place = |named: &Named| (i64::from(named.port()), named.key_file().display().to_string());
    let move_to = |scene: &mut Scene, (port, key): (i64, String)| {
        scene.reload(|setup| {
            let setup = setup.set("dns_service.dns_port", port);
            setup.set("dns_service.ddns_default_key_file", key)
        });
    };
    move_to(&mut scene, place(&second));
    scene.update("hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    assert_eq!(scene.a("pc"), ["192.0.2.1"], "the old server got no update");
    let first = place(&scene.named);
    move_to(&mut scene, first);
    eventually_equals(RECOVERY, "the old record to go", &Vec::new(), || scene.a("pc"));
}

#[test]
fn a_move_that_was_stored_but_failed_is_repeated_in_full() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let second = Named::start();
    let key = second.key_file().display().to_string();
    // as if the database stored it and its answer was lost, so that the reload failed
    let target = format!("rfc2136 127.0.0.1:{}", second.port());
    let sql = format!("UPDATE meta SET value = '{target}' WHERE name = 'target';");
    scene.daemon.setup().database().sql(&sql);
    scene.reload(|setup| {
        let setup = setup.set("dns_service.dns_port", i64::from(second.port()));
        setup.set("dns_service.ddns_default_key_file", key)
    });
    eventually_equals(RECOVERY, "the record on the new server", &vec!["192.0.2.1"], || {
        let held = second.data("pc.dyn.example", "A");
        if held == ["192.0.2.1"] { vec!["192.0.2.1"] } else { vec![] }
    });
    // stored only once the records are sent there
    eventually_equals(RECOVERY, "the new server to be stored", &target, || {
        let sql = "SELECT value FROM meta WHERE name = 'target';";
        scene.daemon.setup().database().sql(sql).trim().to_owned()
    });
}

#[test]
fn after_a_kill_during_a_move_the_next_start_sends_every_record() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.daemon.kill9();
    // the state of an interrupted move; the records are gone from the configured server
    let sql = "UPDATE meta SET value = 'moving' WHERE name = 'target';";
    scene.daemon.setup().database().sql(sql);
    scene.named.nsupdate("update delete pc.dyn.example.");
    scene.daemon.start_again();
    eventually_equals(
        RECOVERY,
        "the record to be sent again",
        &vec!["192.0.2.1".to_owned()],
        || scene.a("pc"),
    );
    let sql = "SELECT value FROM meta WHERE name = 'target';";
    let target = scene.daemon.setup().database().sql(sql);
    assert_eq!(target.trim(), format!("rfc2136 127.0.0.1:{}", scene.named.port()));
}

#[test]
fn a_reload_keeps_the_state_of_a_name_server_that_is_down() {
    // takes everything and never answers
    let port = free_port();
    let _udp = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let _tcp = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut scene = Scene::with(|setup| {
        let setup = setup.set("dns_service.dns_port", i64::from(port));
        setup.set("dns_service.dns_timeout", 4)
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    scene.reload(|setup| setup.set("defaults.dns_ttl", 77));
    let start = Instant::now();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(503, "dnserr\n");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "a zone that is down was tried again for {took:?}");
}

#[test]
fn another_key_and_another_transport_take_effect_at_once() {
    let named = Named::start();
    let other = Named::start();
    let wrong = other.key_file().display().to_string();
    let right = named.key_file().display().to_string();
    let daemon =
        Daemon::builder(&named).set("dns_service.ddns_default_key_file", wrong.as_str()).start();
    let mut scene = Scene { daemon, named };
    scene.ctl().add_user("alice");
    scene.add_hosts(&["pc"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    let wrong_key = std::fs::read_to_string(&wrong).unwrap();
    std::fs::copy(&right, &wrong).unwrap();
    let output = scene.reload(|setup| setup);
    output.prints(&["dns_service.ddns_default_key_file", "(not shown)"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
    let before = scene.counter("dns.tcp");
    scene.reload(|setup| setup.set("dns_service.dns_transport", "tcp"));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3").is(200, "good 192.0.2.3\n");
    assert!(scene.counter("dns.tcp") > before, "it went by TCP");
    scene.reload(|setup| {
        write_private(Path::new(&wrong), &wrong_key);
        let keys = toml::Table::from_iter([(ZONE.to_owned(), wrong.into())]);
        let setup = setup.set("dns_service.ddns_default_key_file", right);
        setup.set("dns_service.zone_keys", keys).set("dns_service.dns_timeout", 1)
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.4").is(503, "dnserr\n");
}

//----- SIGHUP, load, systemd -----

#[test]
fn sighup_does_the_same_as_ddnsctl() {
    let mut scene = Scene::new();
    scene.daemon.reconfigure(|setup| setup.set("defaults.dns_ttl", 77).set("daemon.port", 1));
    scene.daemon.signal(Signal::SIGHUP);
    let lines = ["defaults.dns_ttl: \"60\" -> \"77\"", "needs a restart", "configuration reloaded"];
    eventually(SOON, "the reload in the log", || {
        let log = scene.daemon.log();
        if lines.iter().all(|line| log.contains(line)) { Ok(()) } else { Err(log) }
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(77, "192.0.2.1".to_owned())]);
    std::fs::write(scene.daemon.setup().config(), "nonsense").unwrap();
    scene.daemon.signal(Signal::SIGHUP);
    eventually(SOON, "the problem in the log", || {
        let log = scene.daemon.log();
        if log.contains("nothing was changed") { Ok(()) } else { Err(log) }
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

/// Hosts that [`under_load`] updates continuously.
const LABELS: [&str; 4] = ["h0", "h1", "h2", "h3"];

/// Runs `act` this many times while clients update, with some updates before each; none may fail.
fn under_load(scene: &mut Scene, times: i64, mut act: impl FnMut(&mut Scene, i64)) {
    scene.add_hosts(&LABELS);
    let server = scene.daemon.address().to_owned();
    let done = AtomicBool::new(false);
    let count = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let server = &server;
        let done = &done;
        let count = &count;
        for label in LABELS {
            threads.spawn(move || update_until(done, count, server, label));
        }
        for round in 0..times {
            let before = count.load(Ordering::Relaxed);
            eventually(SOON, "further updates to be acknowledged", || {
                let more = count.load(Ordering::Relaxed) - before;
                let broken = done.load(Ordering::Relaxed);
                if more >= 8 || broken { Ok(()) } else { Err(format!("{more}")) }
            });
            act(scene, round);
        }
        done.store(true, Ordering::Relaxed);
    });
    eventually_equals(RECOVERY, "every host to be published", &true, || {
        scene.ctl().hosts().iter().all(|host| host.published)
    });
}

/// Sends one update after the other. The first failure ends all threads.
fn update_until(done: &AtomicBool, count: &AtomicUsize, server: &str, label: &str) {
    for round in 0.. {
        let address = format!("192.0.2.{}", round % 250 + 1);
        let path = format!("/update?hostname={label}.{ZONE}&myip={address}");
        let reply = quick_get(server, &path, "alice", PASSWORD);
        let good = format!("good {address}\n");
        if reply.as_ref().is_none_or(|reply| reply.body != good) {
            done.store(true, Ordering::Relaxed);
            panic!("update {round} of {label}: {reply:?}");
        }
        count.fetch_add(1, Ordering::Relaxed);
        if done.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn twenty_reloads_under_load_lose_no_request() {
    let mut scene = Scene::new();
    under_load(&mut scene, 20, |scene, round| {
        scene.reload(|setup| {
            let proxies = vec!["127.0.0.1"; usize::try_from(round % 2).unwrap()];
            let mut endpoints = endpoint("/update");
            if let (Some(all), toml::Value::Array(more)) =
                (endpoints.as_array_mut(), endpoint(&format!("/round/{round}")))
            {
                all.extend(more);
            }
            setup
                .set_top("endpoints", endpoints)
                .set("daemon.trusted_proxies", proxies)
                .set(
                    "daemon.proxy_header",
                    ["", "X-Real-IP"][usize::try_from(round % 3 / 2).unwrap()],
                )
                .set("daemon.log_requests", round % 2 == 0)
                .set("daemon.thread_pool_size", 1 + round % 3)
                .set("daemon.request_timeout", 10 + round)
                .set("auth.cache_ttl", round % 2 * 60)
                .set("dns_service.dns_timeout", 2 + round % 2)
                .set("defaults.dns_ttl", 60 + round)
        });
    });
}

#[test]
fn a_name_server_that_changes_under_load_costs_no_request_and_no_record() {
    let mut scene = Scene::new();
    let second = Named::start();
    let servers = [
        (second.port(), second.key_file().display().to_string()),
        (scene.named.port(), scene.named.key_file().display().to_string()),
    ];
    under_load(&mut scene, 21, |scene, round| {
        let (port, key) = &servers[usize::try_from(round % 2).unwrap()];
        scene.reload(|setup| {
            let setup = setup.set("dns_service.dns_port", i64::from(*port));
            setup.set("dns_service.ddns_default_key_file", key.as_str())
        });
    });
    for host in scene.ctl().hosts() {
        assert_eq!(second.lookup(&host.fqdn, "A"), host.a(), "DNS and database for {}", host.fqdn);
    }
}

#[test]
fn systemd_is_notified_of_a_reload() {
    let folder = Setup::empty();
    let path = folder.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let message = || {
        let mut text = [0; 512];
        let length = socket.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut scene = Scene::without_hosts(|setup| setup.wrapped_in(&["env", &variable]));
    // in either order
    let mut start = [message(), message()];
    start.sort();
    assert_eq!(
        start.map(|text| text.trim().to_owned()),
        ["READY=1", "STATUS=hosts: 0, pending: 0"]
    );
    scene.daemon.signal(Signal::SIGHUP);
    let reloading = message();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(message().trim(), "READY=1");
    let status = message();
    assert!(status.starts_with("STATUS=hosts: 0, pending: 0; last reload 20"), "{status}");
    // a failed reload ends, too
    std::fs::write(scene.daemon.setup().config(), "nonsense").unwrap();
    scene.ctl().run(&["reload"]).exits(1);
    assert!(message().starts_with("RELOADING=1\n"));
    assert_eq!(message().trim(), "READY=1");
    let status = message();
    assert!(status.trim_end().ends_with(": FAILED, see the log"), "{status}");
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    assert_eq!(message().trim(), "STOPPING=1");
}
