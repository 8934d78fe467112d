//! Export of users and hosts as JSON lines, and import of all or none of them.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::mariadb::Mariadb;
use ddnsd_tests::named::ZONE;
use ddnsd_tests::process::{Finished, Running, run};
use ddnsd_tests::setup::{Setup, binary};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Made with argon2-cffi 25.1 from `correct horse`.
const HASH: &str = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$L1b1NjppUoj/KIEORq1pof4waLxklM0mqKZzt9nCsKI";

#[track_caller]
fn export(ctl: &Ctl) -> String {
    let exported = ctl.run(&["export"]).ok();
    assert!(exported.stderr.contains("password hashes"), "{exported}");
    exported.stdout
}

fn import(ctl: &Ctl, lines: &str) -> Finished {
    ctl.run_with_input(&["import", "-"], lines)
}

fn user(name: &str) -> String {
    json!({"user": name, "email": format!("{name}@example.org"), "password_hash": HASH}).to_string()
}

fn host(label: &str, user: &str) -> String {
    json!({"hostname": label, "zone": ZONE, "user": user}).to_string()
}

fn keys(line: &str) -> Vec<String> {
    // not parsed into a map, because that would lose the order
    line.split(['{', ','])
        .filter_map(|part| Some(part.split_once("\":")?.0.trim_start_matches('"').to_owned()))
        .collect()
}

/// A scene with a host in every state.
fn furnished(configure: impl FnOnce(Setup) -> Setup) -> Scene {
    let scene = Scene::with(configure);
    let ctl = scene.ctl();
    ctl.add_user("bob");
    ctl.add_user("Zoë");
    scene.add_hosts(&["both", "gone", "half", "büro"]);
    ctl.add_host("bob", "a.b", ZONE, &["--dns-ttl", "0", "--expiry-ttl", "2147483647"]);
    ctl.add_host("bob", "@", "other.example", &["--expiry-ttl", "0"]);
    scene
        .update("hostname=pc.dyn.example,both.dyn.example,gone.dyn.example&myip=192.0.2.1")
        .has_status(200);
    scene.update("hostname=both.dyn.example&myip=2001:db8::1").has_status(200);
    scene.update("hostname=both.dyn.example&myip=2001:db8::1").is(200, "nochg 2001:db8::1\n");
    scene.update("hostname=gone.dyn.example&offline=YES").is(200, "good\n");
    scene.update("hostname=half.dyn.example&myip=2001:db8::2").has_status(200);
    ctl.run(&["user", "suspend", "Zoë"]).ok();
    ctl.run(&["hostname", "suspend", "büro", ZONE]).ok();
    scene
}

#[test]
fn an_export_to_a_closed_output_fails() {
    let scene = Scene::new();
    let ctl = |redirected: &str| {
        let ddnsctl = binary("ddnsctl").display().to_string();
        let socket = scene.daemon.setup().socket().display().to_string();
        let line = format!("exec {ddnsctl} --socket {socket} export {redirected}");
        run(Command::new("sh").args(["-c", &line]), "")
    };
    ctl(">&-").exits(1).prints(&["cannot write to standard output", "closed"]);
    ctl(">/dev/full").exits(1).prints(&["cannot write to standard output"]);
    ctl(">/dev/null").ok();
}

#[test]
fn an_export_is_users_then_hosts_in_json_lines() {
    let scene = furnished(|setup| setup);
    let exported = export(&scene.ctl());
    let lines: Vec<&str> = exported.lines().collect();
    assert_eq!(lines.len(), 3 + 7, "{exported}");
    assert_eq!(keys(lines[0]), ["user", "email", "password_hash", "created", "suspended"]);
    for line in &lines[3..] {
        let expected = "hostname zone user dns_ttl expiry_ttl ipv4 ipv6 ipv4_updated ipv6_updated \
                        last_ipv4 last_ipv6 ipv6_suffix follows ipv6_prefix created suspended";
        assert_eq!(keys(line).join(" "), expected);
    }
    let values: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_hash = values[0]["password_hash"].as_str().unwrap();
    assert!(of_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{of_hash}");
    let host = |name: &str| values.iter().find(|value| value["hostname"] == name).unwrap();
    let both = host("both");
    assert_eq!((&both["dns_ttl"], &both["expiry_ttl"]), (&Value::Null, &Value::Null));
    assert_eq!((&both["ipv4"], &both["last_ipv6"]), (&json!("192.0.2.1"), &json!("2001:db8::1")));
    let updated = both["ipv6_updated"].as_str().unwrap();
    assert_eq!((updated.len(), &updated[19..20], &updated[23..]), (24, ".", "Z"), "{updated}");
    let gone = host("gone");
    assert_eq!((&gone["ipv4"], &gone["last_ipv4"]), (&Value::Null, &json!("192.0.2.1")));
    assert_eq!(host("half")["last_ipv4"], Value::Null);
    assert_eq!(host("a.b")["expiry_ttl"], 2_147_483_647_u32);
    assert_eq!(host("xn--bro-hoa")["user"], "alice");
    assert_eq!(
        scene.ctl().run(&["--json", "export"]).ok().stdout,
        exported,
        "--json changes nothing"
    );
}

#[test]
fn an_export_imported_into_an_empty_daemon_gives_an_equal_export() {
    let scene = furnished(|setup| setup);
    let exported = export(&scene.ctl());
    let records = scene.named.addresses(ZONE);
    let fresh = Daemon::builder(&scene.named).start();
    let Scene { daemon, named } = scene;
    drop(daemon);
    named.nsupdate("update delete pc.dyn.example A\nupdate delete both.dyn.example");
    let imported = import(&fresh.ctl(), &exported).ok();
    assert_eq!(
        (imported.stdout.as_str(), imported.stderr.as_str()),
        ("", "imported 3 users and 7 hostnames\n")
    );
    assert_eq!(export(&fresh.ctl()), exported);
    // the wanted records are published without a request
    let sorted = |mut records: Vec<_>| {
        records.sort();
        records
    };
    let expected = sorted(records);
    eventually_equals(RECOVERY, "the imported records in DNS", &expected, || {
        sorted(named.addresses(ZONE))
    });
    eventually_equals(RECOVERY, "every host to be published", &true, || {
        fresh.ctl().hosts().iter().all(|host| host.published)
    });
    assert_eq!(export(&fresh.ctl()), exported, "publishing changes nothing of it");
    fresh.update("alice", "hostname=both.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    // an absent family stays absent; a family that was never set is not changed in DNS
    let half = fresh.ctl().json(&["hostname", "show", "half", ZONE]);
    assert_eq!((&half["ipv4"], &half["state"]), (&Value::Null, &json!("published")));
    assert_eq!(fresh.ctl().json(&["hostname", "show", "gone", ZONE])["state"], "absent");
    assert_eq!(
        fresh.ctl().json(&["hostname", "show", "@", "other.example"])["state"],
        "never_updated"
    );
}

#[test]
fn an_export_of_sqlite_imported_into_mariadb_gives_an_equal_export() {
    let scene = furnished(Setup::on_sqlite);
    let exported = export(&scene.ctl());
    let fresh = Daemon::builder(&scene.named).on_mariadb(Mariadb::shared().account()).start();
    import(&fresh.ctl(), &exported).ok();
    assert_eq!(export(&fresh.ctl()), exported);
}

#[test]
fn a_daemon_killed_during_an_import_has_stored_nothing_or_all() {
    const HOSTS: usize = 10_000;
    let mut scene = Scene::new();
    let file = scene.daemon.setup().file("many.jsonl");
    let lines: Vec<_> = (0..HOSTS).map(|n| host(&format!("h{n}"), "alice")).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    for wait in [100, 200, 400, 600, 800, 1000, 1500] {
        let mut ctl = Command::new(ddnsd_tests::setup::binary("ddnsctl"));
        ctl.arg("--socket").arg(scene.daemon.setup().socket()).arg("import").arg(&file);
        let ctl = ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut importing = Running(ctl.spawn().unwrap());
        std::thread::sleep(Duration::from_millis(wait));
        scene.daemon.kill9();
        let succeeded = importing.wait(Duration::from_secs(20), "ddnsctl import").success();
        scene.daemon.start_again();
        let stored = scene.ctl().hosts().len() - 1;
        assert!(stored == HOSTS || stored == 0, "{stored} hosts after {wait} ms");
        assert!(stored == HOSTS || !succeeded, "it reported success, after {wait} ms");
        if stored == HOSTS {
            return; // later kills would find the same
        }
    }
}

#[test]
fn lines_written_by_hand_need_few_keys() {
    let scene = Scene::without_hosts(|setup| setup);
    let live =
        json!({"hostname": "PC", "zone": "Dyn.Example.", "user": "carol", "ipv4": "192.0.2.9"});
    let file = format!("\n{}\r\n\n{live}\n{}", user("carol"), host("nas", "carol"));
    let path = scene.daemon.setup().file("hand-made.jsonl");
    std::fs::write(&path, file).unwrap();
    let done = scene.ctl().json(&["import", path.to_str().unwrap()]);
    let expected = json!({"users": 1, "hostnames": 2, "existing_users": 0, "existing_hostnames": 0,
                          "problems": [], "problems_total": 0});
    assert_eq!(done, expected);
    eventually_equals(RECOVERY, "the address in DNS", &vec!["192.0.2.9".to_owned()], || {
        scene.a("pc")
    });
    let pc = scene.ctl().json(&["hostname", "show", "pc", ZONE]);
    assert!(pc["ipv4_updated_at"].is_string(), "an address counts as updated now: {pc}");
    let update = |host: &str| {
        let path = format!("/update?hostname={host}.dyn.example&myip=192.0.2.9");
        scene.daemon.get(&path).user("carol", "correct horse").send().body
    };
    assert_eq!(update("nas"), "good 192.0.2.9\n", "a hash of argon2-cffi logs in");
    eventually_equals(
        RECOVERY,
        "the import to be settled",
        &"nochg 192.0.2.9\n".to_owned(),
        || update("pc"),
    );
}

#[test]
fn the_selects_of_the_readme_transfer_users_and_hosts() {
    let scene = Scene::without_hosts(|setup| setup);
    let readme = std::fs::read_to_string(ddnsd_tests::setup::source("README.md")).unwrap();
    let selects = readme
        .split("```sql\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("json_object"))
        .expect("a block of SELECTs");
    let script = format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT, email TEXT, password_hash TEXT);
         CREATE TABLE hostnames (hostname TEXT, zone TEXT, user_id INTEGER, dns_ttl INTEGER,
                                 expiry_ttl INTEGER, last_ipv4 TEXT, last_ipv6 TEXT);
         INSERT INTO users VALUES (7, 'al\"ice', 'a@example.org', '{HASH}');
         INSERT INTO hostnames VALUES ('pc', '{ZONE}', 7, 30, NULL, '192.0.2.1', NULL);
         {selects}"
    );
    let mut sqlite = Command::new(ddnsd_tests::process::program("sqlite3"));
    let lines = run(sqlite.args(["-bail", "-noheader", ":memory:"]), &script).ok().stdout;
    let of_mariadb = Mariadb::shared().account().sql_raw(&script);
    let objects = |lines: &str| -> Vec<Value> {
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(objects(&of_mariadb), objects(&lines), "what MariaDB makes of the same SELECTs");
    import(&scene.ctl(), &of_mariadb).ok().prints(&["1 users and 1 hostnames"]);
    let update = || {
        let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
        scene.daemon.get(path).user("al\"ice", "correct horse").send().body
    };
    eventually_equals(RECOVERY, "the host to be settled", &"nochg 192.0.2.1\n".to_owned(), update);
    assert_eq!(scene.named.lookup("pc.dyn.example", "A"), [(30, "192.0.2.1".to_owned())]);
}

#[test]
fn every_problem_is_printed_with_its_line_and_nothing_is_stored() {
    let scene = Scene::with(|setup| setup.set("daemon.log_level", "DEBUG"));
    let ctl = scene.ctl();
    let before = export(&ctl);
    let lines = [
        user("carol"),
        "nonsense".to_owned(),
        String::new(),
        r#"{"user":"dave","email":"d@example.org","password_hash":"x","colour":"red"}"#.to_owned(),
        user("eve").replace(HASH, "$2b$12$secretsecret"),
        user("carol"),
        user("alice"),
        host("nas", "carol"),
        host("NAS", "carol"),
        host("a_b", "carol"),
        host("tv", "nobody"),
        host("pc", "carol"),
        host("eves", "eve"),
        host("daves", "dave"),
    ];
    let refused = import(&ctl, &lines.join("\n")).exits(1);
    let printed: Vec<&str> = refused.stderr.lines().collect();
    let expected = [
        "line 2: it is not a JSON object",
        "line 4: unknown field `colour`",
        "line 5: cannot take the password_hash of eve: it is not an Argon2",
        "line 6: user carol is in line 1 already",
        "line 7: user alice exists already (--skip-existing leaves it alone)",
        "line 9: hostname nas.dyn.example is in line 8 already",
        "line 10: cannot take hostname \"a_b\"",
        "line 11: hostname tv.dyn.example belongs to user nobody, who is neither",
        "line 12: hostname pc.dyn.example exists already",
        "ddnsctl: nothing was imported",
    ];
    assert_eq!(printed.len(), expected.len(), "{refused}");
    for (line, start) in printed.iter().zip(expected) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
    assert!(!refused.output().contains("secret"), "a hash was shown: {refused}");
    assert_eq!((refused.stdout.as_str(), export(&ctl)), ("", before));
    let refused = ctl.run_with_input(&["--json", "import", "-"], "{}\n").exits(1);
    let report: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(report["problems"], json!([{"line": 1, "problem": "user is missing"}]));
    import(&ctl, &user("carol")).ok();
    let log = scene.daemon.log();
    assert!(!log.contains("secret") && !log.contains("$argon2"), "a hash in the log");
}

#[test]
fn twenty_problems_are_shown_and_the_rest_is_counted() {
    let scene = Scene::new();
    let refused = import(&scene.ctl(), &"{}\n".repeat(25)).exits(1);
    assert!(
        refused.stderr.contains("line 20: user is missing\nand 5 more\nddnsctl: "),
        "{refused}"
    );
    let hosts: String = (0..30).map(|n| host(&format!("h{n}"), "ghost") + "\n").collect();
    let refused =
        import(&scene.ctl(), &hosts).exits(1).prints(&["line 1: ", "line 20: ", "and 10 more"]);
    assert_eq!(refused.stderr.lines().count(), 22, "{refused}");
}

#[test]
fn existing_users_and_hosts_are_skipped_on_request() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let lines = [
        user("alice"),
        user("carol"),
        host("pc", "carol"),
        host("nas", "carol"),
        host("tv", "alice"),
    ];
    let skip = ["import", "-", "--skip-existing"];
    let imported = ctl.run_with_input(&skip, &lines.join("\n")).ok();
    assert_eq!(
        imported.stderr,
        "imported 1 users and 2 hostnames\n\
         skipped 1 users and 1 hostnames that exist already\n"
    );
    assert_eq!(ctl.host("pc.dyn.example").user, "alice");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    let again = ctl.run_with_input(&[&["--json"][..], &skip].concat(), &lines.join("\n")).json();
    assert_eq!((&again["users"], &again["existing_users"]), (&json!(0), &json!(2)));
    assert_eq!((&again["hostnames"], &again["existing_hostnames"]), (&json!(0), &json!(3)));
}

#[test]
fn an_unreadable_file_is_wrong_usage() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    ctl.run(&["import", "/nonexistent/file"])
        .exits(2)
        .prints(&["/nonexistent/file"])
        .one_sentence();
    ctl.run(&["import", "/"]).exits(2).prints(&["cannot read /"]).one_sentence();
    ctl.run(&["import"]).exits(2).prints(&["FILE", "--help"]);
    import(&ctl, &"x".repeat(70_000)).exits(1).prints(&["line 1: it is longer than 65536 bytes"]);
}

#[test]
fn four_imports_exclude_a_fifth_and_once_aborted_they_store_nothing() {
    let scene = Scene::new();
    let start = || {
        let mut ctl = Command::new(ddnsd_tests::setup::binary("ddnsctl"));
        ctl.arg("--socket").arg(scene.daemon.setup().socket()).args(["import", "-"]);
        let mut ctl = Running(ctl.stdin(Stdio::piped()).spawn().unwrap());
        // more than one chunk, so that the first one is sent
        let lines = format!("{}\n", user("dave")).repeat(2_000);
        ctl.0.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
        ctl
    };
    let live = [start(), start(), start(), start()];
    import(&scene.ctl(), &user("carol")).exits(1).prints(&["other imports are in progress"]);
    drop(live);
    eventually(RECOVERY, "room for another import", || {
        let imported = import(&scene.ctl(), &user("carol"));
        if imported.code == Some(0) { Ok(()) } else { Err(imported.to_string()) }
    });
    let users = scene.ctl().json(&["user", "list"]);
    assert_eq!(users.as_array().unwrap().len(), 2, "{users}");
}

#[test]
fn long_files_are_imported_listed_and_exported_completely() {
    let scene = Scene::new();
    // forty pages of a list; a hundred thousand take a debug build half a minute on a busy machine
    let count = 20_000;
    let mut lines = user("carol") + "\n";
    for n in 0..count {
        let label = format!("h{n:06}");
        let address = format!("192.0.{}.{}", n / 250, n % 250 + 1);
        let live = json!({"hostname": label, "zone": ZONE, "user": "carol", "last_ipv4": address});
        lines += &format!("{live}\n");
    }
    import(&scene.ctl(), &lines).ok().prints(&["imported 1 users and 20000 hostnames"]);
    let list = scene.ctl().run(&["hostname", "list", "--user", "carol"]).ok();
    assert_eq!(list.stdout.lines().count(), count + 1);
    assert_eq!(export(&scene.ctl()).lines().count(), count + 3);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
}

#[test]
fn a_failing_import_reverts_no_update() {
    let mut scene = Scene::new();
    let mut lines: String = (0..5_000).map(|n| host(&format!("h{n}"), "alice") + "\n").collect();
    lines += &host("pc", "alice");
    let mut last = 0;
    std::thread::scope(|scope| {
        let ctl = scene.ctl();
        let failing = scope.spawn(move || import(&ctl, &lines));
        while !failing.is_finished() {
            last = last % 250 + 1;
            let address = format!("192.0.2.{last}");
            let reply = scene.update(&format!("hostname=pc.dyn.example&myip={address}"));
            reply.is(200, &format!("good {address}\n"));
        }
        failing.join().unwrap().exits(1).prints(&["line 5001: hostname pc.dyn.example exists"]);
    });
    scene.daemon.kill9();
    scene.daemon.start_again();
    assert_eq!(scene.ctl().hosts().len(), 1);
    let address = format!("192.0.2.{last}");
    assert_eq!(scene.ctl().host("pc.dyn.example").ipv4, Some(address.clone()));
    assert_eq!(scene.a("pc"), [address]);
}

#[test]
fn an_import_without_lines_is_refused_because_the_export_may_have_failed() {
    let scene = Scene::new();
    let before = scene.ctl().hosts();
    for nothing in ["", "\n \n"] {
        let refused = import(&scene.ctl(), nothing).exits(1).one_sentence();
        refused.prints(&["standard input has no line", "nothing was imported"]);
    }
    assert_eq!(scene.ctl().hosts(), before);
}
