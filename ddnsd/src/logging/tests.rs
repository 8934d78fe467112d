//! Logging as the daemon uses it.

use super::*;
use std::path::Path;

fn to_file(path: &Path, level: Level) -> Log {
    let target = LogTarget::File { path: path.to_owned(), max_bytes: 1 << 20, versions: 1 };
    Log { level, target }
}

fn messages(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    // after time and level
    text.lines().map(|line| line[30..].to_owned()).collect()
}

fn log_something() {
    tracing::debug!("our debug");
    tracing::info!("our info");
    tracing::error!("our error");
    tracing::info!(target: "hyper::server", "their info");
    tracing::warn!(target: "hyper::server", "their warning");
}

#[test]
fn our_crates_log_at_the_level_and_others_at_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (level, expected) in [
        (Level::ERROR, vec!["ERROR our error"]),
        (Level::INFO, vec!["INFO  our info", "ERROR our error", "WARN  their warning"]),
        (
            Level::DEBUG,
            vec![
                "DEBUG our debug",
                "INFO  our info",
                "ERROR our error",
                "INFO  their info",
                "WARN  their warning",
            ],
        ),
    ] {
        let path = folder.path().join(level.as_str());
        let (subscriber, handle) = subscriber(&to_file(&path, level)).unwrap();
        tracing::subscriber::with_default(subscriber, log_something);
        handle.flush();
        assert_eq!(messages(&path), expected);
    }
}

#[test]
fn target_and_level_change_while_the_daemon_runs() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    let new = folder.path().join("new");
    let (subscriber, handle) = subscriber(&to_file(&old, Level::INFO)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("before");
        let prepared = handle.prepare(&to_file(&new, Level::ERROR)).unwrap();
        handle.commit(prepared);
        tracing::info!("not any more");
        tracing::error!("after");
    });
    handle.flush();
    assert_eq!(messages(&old), ["INFO  before"]);
    assert_eq!(messages(&new), ["ERROR after"]);
}

#[test]
fn a_target_that_cannot_be_opened_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (subscriber, handle) = subscriber(&to_file(&path, Level::INFO)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let missing = folder.path().join("missing/log");
        assert!(handle.prepare(&to_file(&missing, Level::ERROR)).is_err());
        tracing::info!("still here");
    });
    handle.flush();
    assert_eq!(messages(&path), ["INFO  still here"]);
}

#[test]
fn reopening_writes_to_the_file_at_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (subscriber, handle) = subscriber(&to_file(&path, Level::INFO)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("first");
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        handle.reopen().unwrap();
        tracing::info!("second");
    });
    handle.flush();
    assert_eq!(messages(&path), ["INFO  second"]);
}

#[test]
fn each_cause_of_an_error_is_printed_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen on [::]:53: {0} (stop the program that has the port)")]
    struct WithCause(#[source] std::io::Error);
    let with_cause = WithCause(std::io::Error::other("address in use"));
    let once = "cannot listen on [::]:53: address in use (stop the program that has the port)";
    assert_eq!(with_causes(&with_cause), once);
    let without =
        LogError::Socket { path: "/dev/log".into(), source: std::io::Error::other("why") };
    assert!(with_causes(&without).ends_with("else set daemon.log_target): why"));
}

#[test]
fn a_hurried_flush_waits_only_briefly_for_a_blocked_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (subscriber, handle) = subscriber(&to_file(&path, Level::INFO)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..1_000 {
            tracing::info!("{}", "x".repeat(1_000));
        }
    });
    handle.hurry(true);
    let (flushed, is_flushed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..5 {
            handle.flush();
        }
        flushed.send(()).unwrap();
    });
    assert!(is_flushed.recv_timeout(FINAL_FLUSH * 4).is_ok());
    drop(reader);
}
