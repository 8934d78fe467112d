//! Files that age: certificates by their dates, and files that change on disk after they were read.

use crate::tls::{install, secure, with_tls};
use crate::{RECOVERY, Scene};
use ddnsd_tests::authority::{Authority, NOW};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::{Named, NamedStatements, ZONE};
use std::time::Duration;

/// Files are looked at every 5 s.
const SOON: Duration = Duration::from_secs(40);
const NAME: &str = "ddns.example";

fn scene(authority: &Authority, from: &str) -> Scene {
    Scene::with(|setup| {
        install(&setup, &authority.sign_at(NAME, from));
        with_tls(setup)
    })
}

impl Scene {
    fn lines_with(&self, words: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(words)).count()
    }
}

#[test]
fn an_expired_certificate_is_named_at_the_start_and_by_status() {
    let authority = Authority::new();
    let scene = scene(&authority, "2020-01-01 00:00:00");
    assert_eq!(scene.lines_with("cert.pem expired on 2020-01-31T"), 1, "{}", scene.daemon.log());
    let status = scene.ctl().run(&["status", "--check"]).exits(1);
    status.prints(&["cert.pem expired on 2020-01-31T", "clients refuse it"]);
    let shown = scene.ctl().json(&["status"]);
    assert_eq!(shown["certificate"]["is_valid"], false, "{shown}");
}

#[test]
fn a_reload_to_an_invalid_certificate_is_refused_and_one_that_ends_soon_is_warned_of() {
    let authority = Authority::new();
    let scene = scene(&authority, NOW);
    let update = |scene: &Scene| {
        let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
        let request = secure(&scene.daemon, &authority, NAME, path);
        request.user("alice", ddnsd_tests::ctl::PASSWORD).send().has_status(200);
    };
    update(&scene);
    for (from, words) in
        [("2020-01-01 00:00:00", "expired on 2020-01-31T"), ("+40d", "is not valid before")]
    {
        install(scene.daemon.setup(), &authority.sign_at(NAME, from));
        let reload = scene.ctl().run(&["reload"]).exits(1);
        reload.prints(&[words, "the previous certificate stays in use"]);
        update(&scene);
    }
    // of 30 days, 29 are over
    install(scene.daemon.setup(), &authority.sign_at(NAME, "-29d"));
    scene.ctl().run(&["reload"]).ok();
    assert_eq!(scene.lines_with("cert.pem ends on 20"), 1, "{}", scene.daemon.log());
    update(&scene);
    let shown = scene.ctl().json(&["status"]);
    assert_eq!(shown["certificate"]["is_valid"], true, "{shown}");
    scene.ctl().run(&["status"]).ok().prints(&["certificate", "cert.pem ends on 20"]);
    scene.ctl().run(&["status", "--check"]).ok();

    // renewed on disk, and not reloaded: one line, however often it is looked at
    install(scene.daemon.setup(), &authority.sign(NAME));
    let changed = "cert.pem (daemon.ssl_cert_file) has changed since it was read";
    eventually(SOON, "a line for the file", || {
        let lines = scene.lines_with(changed);
        if lines > 0 { Ok(()) } else { Err(scene.daemon.log()) }
    });
    std::fs::remove_file(scene.daemon.setup().file("key.pem")).unwrap();
    eventually(SOON, "a line for the key, which is gone", || {
        let lines = scene.lines_with("key.pem (daemon.ssl_key_file) cannot be read");
        if lines > 0 { Ok(()) } else { Err(scene.daemon.log()) }
    });
    assert_eq!(scene.lines_with(changed), 1, "{}", scene.daemon.log());
}

#[test]
fn the_session_key_of_named_is_read_again_when_named_made_another_one() {
    let zones = format!(
        "zone \"{ZONE}\" {{ type primary; file \"{ZONE}.zone\"; update-policy local; }};\n"
    );
    let statements = NamedStatements { options: String::new(), zones, key_file: None };
    let named = Named::with_statements(statements);
    let key = named.session_key_file().display().to_string();
    let daemon = Daemon::builder(&named).set("dns_service.ddns_default_key_file", key).start();
    let mut scene = Scene { daemon, named };
    scene.ctl().add_user("alice");
    scene.ctl().add_host("alice", "pc", ZONE, &[]);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    scene.named.start_again();
    let _refused = scene.update("hostname=pc.dyn.example&myip=192.0.2.2");
    eventually(RECOVERY, "the new key to be used", || {
        let found = scene.a("pc");
        if found == ["192.0.2.2"] { Ok(()) } else { Err(scene.daemon.log()) }
    });
    assert!(scene.daemon.log().contains("the keys were read again"), "{}", scene.daemon.log());
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3").is(200, "good 192.0.2.3\n");
}
