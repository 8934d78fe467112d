//! Many hosts, many addresses: 1,000,000 hosts beside 1,000, what an administrator asks of them,
//! the sweep of 100,000, and 1,000,000 clients under the limits.

use super::good;
use crate::load::{Plan, Server, drive};
use crate::process_tree::memory;
use crate::report::{Report, Row};
use crate::request::{Hosts, MakeRequest, Numbers, Order, Prepared, first_address};
use crate::{Effort, progress, servers};
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::named::Named;
use ddnsd_tests::primary::ZONE;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const THOUSAND: Hosts = Hosts { hosts: 1_000, users: 100 };
const MILLION: Hosts = Hosts { hosts: 1_000_000, users: 100 };
/// Hosts that share a few pages of the database.
const FEW: Hosts = Hosts { hosts: 64, ..THOUSAND };
/// Changes that SQLite stores by itself, `TOGETHER` in each transaction.
const CHANGES: u32 = 32_000;
const TOGETHER: u32 = 32;
/// Milliseconds since 1970. A time of today takes as many bytes.
const NOW: u64 = 1_700_000_000_000;
/// That expire, and that are listed.
const SWEPT: Hosts = Hosts { hosts: 100_000, users: 10 };
/// Longest time for any one thing here, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) fn million(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let few = servers::start(&named, THOUSAND, |setup| setup);
    progress("a database of 1,000,000 hosts …");
    let names = Named::start();
    let mut many = servers::start(&names, MILLION, |setup| setup);
    start_up(&mut many, effort, report);
    commands(&many, effort, report);
    let [of_few, of_many] = [&few, &many].map(servers::server);
    for (server, hosts) in [(&of_few, THOUSAND), (&of_many, MILLION)] {
        super::http::warm_up(server, hosts);
        drive(&super::http::nochg(server, 32, LONGEST), &hosts.each_host_once());
    }
    report.add(
        Row::new("memory, 1,000,000 hosts cached", "MiB").value(memory(many.pid())).at_most(400.0),
    );
    let mut row = Row::new("nochg c32, 1,000,000 hosts at random", "req/s").beside("1,000 hosts");
    for _ in 0..effort.rounds {
        let rate = |server: &Server, hosts: Hosts| {
            let plan = super::http::nochg(server, 32, effort.each);
            drive(&plan, &hosts.nochg(Order::AtRandom, true)).rate()
        };
        row.floor_sample(rate(&of_few, THOUSAND));
        row.ddnsd.push(rate(&of_many, MILLION));
    }
    report.add(row.at_least(0.8));
    let mut row = Row::new("good c64, 1,000,000 hosts at random", "req/s").beside("64 hosts");
    let numbers = Numbers::default();
    for _ in 0..effort.rounds {
        let rate = |server: &Server, hosts: Hosts, order| {
            let plan = good::plan(server, good::MANY, effort.each);
            drive(&plan, &hosts.good(order, &numbers)).rate()
        };
        row.floor_sample(rate(&of_few, FEW, Order::InTurn));
        row.ddnsd.push(rate(&of_many, MILLION, Order::AtRandom));
    }
    report.add(row.at_least(0.8));
    sqlite_alone(&mut many, effort, report);
}

/// The writes of changes by the program `sqlite3`, without HTTP and DNS: most of what `good` over
/// many hosts needs beyond `good` over 64.
fn sqlite_alone(many: &mut Daemon, effort: Effort, report: &mut Report) {
    assert!(many.terminate().success(), "a graceful stop");
    let mut row =
        Row::new("SQLite by itself, 1,000,000 hosts at random", "changes/s").beside("64 hosts");
    let numbers = Numbers::default();
    for _ in 0..effort.rounds {
        let rate = |hosts: Hosts, order| {
            let text = changes(hosts.next(order), &numbers);
            f64::from(CHANGES) / seconds(|| servers::sql(many.setup(), &text))
        };
        row.floor_sample(rate(FEW, Order::InTurn));
        row.ddnsd.push(rate(MILLION, Order::AtRandom));
    }
    report.add(row);
}

/// Approximately as ddnsd stores so many changes: a durable transaction for the addresses, and
/// another one when DNS has acknowledged them.
fn changes(mut next: impl FnMut() -> u32, numbers: &Numbers) -> String {
    let mut text = String::new();
    for _ in 0..CHANGES / TOGETHER {
        let rows: Vec<_> = (0..TOGETHER)
            .map(|_| format!("({}, '{}')", next() + 1, numbers.next_address()))
            .collect();
        let rows = rows.join(", ");
        write!(
            text,
            "PRAGMA synchronous = FULL;
             UPDATE hosts SET ipv4 = column2, last_ipv4 = column2, unpublished_since = 1,
                 set4_at = {NOW}, set4_uptime = {NOW}, version = version + 1, changed_at = {NOW}
             FROM (VALUES {rows}) WHERE id = column1;
             PRAGMA synchronous = NORMAL;
             UPDATE hosts SET acked_ipv4 = column2, unpublished_since = NULL
             FROM (VALUES {rows}) WHERE id = column1;"
        )
        .expect("text");
    }
    text
}

fn start_up(many: &mut Daemon, effort: Effort, report: &mut Report) {
    let mut row = Row::new("start with 1,000,000 hosts", "s").at_most(2.0);
    for _ in 0..effort.rounds {
        assert!(many.terminate().success(), "a graceful stop");
        row.ddnsd.push(seconds(|| many.start_again()));
    }
    report.add(row);
}

fn commands(many: &Daemon, effort: Effort, report: &mut Report) {
    let mut status = Row::new("ddnsctl status, 1,000,000 hosts", "s").at_most(0.05);
    let mut reload = Row::new("a user's 10,000 hosts of 1,000,000 listed", "s");
    for _ in 0..effort.rounds {
        status.ddnsd.push(seconds(|| drop(many.ctl().run(&["status"]).ok())));
        let list = ["hostname", "list", "--user", "u7"];
        reload.ddnsd.push(seconds(|| drop(many.ctl().run(&list).ok())));
    }
    [status, reload].into_iter().for_each(|row| report.add(row));
}

pub(crate) fn sweep(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let mut daemon = servers::start(&named, SWEPT, |setup| setup);
    let mut list = Row::new("ddnsctl hostname list of 100,000", "s").at_most(1.0);
    for _ in 0..effort.rounds {
        let listed = || {
            let lines = daemon.ctl().run_within(LONGEST, &["hostname", "list"]).ok().stdout;
            assert_eq!(lines.lines().count(), SWEPT.hosts as usize + 1, "lines of the list");
        };
        list.ddnsd.push(seconds(listed));
    }
    report.add(list);
    publish_all(&named);
    assert!(daemon.terminate().success(), "a graceful stop");
    // last updated long ago by the service clock, so that the first sweep finds all of them due
    servers::sql(
        daemon.setup(),
        "UPDATE meta SET value = '1000000000' WHERE name = 'uptime';
         UPDATE hosts SET set4_uptime = 0, check_at = 1, expiry_ttl = 60;",
    );
    daemon.start_again();
    let start = Instant::now();
    eventually(LONGEST, "all hosts to expire", || {
        let due = "SELECT EXISTS (SELECT 1 FROM hosts WHERE check_at IS NOT NULL);";
        let due = daemon.setup().database().sql(due);
        if due.trim() == "0" { Ok(()) } else { Err(due) }
    });
    let rate = f64::from(SWEPT.hosts) / start.elapsed().as_secs_f64();
    let row = Row::new("sweep of 100,000 hosts on BIND", "expiries/s");
    report.add(row.value(rate).at_least(10_000.0));
}

/// Puts the hosts' records into the zone, so that the sweep has something to remove.
fn publish_all(named: &Named) {
    for from in (0..SWEPT.hosts).step_by(20_000) {
        let mut lines = String::new();
        for host in from..from + 20_000 {
            let address = first_address(host);
            writeln!(lines, "update add h{host}.{ZONE}. 60 A {address}").expect("text");
            if host % 400 == 399 {
                lines.push_str("send\n");
            }
        }
        named.nsupdate(&lines);
    }
}

/// Clients with an address each, as a proxy names them.
pub(crate) fn limiter(_effort: Effort, report: &mut Report) {
    const CLIENTS: u32 = 1_000_000;
    let named = Named::start();
    let daemon = servers::start(&named, THOUSAND, |setup| {
        setup
            .set("rate_limit.enabled", true)
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.0/8"])
    });
    let server = servers::server(&daemon);
    // not among the addresses that this machine may not have; each credential is verified first
    drive(&super::http::nochg(&server, 1, LONGEST), &from_each(0x4f00_0000, THOUSAND.users));
    let before = memory(daemon.pid());
    let each = from_each(0x5000_0000, CLIENTS);
    let replies = drive(&super::http::nochg(&server, 32, LONGEST), &each);
    assert_eq!(replies.latencies.len(), CLIENTS as usize, "replies");
    report.add(Row::new("nochg c32, 1,000,000 addresses", "req/s").value(replies.rate()));
    let grown = memory(daemon.pid()) - before;
    report.add(Row::new("memory of 1,000,000 addresses", "MiB").value(grown));
}

/// A request of each of so many clients, from the address after `first` on.
fn from_each(first: u32, clients: u32) -> MakeRequest {
    let mut number = 0;
    MakeRequest::new(move || {
        number += 1;
        let host = number % THOUSAND.hosts;
        let head = THOUSAND.update(host, first_address(host), true);
        let client = Ipv4Addr::from(first + number);
        let bytes = format!("{head}X-Forwarded-For: {client}\r\n\r\n").into_bytes();
        (number <= clients).then_some(Prepared { source: Ipv4Addr::UNSPECIFIED, bytes })
    })
}

pub(crate) fn idle(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let hosts = good::HOSTS;
    let mut daemon = servers::start(&named, hosts, |setup| setup);
    let mut start = Row::new("start with 64 hosts", "s");
    let mut idle = Row::new("memory, idle", "MiB").at_most(10.0);
    let mut loaded = Row::new("memory, after nochg c32 and good c64", "MiB");
    let numbers = Numbers::default();
    for _ in 0..effort.rounds {
        assert!(daemon.terminate().success(), "a graceful stop");
        start.ddnsd.push(seconds(|| daemon.start_again()));
        let server = servers::server(&daemon);
        // what the start itself needed is freed by then
        std::thread::sleep(Duration::from_secs(1));
        idle.ddnsd.push(memory(daemon.pid()));
        let known = super::http::nochg(&server, 1, LONGEST);
        let known = Plan { expected: &["nochg", "good"], ..known };
        drive(&known, &hosts.each_user_once());
        let plan = good::plan(&server, good::MANY, effort.each);
        drive(&plan, &hosts.good(Order::InTurn, &numbers));
        loaded.ddnsd.push(memory(daemon.pid()));
    }
    [start, idle, loaded].into_iter().for_each(|row| report.add(row));
}

fn seconds(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64()
}
