//! Starting and stopping: what is in the way is named in one sentence, with the right exit code, and
//! nothing of it is overwritten.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::Named;
use nix::sys::signal::Signal;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

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
    let start = std::time::Instant::now();
    scene.daemon.terminate();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "after the second signal it took {took:?}");
    assert!(scene.daemon.said().contains("cut what was under way"), "{}", scene.daemon.said());
    client.join().unwrap();
}
