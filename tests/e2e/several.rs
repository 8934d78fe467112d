//! Several daemons on one MariaDB, or on a Galera cluster: each host is changed by one of them at a
//! time, and all of them answer alike.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::galera::{Galera, NODES};
use ddnsd_tests::http::{get, quick_get};
use ddnsd_tests::load::{Counting, in_database, in_dns};
use ddnsd_tests::mariadb::{Account, Mariadb};
use ddnsd_tests::named::{Named, ZONE, free_port};
use ddnsd_tests::proxy::{Kind, Proxy};
use ddnsd_tests::readme::block;
use ddnsd_tests::setup::Setup;
use ddnsd_tests::smtp::SmtpServer;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Daemons with the same configuration, one on each account, alice and her host `pc`.
fn daemons_with(
    named: &Named,
    accounts: &[Account],
    configure: impl Fn(Setup) -> Setup,
) -> Vec<Daemon> {
    let start =
        |account: &Account| configure(Daemon::builder(named).on_mariadb(account.clone())).start();
    let daemons: Vec<_> = accounts.iter().map(start).collect();
    let ctl = daemons.first().expect("a daemon").ctl();
    ctl.add_user("alice");
    ctl.add_host("alice", "pc", ZONE, &[]);
    daemons
}

/// So many daemons on one database of the shared server.
fn daemons(named: &Named, count: usize) -> Vec<Daemon> {
    daemons_with(named, &vec![Mariadb::shared().account(); count], |setup| setup)
}

/// The return code of an update by alice.
fn code(daemon: &Daemon, host: &str, address: &str) -> String {
    let path = format!("/update?hostname={host}.{ZONE}&myip={address}");
    let reply = quick_get(daemon.address(), &path, "alice", PASSWORD).expect("a reply");
    reply.body.split([' ', '\n']).next().unwrap_or_default().to_owned()
}

/// Clients update one host through different daemons at once. Under 1 % is `911`, and DNS holds in
/// the end what the database does: an address that was acknowledged.
fn share_a_host(named: &Named, daemons: &[Daemon]) {
    let codes = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for client in 0..9_usize {
            let (daemon, codes) = (&daemons[client % daemons.len()], &codes);
            threads.spawn(move || {
                for update in 0..25 {
                    let code = code(daemon, "pc", &format!("192.0.{client}.{update}"));
                    codes.lock().unwrap().push(code);
                }
            });
        }
    });
    let codes = codes.into_inner().unwrap();
    let failed = codes.iter().filter(|code| *code != "good").count();
    println!("{failed} of {} updates of one host failed", codes.len());
    assert!(failed * 100 < codes.len(), "{failed} failed: {codes:?}");
    let name = format!("pc.{ZONE}");
    eventually(RECOVERY, "DNS to hold what the database does", || {
        let host = daemons[0].ctl().host(&name);
        let (wanted, held) = (Vec::from_iter(host.ipv4), named.data(&name, "A"));
        let is_same = host.published && wanted == held;
        if is_same { Ok(()) } else { Err(format!("{wanted:?} and {held:?}")) }
    });
}

#[test]
fn one_host_updated_through_two_daemons_at_once_is_answered_good_each_time() {
    let named = Named::start();
    share_a_host(&named, &daemons(&named, 2));
}

#[test]
fn what_is_changed_through_one_daemon_the_other_honours_at_once() {
    let named = Named::start();
    let daemons = daemons(&named, 2);
    let [one, other] = daemons.as_slice() else { panic!("two daemons") };
    assert_eq!(code(one, "pc", "192.0.2.1"), "good");
    assert_eq!(code(other, "pc", "192.0.2.1"), "nochg");
    assert_eq!(code(other, "pc", "192.0.2.2"), "good");
    assert_eq!(code(one, "pc", "192.0.2.2"), "nochg");
    // each daemon knows the password by now
    let passwd = ["user", "passwd", "alice", "--password-stdin"];
    one.ctl().run_with_input(&passwd, "another one\n").ok();
    assert_eq!(code(other, "pc", "192.0.2.3"), "badauth");
    other.ctl().run_with_input(&passwd, &format!("{PASSWORD}\n")).ok();
    assert_eq!(code(one, "pc", "192.0.2.3"), "good");
    one.ctl().add_host("alice", "tv", ZONE, &[]);
    assert_eq!(code(other, "tv", "192.0.2.4"), "good");
    one.ctl().run(&["hostname", "delete", "tv", ZONE]).ok();
    assert_eq!(code(other, "tv", "192.0.2.5"), "nohost");
    assert!(named.data(&format!("tv.{ZONE}"), "A").is_empty());
}

#[test]
fn three_daemons_that_sweep_each_second_send_one_expiry_mail_per_host() {
    const HOSTS: usize = 20;
    let (named, smtp) = (Named::start(), SmtpServer::start());
    let accounts = vec![Mariadb::shared().account(); 3];
    let daemons = daemons_with(&named, &accounts, |setup| {
        let template = setup.file("expiry.j2");
        std::fs::write(&template, "{{ fqdn }}").unwrap();
        setup
            .set("dns_service.cleanup_interval", 1)
            .set("defaults.expiry_ttl", 3)
            .set("email.enabled", true)
            .set("email.smtp_host", "localhost")
            .set("email.smtp_port", i64::from(smtp.port()))
            .set("email.from_address", "ddns@example.org")
            .set("email.expiry_notification_template", template.to_str().unwrap())
    });
    for host in 0..HOSTS {
        daemons[0].ctl().add_host("alice", &format!("h{host}"), ZONE, &[]);
    }
    for host in 0..HOSTS {
        let daemon = &daemons[host % daemons.len()];
        assert_eq!(code(daemon, &format!("h{host}"), "192.0.2.1"), "good");
    }
    let bodies = || {
        let mut bodies: Vec<_> =
            smtp.mails().iter().map(|mail| mail.body().trim().to_owned()).collect();
        bodies.sort();
        bodies
    };
    let mut expected: Vec<_> = (0..HOSTS).map(|host| format!("h{host}.{ZONE}")).collect();
    expected.sort();
    eventually_equals(2 * RECOVERY, "one mail per host", &expected, bodies);
    // nothing is left to be sent
    let queued = || daemons[0].ctl().json(&["mail", "list"]).as_array().map(Vec::len);
    eventually_equals(RECOVERY, "an empty queue", &Some(0), queued);
    assert_eq!(bodies(), expected);
    for host in 0..HOSTS {
        assert!(named.data(&format!("h{host}.{ZONE}"), "A").is_empty());
    }
}

#[test]
fn haproxy_as_the_readme_has_it_leaves_out_a_daemon_that_is_killed() {
    let named = Named::start();
    let metrics: Vec<_> = (0..2).map(|_| free_port()).collect();
    let account = Mariadb::shared().account();
    let start = |port: &u16| {
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        let setup = setup.set("metrics.listen", format!("127.0.0.1:{port}"));
        setup.set("daemon.trusted_proxies", vec!["127.0.0.0/8"]).start()
    };
    let mut daemons: Vec<_> = metrics.iter().map(start).collect();
    daemons[0].ctl().add_user("alice");
    daemons[0].ctl().add_host("alice", "pc", ZONE, &[]);
    let address = format!("127.0.0.1:{}", free_port());
    let backend = block("haproxy", "httpchk")
        .replace("10.0.0.11:8080 check port 9153", &server(&daemons[0], metrics[0]))
        .replace("10.0.0.12:8080 check port 9153", &server(&daemons[1], metrics[1]));
    let text = format!(
        "frontend ddns\n    mode http\n    bind {address}\n    timeout client 30s\n\
         \x20   option forwardfor\n    default_backend ddnsd\n\n{backend}"
    );
    let proxy = Proxy::configured(Kind::Haproxy, address.clone(), &text);
    let update = |last: u8| {
        let url = format!("http://{address}/update?hostname=pc.{ZONE}&myip=192.0.2.{last}");
        get(&url).user("alice", PASSWORD).send().body
    };
    for last in 1..=4 {
        assert_eq!(update(last), format!("good 192.0.2.{last}\n"), "{}", proxy.output());
    }
    daemons[1].kill9();
    for last in 5..=8 {
        assert_eq!(update(last), format!("good 192.0.2.{last}\n"), "{}", proxy.output());
    }
}

fn server(daemon: &Daemon, metrics: u16) -> String {
    format!("{} check port {metrics}", daemon.address())
}

#[test]
fn three_daemons_on_three_nodes_survive_the_kill_of_a_node_and_of_a_daemon() {
    const CLIENTS: usize = 64;
    let mut galera = Galera::start();
    let named = Named::start();
    let mut daemons = daemons_with(&named, &galera.accounts(), |setup| setup);
    share_a_host(&named, &daemons);
    let clients: Vec<_> = (0..CLIENTS).map(|n| Counting::new(&format!("h{n}"))).collect();
    for client in &clients {
        daemons[0].ctl().add_host("alice", client.label(), ZONE, &[]);
    }
    let addresses: Vec<_> = daemons.iter().map(|daemon| daemon.address().to_owned()).collect();
    let is_over = AtomicBool::new(false);
    let clients = std::thread::scope(|threads| {
        let load = |(number, mut client): (usize, Counting)| {
            let (addresses, is_over) = (&addresses, &is_over);
            threads.spawn(move || {
                // as a load balancer does, the next one where one fails
                let mut through = number;
                while !is_over.load(Ordering::Relaxed) {
                    let code = client.update(&addresses[through % NODES]);
                    through += usize::from(code.as_deref() != Some("good"));
                    std::thread::sleep(Duration::from_millis(20)); // the client's own pace
                }
                client
            })
        };
        let clients: Vec<_> = clients.into_iter().enumerate().map(load).collect();
        std::thread::sleep(Duration::from_secs(2)); // of load, before each event
        galera.kill9(2);
        std::thread::sleep(Duration::from_secs(4));
        daemons[1].kill9();
        std::thread::sleep(Duration::from_secs(2));
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    // the one that is left publishes what the others left, and answers
    eventually(2 * RECOVERY, "DNS to hold what the database does", || {
        let (held, wanted) = (in_dns(&named, &clients), in_database(&daemons[0].ctl(), &clients));
        let is_published = daemons[0].ctl().hosts().iter().all(|host| host.published);
        if is_published && held == wanted { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let held = in_dns(&named, &clients);
    for client in &clients {
        client.judge(held[&client.fqdn()]).unwrap();
        assert!(client.updates() > 0, "{client:?}");
    }
    galera.start_again(2);
    daemons[1].start_again();
    for daemon in &daemons {
        eventually_equals(RECOVERY, "a good reply", &"good".to_owned(), || {
            let _restored = code(daemon, "pc", "192.0.2.1");
            code(daemon, "pc", "192.0.2.2")
        });
    }
}

/// Changes rows as another daemon does, between what `act` reads of them and the change it stores.
fn changed_meanwhile<T>(account: &Account, change: &str, act: impl FnOnce() -> T) -> T {
    let count = |which: &str| {
        format!("(SELECT COUNT(*) FROM information_schema.processlist WHERE state = {which})")
    };
    let blocked = count("'Updating' AND info LIKE 'UPDATE%state4%'");
    let script = format!(
        "SET @tries = 0, @blocked = 0; START TRANSACTION; {change};
         DELIMITER //
         BEGIN NOT ATOMIC
             WHILE @blocked = 0 AND @tries < 1500 DO
                 SET @tries = @tries + 1; DO SLEEP(0.01); SET @blocked = {blocked};
             END WHILE;
         END//
         SELECT @blocked//
         COMMIT//"
    );
    std::thread::scope(|threads| {
        let change = threads.spawn(|| account.sql(&script));
        let waits = format!("SELECT {};", count("'User sleep'"));
        eventually(RECOVERY, "the rows to be locked", || match account.sql(&waits).as_str() {
            "1\n" => Ok(()),
            other => Err(other.to_owned()),
        });
        let done = act();
        assert_eq!(change.join().unwrap(), "1\n", "a change waited for the rows");
        done
    })
}

/// Alice's router with its prefix, and her host nas, which follows it and lives a second.
fn lan(account: &Account) -> Scene {
    let scene = Scene::with(|setup| {
        setup.on_mariadb(account.clone()).set("dns_service.cleanup_interval", 3600)
    });
    let ctl = scene.ctl();
    ctl.add_host("alice", "router", ZONE, &["--ipv6-suffix", "::1"]);
    let nas = ["--ipv6-suffix", "::5", "--follows", "router.dyn.example", "--expiry-ttl", "1"];
    ctl.add_host("alice", "nas", ZONE, &nas);
    scene.update("hostname=router.dyn.example&prefix=2001:db8:1::/64").has_status(200);
    scene
}

#[test]
fn a_follower_that_another_daemon_changes_is_taken_down_by_the_next_attempt() {
    let account = Mariadb::shared().account();
    let scene = lan(&account);
    let take_down = || scene.ctl().run(&["hostname", "suspend", "router", ZONE, "--take-down"]);
    let change = "UPDATE hosts SET version = version + 1, ipv4 = '192.0.2.9', state4 = 1
         WHERE fqdn = 'nas.dyn.example'";
    changed_meanwhile(&account, change, take_down)
        .exits(1)
        .prints(&["nas.dyn.example has just changed", "try again"]);
    assert_eq!(scene.aaaa("router"), Vec::<String>::new());
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::5"]);
    take_down().ok();
    assert_eq!(scene.aaaa("nas"), Vec::<String>::new());
}

#[test]
fn followers_of_a_router_that_another_daemon_changes_expire_in_the_next_sweep() {
    let account = Mariadb::shared().account();
    let scene = lan(&account);
    let change = "UPDATE hosts SET version = version + 1, ipv4 = '192.0.2.9', state4 = 1
         WHERE fqdn = 'router.dyn.example'";
    let sweep = || scene.ctl().run(&["cleanup"]).ok().output();
    std::thread::sleep(Duration::from_millis(1500)); // the time that must pass, not a hope
    let output = changed_meanwhile(&account, change, sweep);
    assert!(!output.contains("nas.dyn.example"), "{output}");
    assert_eq!(scene.aaaa("nas"), ["2001:db8:1::5"]);
    assert!(sweep().contains("nas.dyn.example"));
    assert_eq!(scene.aaaa("nas"), Vec::<String>::new());
    assert_eq!(scene.ctl().json(&["hostname", "show", "router", ZONE])["ipv6_prefix"], json!(null));
}
