//! Complete `ddnsctl` sessions as reviewed text in `transcripts/`, equal on both databases. How
//! they are read and rewritten: `tests/src/transcript.rs`.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::setup::Setup;
use ddnsd_tests::transcript::{Session, check};

/// Runs a session against a daemon without users and hosts.
#[track_caller]
fn session(name: &str) {
    session_with(name, |setup| setup);
}

#[track_caller]
fn session_with(name: &str, configure: impl FnOnce(Setup) -> Setup) {
    let Scene { mut daemon, mut named } = Scene::without_hosts(|setup| {
        let setup = setup.set("dns_service.dns_timeout", 1);
        // no round, which a slow run would see the end of
        let setup = setup.set("dns_service.verify_interval", 0);
        configure(setup.set("dns_service.cleanup_interval", 3600))
    });
    let url = daemon.url().to_owned();
    let socket = daemon.setup().socket();
    let ctl = daemon.ctl();
    let differs = vec![(daemon.setup().database().name(), "DATABASE")];
    let session = Session {
        url: &url,
        socket: &socket,
        dns_port: named.port(),
        dns_key: named.key_file(),
        differs,
    };
    let database = daemon.setup().database().clone();
    let all_is_published = || {
        eventually_equals(RECOVERY, "all to be published", &true, || {
            ctl.hosts().iter().all(|host| host.published)
        });
    };
    check(name, &session, |beside| match beside {
        "the name server goes away" => named.stop(),
        "the name server comes back" => {
            named.start_again();
            all_is_published();
        }
        "all is published" => all_is_published(),
        "all that is pending counts as published" => {
            database.sql("UPDATE hosts SET unpublished_since = NULL;");
        }
        "the database fails" => {
            database.sql("ALTER TABLE users RENAME TO x; ALTER TABLE hosts RENAME TO y;");
        }
        "the daemon stops" => assert!(daemon.terminate().success()),
        other => panic!("unknown step of a transcript: {other}"),
    });
}

#[test]
fn a_session_with_users() {
    session("users");
}

#[test]
fn a_session_with_hostnames() {
    session("hostnames");
}

#[test]
fn a_session_with_status_and_cleanup() {
    session("status_and_cleanup");
}

#[test]
fn a_session_of_dns_comparisons() {
    session("sync");
}

#[test]
fn a_session_in_which_everything_fails() {
    session("failures");
}

#[test]
fn a_session_with_a_database_that_fails() {
    // the transcript contains error texts of SQLite
    session_with("failing_database", Setup::on_sqlite);
}

#[test]
fn a_session_without_permission() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not run: only root can become another user");
    }
    session_with("not_permitted", |setup| setup.set("admin.mode", "0666"));
}

#[test]
fn a_session_of_changes() {
    session("changes");
}

#[test]
fn a_session_of_export_and_import() {
    session("export_and_import");
}

#[test]
fn a_session_of_reloads() {
    session("reload");
}

#[test]
fn a_session_of_client_setup() {
    session("setup");
}

#[test]
fn the_help_of_every_command() {
    session("help");
}
