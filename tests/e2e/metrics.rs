//! `metrics.listen`: what Prometheus reads, health and readiness, beside a daemon at work.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::{Reply, ask, get};
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::own_server::OwnServer;
use ddnsd_tests::primary::Primary as _;
use ddnsd_tests::process::{program, run};
use ddnsd_tests::setup::{Setup, source};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// A scene whose daemon has a metrics listener on this port.
struct Watched {
    scene: Scene,
    port: u16,
}

impl Watched {
    #[track_caller]
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    #[track_caller]
    fn with(configure: impl FnOnce(Setup) -> Setup) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let scene = Scene::with(|setup| configure(setup.set("metrics.listen", listen)));
        Self { scene, port }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Reply {
        get(&format!("http://127.0.0.1:{}{path}", self.port)).send()
    }

    /// The page once it has this series with this value: a page is up to 1 s old.
    #[track_caller]
    fn page_with(&self, series: &str, expected: f64) -> String {
        eventually(LONG, &format!("{series} to be {expected}"), || {
            let page = self.get("/metrics").has_status(200).body;
            let found = find(&page, series);
            if found == Some(expected) { Ok(page) } else { Err(format!("{found:?}")) }
        })
    }

    /// The page after so many hosts in updates were answered `good`.
    #[track_caller]
    fn page_after_good(&self, hosts: f64) -> String {
        self.page_with("ddnsd_updates_total{code=\"good\"}", hosts)
    }
}

/// The value of the series with this name and these labels.
fn find(page: &str, series: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(value)
}

#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    find(page, series).unwrap_or_else(|| panic!("no {series} in\n{page}"))
}

#[track_caller]
fn promtool_accepts(page: &str) {
    run(Command::new(program("promtool")).args(["check", "metrics"]), page).ok();
}

#[test]
fn the_page_is_what_prometheus_accepts_before_and_after_work() {
    let watched = Watched::new();
    let reply = watched.get("/metrics").has_status(200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    promtool_accepts(&reply.body);
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    promtool_accepts(&watched.page_after_good(1.0));
}

#[test]
fn every_family_has_a_help_text_and_one_type_and_no_series_twice() {
    let watched = Watched::new();
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let page = watched.page_after_good(1.0);
    let of = |mark: &str| {
        let names = page.lines().filter_map(|line| line.strip_prefix(mark)?.split(' ').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let (helps, types) = (of("# HELP "), of("# TYPE "));
    assert_eq!(helps, types);
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len());
    for line in page.lines().filter(|line| line.starts_with("# HELP ")) {
        assert!(line.split(' ').nth(3).is_some(), "{line}");
    }
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let series: Vec<_> = samples.map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "{page}");
}

#[test]
fn updates_are_counted_by_code_and_timed_and_their_messages_by_zone_and_rcode() {
    let watched = Watched::new();
    let scene = &watched.scene;
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    let guess = scene.daemon.get("/update?hostname=pc.dyn.example").user("alice", "wrong");
    guess.send().is(401, "badauth\n");
    scene.daemon.get("/nothing").send().has_status(404);
    let page = watched.page_with("ddnsd_http_replies_total{status=\"404\"}", 1.0);
    for (series, expected) in [
        ("ddnsd_updates_total{code=\"good\"}", 1.0),
        ("ddnsd_updates_total{code=\"nochg\"}", 1.0),
        ("ddnsd_updates_total{code=\"badauth\"}", 1.0),
        ("ddnsd_updates_total{code=\"911\"}", 0.0),
        ("ddnsd_http_replies_total{status=\"200\"}", 2.0),
        ("ddnsd_http_replies_total{status=\"401\"}", 1.0),
        ("ddnsd_http_replies_total{status=\"404\"}", 1.0),
        ("ddnsd_http_update_duration_seconds_count", 3.0),
        ("ddnsd_http_update_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("ddnsd_connections_accepted_total", 4.0),
        ("ddnsd_zone_messages_total{zone=\"dyn.example\",rcode=\"NOERROR\"}", 1.0),
        ("ddnsd_zone_hosts_total{zone=\"dyn.example\"}", 1.0),
        ("ddnsd_zone_message_duration_seconds_count{zone=\"dyn.example\"}", 1.0),
        ("ddnsd_zone_up{zone=\"dyn.example\"}", 1.0),
        ("ddnsd_database_up", 1.0),
        ("ddnsd_database_writable", 1.0),
        ("ddnsd_users", 1.0),
        ("ddnsd_hostnames", 1.0),
        ("ddnsd_pending_hosts", 0.0),
        ("ddnsd_queue_length{queue=\"passwords\"}", 0.0),
        ("ddnsd_config_last_reload_successful", 1.0),
    ] {
        assert_eq!(value(&page, series), expected, "{series}\n{page}");
    }
    // alice's password was hashed when she was added, and when she and the guess logged in
    assert_eq!(value(&page, "ddnsd_passwords_argon2_duration_seconds_count"), 3.0);
    assert!(value(&page, "ddnsd_passwords_argon2_duration_seconds_sum") > 0.01);
    assert!(value(&page, "ddnsd_database_transaction_duration_seconds_count") >= 3.0);
    assert!(value(&page, "process_resident_memory_bytes") > 1e6);
    assert!(value(&page, "process_open_fds") > 5.0);
    let started = value(&page, "process_start_time_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((now.as_secs_f64() - started).abs() < 60.0);
    assert!(page.contains("ddnsd_build_info{version=\""), "{page}");
}

#[test]
fn the_numbers_are_those_of_ddnsctl_status() {
    let watched = Watched::new();
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let page = watched.page_after_good(1.0);
    let status = watched.scene.ctl().json(&["status"]);
    let counters = status["counters"].as_object().unwrap();
    assert!(counters.len() > 25);
    for name in counters.keys() {
        let series = match name.split_once('.').unwrap() {
            ("updates", code) => format!("ddnsd_updates_total{{code=\"{code}\"}}"),
            (group, name) => format!("ddnsd_{group}_{name}_total"),
        };
        value(&page, &series);
    }
}

#[test]
fn a_name_server_that_is_down_shows_but_the_daemon_stays_ready() {
    let mut watched = Watched::with(|setup| setup.set("dns_service.dns_timeout", 1));
    watched.scene.named.stop();
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    let page = watched.page_with("ddnsd_zone_up{zone=\"dyn.example\"}", 0.0);
    assert_eq!(value(&page, "ddnsd_zones_down"), 1.0);
    assert_eq!(value(&page, "ddnsd_zone_pending_hosts{zone=\"dyn.example\"}"), 1.0);
    assert!(value(&page, "ddnsd_pending_oldest_seconds") > 0.0);
    assert!(value(&page, "ddnsd_zone_last_error_timestamp_seconds{zone=\"dyn.example\"}") > 1e9);
    let unanswered = "ddnsd_zone_messages_total{zone=\"dyn.example\",rcode=\"unanswered\"}";
    assert!(value(&page, unanswered) >= 1.0, "{page}");
    watched.get("/readyz").is(200, "ready\n");
    watched.scene.named.start_again();
    watched.page_with("ddnsd_zone_up{zone=\"dyn.example\"}", 1.0);
    watched.page_with("ddnsd_pending_hosts", 0.0);
}

#[test]
fn an_unusable_database_makes_the_daemon_unready_but_alive() {
    let watched = Watched::new();
    watched.get("/readyz").is(200, "ready\n");
    watched.get("/healthz").is(200, "ok\n");
    watched.scene.daemon.setup().database().sql("ALTER TABLE hosts RENAME TO x;");
    eventually_equals(LONG, "the daemon to be unready", &503, || watched.get("/readyz").status);
    let reasons = watched.get("/readyz").body.clone();
    assert!(reasons.starts_with("the database is down: "), "{reasons}");
    watched.get("/healthz").is(200, "ok\n");
    let page = watched.page_with("ddnsd_database_up", 0.0);
    assert!(!page.contains("\nddnsd_hostnames "), "an unknown number is left out");
    promtool_accepts(&page);
    watched.scene.daemon.setup().database().sql("ALTER TABLE x RENAME TO hosts;");
    eventually_equals(LONG, "the daemon to be ready", &200, || watched.get("/readyz").status);
}

#[test]
fn a_reload_that_failed_shows_until_one_succeeds() {
    let watched = Watched::new();
    let setup = watched.scene.daemon.setup();
    let good = std::fs::read_to_string(setup.config()).unwrap();
    std::fs::write(setup.config(), format!("{good}\n[nonsense]\n")).unwrap();
    watched.scene.ctl().run(&["reload"]).exits(1);
    watched.page_with("ddnsd_config_last_reload_successful", 0.0);
    std::fs::write(setup.config(), good).unwrap();
    watched.scene.ctl().run(&["reload"]).ok();
    let page = watched.page_with("ddnsd_config_last_reload_successful", 1.0);
    assert_eq!(value(&page, "ddnsd_reloads_failed_total"), 1.0);
    assert!(value(&page, "ddnsd_config_last_reload_timestamp_seconds") > 1e9);
}

#[test]
fn only_three_paths_answer_and_only_get_and_head() {
    let watched = Watched::new();
    for path in ["/", "/update?hostname=pc.dyn.example", "/metrics/x", "/debug/pprof"] {
        let reply = watched.get(path).has_status(404);
        assert!(reply.body.contains("/metrics, /healthz and /readyz"), "{reply}");
    }
    let url = format!("http://127.0.0.1:{}/metrics", watched.port);
    let post = get(&url).with(&["--data", "x"]).send().has_status(405);
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
    get(&url).with(&["-I"]).send().has_status(200);
    let server = format!("127.0.0.1:{}", watched.port);
    ask(&server, "GET /healthz HTTP/1.0\r\n\r\n").is(200, "ok\n");
    // and the front end has none of them
    watched.scene.daemon.get("/metrics").send().has_status(404);
}

#[test]
fn no_secret_host_or_user_name_is_on_the_page() {
    let watched = Watched::new();
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let page = watched.page_after_good(1.0);
    for private in ["alice", "pc.dyn", "192.0.2.1", PASSWORD] {
        assert!(!page.contains(private), "{private}\n{page}");
    }
}

#[test]
fn a_client_that_sends_nothing_ends_and_others_are_served_meanwhile() {
    let watched = Watched::new();
    let server = ("127.0.0.1", watched.port);
    let idle: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(server).unwrap()).collect();
    watched.get("/healthz").is(200, "ok\n");
    eventually(LONG, "idle connections to be closed", || {
        use std::io::Read as _;
        idle[0].set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match (&idle[0]).read(&mut [0; 64]) {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_built_in_name_server_has_metrics_of_its_own() {
    let server = OwnServer::of(&[ZONE]);
    let port = free_port();
    let setup = Daemon::builder(&server).set("metrics.listen", format!("127.0.0.1:{port}"));
    let daemon = setup.start();
    daemon.ctl().add_user("alice");
    daemon.ctl().add_host("alice", "pc", ZONE, &[]);
    daemon.update("alice", "hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(server.data("pc.dyn.example", "A"), ["192.0.2.1"]);
    let page = get(&format!("http://127.0.0.1:{port}/metrics")).send().has_status(200).body;
    promtool_accepts(&page);
    assert!(value(&page, "ddnsd_server_noerror_total") >= 1.0, "{page}");
    assert_eq!(value(&page, "ddnsd_pending_hosts"), 0.0);
}

#[test]
fn a_busy_port_ends_the_start_and_names_the_key() {
    let named = Named::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let refused = Daemon::builder(&named).set("metrics.listen", listen.as_str()).run(&[]);
    refused.exits(1).prints(&["metrics.listen: cannot listen on ", &listen]);
}

#[test]
fn metrics_stop_with_the_daemon() {
    let mut watched = Watched::new();
    watched.get("/healthz").is(200, "ok\n");
    assert!(watched.scene.daemon.terminate().success());
    assert!(std::net::TcpStream::connect(("127.0.0.1", watched.port)).is_err());
}

#[test]
fn the_alert_rules_are_valid_and_name_existing_series() {
    let rules = source("files/prometheus/ddnsd.rules.yml");
    run(Command::new(program("promtool")).args(["check", "rules"]).arg(&rules), "").ok();
    let dashboard = source("files/grafana/ddnsd.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let mut watched = Watched::with(|setup| setup.set("dns_service.dns_timeout", 1));
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let page = watched.page_after_good(1.0);
    // some series are there only after an error
    watched.scene.named.stop();
    watched.scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(503, "dnserr\n");
    let page = page + &watched.page_with("ddnsd_zones_down", 1.0);
    let text = std::fs::read_to_string(rules).unwrap() + &dashboard.to_string();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: BTreeSet<_> = text
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("ddnsd_") || word.starts_with("process_"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let exists = page
            .lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(exists, "{name} is in no page\n{page}");
    }
}
