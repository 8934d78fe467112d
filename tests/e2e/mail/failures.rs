//! Servers that are away, slow or reject; kills and stops.

use super::{mail_scene, mails};
use crate::RECOVERY;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::named::ZONE;
use ddnsd_tests::setup::Setup;
use ddnsd_tests::smtp::Behaviour;
use std::collections::HashSet;
use std::time::{Duration, Instant};

#[test]
fn mails_of_an_outage_and_of_a_killed_daemon_are_each_sent_once() {
    let (mut server, mut scene) = mail_scene(|setup| setup);
    server.stop();
    for host in 1..=5 {
        scene.change(&format!("192.0.2.{host}"));
    }
    eventually_equals(RECOVERY, "queued mails", &5, || scene.queue().len());
    scene.daemon.kill9();
    scene.daemon.start_again();
    server.start_again();
    let received = mails(&server, 5);
    scene.queue_is_empty();
    let ids: HashSet<_> = received.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), 5);
    scene.daemon.restart();
    scene.change("192.0.2.6");
    assert!(mails(&server, 6)[5].text.contains("192.0.2.6"));
}

#[test]
fn a_mail_that_a_killed_daemon_was_sending_is_repeated_with_its_message_id() {
    let (server, mut scene) = mail_scene(|setup| setup.on_sqlite());
    server.delay(Duration::from_secs(2));
    scene.change("192.0.2.1");
    mails(&server, 1);
    scene.daemon.kill9();
    server.delay(Duration::ZERO);
    scene.daemon.start_again();
    let received = mails(&server, 2);
    scene.queue_is_empty();
    assert_eq!(received[0].header("Message-ID"), received[1].header("Message-ID"));
    assert_eq!(received[0].text, received[1].text);
}

#[test]
fn a_stop_waits_for_the_mail_that_is_being_sent() {
    let (server, mut scene) = mail_scene(|setup| setup);
    server.delay(Duration::from_secs(1));
    scene.change("192.0.2.1");
    scene.change("192.0.2.2");
    mails(&server, 1);
    assert!(scene.daemon.terminate().success());
    server.delay(Duration::ZERO);
    scene.daemon.start_again();
    let received = mails(&server, 2);
    scene.queue_is_empty();
    assert_ne!(received[0].header("Message-ID"), received[1].header("Message-ID"));
    assert_eq!(server.mails().len(), 2);
}

#[test]
fn a_temporary_rejection_is_retried_by_itself_and_delays_no_other_mail() {
    let (server, scene) = mail_scene(|setup| setup);
    server.reply_once("RCPT", "451 4.7.1 greylisted");
    scene.change("192.0.2.1");
    let mail = scene.waits_because("451 4.7.1 greylisted");
    assert_eq!((&mail["attempts"], mail["failed_at"].is_null()), (&1.into(), true), "{mail}");
    scene.change("192.0.2.2");
    assert!(mails(&server, 1)[0].text.contains("192.0.2.2"));
    assert!(mails(&server, 2)[1].text.contains("192.0.2.1"), "after ten seconds");
    scene.queue_is_empty();
    assert_eq!((scene.counter("mail.retried"), scene.counter("mail.sent")), (1, 2));
}

#[test]
fn a_final_rejection_is_kept_and_can_be_retried_or_dropped() {
    let (server, scene) = mail_scene(|setup| setup);
    server.reply_once("RCPT", "550 5.1.1 no such user");
    server.reply_once(".", "554 5.7.1 spam");
    scene.change("192.0.2.1");
    let first = scene.waits_because("rejected the recipient: 550 5.1.1 no such user");
    assert!(first["failed_at"].is_string() && first["next_at"].is_null(), "{first}");
    let id = first["id"].to_string();
    scene.ctl().run(&["mail", "retry", &id]).ok().prints(&["tried now"]);
    scene.waits_because("rejected the message: 554 5.7.1 spam");
    let listed = scene.ctl().run(&["mail", "list"]).ok();
    listed.prints(&[
        "alice@example.org",
        "pc.dyn.example",
        "change",
        "failed 20",
        "554 5.7.1 spam",
    ]);
    assert_eq!(scene.counter("mail.failed"), 2);
    assert_eq!(scene.ctl().json(&["status"])["queues"]["mail_failed"], 1);
    scene.ctl().run(&["mail", "retry", &id]).ok();
    mails(&server, 1);
    scene.queue_is_empty();
    for command in ["retry", "drop"] {
        let refused = scene.ctl().run(&["mail", command, &id]).exits(1);
        refused.one_sentence().prints(&["there is no mail", "mail list"]);
    }
    server.reply_once("RCPT", "550 no");
    scene.change("192.0.2.2");
    let id = scene.waits_because("550 no")["id"].to_string();
    scene.ctl().run(&["mail", "drop", &id]).ok().prints(&["dropped mail"]);
    assert!(scene.queue().is_empty());
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_server_that_ends_the_connection_after_some_mails_gets_the_rest_on_another() {
    let (mut server, scene) = mail_scene(|setup| setup);
    server.stop();
    (1..=7).for_each(|host| scene.change(&format!("192.0.2.{host}")));
    server.limit(3);
    server.start_again();
    mails(&server, 7);
    scene.queue_is_empty();
    assert_eq!(server.mails().len(), 7);
}

#[test]
fn a_silent_mail_server_never_blocks_updates_or_a_stop_and_ends_a_test_in_time() {
    let (server, mut scene) = mail_scene(|setup| setup);
    server.behave(Behaviour::Silent);
    scene.change("192.0.2.1");
    eventually_equals(RECOVERY, "a connection", &1, || server.connections());
    let start = Instant::now();
    for host in 2..=30 {
        scene.change(&format!("192.0.2.{host}"));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let tested = scene.ctl().run(&["mail", "test", "bob@example.org"]).exits(1);
    tested.one_sentence().prints(&["did not answer within 30 s"]);
    let start = Instant::now();
    assert!(scene.daemon.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    server.behave(Behaviour::Normal);
    scene.daemon.start_again();
    let text = eventually(RECOVERY, "mails", || {
        let mails = server.mails();
        if mails.is_empty() { Err("none".to_owned()) } else { Ok(mails[0].text.clone()) }
    });
    assert!(text.contains(ZONE), "{text}");
}

#[test]
fn a_server_that_fails_in_any_other_way_costs_no_mail() {
    let (server, scene) = mail_scene(|setup| setup);
    for (behaviour, why) in [
        (Behaviour::Busy, "421 too busy"),
        (Behaviour::Endless, "more than any reply holds"),
        (Behaviour::EndlessLines, "more than any reply holds"),
        (Behaviour::CloseAfterData, "incomplete response"),
    ] {
        let before = server.mails().len();
        server.behave(behaviour);
        scene.change(&format!("192.0.2.{}", before + 1));
        let mail = scene.waits_because(why);
        assert!(mail["failed_at"].is_null(), "{mail}");
        server.behave(Behaviour::Normal);
        scene.ctl().run(&["mail", "retry", &mail["id"].to_string()]).ok();
        mails(&server, before + 1);
        scene.queue_is_empty();
    }
    let (log, pace) = (scene.daemon.log(), "mails wait");
    assert!(log.lines().filter(|line| line.contains(pace)).count() <= 4, "{log}");
}

#[test]
fn a_hundred_thousand_queued_mails_delay_no_update_and_are_sent_from_the_oldest_on() {
    const MAILS: usize = 100_000;
    let (mut server, scene) = mail_scene(Setup::on_sqlite);
    server.stop();
    scene.daemon.setup().database().sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAILS})
         INSERT INTO outbox (kind, recipient, variables, message_id, created_at, next_at)
         SELECT 'change', 'a@example.org', json_object('fqdn', 'h' || i), 'm' || i, i, i FROM n;"
    ));
    let start = Instant::now();
    (1..=20).for_each(|host| scene.change(&format!("192.0.2.{host}")));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(scene.queue().len(), MAILS + 20);
    // tried again after a failure: those that were not tried yet come first
    server.start_again();
    let first = scene.queue().iter().find(|mail| mail["attempts"] == 0).unwrap()["host"].clone();
    let received = eventually(RECOVERY, "a hundred mails", || {
        let mails = server.mails();
        if mails.len() >= 100 { Ok(mails) } else { Err(mails.len().to_string()) }
    });
    assert!(received[0].text.contains(first.as_str().unwrap()), "{first} {}", received[0].text);
    let log = scene.daemon.log();
    let failures = log.lines().filter(|line| line.contains("mails wait")).count();
    assert!((1..=4).contains(&failures), "{failures} lines");
}
