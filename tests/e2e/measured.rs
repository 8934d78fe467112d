//! Measurements of the name server in ddnsd itself, not checks: `tests/run --long` prints them.
//! They need a release build, and `dnsperf`.

use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::named::{ZONE, free_port, tail};
use ddnsd_tests::own_server::OwnServer;
use ddnsd_tests::primary::Primary;
use ddnsd_tests::process::{Running, copy_program, program, run_within};
use ddnsd_tests::setup::Setup;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Hosts of the large zone.
const MANY: u32 = 1_000_000;
/// Hosts of the zone that all servers have.
const SOME: u32 = 100_000;
/// Of one run of dnsperf, and how often each server has its turn.
const RUN_SECONDS: u32 = 5;
const ROUNDS: usize = 3;

/// A daemon's database with so many hosts, each with an A record, every second one with an AAAA.
fn filled(server: &OwnServer, hosts: u32) -> Setup {
    let setup = Setup::new(server).on_sqlite();
    setup.run(&["--init-db"]).exits(0);
    setup.database().sql(&format!(
        "INSERT INTO users (name, email, password_hash, created_at, changed_at)
             VALUES ('bob', 'bob@example.org', '', 0, 0);
         INSERT INTO meta (name, value) VALUES ('target', 'builtin');
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {hosts})
         INSERT INTO hosts (user_id, label, zone, fqdn, state4, ipv4, acked_ipv4, state6, ipv6,
                            acked_ipv6, acked_ttl, created_at, changed_at)
         SELECT 1, 'host' || i, '{ZONE}', 'host' || i || '.{ZONE}',
             1, '10.' || (i >> 16) || '.' || (i >> 8 & 255) || '.' || (i & 255),
             '10.' || (i >> 16) || '.' || (i >> 8 & 255) || '.' || (i & 255),
             CASE WHEN i % 2 THEN 1 ELSE 0 END,
             CASE WHEN i % 2 THEN '2001:db8::' || printf('%x:%x', i >> 16, i & 65535) END,
             CASE WHEN i % 2 THEN '2001:db8::' || printf('%x:%x', i >> 16, i & 65535) END,
             60, 0, 0 FROM n;"
    ));
    setup
}

/// A value of `/proc/PID/status`, in MiB.
fn memory(daemon: &Daemon, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).expect("a value");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "a measurement"]
fn start_and_memory_with_a_million_hosts() {
    let server = OwnServer::of(&[ZONE]);
    let small = filled(&server, 1).start();
    let empty = memory(&small, "VmRSS");
    drop(small);
    let setup = filled(&server, MANY);
    let start = Instant::now();
    let daemon = setup.start();
    let took = start.elapsed();
    assert_eq!(server.data(&format!("host{}.{ZONE}", MANY - 1), "A").len(), 1);
    println!(
        "{MANY} hosts: ready after {:.1} s; {} MiB resident, {} MiB with one host, {} MiB at its peak",
        took.as_secs_f32(),
        memory(&daemon, "VmRSS"),
        empty,
        memory(&daemon, "VmHWM"),
    );
    let start = Instant::now();
    let transfer = server.dig(&["+tcp", "+time=60", ZONE, "AXFR"]);
    println!(
        "a transfer of them to dig: {:.1} s, {} lines",
        start.elapsed().as_secs_f32(),
        transfer.lines().count()
    );
}

#[test]
#[ignore = "a measurement"]
fn queries_per_second_beside_bind_and_knot() {
    let folder = tempfile::tempdir().unwrap();
    let server = OwnServer::of(&[ZONE]);
    let daemon = filled(&server, SOME).start();
    let zone = server.dig(&["+tcp", "+onesoa", "+time=60", ZONE, "AXFR"]);
    let zone: Vec<_> = zone.lines().filter(|line| line.contains("\tIN\t")).collect();
    std::fs::write(folder.path().join("zone"), zone.join("\n") + "\n").unwrap();
    let mut queries = String::new();
    for n in 0..50_000 {
        let host = n * 7_919 % SOME;
        // one in ten does not exist
        let label = if n % 10 == 0 { "none" } else { "host" };
        let kind = if n % 4 == 0 { "AAAA" } else { "A" };
        writeln!(queries, "{label}{host}.{ZONE} {kind}").unwrap();
    }
    std::fs::write(folder.path().join("queries"), queries).unwrap();
    let (bind, knot) = (free_port(), free_port());
    let _bind = start_bind(folder.path(), bind);
    let _knot = start_knot(folder.path(), knot);
    for port in [bind, knot, server.port()] {
        wait_for(folder.path(), port);
    }
    println!("queries per second, {SOME} hosts, three rounds in turn:");
    for _ in 0..ROUNDS {
        let rates: Vec<_> = [("ddnsd", server.port()), ("BIND", bind), ("Knot", knot)]
            .into_iter()
            .map(|(name, port)| format!("{name} {}", queries_per_second(folder.path(), port)))
            .collect();
        println!("  {}", rates.join("   "));
    }
    println!("  ddnsd: {} MiB resident", memory(&daemon, "VmRSS"));
}

fn start_bind(folder: &Path, port: u16) -> Running {
    let at = folder.display();
    let text = format!(
        r#"options {{ directory "{at}"; pid-file none; session-keyfile "{at}/session.key";
  managed-keys-directory "{at}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; notify no; dnssec-validation no; minimal-responses yes; }};
controls {{ }};
zone "{ZONE}" {{ type primary; file "{at}/zone"; }};
"#
    );
    std::fs::write(folder.join("named.conf"), text).unwrap();
    // AppArmor's profile of Debian's named allows it no file below /tmp, but goes by the path
    copy_program(&program("named"), &folder.join("named"));
    let mut command = Command::new(folder.join("named"));
    spawn(command.arg("-g").arg("-c").arg(folder.join("named.conf")), &folder.join("named.log"))
}

fn start_knot(folder: &Path, port: u16) -> Running {
    let at = folder.display();
    let text = format!(
        "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\n    pidfile: {at}/knot.pid\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {at}\n\
         zone:\n  - domain: {ZONE}\n    storage: {at}\n    file: zone\n"
    );
    std::fs::write(folder.join("knot.conf"), text).unwrap();
    let mut command = Command::new(program("knotd"));
    spawn(command.arg("-c").arg(folder.join("knot.conf")), &folder.join("knot.log"))
}

fn spawn(command: &mut Command, log: &Path) -> Running {
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running(command.spawn().expect("it starts"))
}

fn wait_for(folder: &Path, port: u16) {
    let question = format!("host1.{ZONE}");
    ddnsd_tests::eventually::eventually(Duration::from_secs(60), "a server with the zone", || {
        let mut dig = Command::new(program("dig"));
        dig.args(["@127.0.0.1", "-p", &port.to_string(), "+short", "+tries=1", "+time=1"]);
        let answer = run_within(Duration::from_secs(10), dig.arg(&question), "").stdout;
        let logs = || tail(&folder.join("named.log"), 9) + &tail(&folder.join("knot.log"), 9);
        if answer.starts_with("10.") { Ok(()) } else { Err(format!("{answer}\n{}", logs())) }
    });
}

fn queries_per_second(folder: &Path, port: u16) -> String {
    let mut dnsperf = Command::new(program("dnsperf"));
    dnsperf.args(["-s", "127.0.0.1", "-p", &port.to_string(), "-c", "8"]);
    dnsperf.args(["-l", &RUN_SECONDS.to_string(), "-d"]).arg(folder.join("queries"));
    let ended = run_within(Duration::from_secs(60), &mut dnsperf, "").ok();
    let value = |name: &str| {
        let line = ended.stdout.lines().find(|line| line.contains(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let lost = value("Queries lost");
    let lost = lost.split(' ').next().unwrap_or_default().to_owned();
    let rate = value("Queries per second");
    format!("{} ({lost} lost)", rate.split('.').next().unwrap_or_default())
}
