//! A database that an earlier version made is brought up to date and loses nothing. In:
//! `tests/fixtures/schema/BACKEND-NNNN.sql`, the dump of a database that the program of that schema
//! version made itself, and beside it what its `ddnsctl` showed. `DDNSD_BLESS=1` makes the pair of
//! the newest schema version if there is none; an older one can never be made again.

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
use std::path::PathBuf;

/// The second zone of the samples.
const OTHER: &str = "other.example";

/// What the update to the new schema may change: the samples' name server is another one now, so
/// every record is sent once more.
const OF_PUBLISHING: [&str; 4] = ["state", "pending_since", "attempts", "last_error"];

fn folder(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "sqlite",
        Backend::Mariadb => "mariadb",
    }
}

fn fixture(backend: Backend, version: u64, extension: &str) -> PathBuf {
    let name = format!("{}-{version:04}.{extension}", folder(backend));
    source("tests/fixtures/schema").join(name)
}

/// The schema versions there are, oldest first.
fn versions(backend: Backend) -> Vec<u64> {
    let files = fs::read_dir(source("migrations").join(folder(backend))).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<_> = names.map(|name| name[..4].parse().unwrap()).collect();
    versions.sort_unstable();
    versions
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

/// Makes the sample of this program's schema version.
fn make_sample(backend: Backend, version: u64) {
    let named = name_server();
    let daemon = setup(backend, &named).set("dns_service.dns_timeout", 1).start();
    let mut scene = Scene { daemon, named };
    fill(&mut scene);
    let shown = format!("{:#}\n", shown(&scene.ctl()));
    assert!(scene.daemon.terminate().success());
    fs::write(fixture(backend, version, "json"), shown).unwrap();
    let dump = scene.daemon.setup().database().dump();
    fs::write(fixture(backend, version, "sql"), dump).unwrap();
}

#[track_caller]
fn every_version_has_a_sample(backend: Backend) {
    let newest = versions(backend).pop().expect("a migration");
    if std::env::var_os("DDNSD_BLESS").is_some() && !fixture(backend, newest, "sql").exists() {
        make_sample(backend, newest);
    }
    for version in versions(backend) {
        for extension in ["sql", "json"] {
            let file = fixture(backend, version, extension);
            assert!(file.exists(), "no {}; make it with DDNSD_BLESS=1", file.display());
        }
    }
}

#[track_caller]
fn every_version_is_brought_up_to_date(backend: Backend) {
    for version in versions(backend) {
        let named = name_server();
        let setup = setup(backend, &named);
        let dump = fs::read_to_string(fixture(backend, version, "sql")).unwrap();
        setup.database().sql(&dump);
        let daemon = setup.start();
        let before = fs::read_to_string(fixture(backend, version, "json")).unwrap();
        keeps(&daemon.ctl(), &serde_json::from_str(&before).unwrap());
        works(&mut Scene { daemon, named });
    }
}

#[test]
fn every_schema_version_has_a_sample_of_sqlite() {
    every_version_has_a_sample(Backend::Sqlite);
}

#[test]
fn every_schema_version_has_a_sample_of_mariadb() {
    every_version_has_a_sample(Backend::Mariadb);
}

#[test]
fn a_sqlite_database_of_every_schema_version_is_brought_up_to_date_and_loses_nothing() {
    every_version_is_brought_up_to_date(Backend::Sqlite);
}

#[test]
fn a_mariadb_database_of_every_schema_version_is_brought_up_to_date_and_loses_nothing() {
    every_version_is_brought_up_to_date(Backend::Mariadb);
}

#[test]
fn both_databases_have_the_same_schema_versions() {
    assert_eq!(versions(Backend::Sqlite), versions(Backend::Mariadb));
}

/// All that was shown before is shown now; a later version may show more.
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
    for (user, name, address, word) in [
        ("alice", "v4.dyn.example", "192.0.2.1", "nochg"),
        ("alice", "late.dyn.example", "192.0.2.6", "nochg"),
        ("alice", "never.dyn.example", "192.0.2.9", "good"),
        ("alice", "gone.dyn.example", "192.0.2.3", "good"),
        ("bob", OTHER, "2001:db8::8", "nochg"),
    ] {
        let reply = scene.daemon.update(user, &format!("hostname={name}&myip={address}"));
        reply.is(200, &format!("{word} {address}\n"));
    }
    scene.ctl().add_user_with("carol", PASSWORD).ok();
    scene.daemon.restart();
    scene.update("hostname=never.dyn.example&myip=192.0.2.9").is(200, "nochg 192.0.2.9\n");
}
