//! The program without a daemon: its messages and exit codes.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers may panic; clippy excuses test functions only"
)]

use ddnsd_proto::PROTOCOL;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

/// Runs `ddnsctl` with these words and this standard input.
fn ddnsctl(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ddnsctl"))
        .args(words)
        .env_remove("DDNSD_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // it may have ended without reading
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Asserts the exit code and that stderr contains the text; returns stderr.
fn assert_fails(output: &Output, code: i32, text: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(text), "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

#[test]
fn without_a_daemon_the_message_names_the_socket_and_the_next_step() {
    let output = ddnsctl(&["--socket", "/nonexistent/admin.sock", "user", "list"], "");
    let stderr = assert_fails(&output, 69, "/nonexistent/admin.sock");
    assert_eq!(
        stderr,
        "ddnsctl: cannot reach ddnsd at /nonexistent/admin.sock: no such file (is it running? try \
         `systemctl start ddnsd`)\n"
    );
}

#[test]
fn an_empty_ddnsd_socket_counts_as_unset() {
    let with = |words: &[&str]| {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_ddnsctl"));
        ctl.args(words).env("DDNSD_SOCKET", "").output().unwrap()
    };
    let version = with(&["--version"]);
    assert!(version.status.success(), "{version:?}");
    assert_fails(&with(&["--socket", "/nonexistent/admin.sock", "status"]), 69, "/nonexistent/");
    // the default path, where a daemon of this machine may listen
    let status = with(&["status"]);
    assert_ne!(status.status.code(), Some(2), "{status:?}");
    let empty = with(&["--socket", "", "status"]);
    assert_fails(&empty, 2, "--socket");
}

#[test]
fn a_ddnsd_socket_that_is_set_is_used_and_not_shown_as_required() {
    let with = |words: &[&str]| {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_ddnsctl"));
        ctl.args(words).env("DDNSD_SOCKET", "/nonexistent/other.sock").output().unwrap()
    };
    assert_fails(&with(&["status"]), 69, "/nonexistent/other.sock");
    let named = with(&["--socket", "/nonexistent/third.sock", "status"]);
    assert_fails(&named, 69, "/nonexistent/third.sock");
    let wrong = with(&["hostname", "show", "pc"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let usage = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!usage.contains("--socket <PATH>"), "{usage}");
}

#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut help = Command::new(env!("CARGO_BIN_EXE_ddnsctl"));
    let failed = help.arg("--help").stdout(full).output().unwrap();
    assert_fails(&failed, 1, "cannot write to standard output");
}

#[test]
fn a_socket_without_a_listener_is_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    let output = ddnsctl(&["--socket", path.to_str().unwrap(), "status"], "");
    assert_fails(&output, 69, "no process listens there");
}

#[test]
fn another_program_is_reported_as_not_ddnsd() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
    });
    let output = ddnsctl(&["--socket", path.to_str().unwrap(), "status"], "");
    assert_fails(&output, 69, "is not ddnsd");
    other.join().unwrap();
}

/// Asserts the message of a client to which a daemon sends `preamble`.
fn assert_fails_after(preamble: &'static [u8], code: i32, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(preamble);
    });
    let output = ddnsctl(&["--socket", path.to_str().unwrap(), "status"], "");
    assert_fails(&output, code, text);
    daemon.join().unwrap();
}

#[test]
fn a_daemon_of_another_major_version_is_refused_naming_both() {
    let later = b"DDNA\0\0\0\0\0\x00\x09\x00\x02\x059.2.1";
    let both = format!("speaks protocol {PROTOCOL}, but ddnsd 9.2.1 speaks 9.2");
    assert_fails_after(later, 1, &both);
}

#[test]
fn a_daemon_of_another_minor_version_that_closes_the_connection_may_not_know_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"DDNA\0\0\0\0\0\x00\x01\x00\x09\x050.0.9").unwrap();
        // the client's preamble and a part of its call, which cannot be read
        stream.read_exact(&mut [0; 40]).unwrap();
    });
    let output = ddnsctl(&["--socket", path.to_str().unwrap(), "export"], "");
    let stderr = assert_fails(&output, 69, "ddnsd 0.0.9 speaks 1.9, and may not know this command");
    assert!(stderr.contains("install the same version of both"), "{stderr}");
    daemon.join().unwrap();
}

#[test]
fn a_daemon_that_denies_permission_exits_77() {
    let denied = b"DDNA\x01\0\0\x03\xe8\x00\x01\x00\x00\x050.1.0";
    assert_fails_after(denied, 77, "permission denied: uid 1000 may not administer ddnsd at");
}

#[test]
fn a_daemon_that_closes_the_connection_is_no_daemon() {
    assert_fails_after(b"DDNA\0", 69, "it closed the connection");
}

#[test]
fn escapes_in_a_version_do_not_reach_the_terminal() {
    assert_fails_after(b"DDNA\0\0\0\0\0\x00\x09\x00\x02\x04\x1b[2J", 1, "ddnsd \\u{1b}[2J speaks");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for words in [
        ["user", "frobnicate", "", ""].as_slice(),
        &["hostname", "add", "alice", "pc"],
        &["hostname", "add", "alice", "pc", "example.org", "--dns-ttl", "2147483648"],
        &["hostname", "add", "alice", "pc", "example.org", "--expiry-ttl", "-1"],
        &["user", "add", "a", "a@example.org", "--generate", "--password-stdin"],
        &[],
    ] {
        assert_fails(&ddnsctl(words, ""), 2, "--help");
    }
}

#[test]
fn a_password_must_come_from_somewhere() {
    let add = ["--socket", "/nonexistent", "user", "add", "alice", "a@example.org"];
    assert_fails(&ddnsctl(&add, "secret\n"), 2, "--password-stdin");
    let piped = [add.as_slice(), &["--password-stdin"]].concat();
    assert_fails(&ddnsctl(&piped, "\n"), 2, "empty");
    assert_fails(&ddnsctl(&piped, &"x".repeat(1025)), 2, "longer than 1024 bytes");
    assert_fails(&ddnsctl(&piped, "secret\n"), 69, "cannot reach");
}

#[test]
fn help_and_version_are_data() {
    for words in [["--version"].as_slice(), &["--help"], &["hostname", "delete", "--help"]] {
        let output = ddnsctl(words, "");
        assert!(output.status.success());
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}
