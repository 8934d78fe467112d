//! With a real mail server: encryption, login, and every variable of both templates.

use super::{path, with_mail, with_template};
use crate::clock::{BEFORE_1970, set_clock, with_clock};
use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::exim::{Exim, PASSWORD, USER};
use ddnsd_tests::named::{ZONE, write_private};
use ddnsd_tests::primary::OPEN;
use ddnsd_tests::setup::Setup;
use ddnsd_tests::smtp::Received;

/// Mail through exim, encrypted and with its login.
fn through(setup: Setup, exim: &Exim, password: &str) -> Setup {
    let file = setup.file("smtp-password");
    write_private(&file, password);
    with_mail(setup, exim.port())
        .set("email.smtp_starttls", true)
        .set("email.smtp_ca_file", path(&exim.ca_file()))
        .set("email.smtp_username", USER)
        .set("email.smtp_password_file", path(&file))
}

/// `None`: it cannot be started here.
fn exim() -> Option<Exim> {
    if Exim::is_possible() {
        return Some(Exim::start());
    }
    eprintln!("left out: exim4 needs root");
    None
}

#[track_caller]
fn delivered(exim: &Exim, count: usize) -> Vec<Received> {
    eventually(RECOVERY, "delivered mails", || {
        let mails = exim.mails();
        if mails.len() == count { Ok(mails) } else { Err(format!("{mails:?}\n{}", exim.log())) }
    })
}

#[test]
fn a_mail_over_tls_waits_while_the_clock_is_before_1970() {
    let Some(exim) = exim() else { return };
    let mut clock = None;
    let scene = Scene::with(|setup| {
        let setup = through(setup, &exim, PASSWORD);
        let setup =
            with_template(setup.without("dns_service.ddns_default_key_file"), "change", CHANGE);
        let (setup, file) = with_clock(setup, BEFORE_1970);
        clock = Some(file);
        setup
    });
    scene.ctl().add_host("alice", "pc", OPEN, &[]);
    let query = format!("hostname=pc.{OPEN}&myip=192.0.2.9&notify_change=1");
    scene.update(&query).is(200, "good 192.0.2.9\n");
    eventually(RECOVERY, "the cause to be logged", || {
        let log = scene.daemon.log();
        if log.contains("the clock shows one before 1970") { Ok(()) } else { Err(log) }
    });
    set_clock(&clock.expect("its file"), "+0");
    assert_eq!(delivered(&exim, 1).len(), 1);
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
}

const CHANGE: &str = "Subject: Änderung von {{ hostname }} → {{ ipv4 }}

{{ hostname }}|{{ zone }}|{{ fqdn }}|{{ ipv4_changed }}|{{ ipv4 }}|{{ ipv6_changed }}|{{ ipv6 }}|{{ expiry_ttl }}
{% if ipv4_changed %}{{ last_ipv4_update.strftime('%Y') | int > 2020 }}|{{ last_ipv6_update }}|{{ last_ipv4_update | string | length }}{% endif %}
.
Grüße
";

const EXPIRY: &str = "Subject: Expired

{{ hostname }}|{{ zone }}|{{ fqdn }}|{{ ipv4_expired }}|{{ last_ipv4 }}|{{ ipv6_expired }}|{{ last_ipv6 }}|{{ expiry_ttl }}
{{ last_ipv4_update is none }}|{{ last_ipv6_update is none }}
";

#[test]
fn every_variable_of_both_templates_reaches_the_owner_with_text_beyond_ascii() {
    let Some(exim) = exim() else { return };
    let scene = Scene::with(|setup| {
        let setup = through(setup, &exim, PASSWORD);
        with_template(with_template(setup, "change", CHANGE), "expiry", EXPIRY)
    });
    scene.ctl().add_host("alice", "büro", ZONE, &["--expiry-ttl", "4"]);
    let query = format!("hostname=xn--bro-hoa.{ZONE}&myip=192.0.2.9&notify_change=1");
    scene.update(&query).is(200, "good 192.0.2.9\n");
    let mails = delivered(&exim, 2);
    let of = |subject: &str| {
        let mail = mails.iter().find(|mail| mail.header("Subject").contains(subject));
        decoded(mail.unwrap_or_else(|| panic!("{mails:?}")).body())
    };
    let subject = mails.iter().map(|mail| mail.header("Subject")).find(|text| text != "Expired");
    let words = subject.expect("the mail about the change");
    assert!(words.is_ascii() && words.starts_with("=?utf-8?"), "{words}");
    let change = of("=?utf-8?");
    let expected =
        "büro|dyn.example|büro.dyn.example|True|192.0.2.9|False|None|4\nTrue|None|19\n.\nGrüße";
    assert_eq!(change.trim_end(), expected);
    let expiry = of("Expired");
    let expected = "büro|dyn.example|büro.dyn.example|True|192.0.2.9|False|None|4\nFalse|True";
    assert_eq!(expiry.trim_end(), expected);
    assert!(
        exim.log().contains("X=TLS1.3") && exim.log().contains("A=plain:relay"),
        "{}",
        exim.log()
    );
}

/// Quoted-printable into text.
fn decoded(body: &str) -> String {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some((text, code)) = rest.split_once('=') {
        bytes.extend_from_slice(text.as_bytes());
        match code.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &code[2..];
            }
            None => {
                bytes.push(b'=');
                rest = code;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_wrong_password_is_retried_and_a_reload_with_the_right_one_sends() {
    let Some(exim) = exim() else { return };
    let mut scene = Scene::with(|setup| through(setup, &exim, "wrong"));
    scene.change("192.0.2.1");
    let mail = scene.waits_because("rejected the login");
    assert!(mail["failed_at"].is_null() && mail["next_at"].is_string(), "{mail}");
    let tested = scene.ctl().run(&["mail", "test", "bob@example.org"]).exits(1);
    tested.prints(&["rejected the login", "535", "smtp_password_file"]);
    scene.daemon.reconfigure(|setup| through(setup, &exim, PASSWORD));
    scene.ctl().run(&["reload"]).ok();
    let id = mail["id"].to_string();
    scene.ctl().run(&["mail", "retry", &id]).ok();
    delivered(&exim, 1);
    scene.queue_is_empty();
    scene.ctl().run(&["mail", "test", "bob@example.org"]).ok().prints(&["accepted", "250"]);
    delivered(&exim, 2);
}

#[test]
fn a_certificate_of_another_authority_gets_no_mail_and_no_password() {
    let Some(exim) = exim() else { return };
    let scene = Scene::with(|setup| through(setup, &exim, PASSWORD).without("email.smtp_ca_file"));
    scene.change("192.0.2.1");
    scene.waits_because("UnknownIssuer");
    assert!(!exim.log().contains("A=plain"), "{}", exim.log());
    assert!(exim.mails().is_empty());
}

#[test]
fn a_451_of_a_real_server_is_retried_and_its_550_is_final() {
    let Some(exim) = exim() else { return };
    let scene = Scene::with(|setup| through(setup, &exim, PASSWORD));
    scene.ctl().run(&["user", "email", "alice", "later@example.org"]).ok();
    scene.change("192.0.2.1");
    let mail = scene.waits_because("451 greylisted");
    assert!(mail["failed_at"].is_null() && mail["attempts"] == 1, "{mail}");
    scene.ctl().run(&["mail", "drop", &mail["id"].to_string()]).ok();
    scene.ctl().run(&["user", "email", "alice", "nobody@example.org"]).ok();
    scene.change("192.0.2.2");
    let mail = scene.waits_because("550 no such user here");
    assert!(mail["failed_at"].is_string() && mail["next_at"].is_null(), "{mail}");
}
