//! Checks by prerequisites against a real BIND.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use ddnsd::clock::Clock;
use ddnsd::config::{DnsTransport, Rfc2136, ZoneKeys};
use ddnsd::counters::DnsCounters;
use ddnsd::dns::{CheckResult, Dns, DnsError, Found, Halving, Hiding};
use ddnsd::model::change::RecordCheck;
use ddnsd::model::family::Family;
use ddnsd::model::name::{Fqdn, Zone};
use ddnsd::model::record::{Wanted, WantedRecords};
use ddnsd_tests::named::{Named, free_port};
use ddnsd_tests::primary::OPEN;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Names in a message.
const MANY: usize = 200;

fn dns(port: u16) -> (Dns, Arc<DnsCounters>) {
    let counters = Arc::new(DnsCounters::default());
    let config = Rfc2136 {
        server: (Ipv4Addr::LOCALHOST, port).into(),
        timeout: Duration::from_secs(2),
        transport: DnsTransport::Auto,
        keys: ZoneKeys::default(),
    };
    (Dns::new(config, Arc::clone(&counters), Clock), counters)
}

fn zone() -> Zone {
    Zone::parse(OPEN).unwrap()
}

fn fqdn(number: usize) -> Fqdn {
    Fqdn::parse(&format!("h{number}.{OPEN}")).unwrap()
}

fn check(number: usize) -> RecordCheck {
    let v4 = Wanted::Present(Ipv4Addr::new(192, 0, 2, 1));
    RecordCheck {
        fqdn: fqdn(number),
        zone: zone(),
        records: WantedRecords { v4, v6: Wanted::Absent },
    }
}

/// A server with these hosts.
fn server(hosts: impl Iterator<Item = usize>) -> Named {
    let server = Named::start();
    let mut lines = format!("zone {OPEN}\n");
    for host in hosts {
        writeln!(lines, "update add {}. 60 A 192.0.2.1", fqdn(host)).unwrap();
    }
    server.nsupdate_unsigned(&lines);
    server
}

fn differing(results: &[CheckResult]) -> Vec<usize> {
    let differs = |(host, result)| matches!(result, &CheckResult::Differs).then_some(host);
    results.iter().enumerate().filter_map(differs).collect()
}

#[tokio::test]
async fn names_that_differ_are_found_among_two_hundred_and_nothing_is_changed() {
    let missing = [0, 57, 58, 199];
    let server = server((0..MANY).filter(|host| !missing.contains(host)));
    let (dns, counters) = dns(server.port());
    let checks: Vec<_> = (0..MANY).map(check).collect();
    let serial = server.serial(OPEN);
    for halving in [Halving::ToTheEnd, Halving::WhileSomeHold] {
        let results = dns.check_records(&zone(), &checks, halving).await;
        assert_eq!(differing(&results), missing, "{halving:?}");
        assert_eq!(results.len(), MANY);
    }
    assert!(counters.checks.messages.get() < 100, "{}", counters.checks.messages.get());
    assert_eq!(counters.messages.get(), 0, "they are no updates");
    assert_eq!(server.serial(OPEN), serial);
}

#[tokio::test]
async fn a_zone_that_lost_everything_is_found_by_few_messages() {
    let server = server(std::iter::empty());
    let (dns, counters) = dns(server.port());
    let checks: Vec<_> = (0..MANY).map(check).collect();
    let results = dns.check_records(&zone(), &checks, Halving::WhileSomeHold).await;
    assert_eq!(differing(&results).len(), MANY);
    let messages = counters.checks.messages.get();
    assert!(messages < 60, "{messages} messages");
}

#[tokio::test]
async fn a_server_that_refuses_or_does_not_answer_leaves_checks_unknown() {
    let server = server(std::iter::once(1));
    let (dns, counters) = dns(server.port());
    let elsewhere = Zone::parse("elsewhere.example").unwrap();
    let check_there = |number| RecordCheck {
        fqdn: Fqdn::parse(&format!("h{number}.elsewhere.example")).unwrap(),
        zone: elsewhere.clone(),
        ..check(number)
    };
    let checks: Vec<_> = (0..MANY).map(check_there).collect();
    let results = dns.check_records(&elsewhere, &checks, Halving::ToTheEnd).await;
    let refused = |result: &CheckResult| matches!(result, CheckResult::Unknown(why) if why.to_string().contains("NOTAUTH"));
    assert!(results.len() == MANY && results.iter().all(refused), "{results:?}");
    assert_eq!(counters.checks.messages.get(), 2, "a refused zone is not halved");

    let (nobody, _) = self::dns(free_port());
    let results = nobody.check_records(&zone(), &[check(1)], Halving::ToTheEnd).await;
    let unreachable =
        matches!(results.as_slice(), [CheckResult::Unknown(DnsError::Unreachable { .. })]);
    assert!(unreachable, "{results:?}");
    assert!(!nobody.is_down(&zone()), "a check takes no zone down");
}

#[tokio::test]
async fn a_query_finds_records_and_what_hides_them() {
    let server = server(1..3);
    server.nsupdate_unsigned(&format!(
        "zone {OPEN}\nupdate add lab.{OPEN}. 60 NS ns.elsewhere.example.\n\
         update add alias.{OPEN}. 60 CNAME h1.{OPEN}.\n\
         update add old.{OPEN}. 60 DNAME new.{OPEN}."
    ));
    let (dns, _) = dns(server.port());
    let look_up = async |label: &str| {
        let name = Fqdn::parse(&format!("{label}.{OPEN}")).unwrap();
        dns.look_up(&name, &zone(), Family::V4).await.unwrap()
    };
    let addresses = vec![Ipv4Addr::new(192, 0, 2, 1).into()];
    assert_eq!(look_up("h1").await, Found::Addresses { addresses, ttl: Some(60) });
    assert_eq!(look_up("nothing").await, Found::NoName);
    let alias = Hiding::Alias(format!("h1.{OPEN}"));
    assert_eq!(look_up("alias").await, Found::Hidden(alias));
    assert_eq!(look_up("pc.old").await, Found::Hidden(Hiding::Dname(format!("old.{OPEN}"))));
    let delegation = Hiding::Delegation(format!("lab.{OPEN}"));
    assert_eq!(look_up("pc.lab").await, Found::Hidden(delegation));
}
