//! Imported password hashes are replaced at their owner's next good login.

use crate::Scene;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::ZONE;
use ddnsd_tests::process::{program, run};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Made with argon2-cffi 25.1, its defaults, from [`WORD`].
const HASH: &str = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$L1b1NjppUoj/KIEORq1pof4waLxklM0mqKZzt9nCsKI";
const WORD: &str = "correct horse";
const OURS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
const LONG: Duration = Duration::from_secs(20);

/// Bob was imported with [`HASH`], and owns `his.dyn.example`.
fn imported() -> Scene {
    let scene = Scene::new();
    let lines = [
        json!({"user": "bob", "email": "bob@example.org", "password_hash": HASH}),
        json!({"hostname": "his", "zone": ZONE, "user": "bob"}),
    ];
    let lines = lines.map(|line| format!("{line}\n")).concat();
    scene.ctl().run_with_input(&["import", "-"], &lines).ok();
    scene
}

fn ask(scene: &Scene, password: &str) -> String {
    let request = scene.daemon.get("/update?hostname=his.dyn.example&myip=192.0.2.1");
    request.user("bob", password).send().body
}

fn stored(scene: &Scene) -> String {
    let exported = scene.ctl().run(&["export"]).ok().stdout;
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bob = lines.into_iter().find(|line| line["user"] == "bob" && line["email"].is_string());
    bob.expect("bob is exported")["password_hash"].as_str().unwrap().to_owned()
}

fn new_hash(scene: &Scene) -> String {
    eventually(LONG, "bob's hash to be replaced", || {
        let hash = stored(scene);
        if hash.starts_with(OURS) { Ok(hash) } else { Err(hash) }
    })
}

fn hashed(scene: &Scene) -> u64 {
    let status = scene.ctl().json(&["status"]);
    status["counters"]["passwords.hashed"]
        .as_u64()
        .unwrap_or_else(|| panic!("no count in {status}"))
}

#[test]
fn an_imported_hash_is_replaced_after_a_good_login_and_the_password_still_works() {
    let mut scene = imported();
    assert_eq!(ask(&scene, "wrong"), "badauth\n");
    assert_eq!(stored(&scene), HASH, "a wrong password replaces nothing");
    assert_eq!(ask(&scene, WORD), "good 192.0.2.1\n");
    let hash = new_hash(&scene);
    let before = hashed(&scene);
    assert_eq!(ask(&scene, WORD), "nochg 192.0.2.1\n");
    assert_eq!(hashed(&scene), before, "the verdict holds for the new hash");
    scene.daemon.restart();
    assert_eq!(ask(&scene, WORD), "nochg 192.0.2.1\n");
    assert_eq!(ask(&scene, "wrong"), "badauth\n");
    assert_eq!(stored(&scene), hash, "a hash made here is not replaced");
}

#[test]
fn concurrent_logins_replace_a_hash_once() {
    let scene = imported();
    let before = hashed(&scene);
    std::thread::scope(|threads| {
        for _ in 0..10 {
            threads.spawn(|| ask(&scene, WORD));
        }
    });
    let hash = new_hash(&scene);
    // one for the ten logins, one for the hash
    assert_eq!((hashed(&scene) - before, stored(&scene)), (2, hash), "runs of Argon2");
    eventually_equals(LONG, "one line about it", &1, || {
        scene.daemon.log().matches("an imported password hash was remade").count()
    });
}

#[test]
fn a_hash_that_needs_more_memory_than_there_is_answers_911_and_ends_nothing() {
    let mut scene = Scene::new();
    let process = format!("/proc/{}/status", scene.daemon.pid());
    let status = std::fs::read_to_string(process).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.split_whitespace().next().unwrap().parse().unwrap();
    // room for all but one such hash
    let room = format!("--as={}", (size + 700 * 1024) * 1024);
    let pid = scene.daemon.pid().to_string();
    run(Command::new(program("prlimit")).args(["--pid", &pid, &room]), "").ok();
    let costly = HASH.replace("m=65536,t=3,p=4", "m=1048576,t=1,p=1");
    let bob = json!({"user": "bob", "email": "bob@example.org", "password_hash": costly});
    let warned = "more than 128 MiB of memory, until the first good one or a new password: bob";
    scene.ctl().run_with_input(&["import", "-"], &format!("{bob}\n")).ok().prints(&[warned]);
    let carol = scene.daemon.get("/update?hostname=pc.dyn.example").user("carol", "guess");
    for guess in ["one", "two", "three"] {
        assert_eq!(ask(&scene, guess), "911\n");
        carol.send().is(401, "badauth\n");
    }
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert!(scene.daemon.log().contains("no 1024 MiB of memory"), "{}", scene.daemon.log());
    scene.daemon.restart();
    assert_eq!(scene.daemon.log().matches(warned).count(), 2, "at the import and at the start");
}
