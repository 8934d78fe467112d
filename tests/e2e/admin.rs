//! Users and hosts, set up with `ddnsctl`.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::named::ZONE;
use ddnsd_tests::setup::Setup;

#[test]
fn users_are_added_listed_and_deleted() {
    let scene = Scene::without_hosts(|setup| setup);
    let ctl = scene.ctl();
    assert_eq!(ctl.json(&["user", "list"]), serde_json::json!([]));
    ctl.add_user("bob");
    ctl.add_user("alice");
    ctl.add_host("alice", "pc", ZONE, &[]);
    let users = ctl.json(&["user", "list"]);
    let column = |key: &str| {
        users.as_array().unwrap().iter().map(|user| user[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(column("name"), ["alice", "bob"]);
    assert_eq!(column("email"), ["alice@example.org", "bob@example.org"]);
    assert_eq!(column("hostnames"), [1, 0]);

    ctl.run(&["user", "delete", "bob"]).ok();
    assert_eq!(ctl.json(&["user", "list"]).as_array().unwrap().len(), 1);
    ctl.run(&["user", "delete", "bob"]).exits(1).prints(&["bob"]).one_sentence();
}

#[test]
fn lists_are_tables_on_stdout_and_messages_are_on_stderr() {
    let scene = Scene::new();
    for list in [["user", "list"], ["hostname", "list"]] {
        let table = scene.ctl().run(&list).ok();
        assert!(table.stdout.contains("alice"), "{table}");
        assert!(table.stdout.lines().count() >= 2, "a heading and a row: {table}");
        assert!(!table.stdout.contains('\x1b'), "colour without a terminal: {table}");
        assert_eq!(table.stderr, "", "{table}");
    }
    let added = scene.ctl().add_user_with("bob", "a password").ok();
    assert_eq!(added.stdout, "", "messages belong on stderr: {added}");
}

#[test]
fn invalid_input_is_refused_with_one_sentence() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    let long = "x".repeat(65);
    ctl.add_user_with("alice", "again").exits(1).prints(&["alice", "exists"]).one_sentence();
    for name in ["", " a", "a:b", "a\nb", &long] {
        ctl.add_user_with(name, "a password").exits(1).one_sentence();
    }
    let no_mail = ["user", "add", "carol", "no-mail", "--password-stdin"];
    ctl.run_with_input(&no_mail, "a password\n").exits(1).prints(&["no-mail"]).one_sentence();
    for (arguments, word) in [
        (["alice", "pc", ZONE], "exists"),
        (["alice", "PC", "DYN.example."], "exists"),
        (["ghost", "nas", ZONE], "ghost"),
        (["alice", "a_b", ZONE], "a_b"),
        (["alice", "*", ZONE], "*"),
        (["alice", "@", "com"], "com"),
    ] {
        let [user, label, zone] = arguments;
        ctl.run(&["hostname", "add", user, label, zone]).exits(1).prints(&[word]).one_sentence();
    }
    ctl.add_host("alice", "a.b", ZONE, &[]);
    ctl.run(&["hostname", "add", "alice", "a", "b.dyn.example"]).exits(1).prints(&["exists"]);
    ctl.run(&["hostname", "show", "ghost", ZONE]).exits(1).prints(&["ghost"]).one_sentence();
    ctl.run(&["hostname", "delete", "ghost", ZONE]).exits(1).prints(&["ghost"]).one_sentence();
    assert_eq!(ctl.json(&["user", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(ctl.hosts().len(), 2);
}

#[test]
fn wrong_usage_exits_2_and_mentions_help() {
    let scene = Scene::new();
    for arguments in [
        &[][..],
        &["user"],
        &["user", "add"],
        &["user", "frobnicate"],
        &["hostname", "add", "alice", "nas", ZONE, "--dns-ttl", "soon"],
        &["hostname", "add", "alice", "nas", ZONE, "--dns-ttl", "2147483648"],
        &["--no-such-option", "user", "list"],
    ] {
        scene.ctl().run(arguments).exits(2).prints(&["--help"]);
    }
    scene.ctl().run(&["--help"]).ok().prints(&["hostname", "user", "status"]);
    scene.ctl().run(&["--version"]).ok().prints(&["ddnsctl", env!("CARGO_PKG_VERSION")]);
}

#[test]
fn hosts_are_listed_by_user_and_zone_and_shown_one_by_one() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    ctl.add_user("bob");
    ctl.add_host("bob", "bobs", ZONE, &["--dns-ttl", "300", "--expiry-ttl", "0"]);
    ctl.add_host("alice", "@", "other.example", &[]);
    let names = |arguments: &[&str]| {
        let rows = ctl.json(arguments);
        let rows = rows.as_array().expect("an array").iter();
        let mut names: Vec<_> = rows.map(|row| row["fqdn"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let all = ["bobs.dyn.example", "other.example", "pc.dyn.example"];
    assert_eq!(names(&["hostname", "list"]), all);
    assert_eq!(names(&["hostname", "list", "--user", "bob"]), ["bobs.dyn.example"]);
    assert_eq!(names(&["hostname", "list", "--zone", "other.example"]), ["other.example"]);
    assert_eq!(names(&["hostname", "list", "--user", "bob", "--zone", "other.example"]), [""; 0]);

    let shown = ctl.json(&["hostname", "show", "bobs", ZONE]);
    assert_eq!((&shown["fqdn"], &shown["user"]), (&"bobs.dyn.example".into(), &"bob".into()));
    assert_eq!((&shown["dns_ttl"], &shown["expiry_ttl"]), (&300.into(), &0.into()));
    assert_eq!(ctl.host("pc.dyn.example").dns_ttl, 60, "the default that is in force");
    ctl.run(&["hostname", "show", "bobs", ZONE]).ok().prints(&["bobs.dyn.example", "bob", "300"]);
}

#[test]
fn a_user_who_owns_hosts_is_not_deleted() {
    let scene = Scene::new();
    scene
        .ctl()
        .run(&["user", "delete", "alice"])
        .exits(1)
        .prints(&["alice", "host"])
        .one_sentence();
    scene.ctl().run(&["hostname", "delete", "pc", ZONE]).ok();
    scene.ctl().run(&["user", "delete", "alice"]).ok();
}

#[test]
fn deleting_a_host_removes_its_records_first() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);
    scene.ctl().run(&["hostname", "delete", "pc", ZONE]).ok();
    assert_eq!((scene.a("pc"), scene.aaaa("pc")), (vec![], vec![]));
    assert_eq!(scene.ctl().hosts(), []);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nohost\n");
}

#[test]
fn a_host_whose_records_cannot_be_removed_is_kept_and_published_again() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    let refused = scene.ctl().run(&["hostname", "delete", "pc", ZONE]);
    refused.exits(1).prints(&["pc.dyn.example", "--force"]).one_sentence();
    assert_eq!(scene.ctl().hosts().len(), 1);
    scene.named.start_again();
    eventually_equals(RECOVERY, "the host to be published again", &true, || {
        scene.ctl().host("pc.dyn.example").published
    });
    assert_eq!(scene.a("pc"), ["192.0.2.1"]);
}

#[test]
fn force_deletes_while_dns_is_down_and_prints_the_remaining_records() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);
    scene.named.stop();
    let deleted = scene.ctl().run(&["hostname", "delete", "pc", ZONE, "--force"]).ok();
    let deleted = deleted.prints(&["pc.dyn.example", "A 192.0.2.1", "AAAA 2001:db8::1"]);
    assert!(!deleted.stderr.contains("another address"), "{deleted}");
    assert_eq!(scene.ctl().hosts(), []);
}

#[test]
fn force_reports_that_an_unacknowledged_address_may_be_left_too() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    for address in ["192.0.2.2", "192.0.2.3"] {
        scene.update(&format!("hostname=pc.dyn.example&myip={address}")).is(503, "dnserr\n");
    }
    let deleted = scene.ctl().run(&["hostname", "delete", "pc", ZONE, "--force"]).ok();
    deleted.prints(&[
        "A 192.0.2.1",
        "A 192.0.2.3",
        "another address that was sent but never acknowledged",
    ]);
}

#[test]
fn status_shows_version_and_counters() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let status = scene.ctl().json(&["status"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"), "{status}");
    scene.ctl().run(&["status"]).ok().prints(&[env!("CARGO_PKG_VERSION"), "good", "pending"]);
}

#[test]
fn without_a_daemon_ddnsctl_exits_69_and_names_the_socket() {
    let nothing = Setup::empty();
    let ctl = ddnsd_tests::ctl::Ctl::new(&nothing.socket());
    ctl.run(&["user", "list"]).exits(69).prints(&["admin.sock"]).one_sentence();
    // a socket without a listener
    drop(std::os::unix::net::UnixListener::bind(nothing.socket()).unwrap());
    ctl.run(&["status"]).exits(69).prints(&["admin.sock"]).one_sentence();
}
