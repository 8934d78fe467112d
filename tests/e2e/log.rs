//! Where log lines go when their reader is stuck, and what is written at the end.

use ddnsd_tests::ctl::{Ctl, PASSWORD};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::get;
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::process::Running;
use ddnsd_tests::setup::Setup;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest time from the start until it answers, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// Active requests have 5 s, the database 2, the log 2.
const STOP: Duration = Duration::from_secs(10);

/// Writes until nothing more fits, and leaves it blocking.
fn fill(pipe: &PipeWriter) {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL).unwrap());
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let mut pipe_end = File::from(pipe.as_fd().try_clone_to_owned().unwrap());
    while pipe_end.write(b"\n").is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(flags)).unwrap();
}

/// It answers its users and administrators, and stops when it is told to.
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
    // more at once than there are threads
    for host in 1..=20 {
        let reply = get(&format!("{url}.{host}")).user("alice", PASSWORD).send();
        reply.is(200, &format!("good 192.0.2.{host}\n"));
        get(&format!("{url}.{host}")).user("alice", "wrong").send().has_status(401);
    }
    ctl.run(&["reload"]).ok();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(STOP, "ddnsd whose log is not read").success());
}

fn stuck_setup(named: &Named) -> (Setup, u16, PipeReader, PipeWriter) {
    let port = free_port();
    let setup = Daemon::builder(named).set("daemon.port", i64::from(port));
    let (reader, writer) = std::io::pipe().unwrap();
    (setup.set("daemon.log_requests", true), port, reader, writer)
}

#[test]
fn a_reader_of_standard_output_that_is_stuck_holds_nothing_up() {
    let named = Named::start();
    let (setup, port, _reader, writer) = stuck_setup(&named);
    fill(&writer);
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(writer).stderr(Stdio::null()));
}

#[test]
fn a_pipe_as_log_file_whose_reader_is_stuck_holds_nothing_up() {
    let named = Named::start();
    let (setup, port, ..) = stuck_setup(&named);
    let path = setup.file("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // a reader, too: without one it does not start
    let both_ends = File::options().read(true).write(true).open(&path).unwrap();
    fill(&PipeWriter::from(both_ends.as_fd().try_clone_to_owned().unwrap()));
    let setup = setup.set("daemon.log_target", "file");
    let setup = setup.set("daemon.log_file", path.to_str().unwrap());
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(Stdio::null()).stderr(Stdio::null()));
}

#[test]
fn all_that_was_logged_is_there_after_the_end() {
    let named = Named::start();
    let (setup, port, mut reader, writer) = stuck_setup(&named);
    setup.write();
    serves_and_stops(&setup, port, setup.command().stdout(writer).stderr(Stdio::null()));
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("address changed").count(), 20, "{said}");
    assert!(said.ends_with("INFO  stopped\n"), "{said}");
}
