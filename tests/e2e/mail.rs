//! Mails to the owners of hosts, from the queue to the mail server: each once, whatever fails.

mod attacks;
mod exim;
mod failures;
mod settings;

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::ZONE;
use ddnsd_tests::setup::{Setup, source};
use ddnsd_tests::smtp::{Received, SmtpServer};
use serde_json::Value;
use std::path::Path;

/// Mail by the shipped templates through a server on this port.
fn with_mail(setup: Setup, port: u16) -> Setup {
    let template = |name: &str| path(&source(&format!("files/{name}_notification.j2")));
    setup
        .set("email.enabled", true)
        .set("email.smtp_host", "localhost")
        .set("email.smtp_port", i64::from(port))
        .set("email.from_address", "Dynamic DNS <ddns@example.org>")
        .set("email.change_notification_template", template("change"))
        .set("email.expiry_notification_template", template("expiry"))
        .set("dns_service.cleanup_interval", 1)
}

fn path(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// Writes a template and sets it.
fn with_template(setup: Setup, kind: &str, text: &str) -> Setup {
    let file = setup.file(&format!("{kind}.j2"));
    std::fs::write(&file, text).unwrap();
    setup.set(&format!("email.{kind}_notification_template"), path(&file))
}

/// A scene whose mails go to a scripted server.
fn mail_scene(configure: impl FnOnce(Setup) -> Setup) -> (SmtpServer, Scene) {
    let server = SmtpServer::start();
    let port = server.port();
    let scene = Scene::with(|setup| configure(with_mail(setup, port)));
    (server, scene)
}

impl Scene {
    /// Changes the address of `pc` and asks for a mail about it.
    #[track_caller]
    fn change(&self, address: &str) {
        let query = format!("hostname=pc.{ZONE}&myip={address}&notify_change=1");
        self.update(&query).is(200, &format!("good {address}\n"));
    }

    /// The mail queue as `ddnsctl` lists it.
    #[track_caller]
    fn queue(&self) -> Vec<Value> {
        let list = self.ctl().json(&["mail", "list"]);
        list.as_array().unwrap_or_else(|| panic!("no array: {list}")).clone()
    }

    /// Waits until the only mail of the queue has an error that contains this text.
    #[track_caller]
    fn waits_because(&self, text: &str) -> Value {
        eventually(RECOVERY, &format!("a mail to fail: {text}"), || {
            let queue = self.queue();
            let [mail] = queue.as_slice() else { return Err(format!("{queue:?}")) };
            let error = mail["last_error"].as_str().unwrap_or_default();
            if error.contains(text) { Ok(mail.clone()) } else { Err(mail.to_string()) }
        })
    }

    #[track_caller]
    fn queue_is_empty(&self) {
        eventually_equals(RECOVERY, "an empty queue", &Vec::<Value>::new(), || self.queue());
    }
}

/// Waits until the server has so many mails.
#[track_caller]
fn mails(server: &SmtpServer, count: usize) -> Vec<Received> {
    eventually_equals(RECOVERY, "mails", &count, || server.mails().len());
    server.mails()
}

#[test]
fn a_change_that_a_client_asks_to_be_told_of_is_mailed_once() {
    let (server, scene) = mail_scene(|setup| setup);
    scene.update(&format!("hostname=pc.{ZONE}&myip=192.0.2.1")).is(200, "good 192.0.2.1\n");
    scene.change("192.0.2.2");
    let mail = mails(&server, 1).remove(0);
    scene.queue_is_empty();
    assert_eq!(
        (mail.from.as_str(), mail.to),
        ("ddns@example.org", vec!["alice@example.org".into()])
    );
    assert_eq!(mail.text.matches("192.0.2.2").count(), 1, "{}", mail.text);
    assert_eq!(scene.counter("mail.sent"), 1);
    let log = scene.daemon.log();
    let line = log.lines().find(|line| line.contains("mail sent")).expect("a line");
    assert!(line.contains("pc.dyn.example") && line.contains("alice@example.org"), "{line}");
    // nothing more without the parameter
    scene.update(&format!("hostname=pc.{ZONE}&myip=192.0.2.3")).is(200, "good 192.0.2.3\n");
    scene.change("192.0.2.4");
    assert!(mails(&server, 2)[1].text.contains("192.0.2.4"));
}

#[test]
fn the_headers_of_a_mail_say_who_when_and_that_a_program_sent_it() {
    let (server, scene) = mail_scene(|setup| setup);
    scene.change("192.0.2.2");
    let mail = mails(&server, 1).remove(0);
    let names: Vec<_> = mail.headers().map(|(name, _)| name).collect();
    let mut expected = vec![
        "Message-ID",
        "Date",
        "From",
        "To",
        "Subject",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];
    let mut sorted = names.clone();
    sorted.sort();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(mail.header("From"), "\"Dynamic DNS\" <ddns@example.org>");
    assert_eq!(mail.header("To"), "alice@example.org");
    assert_eq!(mail.header("Subject"), "pc.dyn.example: new address");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.header("Content-Type"), "text/plain; charset=utf-8");
    let id = mail.header("Message-ID");
    assert!(id.starts_with("<change.") && id.ends_with("@example.org>"), "{id}");
}

#[test]
fn twenty_hosts_that_expire_together_are_twenty_mails_over_few_connections() {
    let (server, scene) = mail_scene(|setup| setup.set("defaults.expiry_ttl", 6));
    let labels: Vec<_> = (0..20).map(|host| format!("h{host}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    let names: Vec<_> = labels.iter().map(|label| format!("{label}.{ZONE}")).collect();
    let good = "good 192.0.2.7 2001:db8::7\n".repeat(20);
    let query = format!("hostname={}&myip=192.0.2.7,2001:db8::7", names.join(","));
    scene.update(&query).is(200, &good);
    let mails = mails(&server, 20);
    scene.queue_is_empty();
    for name in names {
        let about = mails.iter().filter(|mail| mail.text.contains(&format!("Subject: {name} ")));
        let bodies: Vec<_> = about.map(|mail| mail.body().to_owned()).collect();
        assert_eq!(bodies.len(), 1, "one mail for both families of {name}: {bodies:?}");
        assert!(bodies[0].contains("192.0.2.7") && bodies[0].contains("2001:db8::7"), "{bodies:?}");
    }
    assert!(server.connections() <= 5, "{} connections", server.connections());
    assert_eq!(server.mails().len(), 20);
}
