//! The log's targets when their reader is blocked, the lines at the end, and journald's fields.

use crate::Scene;
use ddnsd_tests::ctl::{Ctl, PASSWORD};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::get;
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::process::Running;
use ddnsd_tests::setup::Setup;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Maximum time from the start until it answers, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// Active requests have 5 s, the database 2, the log 1.
const STOP: Duration = Duration::from_secs(10);

/// Fills the pipe, and leaves it in blocking mode.
fn fill(pipe: &PipeWriter) {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL).unwrap());
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let mut pipe_end = File::from(pipe.as_fd().try_clone_to_owned().unwrap());
    while pipe_end.write(b"\n").is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(flags)).unwrap();
}

/// Asserts that the daemon answers users and administrators, and stops at SIGTERM.
#[track_caller]
fn serves_and_stops(setup: &Setup, port: u16, command: &mut Command) {
    let mut daemon = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let ctl = Ctl::new(&setup.socket());
    eventually(START, "ddnsd to answer ddnsctl", || {
        let status = ctl.run(&["status"]);
        if status.code == Some(0) { Ok(()) } else { Err(status.to_string()) }
    });
    ctl.add_user("alice");
    ctl.add_host("alice", "pc", ZONE, &[]);
    let url = format!("http://127.0.0.1:{port}/update?hostname=pc.{ZONE}&myip=192.0.2");
    // more requests than there are threads
    for host in 1..=20 {
        let reply = get(&format!("{url}.{host}")).user("alice", PASSWORD).send();
        reply.is(200, &format!("good 192.0.2.{host}\n"));
        get(&format!("{url}.{host}")).user("alice", "wrong").send().has_status(401);
    }
    ctl.run(&["reload"]).ok();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(STOP, "ddnsd whose log is blocked").success());
}

fn setup_with_pipe(named: &Named) -> (Setup, u16, PipeReader, PipeWriter) {
    let port = free_port();
    let setup = Daemon::builder(named).set("daemon.port", i64::from(port));
    let (reader, writer) = std::io::pipe().unwrap();
    (setup.set("daemon.log_requests", true), port, reader, writer)
}

#[test]
fn a_blocked_reader_of_standard_output_blocks_nothing() {
    let named = Named::start();
    let (setup, port, _reader, writer) = setup_with_pipe(&named);
    fill(&writer);
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(writer).stderr(Stdio::null()));
}

#[test]
fn a_blocked_pipe_as_log_file_blocks_nothing() {
    let named = Named::start();
    let (setup, port, ..) = setup_with_pipe(&named);
    let path = setup.file("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // open for reading too: without a reader the daemon does not start
    let both_ends = File::options().read(true).write(true).open(&path).unwrap();
    fill(&PipeWriter::from(both_ends.as_fd().try_clone_to_owned().unwrap()));
    let setup = setup.set("daemon.log_target", "file");
    let setup = setup.set("daemon.log_file", path.to_str().unwrap());
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(Stdio::null()).stderr(Stdio::null()));
}

#[test]
fn all_lines_are_written_before_the_process_ends() {
    let named = Named::start();
    let (setup, port, mut reader, writer) = setup_with_pipe(&named);
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(writer).stderr(Stdio::null()));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert_eq!(log.matches("address changed").count(), 20, "{log}");
    assert!(log.ends_with("INFO  stopped\n"), "{log}");
}

//----- journald -----

/// A shell script that shows `$0` to the daemon as journald's folder.
const WITH_JOURNALD_AT: &str = r#"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
    mount --bind "$0" /run/systemd/journal && exec "$@""#;

/// Whether mount namespaces are available; the CI runs the tests as root.
fn may_mount(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("{test}: not run, because only root can mount; run tests/run as root");
    }
    is_root
}

fn with_journald(setup: Setup, folder: &Path) -> Setup {
    let folder = folder.to_str().unwrap();
    let unshare = ["unshare", "--mount", "sh", "-c", WITH_JOURNALD_AT, folder];
    setup.set("daemon.log_target", "journald").wrapped_in(&unshare)
}

/// The fields of a message of systemd's native journal protocol.
fn fields(mut message: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut fields = BTreeMap::new();
    while let Some(end) = message.iter().position(|byte| *byte == b'\n') {
        let line = text(&message[..end]);
        message = &message[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
        } else {
            // the value's length in 8 bytes, the value, and a line feed
            let (length, rest) = message.split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap());
            let (value, rest) = rest.split_at(usize::try_from(length).unwrap());
            fields.insert(line, text(value));
            message = &rest[1..];
        }
    }
    fields
}

/// Writes the MESSAGE of each datagram to `log`, and all fields of a refused login to `refused`.
fn journald(socket: &UnixDatagram, log: &Path, refused: &Path) {
    let mut log = File::options().create(true).append(true).open(log).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = socket.recv(&mut buffer) {
        let fields = fields(&buffer[..length]);
        let Some(message) = fields.get("MESSAGE") else { continue };
        if message.starts_with("auth failed") {
            std::fs::write(refused, serde_json::to_string(&fields).unwrap()).unwrap();
        }
        writeln!(log, "{message}").unwrap();
    }
}

#[test]
fn journald_receives_the_whole_line_as_message_with_priority_and_identifier() {
    if !may_mount("journald_receives_the_whole_line_as_message_with_priority_and_identifier") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let refused = folder.path().join("refused");
    let scene = Scene::with(|setup| {
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let log = setup.file("log");
        let refused = refused.clone();
        std::thread::spawn(move || journald(&socket, &log, &refused));
        with_journald(setup, folder.path())
    });
    let update = scene.daemon.get("/update?hostname=pc.dyn.example");
    update.user("al ice", "wrong").send().has_status(401);
    let fields: BTreeMap<String, String> =
        eventually(Duration::from_secs(10), "a message of the refused login", || {
            let text = std::fs::read_to_string(&refused).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        });
    assert_eq!(fields["MESSAGE"], r#"auth failed user="al ice" client=127.0.0.1"#);
    assert_eq!(fields["PRIORITY"], "4");
    assert_eq!(fields["SYSLOG_IDENTIFIER"], "ddnsd");
    assert_eq!(fields["SYSLOG_PID"], scene.daemon.pid().to_string());
    // no field of the line has moved out of it
    let names: Vec<_> = fields.keys().filter(|name| !name.starts_with("CODE_")).collect();
    assert_eq!(names, ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID", "TARGET"]);
}

#[test]
fn a_journald_that_hangs_blocks_nothing() {
    if !may_mount("a_journald_that_hangs_blocks_nothing") {
        return;
    }
    let named = Named::start();
    let (setup, port, ..) = setup_with_pipe(&named);
    let folder = tempfile::tempdir().unwrap();
    // never read
    let _socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    let setup = with_journald(setup, folder.path());
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(Stdio::null()).stderr(Stdio::null()));
}

#[test]
fn what_fails_with_each_request_is_a_line_every_ten_seconds_with_the_count() {
    let scene = Scene::with(|setup| setup.on_sqlite());
    let file = scene.daemon.setup().sqlite_file();
    std::fs::rename(&file, file.with_file_name("aside")).unwrap();
    let mut requests = 0;
    eventually(Duration::from_secs(30), "a second line with the count", || {
        scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "911\n");
        requests += 1;
        let log = scene.daemon.log();
        if log.contains("unlogged=") { Ok(()) } else { Err(log) }
    });
    let log = scene.daemon.log();
    let lines = log.lines().filter(|line| line.contains("was moved away")).count();
    assert!(requests > 20 && lines < 15, "{lines} lines for {requests} requests: {log}");
}

#[test]
fn a_name_server_that_is_down_is_no_line_for_each_request() {
    let scene = Scene::with(|setup| setup.set("dns_service.dns_port", 1));
    for last in 0..30 {
        let update = format!("hostname=pc.dyn.example&myip=192.0.2.{last}");
        scene.update(&update).is(503, "dnserr\n");
    }
    let log = scene.daemon.log();
    let lines = log.matches("address not yet published").count();
    assert!((1..10).contains(&lines), "{lines} lines: {log}");
}
