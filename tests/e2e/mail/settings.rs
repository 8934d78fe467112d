//! The settings of mail: templates, encryption, reload, `ddnsctl mail test`.

use super::{mail_scene, mails, with_mail, with_template};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::named::{Named, ZONE};

#[test]
fn a_broken_template_ends_the_start_and_a_check_with_file_and_line() {
    let named = Named::start();
    for (text, line, why) in [
        ("Subject: x\n\n{% if ipv4_changed %}\n{{ ipv4 }}\n", ":4:", "end of input"),
        ("one\n{{ fqdn|nosuchfilter }}", ":2:", "nosuchfilter"),
        ("\n\n{{ last_ipv6_update.strftime('%Y') }}", ":3:", "strftime"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            ":1:",
            "fuel",
        ),
    ] {
        let setup = with_template(with_mail(Daemon::builder(&named), 1), "change", text);
        let wanted = format!("change.j2{line}");
        for arguments in [&[][..], &["--check-config"]] {
            let refused = setup.run(arguments).exits(78).one_sentence();
            refused.prints(&["email.change_notification_template", &wanted, why]);
        }
    }
    let setup =
        with_template(with_mail(Daemon::builder(&named), 1), "expiry", &"x".repeat(300_000));
    setup.run(&["--check-config"]).exits(78).prints(&["is larger than 262144 bytes"]);
    let setup = with_template(with_mail(Daemon::builder(&named), 1), "expiry", "{{ ipv4 }}");
    setup.run(&["--check-config"]).ok().prints(&["warning", "\"ipv4\"", "expiry"]);
    with_mail(Daemon::builder(&named), 1).run(&["--check-config"]).ok();
}

#[test]
fn a_reload_changes_template_and_server_and_refuses_a_broken_template() {
    let (server, mut scene) = mail_scene(|setup| with_template(setup, "change", "old {{ ipv4 }}"));
    scene.change("192.0.2.1");
    assert_eq!(mails(&server, 1)[0].body(), "old 192.0.2.1\n");
    let file = scene.daemon.setup().file("change.j2");
    std::fs::write(&file, "{{ ipv4").unwrap();
    let refused = scene.ctl().run(&["reload"]).exits(1);
    refused.prints(&["change.j2:1:", "email.change_notification_template"]);
    scene.change("192.0.2.2");
    assert_eq!(mails(&server, 2)[1].body(), "old 192.0.2.2\n");
    std::fs::write(&file, "Subject: new\nnew {{ ipv4 }}").unwrap();
    scene.ctl().run(&["reload"]).ok().prints(&["email.change_notification_template"]);
    scene.change("192.0.2.3");
    let third = mails(&server, 3).remove(2);
    assert_eq!((third.header("Subject").as_str(), third.body()), ("new", "new 192.0.2.3\n"));
    // another server, then none
    let other = ddnsd_tests::smtp::SmtpServer::start();
    scene.daemon.reconfigure(|setup| setup.set("email.smtp_port", i64::from(other.port())));
    scene.ctl().run(&["reload"]).ok();
    scene.change("192.0.2.4");
    mails(&other, 1);
    scene.daemon.reconfigure(|setup| setup.set("email.enabled", false));
    scene.ctl().run(&["reload"]).ok();
    scene.change("192.0.2.5");
    assert!(scene.queue().is_empty());
    let disabled = scene.ctl().run(&["mail", "test", "bob@example.org"]).exits(1);
    disabled.one_sentence().prints(&["mail is disabled", "email.enabled"]);
    assert_eq!((server.mails().len(), other.mails().len()), (3, 1));
}

#[test]
fn a_template_without_a_subject_gets_one() {
    let (server, scene) = mail_scene(|setup| with_template(setup, "change", "{{ fqdn }}"));
    scene.change("192.0.2.1");
    let mail = mails(&server, 1).remove(0);
    assert_eq!(mail.header("Subject"), "pc.dyn.example: the address changed");
}

#[test]
fn a_server_without_starttls_gets_no_mail_and_no_password() {
    let (server, scene) = mail_scene(|setup| {
        let file = setup.file("password");
        ddnsd_tests::named::write_private(&file, "s3cret");
        setup
            .set("email.smtp_starttls", true)
            .set("email.smtp_username", "u")
            .set("email.smtp_password_file", super::path(&file))
    });
    scene.change("192.0.2.1");
    scene.waits_because("STARTTLS is not supported");
    assert!(server.mails().is_empty());
    let tested = scene.ctl().run(&["mail", "test", "bob@example.org"]).exits(1);
    tested.one_sentence().prints(&["STARTTLS"]);
}

#[test]
fn a_test_mail_prints_the_reply_of_the_server() {
    let (server, scene) = mail_scene(|setup| setup);
    let sent = scene.ctl().run(&["mail", "test", "bob@bücher.example"]).ok();
    sent.prints(&["accepted", "250 OK id=1"]);
    let mail = mails(&server, 1).remove(0);
    assert_eq!(mail.to, ["bob@xn--bcher-kva.example"]);
    let json = scene.ctl().json(&["mail", "test", "bob@example.org"]);
    assert_eq!(json["reply"], "250 OK id=1");
    server.reply_once("RCPT", "550 5.1.1 who is that?");
    let refused = scene.ctl().run(&["mail", "test", "bob@example.org"]).exits(1);
    refused.one_sentence().prints(&["rejected the recipient: 550 5.1.1 who is that?"]);
    assert!(scene.queue().is_empty(), "a test is not queued in {ZONE}");
}
