//! Updates that change the address through one, two and three daemons on one MariaDB.

use super::good;
use crate::load::{Replies, Server, replies, run};
use crate::report::{Report, Row};
use crate::request::{Hosts, MakeRequest, Numbers, Order};
use crate::{Effort, servers};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::mariadb::{Account, Mariadb};
use ddnsd_tests::named::Named;
use ddnsd_tests::setup::Setup;
use std::num::NonZeroU32;
use tokio::task::spawn_local;

/// Many more than clients, so that two clients never update the same one.
const HOSTS: Hosts = Hosts { hosts: 1_024, users: 64 };

pub(crate) fn on_one_mariadb(effort: Effort, report: &mut Report) {
    let (named, mariadb) = (Named::start(), Mariadb::start());
    let account = mariadb.account();
    let daemons = daemons(&named, &account);
    let servers = daemons.each_ref().map(servers::server);
    for server in &servers {
        super::http::warm_up(server, HOSTS);
    }
    let mut one = Row::new("good c64, one daemon on MariaDB", "req/s");
    let mut two = Row::new("good c64, two daemons on one MariaDB", "req/s").beside("one daemon");
    let mut three =
        Row::new("good c64, three daemons on one MariaDB", "req/s").beside("one daemon");
    let numbers = Numbers::default();
    for _ in 0..effort.rounds {
        let rate =
            |count: usize| rate(&servers[..count], effort, &HOSTS.good(Order::InTurn, &numbers));
        let alone = rate(1);
        one.ddnsd.push(alone);
        two.floor_sample(alone);
        two.ddnsd.push(rate(2));
        three.floor_sample(alone);
        three.ddnsd.push(rate(3));
    }
    [one, two, three].into_iter().for_each(|row| report.add(row));
}

fn daemons(named: &Named, account: &Account) -> [Daemon; 3] {
    let start = || {
        let setup = Setup::new(named).on_mariadb(account.clone());
        setup.set("dns_service.verify_interval", 0).start()
    };
    let first = start();
    first.ctl().add_user_with("u0", PASSWORD).ok();
    account.sql(&servers::rows_for_mariadb(HOSTS));
    [first, start(), start()]
}

/// Changes per second of clients that are shared out among daemons.
fn rate(servers: &[Server], effort: Effort, requests: &MakeRequest) -> f64 {
    let count = NonZeroU32::new(servers.len() as u32).expect("a daemon");
    let all = async {
        let load = |(number, server): (u32, &Server)| {
            let clients = (good::MANY + number) / count;
            let plan = good::plan(server, clients, effort.each);
            spawn_local(replies(plan, requests.clone()))
        };
        let tasks: Vec<_> = (0..).zip(servers).map(load).collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.expect("clients"));
        }
        all
    };
    run(all).iter().map(Replies::rate).sum()
}
