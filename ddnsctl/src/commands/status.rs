//! `ddnsctl status`

use super::session::{Session, print};
use crate::client::CALL_TIMEOUT;
use crate::exit::Failure;
use crate::output::{Format, json, pairs, text_or_empty};
use ddnsd_proto::status::{Named, StatusView, ZoneView};
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let status = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.status(ctx).await).await?;
    print(&render(&status, &session.format))
}

//----- Output -----

#[derive(Serialize)]
struct State<'a> {
    version: &'a str,
    uptime_seconds: u64,
    database_reachable: bool,
    database_error: Option<&'a str>,
    database_write_error: Option<&'a str>,
    users: Option<u64>,
    hostnames: Option<u64>,
    pending: Option<u64>,
    zones: Vec<Health<'a>>,
    queues: BTreeMap<&'a str, u64>,
    counters: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct Health<'a> {
    zone: &'a str,
    down: bool,
    pending: Option<u64>,
    last_error: Option<&'a str>,
}

/// A number from the database; unknown while the database fails.
fn known(status: &StatusView, number: u64) -> Option<u64> {
    status.database_error.is_none().then_some(number)
}

fn zone<'a>(status: &StatusView, zone: &'a ZoneView) -> Health<'a> {
    let ZoneView { zone, down, pending, last_error } = zone;
    let pending = known(status, *pending);
    Health { zone, down: *down, pending, last_error: last_error.as_deref() }
}

fn render(status: &StatusView, format: &Format) -> String {
    match format {
        Format::Json => json(&State {
            version: &status.version,
            uptime_seconds: status.uptime_ms / 1000,
            database_reachable: status.database_error.is_none(),
            database_error: status.database_error.as_deref(),
            database_write_error: status.database_write_error.as_deref(),
            users: known(status, status.users),
            hostnames: known(status, status.hosts),
            pending: known(status, status.pending),
            zones: status.zones.iter().map(|view| zone(status, view)).collect(),
            queues: by_name(&status.queues),
            counters: by_name(&status.counters),
        }),
        Format::Table(_) => status_lines(status),
    }
}

fn by_name(named: &[Named]) -> BTreeMap<&str, u64> {
    named.iter().map(|Named { name, value }| (name.as_str(), *value)).collect()
}

fn status_lines(status: &StatusView) -> String {
    let database = status.database_error.as_ref().or(status.database_write_error.as_ref());
    let mut lines = vec![
        ("version".to_owned(), status.version.clone()),
        ("uptime".to_owned(), uptime(status.uptime_ms / 1000)),
        ("database".to_owned(), database.map_or("ok".to_owned(), |why| format!("failing: {why}"))),
        ("users".to_owned(), text_or_empty(known(status, status.users))),
        ("hostnames".to_owned(), text_or_empty(known(status, status.hosts))),
        ("pending in dns".to_owned(), text_or_empty(known(status, status.pending))),
    ];
    lines.extend(status.zones.iter().map(|zone| (format!("zone {}", zone.zone), health(zone))));
    let number =
        |prefix: &str, named: &Named| (format!("{prefix}{}", named.name), named.value.to_string());
    lines.extend(status.queues.iter().map(|named| number("queue ", named)));
    lines.extend(status.counters.iter().map(|named| number("", named)));
    pairs(&lines)
}

fn health(zone: &ZoneView) -> String {
    let mut health = if zone.down { "down".to_owned() } else { "ok".to_owned() };
    if zone.pending > 0 {
        health = format!("{health}, {} pending", zone.pending);
    }
    match &zone.last_error {
        Some(error) if zone.down => format!("{health}: {error}"),
        Some(error) => format!("{health} (last error: {error})"),
        None => health,
    }
}

/// Formats as `2 d 3 h 4 min 5 s`, without leading zeros.
fn uptime(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(parts.len() - 1);
    let shown: Vec<_> =
        parts.iter().skip(first).map(|(number, unit)| format!("{number} {unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const TABLE: Format = Format::Table(TimeZone::UTC);

    fn named(name: &str, value: u64) -> Named {
        Named { name: name.into(), value }
    }

    fn busy() -> StatusView {
        let down = Some("no answer within 2 s".to_owned());
        StatusView {
            version: "0.1.0".into(),
            uptime_ms: 93_784_999,
            users: 3,
            hosts: 12,
            pending: 1,
            zones: vec![
                ZoneView { zone: "dyn.example.org".into(), ..ZoneView::default() },
                ZoneView { zone: "example.net".into(), down: true, pending: 1, last_error: down },
            ],
            queues: vec![named("publish", 2)],
            counters: vec![named("updates.good", 17)],
            ..StatusView::default()
        }
    }

    #[test]
    fn status_is_a_list_of_pairs() {
        assert_eq!(
            render(&busy(), &TABLE),
            "\
version               0.1.0
uptime                1 d 2 h 3 min 4 s
database              ok
users                 3
hostnames             12
pending in dns        1
zone dyn.example.org  ok
zone example.net      down, 1 pending: no answer within 2 s
queue publish         2
updates.good          17
"
        );
    }

    #[test]
    fn status_is_one_json_object() {
        let status = StatusView { database_error: Some("locked".into()), ..busy() };
        let value: serde_json::Value =
            serde_json::from_str(&render(&status, &Format::Json)).unwrap();
        assert_eq!(value["uptime_seconds"], 93_784);
        assert_eq!(
            (&value["database_reachable"], &value["database_error"]),
            (&false.into(), &"locked".into())
        );
        assert_eq!(value["counters"]["updates.good"], 17);
        assert_eq!(value["zones"][1]["down"], true);
    }

    #[test]
    fn a_database_that_can_only_be_read_is_failing_but_its_numbers_are_shown() {
        let status = StatusView { database_write_error: Some("disk full".into()), ..busy() };
        let table = render(&status, &TABLE);
        assert!(
            table.contains("database              failing: disk full\nusers                 3\n")
        );
        let value: serde_json::Value =
            serde_json::from_str(&render(&status, &Format::Json)).unwrap();
        assert_eq!(value["database_write_error"], "disk full");
        assert_eq!((&value["database_reachable"], &value["users"]), (&true.into(), &3.into()));
    }

    #[test]
    fn numbers_of_a_failing_database_are_unknown_and_not_zero() {
        let status = StatusView { database_error: Some("locked".into()), ..busy() };
        let table = render(&status, &TABLE);
        for name in ["users", "hostnames", "pending in dns"] {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("  -"), "{line}");
        }
        let value: serde_json::Value =
            serde_json::from_str(&render(&status, &Format::Json)).unwrap();
        for unknown in [&value["users"], &value["hostnames"], &value["zones"][1]["pending"]] {
            assert!(unknown.is_null(), "{value}");
        }
    }

    #[test]
    fn an_uptime_has_no_leading_zeros() {
        assert_eq!(uptime(0), "0 s");
        assert_eq!(uptime(3600), "1 h 0 min 0 s");
    }
}
