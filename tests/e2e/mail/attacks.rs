//! Header injection through an address, a name or a value.

use super::{mail_scene, mails, with_mail, with_template};
use crate::Scene;
use ddnsd_tests::smtp::SmtpServer;

#[test]
fn an_address_with_a_line_break_or_a_second_recipient_is_refused_wherever_it_comes_from() {
    let (server, scene) = mail_scene(|setup| setup);
    for address in [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nRCPT TO:<b@example.org>",
        "a@example.org, b@example.org",
        "<a@example.org>",
        "\"a\r\nBcc: b\"@example.org",
        "a@example.org>",
        "a b@example.org",
    ] {
        scene.ctl().run(&["user", "email", "alice", address]).exits(1);
        scene.ctl().run(&["mail", "test", address]).exits(1).prints(&["mail address"]);
    }
    // and one that stands in the database in spite of that
    server.reply_once("RCPT", "451 later");
    scene.change("192.0.2.1");
    scene.waits_because("451 later");
    let sql = "UPDATE outbox SET recipient = 'a@example.org\r\nBcc: b@example.org', next_at = 0;";
    scene.daemon.setup().database().sql(sql);
    let mail = scene.waits_because("recipient cannot be used");
    assert!(mail["failed_at"].is_string(), "{mail}");
    assert!(server.mails().is_empty());
}

#[test]
fn values_with_line_breaks_and_dots_stay_where_the_template_puts_them() {
    let template = "Subject: {{ hostname }}\n\n{{ fqdn }}\n.\n..\nend\n";
    let (server, scene) = mail_scene(|setup| with_template(setup, "change", template));
    server.reply_once("RCPT", "451 later");
    scene.change("192.0.2.1");
    let id = scene.waits_because("451 later")["id"].to_string();
    let variables = r#"{"hostname": "pc\\r\\nBcc: b@example.org", "fqdn": "x\\r\\n.\\r\\nMAIL FROM:<a@b>\\r\\n.\\n.\\r\\ry"}"#;
    // the shell of MariaDB reads backslashes as escapes, that of SQLite does not
    let variables = match std::env::var("DDNSD_TEST_DATABASE").as_deref() {
        Ok("mariadb") => variables.to_owned(),
        _ => variables.replace(r"\\", r"\"),
    };
    scene.daemon.setup().database().sql(&format!("UPDATE outbox SET variables = '{variables}';"));
    scene.ctl().run(&["mail", "retry", &id]).ok();
    let mail = mails(&server, 1).remove(0);
    scene.queue_is_empty();
    assert_eq!(mail.to, ["alice@example.org"]);
    assert_eq!(mail.header("Subject"), "pc");
    assert!(!mail.headers().any(|(name, _)| name == "Bcc"), "{}", mail.text);
    assert!(!mail.text.contains('\u{fffd}'), "a bare CR or LF: {}", mail.text);
    assert!(mail.body().contains("\n.\nMAIL FROM:<a@b>\n"), "{}", mail.text);
    assert!(mail.body().trim_end().ends_with("\n.\n..\nend"), "{}", mail.text);
}

#[test]
fn a_sender_that_is_no_address_is_refused_at_the_start() {
    let server = SmtpServer::start();
    let scene = Scene::new();
    for sender in ["a@b.example\nBcc: c@d.example", "A\r\nBcc: x <a@b.example>", "a@b@c", "<>"] {
        let setup = with_mail(ddnsd_tests::daemon::Daemon::builder(&scene.named), server.port());
        let refused = setup.set("email.from_address", sender).run(&[]).exits(78);
        refused.prints(&["email.from_address"]);
    }
}
