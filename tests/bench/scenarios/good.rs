//! Updates that change the address, beside raw signed updates of the same names.

use crate::dns_floor::DnsFloor;
use crate::load::{Plan, Server, drive};
use crate::report::{Report, Row};
use crate::request::{Hosts, Numbers, Order};
use crate::{Effort, servers};
use ddnsd_tests::knot::Knot;
use ddnsd_tests::named::Named;
use ddnsd_tests::own_server::OwnServer;
use ddnsd_tests::primary::{Primary, ZONE};
use std::time::Duration;

pub(super) const HOSTS: Hosts = Hosts { hosts: 64, users: 64 };
/// In flight at once.
pub(super) const MANY: u32 = 64;

pub(crate) fn bind(effort: Effort, report: &mut Report) {
    beside_raw("BIND", &Named::start(), [Some(2.0), Some(6.0)], effort, report);
}

pub(crate) fn knot(effort: Effort, report: &mut Report) {
    beside_raw("Knot", &Knot::start(), [None, None], effort, report);
}

fn beside_raw(
    name: &str,
    primary: &dyn Primary,
    [most, least]: [Option<f64>; 2],
    effort: Effort,
    report: &mut Report,
) {
    let daemon = servers::start(primary, HOSTS, |setup| setup);
    let server = servers::server(&daemon);
    let mut floor = DnsFloor::new(primary, HOSTS.hosts);
    let numbers = Numbers::default();
    warm_up(&server);
    let mut serial = Row::new(&format!("good c1 on {name}, p50"), "ms").beside("raw serial");
    serial.target = most.map(crate::report::Target::AtMost);
    let mut many = Row::new(&format!("good c64 on {name}"), "req/s").beside("raw, 64 in flight");
    many.target = least.map(crate::report::Target::AtLeast);
    for _ in 0..effort.rounds {
        let (_, latencies) = floor.run(1, effort.each);
        serial.floor_sample(p50(latencies));
        serial.ddnsd.push(changes(&server, 1, effort, &numbers).1);
        many.floor_sample(floor.run(MANY as usize, effort.each).0);
        many.ddnsd.push(changes(&server, MANY, effort, &numbers).0);
    }
    [serial, many].into_iter().for_each(|row| report.add(row));
}

pub(crate) fn builtin(effort: Effort, report: &mut Report) {
    let primary = OwnServer::of(&[ZONE]);
    let daemon = servers::start(&primary, HOSTS, |setup| setup);
    let server = servers::server(&daemon);
    let numbers = Numbers::default();
    warm_up(&server);
    let mut serial = Row::new("good c1, built-in name server, p50", "ms");
    let mut many = Row::new("good c64, built-in name server", "req/s");
    for _ in 0..effort.rounds {
        serial.ddnsd.push(changes(&server, 1, effort, &numbers).1);
        many.ddnsd.push(changes(&server, MANY, effort, &numbers).0);
    }
    [serial, many].into_iter().for_each(|row| report.add(row));
}

/// Changes per second, and the median of their latencies in milliseconds.
fn changes(server: &Server, clients: u32, effort: Effort, numbers: &Numbers) -> (f64, f64) {
    let plan = plan(server, clients, effort.each);
    let replies = drive(&plan, &HOSTS.good(Order::InTurn, numbers));
    (replies.rate(), replies.percentile(0.5))
}

/// Changes on kept connections.
pub(super) fn plan(server: &Server, clients: u32, time: Duration) -> Plan {
    Plan { server: server.clone(), clients, kept: true, time, expected: &["good"] }
}

fn warm_up(server: &Server) {
    super::http::warm_up(server, HOSTS);
}

/// Milliseconds.
fn p50(latencies: Vec<Duration>) -> f64 {
    let replies = crate::load::Replies { latencies, took: Duration::ZERO };
    replies.percentile(0.5)
}
