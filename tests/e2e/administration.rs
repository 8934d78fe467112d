//! Changes of passwords, mail addresses and TTLs, and how `ddnsctl` reports them.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::{Ctl, PASSWORD};
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::named::ZONE;
use serde_json::json;
use std::process::Command;

const PC: &str = "pc.dyn.example";

/// An update with this password.
#[track_caller]
fn update_with(scene: &Scene, password: &str) -> String {
    let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
    scene.daemon.get(path).user("alice", password).send().body
}

#[track_caller]
fn modify(ctl: &Ctl, options: &[&str]) -> ddnsd_tests::process::Finished {
    ctl.run(&[&["hostname", "modify", "pc", ZONE], options].concat())
}

#[test]
fn a_new_password_replaces_the_old_one_at_once_even_if_that_is_cached() {
    let scene = Scene::new();
    assert_eq!(update_with(&scene, PASSWORD), "good 192.0.2.1\n");
    assert_eq!(update_with(&scene, PASSWORD), "nochg 192.0.2.1\n", "cached now");
    assert_eq!(update_with(&scene, "the new one"), "badauth\n");
    let passwd = ["user", "passwd", "alice", "--password-stdin"];
    let changed = scene.ctl().run_with_input(&passwd, "the new one\n").ok();
    assert_eq!(
        (changed.stdout.as_str(), changed.stderr.as_str()),
        ("", "changed the password of user alice\n")
    );
    assert_eq!(update_with(&scene, PASSWORD), "badauth\n");
    assert_eq!(update_with(&scene, "the new one"), "nochg 192.0.2.1\n");
}

#[test]
fn a_generated_password_is_printed_and_logs_in() {
    let scene = Scene::with(|setup| setup.set("daemon.log_level", "DEBUG"));
    let made = scene.ctl().run(&["user", "passwd", "alice", "--generate"]).ok();
    let password = made.stdout.trim_end();
    assert_eq!(password.len(), 20, "{made}");
    assert_eq!(update_with(&scene, password), "good 192.0.2.1\n");
    let made = scene.ctl().json(&["user", "passwd", "alice", "--generate"]);
    assert_eq!(made["name"], "alice");
    assert_eq!(update_with(&scene, made["password"].as_str().unwrap()), "nochg 192.0.2.1\n");
    let secrets = [password, made["password"].as_str().unwrap(), PASSWORD];
    let log = scene.daemon.log();
    assert!(log.contains("admin call"), "not at DEBUG");
    assert!(!secrets.iter().any(|secret| log.contains(secret)), "a password in the log");
}

#[test]
fn an_invalid_password_changes_nothing() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    let passwd = |name, input: &str| {
        ctl.run_with_input(&["user", "passwd", name, "--password-stdin"], input)
    };
    passwd("ghost", "a password\n").exits(1).prints(&["no user ghost", "user list"]).one_sentence();
    passwd("a:b", "a password\n").exits(1).prints(&["a:b"]).one_sentence();
    passwd("alice", "").exits(2).prints(&["empty"]).one_sentence();
    passwd("alice", &"x".repeat(1025)).exits(2).prints(&["1024"]).one_sentence();
    ctl.run(&["user", "passwd", "alice"]).exits(2).prints(&["--password-stdin"]).one_sentence();
    assert_eq!(update_with(&scene, PASSWORD), "good 192.0.2.1\n");
}

#[test]
fn a_mail_address_is_changed() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    ctl.run(&["user", "email", "alice", "new@example.net"]).ok().prints(&["new@example.net"]);
    assert_eq!(ctl.json(&["user", "list"])[0]["email"], "new@example.net");
    let changed = ctl.json(&["user", "email", "alice", "newer@example.net"]);
    assert_eq!(changed, json!({"name": "alice", "email": "newer@example.net"}));
    ctl.run(&["user", "email", "alice", "nobody"]).exits(1).prints(&["nobody"]).one_sentence();
    let ghost = ctl.run(&["user", "email", "ghost", "g@example.org"]);
    ghost.exits(1).prints(&["no user ghost"]).one_sentence();
    assert_eq!(ctl.json(&["user", "list"])[0]["email"], "newer@example.net");
    assert_eq!(update_with(&scene, PASSWORD), "good 192.0.2.1\n");
}

#[test]
fn a_new_dns_ttl_is_published_at_once() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);
    let modified = modify(&scene.ctl(), &["--dns-ttl", "30"]).ok();
    assert_eq!(modified.output(), "modified pc in dyn.example\n");
    let log = scene.daemon.log();
    let line = "TTLs modified host=pc.dyn.example dns_ttl=30 expiry_ttl=default";
    assert!(log.contains(line), "{log}");
    assert_eq!(scene.named.lookup(PC, "A"), [(30, "192.0.2.1".to_owned())]);
    assert_eq!(scene.named.lookup(PC, "AAAA"), [(30, "2001:db8::1".to_owned())]);
    let shown = scene.ctl().json(&["hostname", "show", "pc", ZONE]);
    assert_eq!((&shown["dns_ttl"], &shown["dns_ttl_is_default"]), (&json!(30), &json!(false)));
    assert_eq!(shown["state"], "published");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1").has_status(200);

    let back = scene.ctl().json(&["hostname", "modify", "pc", ZONE, "--dns-ttl", "default"]);
    let expected = json!({"fqdn": PC, "unicode": PC, "hostname": "pc", "zone": ZONE, "dns_ttl": 60,
                          "dns_ttl_is_default": true, "expiry_ttl": 3600,
                          "expiry_ttl_is_default": true, "changed": true, "not_yet_published": null});
    assert_eq!(back, expected);
    assert_eq!(scene.named.lookup(PC, "A"), [(60, "192.0.2.1".to_owned())]);
    let shown = scene.ctl().json(&["hostname", "show", "pc", ZONE]);
    assert_eq!((&shown["dns_ttl"], &shown["dns_ttl_is_default"]), (&json!(60), &json!(true)));
}

#[test]
fn changes_that_do_not_affect_dns_send_nothing() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    // no records yet
    let before = scene.change_messages();
    modify(&ctl, &["--dns-ttl", "30"]).ok();
    assert_eq!(scene.change_messages(), before);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert_eq!(scene.named.lookup(PC, "A"), [(30, "192.0.2.1".to_owned())]);
    let before = scene.change_messages();
    modify(&ctl, &["--dns-ttl", "30"]).ok().prints(&["nothing to do", "already"]);
    modify(&ctl, &["--dns-ttl", "30", "--expiry-ttl", "default"]).ok().prints(&["nothing to do"]);
    modify(&ctl, &["--expiry-ttl", "86400"]).ok().prints(&["modified"]);
    scene.update("hostname=pc.dyn.example&offline=YES").is(200, "good\n");
    let taken_down = scene.change_messages();
    assert_eq!(taken_down - before, 1, "the removal only");
    // no records left
    modify(&ctl, &["--dns-ttl", "31"]).ok();
    assert_eq!(scene.change_messages(), taken_down);
    // 60 is the default, written out
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").has_status(200);
    modify(&ctl, &["--dns-ttl", "default"]).ok();
    let published = scene.change_messages();
    modify(&ctl, &["--dns-ttl", "60"]).ok().prints(&["modified"]);
    assert_eq!(scene.change_messages(), published);
}

#[test]
fn a_name_server_that_was_down_gets_the_new_ttl_when_it_is_back() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    let modified = modify(&scene.ctl(), &["--dns-ttl", "30"]).ok();
    assert_eq!(modified.stdout, "", "{modified}");
    let modified =
        modified.prints(&["modified pc", "not yet published: ", "name server", "ddnsd retries"]);
    assert_eq!(modified.stderr.lines().count(), 2, "{modified}");
    let as_json = scene.ctl().json(&["hostname", "modify", "pc", ZONE, "--dns-ttl", "31"]);
    assert!(as_json["not_yet_published"].as_str().unwrap().contains("name server"), "{as_json}");
    assert!(!scene.ctl().host(PC).published);
    scene.named.start_again();
    eventually_equals(
        RECOVERY,
        "the new TTL in DNS",
        &[(31, "192.0.2.1".to_owned())].into(),
        || scene.named.lookup(PC, "A"),
    );
}

#[test]
fn a_new_expiry_ttl_applies_from_the_next_sweep_on() {
    let scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 3600));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.ctl().run(&["cleanup"]).ok().prints(&["0 expired"]);
    modify(&scene.ctl(), &["--expiry-ttl", "1"]).ok();
    assert_eq!(scene.a("pc"), ["192.0.2.1"], "the sweep removes it, not the change");
    eventually_equals(RECOVERY, "a sweep to remove it", &true, || {
        scene.ctl().run(&["cleanup"]).ok().output().contains("1 expired")
    });
    assert_eq!(scene.a("pc"), [""; 0]);
}

#[test]
fn an_invalid_modification_is_refused() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    modify(&ctl, &[]).exits(2).prints(&["--dns-ttl", "--expiry-ttl", "--help"]);
    modify(&ctl, &["--dns-ttl", "soon"]).exits(2).prints(&["soon", "default"]);
    modify(&ctl, &["--dns-ttl", "2147483648"]).exits(2).prints(&["2147483647"]);
    let ghost = ["hostname", "modify", "ghost", ZONE, "--dns-ttl", "1"];
    ctl.run(&ghost).exits(1).prints(&["no hostname ghost", "hostname list"]).one_sentence();
    let no_name = ["hostname", "modify", "a_b", ZONE, "--dns-ttl", "1"];
    ctl.run(&no_name).exits(1).prints(&["a_b"]).one_sentence();
    ctl.add_host("alice", "a.b", ZONE, &[]);
}

#[test]
fn the_error_for_a_host_registered_in_another_zone_names_that_zone() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    ctl.add_host("alice", "a.b", ZONE, &[]);
    for command in
        ["show a b.dyn.example", "modify a b.dyn.example --dns-ttl 1", "delete @ a.b.dyn.example"]
    {
        let words: Vec<_> = std::iter::once("hostname").chain(command.split(' ')).collect();
        let right = "a.b.dyn.example is registered as `a.b` in zone `dyn.example`";
        ctl.run(&words).exits(1).prints(&[right]).one_sentence();
    }
    assert_eq!(ctl.hosts().len(), 2);
}

#[test]
fn a_zone_without_hostnames_is_an_error_for_sync_and_a_message_for_list() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    for options in [&["sync", "nope.example"][..], &["sync", "--check", "nope.example"]] {
        ctl.run(options).exits(1).one_sentence().prints(&["no hostname in zone nope.example"]);
    }
    // a zone whose host was never updated
    ctl.run(&["sync", "--check", ZONE]).ok();
    let listed = ctl.run(&["hostname", "list", "--zone", "nope.example"]).ok();
    listed.one_sentence().prints(&["no hostname in zone nope.example"]);
    let of_alice = ["--json", "hostname", "list", "--user", "alice", "--zone", "nope.example"];
    let listed = ctl.run(&of_alice).ok().one_sentence();
    assert!(listed.stderr.contains("no hostname of user alice"), "{listed}");
    assert_eq!(listed.stdout.trim(), "[]");
}

#[test]
fn adding_a_hostname_that_contains_its_zone_prints_the_full_name_and_how_to_undo_it() {
    let scene = Scene::new();
    let ctl = scene.ctl();
    let added = ctl.run(&["hostname", "add", "alice", &format!("nas.{ZONE}"), ZONE]).ok();
    let whole = format!("added nas.{ZONE}.{ZONE} for user alice");
    let undo = format!("ddnsctl hostname delete nas.{ZONE} {ZONE}");
    added.prints(&[&whole, "twice", &undo]);
    let plain = ctl.run(&["hostname", "add", "alice", "nas", ZONE]).ok();
    assert!(!plain.stderr.contains("twice"), "{plain}");
    plain.prints(&[&format!("added nas.{ZONE} for user alice"), "they are removed after 3600 s"]);
}

#[test]
fn the_error_for_a_name_that_is_too_long_shows_its_beginning() {
    let scene = Scene::new();
    let long = "x".repeat(100_000);
    let refused = scene.ctl().run(&["user", "email", &long, "x@example.org"]).exits(1);
    assert!(refused.stderr.len() < 1_000, "{}", refused.stderr.len());
    refused.one_sentence().prints(&["xxx", "longer than 64 characters"]);
}

#[test]
fn an_added_user_and_host_are_printed_as_stored() {
    let scene = Scene::without_hosts(|setup| setup);
    let ctl = scene.ctl();
    // e and a combining accent
    let added = ctl.json(&["user", "add", "Rene\u{301}", "r@example.org", "--generate"]);
    assert_eq!((&added["name"], &added["email"]), (&json!("Ren\u{e9}"), &json!("r@example.org")));
    assert_eq!(ctl.json(&["user", "list"])[0]["created_at"], added["created_at"]);
    let add = ["hostname", "add", "Rene\u{301}", "BÜRO", "Dyn.Example.", "--dns-ttl", "7"];
    let added = ctl.json(&add);
    let expected = json!({
        "fqdn": "xn--bro-hoa.dyn.example", "unicode": "büro.dyn.example",
        "hostname": "xn--bro-hoa", "zone": "dyn.example", "user": "Ren\u{e9}",
        "dns_ttl": 7, "dns_ttl_is_default": false,
        "expiry_ttl": 3600, "expiry_ttl_is_default": true, "warnings": [],
    });
    assert_eq!(added, expected);
    // the name in its other Unicode form logs in too
    let update = scene.daemon.get("/update?hostname=b%C3%BCro.dyn.example&myip=192.0.2.1");
    update.user("Rene\u{301}", "wrong").send().is(401, "badauth\n");
    ctl.run_with_input(&["user", "passwd", "Ren\u{e9}", "--password-stdin"], "s3cret\n").ok();
    let update = scene.daemon.get("/update?hostname=b%C3%BCro.dyn.example&myip=192.0.2.1");
    update.user("Rene\u{301}", "s3cret").send().is(200, "good 192.0.2.1\n");
}

#[test]
fn a_closed_pipe_turns_no_failure_into_success() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    let ctl = scene.ctl();
    ctl.run_unread(&["hostname", "list"], "").ok();
    let bob = r#"{"user":"bob","email":"b@example.org","password_hash":"$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g"}"#;
    ctl.run_unread(&["--json", "import", "-"], bob).ok();
    ctl.run_unread(&["--json", "import", "-"], "{}\n").exits(1).prints(&["nothing was imported"]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.nsupdate("update add pc.dyn.example 60 A 192.0.2.99");
    ctl.run_unread(&["sync", "--check"], "").exits(1).prints(&["differs"]);
    scene.daemon.reconfigure(|setup| setup.set("defaults.dns_ttl", "soon"));
    ctl.run_unread(&["--json", "reload"], "").exits(1).prints(&["nothing was changed"]);
    modify(&ctl, &["--expiry-ttl", "1"]).ok();
    scene.named.stop();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    ctl.run_unread(&["cleanup"], "").exits(1).prints(&["could not be removed"]);
}

#[test]
fn every_command_has_help_with_a_sentence_of_its_own() {
    let nothing = ddnsd_tests::setup::Setup::empty();
    let ctl = Ctl::new(&nothing.socket());
    for words in [
        ["user", "list"].as_slice(),
        &["user", "add"],
        &["user", "passwd"],
        &["user", "email"],
        &["user", "delete"],
        &["hostname", "list"],
        &["hostname", "show"],
        &["hostname", "add"],
        &["hostname", "modify"],
        &["hostname", "delete"],
        &["cleanup"],
        &["status"],
        &["export"],
        &["import"],
        &["completions"],
    ] {
        let help =
            ctl.run(&[words, &["--help"]].concat()).ok().prints(&["Usage: ddnsctl", "--json"]);
        let sentence = help.stdout.lines().next().unwrap();
        assert!(sentence.contains(' ') && help.stderr.is_empty(), "{help}");
        let wraps = |line: &&str| !line.starts_with("Usage:");
        let longest = help.stdout.lines().filter(wraps).map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{help}");
    }
    ctl.run(&["--help"]).ok().prints(&["Exit codes: 0", "69", "77"]);
}

#[test]
fn completions_need_no_daemon_and_are_scripts_of_their_shell() {
    let nothing = ddnsd_tests::setup::Setup::empty();
    let ctl = Ctl::new(&nothing.socket());
    let bash = ctl.run(&["completions", "bash"]).ok();
    assert!(bash.stderr.is_empty(), "{bash}");
    let mut shell = Command::new(ddnsd_tests::process::program("bash"));
    let asks = "\nCOMP_WORDS=(ddnsctl hostname mo); COMP_CWORD=2; COMPREPLY=()\n\
                _ddnsctl ddnsctl mo hostname; echo \"${COMPREPLY[@]}\"\n";
    let script = bash.stdout + asks;
    let completed = ddnsd_tests::process::run(shell.args(["--norc", "-s"]), &script).ok();
    assert_eq!(completed.stdout, "modify\n", "{completed}");
    ctl.run(&["completions", "zsh"]).ok().prints(&["#compdef ddnsctl"]);
    ctl.run(&["completions", "fish"]).ok().prints(&["complete -c ddnsctl"]);
    ctl.run(&["completions", "csh"]).exits(2).prints(&["bash", "zsh", "fish"]);
}
