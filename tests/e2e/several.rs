//! Several daemons on one MariaDB: each host is changed by one of them at a time, and all of them
//! answer alike.

use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::http::quick_get;
use ddnsd_tests::mariadb::{Account, Mariadb};
use ddnsd_tests::named::{Named, ZONE};
use std::sync::Mutex;

/// Daemons with the same configuration, alice and her host `pc`.
fn daemons(named: &Named, account: &Account, count: usize) -> Vec<Daemon> {
    let start = || Daemon::builder(named).on_mariadb(account.clone()).start();
    let daemons: Vec<_> = (0..count).map(|_| start()).collect();
    let ctl = daemons.first().expect("a daemon").ctl();
    ctl.add_user("alice");
    ctl.add_host("alice", "pc", ZONE, &[]);
    daemons
}

/// The return code of an update by alice.
fn code(daemon: &Daemon, host: &str, address: &str) -> String {
    let path = format!("/update?hostname={host}.{ZONE}&myip={address}");
    let reply = quick_get(daemon.address(), &path, "alice", PASSWORD).expect("a reply");
    reply.body.split([' ', '\n']).next().unwrap_or_default().to_owned()
}

#[test]
fn one_host_updated_through_two_daemons_at_once_is_answered_good_each_time() {
    let named = Named::start();
    let daemons = daemons(&named, &Mariadb::shared().account(), 2);
    let codes = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for client in 0..8_u8 {
            let (daemon, codes) = (&daemons[usize::from(client % 2)], &codes);
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
    println!("{failed} of {} failed", codes.len());
    assert_eq!(failed, 0, "{codes:?}");
    let wanted = daemons[0].ctl().host(&format!("pc.{ZONE}")).ipv4;
    assert_eq!(named.data(&format!("pc.{ZONE}"), "A"), Vec::from_iter(wanted));
}
