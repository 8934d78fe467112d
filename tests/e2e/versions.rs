//! `ddnsctl` and `ddnsd` of different versions report the difference. The other version is scripted
//! here byte by byte, because the format of the preamble never changes.

use crate::Scene;
use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::process::Finished;
use ddnsd_tests::setup::Setup;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// Magic, status 0 (welcome), uid 0, major, minor, and the program's own version.
fn preamble(major: u16, minor: u16, version: &str) -> Vec<u8> {
    let mut bytes = b"DDNA\0\0\0\0\0".to_vec();
    bytes.extend(major.to_be_bytes());
    bytes.extend(minor.to_be_bytes());
    bytes.push(u8::try_from(version.len()).unwrap());
    bytes.extend(version.as_bytes());
    bytes
}

/// The peer's preamble: major, minor and version.
fn read_preamble(stream: &mut UnixStream) -> (u16, u16, String) {
    let mut head = [0; 14];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head[..4], b"DDNA");
    let mut version = vec![0; usize::from(head[13])];
    stream.read_exact(&mut version).unwrap();
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    (number(9), number(11), String::from_utf8(version).unwrap())
}

/// `ddnsctl status` against a daemon that sends `first` and closes the connection after it has read
/// the start of a request.
fn status_after(first: Vec<u8>) -> Finished {
    let folder = Setup::empty();
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(&first);
        let _ = stream.shutdown(Shutdown::Write);
        // the client's preamble and the start of its request, unless it closed the connection
        let mut head = [0; 14];
        if stream.read_exact(&mut head).is_ok() {
            let mut rest = vec![0; usize::from(head[13]) + 1];
            let _ = stream.read_exact(&mut rest);
        }
    });
    let finished = Ctl::new(&folder.socket()).run(&["status"]);
    daemon.join().unwrap();
    finished
}

/// This build's protocol, as its daemon reports it.
fn ours() -> (u16, u16) {
    let scene = Scene::without_hosts(|setup| setup);
    let mut stream = UnixStream::connect(scene.daemon.setup().socket()).unwrap();
    let (major, minor, version) = read_preamble(&mut stream);
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    (major, minor)
}

#[test]
fn the_error_names_a_daemons_other_major_version_and_ddnsctls_own() {
    let (major, minor) = ours();
    let finished = status_after(preamble(major + 1, 7, "99.1.2"));
    let own = format!("protocol {major}.{minor}");
    let both = ["99.1.2", &format!("{}.7", major + 1), env!("CARGO_PKG_VERSION"), &own];
    finished.exits(1).prints(&both).prints(&["install the same version"]).one_sentence();
}

#[test]
fn the_error_names_a_daemons_other_minor_version_when_it_closes_the_connection() {
    let (major, minor) = ours();
    for other in [minor + 1, minor.saturating_sub(1)] {
        let finished = status_after(preamble(major, other, "0.0.9"));
        let theirs = format!("{major}.{other}");
        let both = ["0.0.9", &theirs, env!("CARGO_PKG_VERSION")];
        if other == minor {
            finished.exits(69).one_sentence(); // the first minor there is has none before it
        } else {
            finished.exits(69).prints(&both).one_sentence();
        }
    }
}

#[test]
fn another_program_is_distinguished_from_a_daemon_of_another_version() {
    for foreign in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"220 mail ESMTP\r\n"] {
        let finished = status_after(foreign.to_vec());
        finished.exits(69).prints(&["admin.sock", "not ddnsd"]).one_sentence();
    }
    status_after(b"DDNA".to_vec()).exits(69).prints(&["admin.sock"]).one_sentence();
    status_after(Vec::new()).exits(69).prints(&["admin.sock"]).one_sentence();
}

#[test]
fn a_client_of_another_major_version_is_dropped_and_logged_with_both_versions() {
    let scene = Scene::without_hosts(|setup| setup);
    let mut stream = UnixStream::connect(scene.daemon.setup().socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (major, minor, version) = read_preamble(&mut stream);
    assert_eq!(version, env!("CARGO_PKG_VERSION"), "the daemon sends first");
    stream.write_all(&preamble(major + 8, 3, "9.9\n\x1b[31m")).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the daemon closes the connection");
    assert_eq!(rest, b"", "no RPC message is sent to a client of another version");
    let line = eventually(Duration::from_secs(5), "a line in the log", || {
        let log = scene.daemon.log();
        let line = log.lines().find(|line| line.contains("ddnsctl 9.9"));
        line.map(str::to_owned).ok_or(log.clone())
    });
    for part in [format!("{}.3", major + 8), format!("{major}.{minor}")] {
        assert!(line.contains(&part), "{part} is not in {line}");
    }
    assert!(!line.contains('\x1b'), "text of a client is escaped: {line:?}");
    scene.ctl().run(&["status"]).ok();
}
