//! What is about the SQLite file itself: who owns it, and what is left as it is. Run on SQLite,
//! whatever the other tests are run on.

use crate::{RECOVERY, Scene, lock_file};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::Named;
use ddnsd_tests::setup::Setup;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn scene() -> Scene {
    Scene::with(Setup::on_sqlite)
}

/// A configuration of another daemon for this file.
fn second(scene: &Scene, file: &Path) -> Setup {
    let setup = Daemon::builder(&scene.named).on_sqlite();
    setup.set("database.path", file.to_str().unwrap())
}

#[test]
fn a_sqlite_file_can_be_read_by_its_owner_only() {
    let scene = scene();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let file = scene.daemon.setup().sqlite_file();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        let mode = std::fs::metadata(&name).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "mode of {}: {mode:o}", name.display());
    }
}

#[test]
fn ddnsd_has_pool_size_connections_to_a_sqlite_file_or_two() {
    for (pool_size, connections) in [(1, 2), (2, 2), (3, 3)] {
        let scene = Scene::with(|setup| setup.on_sqlite().set("database.pool_size", pool_size));
        let file = std::fs::canonicalize(scene.daemon.setup().sqlite_file()).unwrap();
        // a reader is opened once the others are busy, so several lists are read at once
        eventually(Duration::from_secs(20), "all connections", || {
            std::thread::scope(|threads| {
                for _ in 0..8 {
                    threads.spawn(|| scene.ctl().hosts());
                }
            });
            let open = std::fs::read_dir(format!("/proc/{}/fd", scene.daemon.pid())).unwrap();
            let open = open.filter_map(|open| std::fs::read_link(open.unwrap().path()).ok());
            let count = open.filter(|open| *open == file).count();
            if count == connections { Ok(()) } else { Err(format!("{count} of {pool_size}")) }
        });
    }
}

#[test]
fn an_existing_sqlite_file_with_access_for_everyone_is_restricted_with_a_warning() {
    let named = Named::start();
    let setup = Daemon::builder(&named).on_sqlite();
    let file = setup.sqlite_file();
    std::fs::write(&file, "").unwrap();
    // empty at first, and of ours the second time
    for _ in 0..2 {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o646)).unwrap();
        let output = setup.run(&["--init-db"]).exits(0);
        output.prints(&["WARN", "ddnsd.sqlite", "everyone had access"]);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{mode:o}");
    }
}

#[test]
fn a_sqlite_file_owned_by_a_running_daemon_is_left_alone_whatever_its_name() {
    let scene = scene();
    let file = scene.daemon.setup().sqlite_file();
    let (soft, hard) = (file.with_file_name("soft.sqlite"), file.with_file_name("hard.sqlite"));
    symlink(&file, &soft).unwrap();
    for name in [&file, &soft] {
        let refused = second(&scene, name).run(&[]).exits(1).one_sentence();
        refused.prints(&[".sqlite", "another"]);
    }
    std::fs::hard_link(&file, &hard).unwrap();
    second(&scene, &hard).run(&[]).exits(1).one_sentence().prints(&["hard.sqlite", "hard links"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
}

#[test]
fn init_db_of_a_sqlite_file_that_a_running_daemon_owns_is_refused_by_name() {
    let scene = scene();
    let before = scene.ctl().hosts();
    let refused = scene.daemon.setup().run(&["--init-db"]).exits(1).one_sentence();
    refused.prints(&[&scene.daemon.setup().sqlite_file().display().to_string(), "another"]);
    assert_eq!(scene.ctl().hosts(), before);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
}

#[test]
fn a_file_that_is_no_sqlite_database_is_refused_and_left_as_it_is() {
    let named = Named::start();
    let setup = Daemon::builder(&named).on_sqlite();
    let text = "dear diary, today I was not a database\n".repeat(50);
    std::fs::write(setup.sqlite_file(), &text).unwrap();
    for arguments in [&[][..], &["--init-db"]] {
        setup.run(arguments).exits(1).prints(&["ddnsd.sqlite"]).one_sentence();
        assert_eq!(std::fs::read_to_string(setup.sqlite_file()).unwrap(), text);
    }
}

#[test]
fn a_sqlite_file_of_another_program_is_refused_and_left_as_it_is() {
    let named = Named::start();
    for theirs in [
        "CREATE VIEW answer AS SELECT 42;",
        "CREATE TABLE _sqlx_migrations (of_another_kind TEXT);",
        "CREATE TABLE recipes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO recipes VALUES (1, 'x');",
        // the names of our tables, and not our tables
        "CREATE TABLE users (uid INTEGER, gecos TEXT); CREATE TABLE hosts (mac TEXT);",
        // of another program that sqlx migrates, too
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL); CREATE TABLE mails (id INTEGER); \
         INSERT INTO _sqlx_migrations VALUES (20240101000000, 'mails', 0, 1, x'00', 1);",
    ] {
        let setup = Daemon::builder(&named).on_sqlite();
        setup.database().sql(theirs);
        let before = std::fs::read(setup.sqlite_file()).unwrap();
        for arguments in [&[][..], &["--init-db"]] {
            let refused = setup.run(arguments).exits(1).one_sentence();
            refused.prints(&["ddnsd.sqlite", "belongs to another program"]);
            let after = std::fs::read(setup.sqlite_file()).unwrap();
            assert!(before == after, "the file was changed by ddnsd {arguments:?}: {theirs}");
        }
    }
}

#[test]
fn a_sqlite_file_that_lacks_a_table_or_a_column_is_refused_at_the_start() {
    let named = Named::start();
    for (loss, what) in [
        ("DROP TABLE touches;", "touches"),
        ("ALTER TABLE hosts DROP COLUMN last_error;", "last_error"),
    ] {
        let setup = Daemon::builder(&named).on_sqlite();
        setup.run(&["--init-db"]).ok();
        setup.database().sql(loss);
        for arguments in [&[][..], &["--init-db"]] {
            let refused = setup.run(arguments).exits(1).one_sentence();
            refused.prints(&["ddnsd.sqlite", what, "restore a backup"]);
        }
    }
}

#[test]
fn a_damaged_sqlite_file_is_named() {
    let named = Named::start();
    let setup = Daemon::builder(&named).on_sqlite();
    setup.run(&["--init-db"]).ok();
    let mut bytes = std::fs::read(setup.sqlite_file()).unwrap();
    // all but the first page, which holds the schema
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0x5a);
    std::fs::write(setup.sqlite_file(), bytes).unwrap();
    setup.run(&[]).exits(1).one_sentence().prints(&["ddnsd.sqlite", "malformed"]);
}

#[test]
fn a_special_file_or_a_foreign_database_is_refused_and_left_as_it_is() {
    let named = Named::start();
    let setup = Daemon::builder(&named).on_sqlite();
    let path = setup.sqlite_file();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    setup.run(&[]).exits(1).one_sentence().prints(&["ddnsd.sqlite", "not a regular file"]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    setup.run(&[]).exits(1).one_sentence().prints(&["ddnsd.sqlite", "not a regular file"]);
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "dear diary").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    setup.run(&[]).exits(1).one_sentence();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
}

/// A new database file, and what SQLite keeps beside it.
fn remove_database(setup: &Setup) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut name = setup.sqlite_file().into_os_string();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

#[test]
fn a_first_start_that_was_killed_at_any_step_is_repeated() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: only root can trace another process");
        return;
    }
    let named = Named::start();
    let mut setup = Daemon::builder(&named).on_sqlite();
    let mut kills = 0;
    for call in ["unlink", "ftruncate", "fsync"] {
        for time in 1..20 {
            remove_database(&setup);
            let kill = format!("inject={call}:signal=SIGKILL:when={time}");
            let trace = format!("trace={call}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &kill];
            setup = setup.wrapped_in(&strace);
            let killed = setup.run(&["--init-db"]).code != Some(0);
            setup = setup.wrapped_in(&[]);
            setup.run(&["--init-db"]).ok();
            assert_eq!(setup.database().sql("SELECT count(*) FROM users;"), "0\n");
            if !killed {
                break; // it has no more of these calls
            }
            kills += 1;
        }
    }
    assert!(kills >= 5, "{kills} kills");
}

#[test]
fn a_database_file_that_is_moved_away_or_replaced_is_911_until_it_is_back() {
    let scene = scene();
    let update = |address: &str| scene.update(&format!("hostname=pc.dyn.example&myip={address}"));
    update("192.0.2.1").is(200, "good 192.0.2.1\n");
    let file = scene.daemon.setup().sqlite_file();
    for (suffix, replaced) in [("", false), ("", true), ("-wal", false)] {
        let mut path = file.clone().into_os_string();
        path.push(suffix);
        let (path, aside) = (PathBuf::from(&path), file.with_file_name("aside"));
        std::fs::rename(&path, &aside).unwrap();
        if replaced {
            std::fs::copy(&aside, &path).unwrap();
        }
        // of a change at once; of what needs no change once it is noticed
        update("192.0.2.2").is(503, "911\n");
        eventually(RECOVERY, "nochg to be 911", || {
            let reply = update("192.0.2.1");
            if reply.body == "911\n" { Ok(()) } else { Err(reply.to_string()) }
        });
        scene.ctl().run(&["status", "--check"]).exits(1).prints(&["moved away"]);
        scene.ctl().run(&["user", "add", "bob", "bob@example.org", "--generate"]).exits(1);
        std::fs::rename(&aside, &path).unwrap();
        eventually(RECOVERY, "updates to be nochg again", || {
            let reply = update("192.0.2.1");
            if reply.body == "nochg 192.0.2.1\n" { Ok(()) } else { Err(reply.to_string()) }
        });
        eventually(RECOVERY, "a good status", || {
            let status = scene.ctl().run(&["status", "--check"]);
            if status.code == Some(0) { Ok(()) } else { Err(status.to_string()) }
        });
    }
    let log = scene.daemon.log();
    assert!(log.contains("ERROR changes are not written: the database file"), "{log}");
}

#[test]
fn an_update_that_changes_nothing_waits_for_no_lock_on_the_file() {
    let scene = scene();
    scene.add_hosts(&["nas"]);
    let update = |host: &str, address: &str| {
        scene.update(&format!("hostname={host}.dyn.example&myip={address}"))
    };
    for host in ["pc", "nas"] {
        update(host, "192.0.2.1").is(200, "good 192.0.2.1\n");
    }
    let holder = lock_file(scene.daemon.setup());
    std::thread::scope(|threads| {
        let change = threads.spawn(|| update("nas", "192.0.2.2"));
        for _ in 0..20 {
            update("pc", "192.0.2.1").is(200, "nochg 192.0.2.1\n");
        }
        assert!(!change.is_finished(), "the file is not locked");
        drop(holder);
        change.join().unwrap().is(200, "good 192.0.2.2\n");
    });
}

#[test]
fn a_database_file_that_is_moved_away_is_noticed_without_any_request() {
    let scene = scene();
    let file = scene.daemon.setup().sqlite_file();
    std::fs::remove_file(&file).unwrap();
    eventually(RECOVERY, "the log to say so", || {
        let log = scene.daemon.log();
        if log.contains("was moved away, replaced or deleted") { Ok(()) } else { Err(log) }
    });
}

#[test]
fn a_start_that_makes_a_new_file_says_so() {
    let mut scene = scene();
    let new = "is new and empty";
    assert_eq!(scene.daemon.log().matches(new).count(), 1, "{}", scene.daemon.log());
    scene.daemon.restart();
    assert_eq!(scene.daemon.log().matches(new).count(), 1, "{}", scene.daemon.log());
}
