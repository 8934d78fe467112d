//! Mails to the owners of hosts: pending until DNS holds the change, then queued once.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::setup::Setup;
use serde_json::Value;

/// Mail is enabled, with both templates.
fn with_mail(setup: Setup) -> Setup {
    let setup = setup
        .set("email.enabled", true)
        .set("email.smtp_host", "127.0.0.1")
        // no server: the mails stay
        .set("email.smtp_port", 1)
        .set("email.from_address", "ddns@example.org")
        .set("dns_service.dns_timeout", 1)
        .set("dns_service.cleanup_interval", 1);
    let change = template(&setup, "change");
    let expiry = template(&setup, "expiry");
    setup
        .set("email.change_notification_template", change)
        .set("email.expiry_notification_template", expiry)
}

fn template(setup: &Setup, kind: &str) -> String {
    let file = setup.file(&format!("{kind}.j2"));
    std::fs::write(&file, "Subject: {{ fqdn }}\n").unwrap();
    file.to_str().unwrap().to_owned()
}

impl Scene {
    /// The kinds of the queued mails.
    fn mails(&self) -> Vec<String> {
        let sql = "SELECT kind FROM outbox ORDER BY id;";
        self.daemon.setup().database().sql(sql).lines().map(str::to_owned).collect()
    }

    /// Waits until these mails are queued: the reply to an update does not wait for them.
    #[track_caller]
    fn queues(&self, mails: &[&str]) {
        let mails = mails.iter().map(|kind| (*kind).to_owned()).collect();
        eventually_equals(RECOVERY, "the mails", &mails, || self.mails());
    }

    /// The variables of the only mail there is, which goes to alice.
    #[track_caller]
    fn only_mail(&self) -> Value {
        let sql = "SELECT recipient FROM outbox; SELECT variables FROM outbox;";
        let rows = self.daemon.setup().database().sql(sql);
        let (recipient, variables) = rows.trim_end().split_once('\n').expect("a mail");
        assert_eq!(recipient, "alice@example.org");
        serde_json::from_str(variables).unwrap_or_else(|why| panic!("{why}: {variables}"))
    }

    /// How many hosts have a pending mail.
    fn pending(&self) -> String {
        let sql = "SELECT COUNT(*) FROM hosts WHERE notice IS NOT NULL;";
        self.daemon.setup().database().sql(sql).trim_end().to_owned()
    }

    fn all_is_published(&self) {
        eventually_equals(RECOVERY, "all to be published", &true, || {
            self.ctl().hosts().iter().all(|host| host.published)
        });
    }
}

#[test]
fn a_change_that_asks_for_it_queues_one_mail_with_its_variables() {
    let scene = Scene::with(with_mail);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    assert!(scene.mails().is_empty(), "no client asked for it");
    let changed = "hostname=pc.dyn.example&myip=192.0.2.2,2001:db8::2&notify_change=yes";
    scene.update(changed).is(200, "good 192.0.2.2 2001:db8::2\n");
    scene.update(changed).is(200, "nochg 192.0.2.2 2001:db8::2\n");
    let mut mail = scene.only_mail();
    let times = ["last_ipv4_update", "last_ipv6_update"].map(|time| mail[time].take());
    assert_eq!(times[0], times[1]);
    assert!(times[0].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{times:?}");
    let expected = serde_json::json!({
        "hostname": "pc", "zone": "dyn.example", "fqdn": "pc.dyn.example",
        "ipv4_changed": true, "ipv4": "192.0.2.2", "last_ipv4_update": null,
        "ipv6_changed": true, "ipv6": "2001:db8::2", "last_ipv6_update": null,
        "expiry_ttl": 3600,
    });
    assert_eq!(mail, expected);
}

#[test]
fn without_mail_or_its_template_nothing_is_queued_until_a_reload_brings_it() {
    let mut scene = Scene::with(|setup| with_mail(setup).set("email.enabled", false));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1&notify_change=1");
    assert!(scene.mails().is_empty());
    let reload = |scene: &mut Scene, configure: fn(Setup) -> Setup| {
        scene.daemon.reconfigure(configure);
        scene.ctl().run(&["reload"]).ok();
    };
    reload(&mut scene, |setup| setup.set("email.enabled", true));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2&notify_change=1");
    scene.queues(&["change"]);
    reload(&mut scene, |setup| setup.set("email.change_notification_template", ""));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3&notify_change=1");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.3").is(200, "nochg 192.0.2.3\n");
    assert_eq!(scene.mails(), ["change"]);
}

#[test]
fn a_pending_mail_survives_an_outage_and_a_kill_and_is_queued_once() {
    let mut scene = Scene::with(with_mail);
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1&notify_change=1").is(503, "dnserr\n");
    assert_eq!((scene.mails(), scene.pending().as_str()), (vec![], "1"));
    scene.daemon.kill9();
    scene.daemon.start_again();
    scene.named.start_again();
    scene.all_is_published();
    assert_eq!((scene.mails(), scene.pending().as_str()), (vec!["change".to_owned()], "0"));
    assert_eq!(scene.only_mail()["ipv4"], "192.0.2.1");
    scene.daemon.restart();
    assert_eq!(scene.mails().len(), 1);
}

#[test]
fn a_pending_mail_ends_once_another_update_supersedes_its_change() {
    let mut scene = Scene::with(with_mail);
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1&notify_change=1").is(503, "dnserr\n");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.2").is(503, "dnserr\n");
    assert_eq!(scene.pending(), "0");
    scene.named.start_again();
    scene.all_is_published();
    assert!(scene.mails().is_empty(), "{:?}", scene.mails());
}

#[test]
fn a_host_that_expires_queues_one_mail_for_both_families() {
    let scene = Scene::with(|setup| with_mail(setup).set("defaults.expiry_ttl", 2));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1,2001:db8::1");
    eventually_equals(RECOVERY, "a mail", &vec!["expiry".to_owned()], || scene.mails());
    let mail = scene.only_mail();
    let values = ["ipv4_expired", "ipv6_expired", "last_ipv4", "last_ipv6", "expiry_ttl"]
        .map(|name| mail[name].to_string());
    assert_eq!(values, ["true", "true", "\"192.0.2.1\"", "\"2001:db8::1\"", "2"]);
    assert_eq!(scene.a("pc"), Vec::<String>::new(), "the mail comes after DNS");
}

#[test]
fn an_update_before_dns_removed_the_record_ends_the_mail_about_the_expiry() {
    let mut scene = Scene::with(|setup| with_mail(setup).set("defaults.expiry_ttl", 2));
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    scene.named.stop();
    eventually_equals(RECOVERY, "the removal to be wanted", &"1".to_owned(), || scene.pending());
    assert!(scene.mails().is_empty(), "DNS does not know yet");
    scene.ctl().run(&["hostname", "modify", "pc", "dyn.example", "--expiry-ttl", "0"]).ok();
    assert_eq!(scene.pending(), "1", "another TTL changes nothing about it");
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    assert_eq!(scene.pending(), "0");
    scene.named.start_again();
    scene.all_is_published();
    assert_eq!((scene.a("pc"), scene.mails()), (vec!["192.0.2.1".to_owned()], vec![]));
}
