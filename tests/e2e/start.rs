//! Starting and stopping: a failed start names its cause in one sentence, has the right exit code,
//! and overwrites nothing.

use crate::tls::{install, secure, with_tls};
use crate::{Scene, lock_file};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{basic, lines, raw_got};
use ddnsd_tests::named::Named;
use ddnsd_tests::process::{Running, program};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn version_and_help_need_no_configuration() {
    let nothing = ddnsd_tests::setup::Setup::empty();
    nothing.run_as_written(&["--version"]).ok().prints(&["ddnsd", env!("CARGO_PKG_VERSION")]);
    nothing.run_as_written(&["--help"]).ok().prints(&["--config", "--check-config", "--init-db"]);
    nothing.run_as_written(&["--no-such-option"]).exits(2).prints(&["--no-such-option"]);
}

#[test]
fn sigterm_and_sigint_stop_gracefully_and_remove_the_socket() {
    let mut scene = Scene::new();
    assert_eq!(scene.daemon.terminate().code(), Some(0), "exit code after SIGTERM");
    assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
    scene.daemon.start_again();
    // no SIGTERM follows: it would hide a SIGINT without effect
    let status = scene.daemon.stop_by(Signal::SIGINT);
    assert_eq!(status.code(), Some(0), "exit code after SIGINT");
    assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
}

#[test]
fn a_crash_leaves_no_core_with_passwords() {
    // as far as this system allows it, the daemon starts with the right to dump one
    let allowed = "ulimit -c unlimited || ulimit -S -c $(ulimit -H -c); exec \"$0\" \"$@\"";
    let scene = Scene::with(|setup| setup.wrapped_in(&["sh", "-c", allowed]));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", scene.daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn hosts_survive_a_restart() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let before = scene.ctl().hosts();
    scene.daemon.restart();
    assert_eq!(scene.ctl().hosts(), before);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
}

#[test]
fn init_db_creates_the_database_and_ends() {
    let named = Named::start();
    let setup = Daemon::builder(&named);
    setup.run(&["--init-db"]).ok();
    assert_eq!(setup.database().sql("SELECT count(*) FROM users;"), "0\n");
    setup.run(&["--init-db"]).ok();
}

#[test]
fn a_busy_port_is_named() {
    let named = Named::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setup = Daemon::builder(&named).set("daemon.port", i64::from(port));
    let output = setup.run(&[]).exits(1).prints(&[&format!("127.0.0.1:{port}"), "in use"]);
    let output = output.one_sentence();
    assert_eq!(output.stderr.matches("in use").count(), 1, "the cause is named once: {output}");
    assert!(!setup.socket().exists(), "a start that failed left its socket behind");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_not_changed() {
    let mut scene = Scene::new();
    assert!(scene.daemon.terminate().success());
    let database = scene.daemon.setup().database();
    database.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101000000, 'from the future', 1, x'00', 0);",
    );
    let before = database.dump();
    let refused = scene.daemon.setup().run(&[]);
    refused.exits(1).prints(&[&database.name(), "newer"]).one_sentence();
    assert_eq!(database.dump(), before, "the refused database was changed");
}

#[test]
fn a_regular_file_at_the_socket_path_is_refused_and_not_changed() {
    let named = Named::start();
    let setup = Daemon::builder(&named);
    std::fs::write(setup.socket(), "precious").unwrap();
    setup.run(&[]).exits(1).prints(&["admin.sock", "not a socket"]).one_sentence();
    assert_eq!(std::fs::read_to_string(setup.socket()).unwrap(), "precious");
}

#[test]
fn a_live_socket_of_another_daemon_is_not_taken_over() {
    let scene = Scene::new();
    let socket = scene.daemon.setup().socket();
    let second = Daemon::builder(&scene.named).set("admin.socket", socket.to_str().unwrap());
    second.run(&[]).exits(1).prints(&["admin.sock"]).one_sentence();
    scene.ctl().run(&["status"]).ok();
}

#[test]
fn a_missing_folder_of_the_socket_is_named() {
    let named = Named::start();
    let setup = Daemon::builder(&named).set("admin.socket", "/nonexistent-ddnsd/admin.sock");
    setup.run(&[]).exits(1).prints(&["/nonexistent-ddnsd"]).one_sentence();
}

#[test]
fn a_name_that_resolves_to_several_addresses_is_served_on_all_with_one_port() {
    let named = Named::start();
    let daemon = Daemon::builder(&named).set("daemon.host", "0.0.0.0").start();
    let url = daemon.url().replace("0.0.0.0", "127.0.0.1");
    ddnsd_tests::http::get(&format!("{url}/update")).send().is(401, "badauth\n");
}

#[test]
fn a_second_signal_aborts_requests_at_once() {
    // a name server that never answers keeps a request in progress
    let unresponsive = UdpSocket::bind("127.0.0.1:0").unwrap();
    unresponsive.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = i64::from(unresponsive.local_addr().unwrap().port());
    let mut scene = Scene::with(|setup| {
        let setup = setup.set("daemon.request_timeout", 30).set("dns_service.dns_timeout", 20);
        setup.set("dns_service.dns_port", port)
    });
    let request = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.1");
    let request = request.user("alice", PASSWORD);
    // the request is aborted, so its reply does not matter
    let client = std::thread::spawn(move || drop(std::panic::catch_unwind(|| request.send())));
    unresponsive.recv(&mut [0; 512]).expect("the update arrives");
    scene.daemon.signal(Signal::SIGTERM);
    // two signals that arrive together are delivered as one
    eventually(Duration::from_secs(5), "the first signal to be handled", || {
        let log = scene.daemon.log();
        if log.contains("stopping") { Ok(()) } else { Err(log) }
    });
    // after the first signal alone the request may finish
    std::thread::sleep(Duration::from_secs(1));
    assert!(!client.is_finished(), "the first signal aborted it");
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0), "exit code after the second signal");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "after the second signal it took {took:?}");
    assert!(scene.daemon.log().contains("aborting requests in progress"), "{}", scene.daemon.log());
    client.join().unwrap();
}

/// A stopped daemon. Its start waits while the returned process holds its database.
fn held_up() -> (Scene, Running) {
    let mut scene = Scene::with(|setup| setup.on_sqlite());
    assert!(scene.daemon.terminate().success());
    // writes of the start wait for its transaction
    let holder = lock_file(scene.daemon.setup());
    (scene, holder)
}

/// The starting daemon, once its signal handlers are installed.
#[track_caller]
fn starting(scene: &Scene) -> Running {
    let log = OpenOptions::new().append(true).open(scene.daemon.setup().file("log")).unwrap();
    let mut command = scene.daemon.setup().command();
    let process = Running(command.stdin(Stdio::null()).stdout(log).spawn().unwrap());
    let status = format!("/proc/{}/status", process.pid());
    eventually(Duration::from_secs(10), "the signal handlers", || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        let caught = u64::from_str_radix(caught, 16).unwrap();
        let catches = |signal: Signal| caught >> (signal as i32 - 1) & 1 == 1;
        if catches(Signal::SIGTERM) && catches(Signal::SIGINT) { Ok(()) } else { Err(status) }
    });
    process
}

#[test]
fn a_stop_during_the_start_ends_it() {
    let (scene, _holder) = held_up();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut process = starting(&scene);
        let before = scene.daemon.log().len();
        process.signal(signal);
        let status = process.wait(Duration::from_secs(3), "the interrupted start to end");
        assert_eq!(status.code(), Some(0), "exit code after {signal}");
        let log = scene.daemon.log();
        assert!(log[before..].contains(&format!("{signal} while starting: stopped")), "{log}");
        assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
    }
}

#[test]
fn a_hangup_during_the_start_is_a_reload_after_it() {
    let (mut scene, holder) = held_up();
    let mut process = starting(&scene);
    scene.daemon.reconfigure(|setup| setup.set("defaults.dns_ttl", 77));
    let before = scene.daemon.log().len();
    process.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(process.ended().is_none(), "it was killed by SIGHUP");
    drop(holder);
    eventually(Duration::from_secs(20), "the start and then the reload", || {
        let log = scene.daemon.log()[before..].to_owned();
        let ready = log.find(" ready").ok_or(log.clone())?;
        if log[ready..].contains("defaults.dns_ttl") { Ok(()) } else { Err(log) }
    });
}

/// A daemon with an unresponsive name server and this `dns_timeout`, and a request that waits for
/// it.
fn waiting_for(dns_timeout: i64) -> (Scene, std::thread::JoinHandle<(String, Duration)>) {
    let unresponsive = UdpSocket::bind("127.0.0.1:0").unwrap();
    unresponsive.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = i64::from(unresponsive.local_addr().unwrap().port());
    let scene = Scene::with(|setup| {
        let setup = setup.set("dns_service.dns_timeout", dns_timeout);
        setup.set("daemon.request_timeout", 30).set("dns_service.dns_port", port)
    });
    let query = "hostname=pc.dyn.example&myip=192.0.2.1";
    let request = lines(&format!("GET /update?{query}"), &[&basic("alice", PASSWORD)], "");
    let address = scene.daemon.address().to_owned();
    let client = std::thread::spawn(move || {
        let start = Instant::now();
        let reply = raw_got(address, request.as_bytes());
        (reply, start.elapsed())
    });
    unresponsive.recv(&mut [0; 512]).expect("the update arrives");
    (scene, client)
}

#[test]
fn a_stop_lets_a_request_finish_and_refuses_new_connections() {
    let (mut scene, client) = waiting_for(3);
    let address = scene.daemon.address().to_owned();
    scene.daemon.signal(Signal::SIGTERM);
    eventually(Duration::from_secs(2), "new connections to be refused", || {
        TcpStream::connect(&address).err().map(drop).ok_or_else(String::new)
    });
    assert!(!client.is_finished(), "the request is still in progress");
    assert_eq!(scene.daemon.terminated().code(), Some(0));
    let (reply, _) = client.join().unwrap();
    assert!(reply.starts_with("HTTP/1.1 503") && reply.ends_with("dnserr\n"), "{reply:?}");
    assert!(!scene.daemon.log().contains("were aborted"), "{}", scene.daemon.log());
}

#[test]
fn a_stop_aborts_a_request_that_takes_over_five_seconds() {
    let (mut scene, client) = waiting_for(20);
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    let took = start.elapsed();
    assert!((4900..8000).contains(&took.as_millis()), "it took {took:?}");
    let (reply, _) = client.join().unwrap();
    assert_eq!(reply, "", "it is aborted, without a reply");
    assert!(scene.daemon.log().contains("were aborted"), "{}", scene.daemon.log());
}

#[test]
fn idle_clients_do_not_delay_a_stop() {
    let authority = Authority::new();
    let mut scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        with_tls(setup)
    });
    // connections without a handshake, within one, after one, and idle after a request
    let mut half = TcpStream::connect(scene.daemon.address()).unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").unwrap();
    let _unused = TcpStream::connect(scene.daemon.address()).unwrap();
    let clients: Vec<_> = ["h2", "http/1.1"].map(|protocol| s_client(&scene, protocol)).into();
    secure(&scene.daemon, &authority, "ddns.example", "/update").send().has_status(401);
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "the stop took {took:?}");
    assert!(!scene.daemon.log().contains("were aborted"), "{}", scene.daemon.log());
    drop(clients);
}

/// A client that completes the handshake and sends nothing more.
#[track_caller]
fn s_client(scene: &Scene, protocol: &str) -> Running {
    let mut openssl = Command::new(program("openssl"));
    openssl.args(["s_client", "-connect", scene.daemon.address(), "-servername", "ddns.example"]);
    openssl.args(["-alpn", protocol]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Running(openssl.stderr(Stdio::null()).spawn().unwrap());
    let mut output = Vec::new();
    while !String::from_utf8_lossy(&output).contains("Verify return code") {
        let mut part = [0; 4096];
        let length = client.0.stdout.as_mut().unwrap().read(&mut part).unwrap();
        assert!(length > 0, "no handshake: {}", String::from_utf8_lossy(&output));
        output.extend_from_slice(&part[..length]);
    }
    client
}
