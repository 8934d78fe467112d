//! The admin socket: who may administer, and clients that misbehave.

use crate::Scene;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::named::{Named, ZONE};
use ddnsd_tests::process::{Finished, copy_program, run};
use ddnsd_tests::setup::binary;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::{Permissions, set_permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A group that every Debian has: `daemon`.
const GROUP: (&str, &str) = ("daemon", "1");
/// The user and group `nobody`.
const NOBODY: &str = "65534";

/// Only root can become another user; the CI runs the tests as root.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!(
            "{test}: not run, because only root can become another user; run tests/run as root"
        );
    }
    root
}

/// `ddnsctl status` as nobody, with these supplementary groups.
fn as_nobody(daemon: &Daemon, groups: &[&str]) -> Finished {
    // the user `nobody` may have no access to the build folder
    let copy = daemon.setup().file("ddnsctl");
    if !copy.exists() {
        copy_program(&binary("ddnsctl"), &copy);
        set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(ddnsd_tests::process::program("setpriv"));
    command.args(["--reuid", NOBODY, "--regid", NOBODY]).args(groups).arg(copy);
    run(command.arg("--socket").arg(daemon.setup().socket()).arg("status"), "")
}

#[test]
fn the_socket_has_its_mode_from_the_configuration() {
    for (mode, bits) in [("0660", 0o660), ("0600", 0o600)] {
        let scene = Scene::without_hosts(|setup| setup.set("admin.mode", mode));
        let metadata = std::fs::symlink_metadata(scene.daemon.setup().socket()).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, bits);
    }
}

#[test]
fn a_process_outside_the_admin_group_is_denied_whatever_the_mode() {
    if !is_root("a_process_outside_the_admin_group_is_denied_whatever_the_mode") {
        return;
    }
    let scene = Scene::new();
    as_nobody(&scene.daemon, &["--clear-groups"]).exits(77).one_sentence();
    set_permissions(scene.daemon.setup().socket(), Permissions::from_mode(0o666)).unwrap();
    as_nobody(&scene.daemon, &["--clear-groups"]).exits(77).one_sentence();
    let log = scene.daemon.log();
    let logged = log.lines().any(|line| line.contains(NOBODY) && line.contains("pid"));
    assert!(logged, "no line with uid and pid of who was refused: {log}");
    scene.ctl().run(&["status"]).ok();
}

#[test]
fn only_supplementary_members_of_the_admin_group_may_administer() {
    if !is_root("only_supplementary_members_of_the_admin_group_may_administer") {
        return;
    }
    let named = Named::start();
    let daemon = Daemon::builder(&named)
        .set("admin.group", GROUP.0)
        .wrapped_in(&["setpriv", "--regid", "0", "--groups", GROUP.1])
        .start();
    as_nobody(&daemon, &["--groups", GROUP.1]).ok();
    as_nobody(&daemon, &["--groups", "2"]).exits(77);
    // the daemon's primary group is no longer the admin group
    as_nobody(&daemon, &["--groups", "0"]).exits(77);
    set_permissions(daemon.setup().socket(), Permissions::from_mode(0o666)).unwrap();
    as_nobody(&daemon, &["--groups", "0"]).exits(77).prints(&["admin group"]).one_sentence();
    daemon.ctl().run(&["status"]).ok();
}

#[test]
fn an_admin_group_that_is_not_the_daemons_own_is_an_error_that_names_it() {
    if !is_root("an_admin_group_that_is_not_the_daemons_own_is_an_error_that_names_it") {
        return;
    }
    let named = Named::start();
    let setup = Daemon::builder(&named);
    let setup = setup.wrapped_in(&["setpriv", "--regid", "0", "--clear-groups"]);
    let setup = setup.set("admin.group", GROUP.0);
    setup.run(&[]).exits(1).prints(&[GROUP.0]).one_sentence();
    setup
        .set("admin.group", "no-such-group")
        .run(&[])
        .exits(1)
        .prints(&["no-such-group"])
        .one_sentence();
}

/// The preamble of a client of this protocol's first major version.
const GREETING: &[u8] = b"DDNA\0\0\0\0\0\0\x01\0\0\x05rogue";

/// A connection with timeouts.
fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A frame of the admin protocol: its length and its bytes.
fn frame(length: u32, bytes: &[u8]) -> Vec<u8> {
    [GREETING, &length.to_be_bytes(), bytes].concat()
}

#[test]
fn clients_that_send_garbage_too_much_or_nothing_affect_no_other_client() {
    let scene = Scene::new();
    let socket = scene.daemon.setup().socket();
    let idle = connect(&socket);
    let flood = vec![0xff_u8; 8 << 20];
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 64],
        &flood,
        &frame(u32::MAX, b"more than there is"),
        &frame(8 << 20, &flood),
        &frame(2, b"{]"),
        &frame(4, b"null"),
        &frame(2, b"\xff\xfe"),
    ] {
        let mut stream = connect(&socket);
        let _ = stream.write_all(garbage);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let timed_out = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{} bytes of garbage were not dropped: {answer:?}", garbage.len());
    }
    scene.ctl().run(&["status"]).ok();
    drop(idle);
    scene.ctl().add_host("alice", "nas", ZONE, &[]);
}

#[test]
fn a_thousand_connections_with_garbage_keep_no_administrator_out() {
    let scene = Scene::new();
    let socket = scene.daemon.setup().socket();
    let kinds: [Vec<u8>; 8] = [
        vec![],
        b"DD".to_vec(),
        GREETING[..9].to_vec(),
        GREETING.to_vec(),
        b"POST /update HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        frame(u32::MAX, b"x"),
        frame(64, b"half a frame"),
        frame(17, br#"{"Request":{"a":1"#),
    ];
    let hung_up = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        // four at a time; each keeps its last connection open while it opens the next
        for rogue in 0..4_usize {
            let (kinds, socket, hung_up) = (&kinds, &socket, &hung_up);
            threads.spawn(move || {
                let mut left_open = None;
                for round in 0..250 {
                    let mut stream = connect(socket);
                    // meaningless bytes of a different length each time
                    let noise: Vec<u8> = (0..round).map(|i| (i * 131 + rogue * 17) as u8).collect();
                    let kind = kinds.get((round + rogue) % 9).unwrap_or(&noise);
                    let _ = stream.write_all(kind);
                    left_open = Some(stream);
                    hung_up.fetch_add(1, Ordering::Relaxed);
                }
                drop(left_open);
            });
        }
        while hung_up.load(Ordering::Relaxed) < 1000 {
            scene.ctl().run(&["status"]).ok();
        }
    });
    scene.ctl().run(&["status"]).ok();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let log = scene.daemon.log();
    assert!(!log.contains("panicked"), "the daemon's log: {log}");
}

#[test]
fn connections_without_a_call_keep_no_administrator_out() {
    let scene = Scene::new();
    let socket = scene.daemon.setup().socket();
    for first in [&b""[..], GREETING, &frame(64, b"half a frame")] {
        let idle: Vec<_> = (0..100)
            .map(|_| {
                let mut stream = connect(&socket);
                stream.write_all(first).unwrap();
                stream
            })
            .collect();
        let status = scene.ctl().run(&["status"]);
        assert_eq!(status.code, Some(0), "beside 100 idle connections after {first:?}: {status}");
        drop(idle);
    }
}

#[test]
fn a_thousand_connections_with_garbage_or_a_partial_preamble_keep_no_administrator_out() {
    let scene = Scene::new();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let socket = scene.daemon.setup().socket();
    let crowd: Vec<_> = (0..1_000)
        .map(|number| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let bytes: &[u8] = match number % 4 {
                0 => b"GET / HTTP/1.1\r\n\r\n",
                // the start of a preamble
                1 => b"DDNA",
                2 => b"\xff",
                _ => b"",
            };
            let _ = stream.write_all(bytes);
            stream
        })
        .collect();
    let start = Instant::now();
    scene.ctl().run(&["status"]).ok();
    assert!(start.elapsed() < Duration::from_secs(8), "status took {:?}", start.elapsed());
    scene.ctl().add_host("alice", "nas", ZONE, &[]);
    drop(crowd);
    scene.ctl().run(&["status"]).ok();
}

#[test]
fn a_frame_of_empty_lines_takes_no_more_memory_than_its_bytes() {
    let scene = Scene::new();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    };
    let mut call = br#"{"Request":{"message":{"ImportStage":{"lines":{"lines":[{}"#.to_vec();
    while call.len() < (4 << 20) - 100 {
        call.extend(b",{}");
    }
    call.extend(br#"]}}},"id":1,"context":{}}}"#);
    let call = frame(u32::try_from(call.len()).unwrap(), &call);
    let before = peak();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let mut stream = connect(&scene.daemon.setup().socket());
                // it is closed before the end
                let _ = stream.write_all(&call);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    let grown = peak() - before;
    assert!(grown < 64, "four frames of 4 MiB took {grown} MiB");
    scene.ctl().run(&["status"]).ok();
}
