//! What a database must survive on the way to another version of ddnsd: a dump that is restored
//! loses nothing; a migration that was edited, or that fails, is named and changes nothing. No
//! version was released yet, so there is no older schema to begin from.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::{Ctl, PASSWORD};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::database::Backend;
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::mariadb::Mariadb;
use ddnsd_tests::named::{Named, ZONE};
use ddnsd_tests::setup::{Setup, source};
use serde_json::{Value, json};
use std::fs;

/// The second zone of the samples.
const OTHER: &str = "other.example";

/// Differs after a restore: the name server is another one, so every record is sent once more.
const OF_PUBLISHING: [&str; 4] = ["state", "pending_since", "attempts", "last_error"];

/// The names of the migration files, in order.
fn migrations(folder: &str) -> Vec<String> {
    let files = fs::read_dir(source("migrations").join(folder)).unwrap();
    let mut names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn setup(backend: Backend, named: &Named) -> Setup {
    match backend {
        Backend::Sqlite => Daemon::builder(named).on_sqlite(),
        Backend::Mariadb => Daemon::builder(named).on_mariadb(Mariadb::shared().account()),
    }
}

fn name_server() -> Named {
    Named::with(&[ZONE, OTHER], "hmac-sha256")
}

/// Users and hosts as `ddnsctl` lists them, and each host as it shows it alone.
fn shown(ctl: &Ctl) -> Value {
    let hosts = ctl.json(&["hostname", "list"]);
    let one = |host: &Value| {
        let name = |key: &str| host[key].as_str().expect("a name").to_owned();
        ctl.json(&["hostname", "show", &name("hostname"), &name("zone")])
    };
    let alone: Vec<_> = hosts.as_array().expect("an array").iter().map(one).collect();
    json!({ "users": ctl.json(&["user", "list"]), "hosts": hosts, "alone": alone })
}

/// Two users and hosts in every state.
fn fill(scene: &mut Scene) {
    let ctl = scene.ctl();
    ctl.add_user("alice");
    ctl.add_user("bob");
    for label in ["never", "v4", "both", "gone", "half", "changing", "late"] {
        ctl.add_host("alice", label, ZONE, &[]);
    }
    ctl.add_host("bob", "bücher", ZONE, &["--dns-ttl", "300", "--expiry-ttl", "0"]);
    ctl.add_host("bob", "@", OTHER, &["--expiry-ttl", "86400"]);
    let update = |user, label: &str, parameters, answer| {
        let query = format!("hostname={label}.{ZONE}&{parameters}");
        assert_eq!(scene.daemon.update(user, &query).body, answer, "{query}");
    };
    update("alice", "v4", "myip=192.0.2.1", "good 192.0.2.1\n");
    update("alice", "both", "myip=192.0.2.2,2001:db8::2", "good 192.0.2.2 2001:db8::2\n");
    update("alice", "both", "myip=192.0.2.2", "nochg 192.0.2.2\n"); // a touch of one family
    update("alice", "gone", "myip=192.0.2.3,2001:db8::3", "good 192.0.2.3 2001:db8::3\n");
    update("alice", "gone", "offline=YES", "good\n");
    update("alice", "half", "myip=192.0.2.4", "good 192.0.2.4\n");
    update("alice", "half", "offline=YES", "good\n");
    update("alice", "half", "myip=2001:db8::4", "good 2001:db8::4\n");
    update("alice", "changing", "myip=192.0.2.5", "good 192.0.2.5\n");
    update("bob", "b%C3%BCcher", "myip=192.0.2.7", "good 192.0.2.7\n");
    let own = scene.daemon.update("bob", &format!("hostname={OTHER}&myip=2001:db8::8"));
    own.is(200, "good 2001:db8::8\n");
    scene.named.stop();
    for (label, address) in [("changing", "192.0.2.55"), ("late", "192.0.2.6")] {
        scene.update(&format!("hostname={label}.{ZONE}&myip={address}")).is(503, "dnserr\n");
    }
}

/// Fills a database, dumps it, and starts another daemon on the restored dump.
#[track_caller]
fn restores(backend: Backend) {
    let named = name_server();
    let daemon = setup(backend, &named).set("dns_service.dns_timeout", 1).start();
    let mut scene = Scene { daemon, named };
    fill(&mut scene);
    let before = shown(&scene.ctl());
    assert!(scene.daemon.terminate().success());
    let dump = scene.daemon.setup().database().dump();
    let named = name_server();
    let setup = setup(backend, &named);
    setup.database().sql(&dump);
    let daemon = setup.start();
    keeps(&daemon.ctl(), &before);
    works(&mut Scene { daemon, named });
}

#[test]
fn a_restored_dump_of_a_sqlite_database_loses_nothing() {
    restores(Backend::Sqlite);
}

#[test]
fn a_restored_dump_of_a_mariadb_database_loses_nothing() {
    restores(Backend::Mariadb);
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(migrations("sqlite"), migrations("mariadb"));
}

/// Changes a database with these statements; the next start must be refused and change nothing.
#[track_caller]
fn is_refused_after(statements: &str, message: &str) {
    let mut scene = Scene::new();
    assert!(scene.daemon.terminate().success());
    let database = scene.daemon.setup().database();
    database.sql(statements);
    let before = database.dump();
    scene.daemon.setup().run(&[]).exits(1).prints(&[&database.name(), message]).one_sentence();
    assert_eq!(database.dump(), before, "the refused database was changed");
}

const MODIFIED: &str = "migration 1 was previously applied but has been modified; nothing was \
                        changed: start the version that migrated it, or restore the backup";

#[test]
fn a_migration_that_was_edited_after_it_ran_is_refused() {
    is_refused_after("UPDATE _sqlx_migrations SET checksum = x'00';", MODIFIED);
}

#[test]
fn a_migration_that_fails_on_sqlite_names_what_failed_and_leaves_the_schema_as_it_was() {
    if Backend::under_test() == Backend::Sqlite {
        // the first migration runs again and finds its tables
        let message = "migration 1 (`first`) failed at `CREATE TABLE users`: table users already \
                       exists; the schema is as it was: start the former version, or fix the cause";
        is_refused_after("DELETE FROM _sqlx_migrations;", message);
    }
}

/// All that was shown before is shown now.
#[track_caller]
fn keeps(ctl: &Ctl, before: &Value) {
    let now = shown(ctl);
    for list in before.as_object().expect("an object").keys() {
        let rows = |of: &Value| of[list].as_array().expect("an array").clone();
        assert_eq!(rows(&now).len(), rows(before).len(), "the {list}: {now:#}");
        for (old, new) in rows(before).iter().zip(rows(&now)) {
            for (key, value) in old.as_object().expect("an object") {
                let same = OF_PUBLISHING.contains(&key.as_str()) || is_same(&new[key], value);
                assert!(same, "{key} was {value}, and of the {list} is now {new:#}");
            }
        }
    }
}

/// Whether all that was shown is shown still, whatever the number of zeros in a time's fraction.
fn is_same(now: &Value, before: &Value) -> bool {
    let time = |value: &Value| {
        let time = value.as_str()?.strip_suffix('Z')?;
        Some(time.trim_end_matches('0').trim_end_matches('.').to_owned())
    };
    match before {
        Value::Object(keys) => keys.iter().all(|(key, value)| is_same(&now[key], value)),
        _ => now == before || (time(now).is_some() && time(now) == time(before)),
    }
}

/// Everything is sent to the name server it has now, and updates and a restart work as ever.
#[track_caller]
fn works(scene: &mut Scene) {
    let none = Vec::<String>::new();
    eventually_equals(RECOVERY, "every record to be sent to the new server", &none, || {
        let hosts = scene.ctl().hosts().into_iter();
        hosts.filter(|host| !host.published).map(|host| host.fqdn).collect()
    });
    let in_dns = |label: &str| (scene.a(label), scene.aaaa(label));
    let records = |v4: &[&str], v6: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|data| (*data).to_owned()).collect::<Vec<_>>();
        (own(v4), own(v6))
    };
    for (label, v4, v6) in [
        ("never", &[][..], &[][..]),
        ("v4", &["192.0.2.1"], &[]),
        ("both", &["192.0.2.2"], &["2001:db8::2"]),
        ("gone", &[], &[]),
        ("half", &[], &["2001:db8::4"]),
        ("changing", &["192.0.2.55"], &[]),
        ("late", &["192.0.2.6"], &[]),
        ("xn--bcher-kva", &["192.0.2.7"], &[]),
    ] {
        assert_eq!(in_dns(label), records(v4, v6), "records of {label}");
    }
    assert_eq!(scene.named.lookup("xn--bcher-kva.dyn.example", "A")[0].0, 300, "its own TTL");
    assert_eq!(scene.named.data(OTHER, "AAAA"), ["2001:db8::8"]);
    for (user, name, address, code) in [
        ("alice", "v4.dyn.example", "192.0.2.1", "nochg"),
        ("alice", "late.dyn.example", "192.0.2.6", "nochg"),
        ("alice", "never.dyn.example", "192.0.2.9", "good"),
        ("alice", "gone.dyn.example", "192.0.2.3", "good"),
        ("bob", OTHER, "2001:db8::8", "nochg"),
    ] {
        let reply = scene.daemon.update(user, &format!("hostname={name}&myip={address}"));
        reply.is(200, &format!("{code} {address}\n"));
    }
    scene.ctl().add_user_with("carol", PASSWORD).ok();
    scene.daemon.restart();
    scene.update("hostname=never.dyn.example&myip=192.0.2.9").is(200, "nochg 192.0.2.9\n");
}
