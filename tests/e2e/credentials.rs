//! Credentials in headers and parameters: right, wrong and missing.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::named::ZONE;

const QUERY: &str = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
/// [`PASSWORD`] as it is written in a query.
const ESCAPED: &str = "correct%20horse%3a+battery";

#[test]
fn a_wrong_password_and_an_unknown_user_answer_badauth_and_change_nothing() {
    let scene = Scene::new();
    for (user, password) in
        [("alice", "wrong"), ("nobody", PASSWORD), ("ALICE", PASSWORD), ("alice", "")]
    {
        let reply = scene.daemon.get(QUERY).user(user, password).send().is(401, "badauth\n");
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"ddns\""), "the challenge to {user}");
    }
    assert_eq!(scene.a("pc"), Vec::<String>::new());
    let log = scene.daemon.log();
    assert!(log.contains(r#"auth failed user="nobody" client=127.0.0.1"#), "the log: {log}");
    assert!(!log.contains(PASSWORD), "a password is in the log: {log}");
}

#[test]
fn a_request_without_credentials_gets_a_challenge() {
    let scene = Scene::new();
    for request in [
        scene.daemon.get(QUERY),
        scene.daemon.get(QUERY).header("Authorization: Bearer x"),
        scene.daemon.get(QUERY).user("", PASSWORD),
    ] {
        let reply = request.send().is(401, "badauth\n");
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"ddns\""));
    }
    // curl --anyauth, like wget, asks without credentials first
    let asked_twice = scene.daemon.get(QUERY).user("alice", PASSWORD).with(&["--anyauth"]).send();
    assert!(asked_twice.body.ends_with("good 192.0.2.1\n"), "{asked_twice}");
    assert!(
        !scene.daemon.log().contains("auth failed"),
        "asking without credentials is no failure"
    );
}

#[test]
fn credentials_may_come_as_parameters() {
    let scene = Scene::new();
    for (names, answer) in [
        ("username=alice&password", "good 192.0.2.1\n"),
        ("user=alice&pass", "nochg 192.0.2.1\n"),
        ("user=alice&token", "nochg 192.0.2.1\n"),
    ] {
        scene.daemon.get(&format!("{QUERY}&{names}={ESCAPED}")).send().is(200, answer);
    }
    scene.daemon.get(&format!("{QUERY}&username=alice&password=wrong")).send().is(401, "badauth\n");
    scene.daemon.get(&format!("{QUERY}&username=alice")).send().is(401, "badauth\n");
}

#[test]
fn the_header_wins_over_parameters_unless_it_names_no_user() {
    let scene = Scene::new();
    let with_parameters = format!("{QUERY}&username=alice&password={ESCAPED}");
    scene.daemon.get(&with_parameters).user("alice", "wrong").send().is(401, "badauth\n");
    scene
        .daemon
        .get(&with_parameters)
        .header("Authorization: Basic !!!")
        .send()
        .is(401, "badauth\n");
    scene.daemon.get(&with_parameters).user("", "").send().is(200, "good 192.0.2.1\n");
}

#[test]
fn another_users_host_and_an_unknown_one_look_the_same() {
    let scene = Scene::new();
    scene.ctl().add_user("bob");
    scene.ctl().add_host("bob", "his", ZONE, &[]);
    let theirs = scene.update("hostname=his.dyn.example&myip=192.0.2.1").is(200, "nohost\n");
    let unknown = scene.update("hostname=nobodys.dyn.example&myip=192.0.2.1").is(200, "nohost\n");
    let names = |reply: &ddnsd_tests::http::Reply| {
        reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&theirs), names(&unknown));
    assert_eq!(scene.a("his"), Vec::<String>::new());
    scene
        .daemon
        .update("bob", "hostname=his.dyn.example&myip=192.0.2.1")
        .is(200, "good 192.0.2.1\n");
}

#[test]
fn a_client_that_is_not_logged_in_learns_nothing_about_hosts() {
    let scene = Scene::new();
    for query in
        ["hostname=nobodys.dyn.example", "hostname=x", "", "hostname=pc.dyn.example&myip=no"]
    {
        let request = scene.daemon.get(&format!("/update?{query}")).user("alice", "wrong");
        request.send().is(401, "badauth\n");
    }
}

#[test]
fn names_and_passwords_beyond_ascii_work() {
    let scene = Scene::new();
    scene.ctl().add_user_with("zoë", "pässwörd: 猫").ok();
    scene.ctl().add_host("zoë", "zoes", ZONE, &[]);
    let request = scene.daemon.get("/update?hostname=zoes.dyn.example&myip=192.0.2.5");
    request.user("zoë", "pässwörd: 猫").send().is(200, "good 192.0.2.5\n");
}

#[test]
fn a_deleted_user_is_refused_at_once() {
    let scene = Scene::new();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.ctl().run(&["hostname", "delete", "pc", ZONE]).ok();
    scene.ctl().run(&["user", "delete", "alice"]).ok();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(401, "badauth\n");
    scene.ctl().add_user_with("alice", "another one").ok();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(401, "badauth\n");
}

#[test]
fn an_unknown_user_and_host_are_known_once_added_or_imported() {
    let scene = Scene::new();
    let ask = |host: &str| {
        let path = format!("/update?hostname={host}.{ZONE}&myip=192.0.2.1");
        scene.daemon.get(&path).user("bob", PASSWORD).send().body
    };
    for _ in 0..2 {
        assert_eq!(ask("his"), "badauth\n");
    }
    scene.ctl().add_user("bob");
    for _ in 0..2 {
        assert_eq!(ask("his"), "nohost\n");
    }
    scene.ctl().add_host("bob", "his", ZONE, &[]);
    assert_eq!(ask("his"), "good 192.0.2.1\n");
    let exported = scene.ctl().run(&["export"]).ok().stdout;
    scene.ctl().run(&["hostname", "delete", "his", ZONE]).ok();
    assert_eq!(ask("his"), "nohost\n");
    scene.ctl().run(&["user", "delete", "bob"]).ok();
    assert_eq!(ask("his"), "badauth\n");
    scene.ctl().run_with_input(&["import", "--skip-existing", "-"], &exported).ok();
    assert!(ask("his").ends_with(" 192.0.2.1\n"), "{}", ask("his"));
}
