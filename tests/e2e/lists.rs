//! Lists far longer than a frame of the admin socket arrive complete.

use crate::Scene;
use ddnsd_tests::named::ZONE;
use std::fmt::Write as _;
use std::time::Duration;

/// Hosts in the database, a hundred for each user.
const HOSTS: usize = 100_000;
const USERS: usize = HOSTS / 100;
/// Time limit of one list: about 10 s in a debug build, more on a busy machine. A query that reads
/// from the start for every page takes far longer.
const LONGEST: Duration = Duration::from_secs(120);

/// SQL for the database itself, because so many calls of `ddnsctl` would take hours.
fn rows() -> String {
    let users = (0..USERS).map(|user| {
        format!("({}, 'u{user:04}', 'u{user:04}@example.org', '!', 0, 0)", 1000 + user)
    });
    let hosts = (0..HOSTS).map(|host| {
        let owner = 1000 + host / 100;
        format!("({owner}, 'h{host:05}', '{ZONE}', 'h{host:05}.{ZONE}', 0, 0)")
    });
    let mut sql = String::from("BEGIN;\n");
    let users: Vec<_> = users.collect();
    let hosts: Vec<_> = hosts.collect();
    for (into, rows) in [
        ("users (id, name, email, password_hash, created_at, changed_at)", users),
        ("hosts (user_id, label, zone, fqdn, created_at, changed_at)", hosts),
    ] {
        for some in rows.chunks(1000) {
            writeln!(sql, "INSERT INTO {into} VALUES {};", some.join(",\n")).unwrap();
        }
    }
    sql + "COMMIT;\n"
}

#[test]
fn a_hundred_thousand_hosts_are_listed_completely_and_in_order() {
    let mut scene = Scene::new();
    assert!(scene.daemon.terminate().success());
    scene.daemon.setup().database().sql(&rows());
    scene.daemon.start_again();

    let ctl = scene.ctl();
    let all = ctl.run_within(LONGEST, &["--json", "hostname", "list"]).json();
    let names: Vec<_> =
        all.as_array().unwrap().iter().map(|host| host["fqdn"].as_str().unwrap()).collect();
    assert_eq!(names.len(), HOSTS + 1);
    assert!(names.is_sorted(), "hosts are listed by name");
    assert_eq!((names[0], names[HOSTS]), ("h00000.dyn.example", "pc.dyn.example"));

    let table = ctl.run_within(LONGEST, &["hostname", "list"]).ok().stdout;
    assert_eq!(table.lines().count(), HOSTS + 2);
    let widths: Vec<_> = table.lines().map(|line| line.find("  ")).collect();
    assert!(widths[1..=HOSTS].iter().all(|width| *width == widths[1]), "columns are aligned");
    let exported = ctl.run_within(LONGEST, &["export"]).ok().stdout;
    assert_eq!(exported.lines().count(), USERS + 1 + HOSTS + 1);

    let users = ctl.json(&["user", "list"]);
    assert_eq!(users.as_array().unwrap().len(), USERS + 1);
    let some = ctl.json(&["hostname", "list", "--user", "u0007"]);
    assert_eq!(some.as_array().unwrap().len(), 100);
    let none = ctl.json(&["hostname", "list", "--user", "u0007", "--zone", "other.example"]);
    assert_eq!(none, serde_json::json!([]));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
}
