//! Starting and stopping: what is in the way is named in one sentence, with the right exit code, and
//! nothing of it is overwritten.

use crate::Scene;
use crate::tls::{install, secure, with_tls};
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
    nothing.run_as_written(&["--version"]).ok().says(&["ddnsd", env!("CARGO_PKG_VERSION")]);
    nothing.run_as_written(&["--help"]).ok().says(&["--config", "--check-config", "--init-db"]);
    nothing.run_as_written(&["--no-such-option"]).exits(2).says(&["--no-such-option"]);
}

#[test]
fn sigterm_and_sigint_stop_gracefully_and_remove_the_socket() {
    let mut scene = Scene::new();
    assert_eq!(scene.daemon.terminate().code(), Some(0), "exit code after SIGTERM");
    assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
    scene.daemon.start_again();
    // SIGINT alone: a SIGTERM after it would hide that it did nothing
    let status = scene.daemon.stop_by(Signal::SIGINT);
    assert_eq!(status.code(), Some(0), "exit code after SIGINT");
    assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let mut scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let before = scene.ctl().hosts();
    scene.daemon.restart();
    assert_eq!(scene.ctl().hosts(), before);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(200, "good 192.0.2.2\n");
}

#[test]
fn init_db_makes_the_database_and_ends() {
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
    let said = setup.run(&[]).exits(1).says(&[&format!("127.0.0.1:{port}"), "in use"]);
    let said = said.one_sentence();
    assert_eq!(said.stderr.matches("in use").count(), 1, "the cause is told once: {said}");
    assert!(!setup.socket().exists(), "a start that failed left its socket behind");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut scene = Scene::new();
    assert!(scene.daemon.terminate().success());
    let database = scene.daemon.setup().database();
    database.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101000000, 'from the future', 1, x'00', 0);",
    );
    let before = database.dump();
    let refused = scene.daemon.setup().run(&[]);
    refused.exits(1).says(&[&database.name(), "newer"]).one_sentence();
    assert_eq!(database.dump(), before, "the refused database was changed");
}

#[test]
fn a_regular_file_at_the_sockets_path_is_refused_and_left_as_it_is() {
    let named = Named::start();
    let setup = Daemon::builder(&named);
    std::fs::write(setup.socket(), "precious").unwrap();
    setup.run(&[]).exits(1).says(&["admin.sock", "not a socket"]).one_sentence();
    assert_eq!(std::fs::read_to_string(setup.socket()).unwrap(), "precious");
}

#[test]
fn a_live_socket_of_another_daemon_is_not_taken_over() {
    let scene = Scene::new();
    let socket = scene.daemon.setup().socket();
    let second = Daemon::builder(&scene.named).set("admin.socket", socket.to_str().unwrap());
    second.run(&[]).exits(1).says(&["admin.sock"]).one_sentence();
    scene.ctl().run(&["status"]).ok();
}

#[test]
fn a_socket_whose_folder_is_missing_is_refused_in_words() {
    let named = Named::start();
    let setup = Daemon::builder(&named).set("admin.socket", "/nonexistent-ddnsd/admin.sock");
    setup.run(&[]).exits(1).says(&["/nonexistent-ddnsd"]).one_sentence();
}

#[test]
fn a_name_that_resolves_to_several_addresses_is_served_on_all_with_one_port() {
    let named = Named::start();
    let daemon = Daemon::builder(&named).set("daemon.host", "0.0.0.0").start();
    let url = daemon.url().replace("0.0.0.0", "127.0.0.1");
    ddnsd_tests::http::get(&format!("{url}/update")).send().is(401, "badauth\n");
}

#[test]
fn a_second_signal_cuts_at_once() {
    // a name server that takes an update and never answers keeps a request under way
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = i64::from(silent.local_addr().unwrap().port());
    let mut scene = Scene::with(|setup| {
        let setup = setup.set("daemon.request_timeout", 30).set("dns_service.dns_timeout", 20);
        setup.set("dns_service.dns_port", port)
    });
    let request = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.1");
    let request = request.user("alice", PASSWORD);
    // it is cut, so what it answers does not matter
    let client = std::thread::spawn(move || drop(std::panic::catch_unwind(|| request.send())));
    silent.recv(&mut [0; 512]).expect("the update is on its way");
    scene.daemon.signal(Signal::SIGTERM);
    // two signals that arrive together are one
    eventually(Duration::from_secs(5), "the first signal is taken", || {
        let said = scene.daemon.said();
        if said.contains("stopping") { Ok(()) } else { Err(said) }
    });
    // the first one alone leaves the request its time
    std::thread::sleep(Duration::from_secs(1));
    assert!(!client.is_finished(), "it was cut by the first signal");
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0), "exit code after the second signal");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "after the second signal it took {took:?}");
    assert!(scene.daemon.said().contains("cut what was under way"), "{}", scene.daemon.said());
    client.join().unwrap();
}

/// A stopped daemon whose start will take as long as what is returned holds its database.
fn held_up() -> (Scene, Running) {
    let mut scene = Scene::with(|setup| setup.on_sqlite());
    assert!(scene.daemon.terminate().success());
    let mut holder = Command::new(program("sqlite3"));
    holder.arg(scene.daemon.setup().sqlite_file()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = Running(holder.spawn().unwrap());
    // what the start writes waits for this transaction
    let statements = b"BEGIN IMMEDIATE;\nSELECT 'held';\n";
    holder.0.stdin.as_mut().unwrap().write_all(statements).unwrap();
    holder.0.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    (scene, holder)
}

/// The daemon on its way up, with its handlers for signals in place.
#[track_caller]
fn starting(scene: &Scene) -> Running {
    let log = OpenOptions::new().append(true).open(scene.daemon.setup().file("log")).unwrap();
    let mut command = scene.daemon.setup().command();
    let process = Running(command.stdin(Stdio::null()).stdout(log).spawn().unwrap());
    let status = format!("/proc/{}/status", process.pid());
    eventually(Duration::from_secs(10), "the handlers of signals", || {
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
        let before = scene.daemon.said().len();
        process.signal(signal);
        let status = process.wait(Duration::from_secs(3), "a start that was told to stop");
        assert_eq!(status.code(), Some(0), "exit code after {signal}");
        let said = scene.daemon.said();
        assert!(said[before..].contains(&format!("{signal} while starting: stopped")), "{said}");
        assert!(!scene.daemon.setup().socket().exists(), "the socket is still there");
    }
}

#[test]
fn a_hangup_during_the_start_is_a_reload_after_it() {
    let (mut scene, holder) = held_up();
    let mut process = starting(&scene);
    scene.daemon.reconfigure(|setup| setup.set("defaults.dns_ttl", 77));
    let before = scene.daemon.said().len();
    process.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(process.ended().is_none(), "it was killed by SIGHUP");
    drop(holder);
    eventually(Duration::from_secs(20), "the start and then the reload", || {
        let said = scene.daemon.said()[before..].to_owned();
        let ready = said.find(" ready").ok_or(said.clone())?;
        if said[ready..].contains("defaults.dns_ttl") { Ok(()) } else { Err(said) }
    });
}

/// A daemon whose name server takes this long to be given up, and a request that waits for it.
fn waiting_for(dns_timeout: i64) -> (Scene, std::thread::JoinHandle<(String, Duration)>) {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = i64::from(silent.local_addr().unwrap().port());
    let scene = Scene::with(|setup| {
        let setup = setup.set("dns_service.dns_timeout", dns_timeout);
        setup.set("daemon.request_timeout", 30).set("dns_service.dns_port", port)
    });
    let query = "hostname=pc.dyn.example&myip=192.0.2.1";
    let request = lines(&format!("GET /update?{query}"), &[&basic("alice", PASSWORD)], "");
    let address = scene.daemon.address().to_owned();
    let client = std::thread::spawn(move || {
        let start = Instant::now();
        let said = raw_got(address, request.as_bytes());
        (said, start.elapsed())
    });
    silent.recv(&mut [0; 512]).expect("the update is on its way");
    (scene, client)
}

#[test]
fn a_stop_lets_a_request_end_and_takes_no_other() {
    let (mut scene, client) = waiting_for(3);
    let address = scene.daemon.address().to_owned();
    scene.daemon.signal(Signal::SIGTERM);
    eventually(Duration::from_secs(2), "new connections to be refused", || {
        TcpStream::connect(&address).err().map(drop).ok_or_else(String::new)
    });
    assert!(!client.is_finished(), "the request is still under way");
    assert_eq!(scene.daemon.terminated().code(), Some(0));
    let (said, _) = client.join().unwrap();
    assert!(said.starts_with("HTTP/1.1 503") && said.ends_with("dnserr\n"), "{said:?}");
    assert!(!scene.daemon.said().contains("were cut"), "{}", scene.daemon.said());
}

#[test]
fn a_stop_cuts_a_request_that_takes_over_five_seconds() {
    let (mut scene, client) = waiting_for(20);
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    let took = start.elapsed();
    assert!((4900..8000).contains(&took.as_millis()), "it took {took:?}");
    let (said, _) = client.join().unwrap();
    assert_eq!(said, "", "it is cut, and not answered");
    assert!(scene.daemon.said().contains("were cut"), "{}", scene.daemon.said());
}

#[test]
fn clients_that_ask_nothing_delay_no_stop() {
    let authority = Authority::new();
    let mut scene = Scene::with(|setup| {
        install(&setup, &authority.sign("ddns.example"));
        with_tls(setup)
    });
    // what never began a handshake, began one, ended one, and idles after a request
    let mut half = TcpStream::connect(scene.daemon.address()).unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").unwrap();
    let _silent = TcpStream::connect(scene.daemon.address()).unwrap();
    let clients: Vec<_> = ["h2", "http/1.1"].map(|protocol| s_client(&scene, protocol)).into();
    secure(&scene.daemon, &authority, "ddns.example", "/update").send().has_status(401);
    let start = Instant::now();
    assert_eq!(scene.daemon.terminate().code(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "the stop took {took:?}");
    assert!(!scene.daemon.said().contains("were cut"), "{}", scene.daemon.said());
    drop(clients);
}

/// A client that shakes hands and says no more.
#[track_caller]
fn s_client(scene: &Scene, protocol: &str) -> Running {
    let mut openssl = Command::new(program("openssl"));
    openssl.args(["s_client", "-connect", scene.daemon.address(), "-servername", "ddns.example"]);
    openssl.args(["-alpn", protocol]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Running(openssl.stderr(Stdio::null()).spawn().unwrap());
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("Verify return code") {
        let mut part = [0; 4096];
        let length = client.0.stdout.as_mut().unwrap().read(&mut part).unwrap();
        assert!(length > 0, "no handshake: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..length]);
    }
    client
}
