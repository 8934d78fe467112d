//! `ddnsctl cleanup` and `ddnsctl status`

use super::{Session, print};
use crate::client::{CALL_TIMEOUT, DNS_TIMEOUT};
use crate::exit::{Failure, say};
use crate::output::{Format, json, maybe, pairs, readable, table};
use ddnsd_proto::status::{Failed, HostName, Named, StatusView, SweptView, ZoneView};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Sweeps now.
pub(super) async fn cleanup(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let swept = client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.cleanup(ctx).await).await?;
    let printed = print(&swept_text(&swept, &session.format));
    let (expired, failed) = (swept.expired_total, swept.failed_total);
    if let Format::Table(_) = session.format {
        let listed = swept.expired.len() + swept.failed.len();
        let more = (expired + failed).saturating_sub(listed as u64);
        let unlisted = if more == 0 { String::new() } else { format!(" ({more} not listed)") };
        say(&format!("{expired} expired, {failed} failed{unlisted}"));
        let others = swept.pending.unwrap_or(0).saturating_sub(failed);
        if others > 0 {
            say(&format!(
                "{others} more pending: DNS does not hold yet what it should (`ddnsctl status` says why)"
            ));
        }
    }
    if failed == 0 {
        return printed;
    }
    let hosts =
        if failed == 1 { "1 expired host".to_owned() } else { format!("{failed} expired hosts") };
    Err(Failure::Unfinished(format!(
        "the records of {hosts} could not be taken down (they are tried again by themselves)"
    )))
}

/// Shows how the daemon does.
pub(super) async fn status(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let status = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.status(ctx).await).await?;
    print(&status_text(&status, &session.format))
}

//----- Output -----

#[derive(Serialize)]
struct Swept<'a> {
    expired: &'a [HostName],
    expired_total: u64,
    failed: &'a [Failed],
    failed_total: u64,
    pending: Option<u64>,
}

fn swept_text(swept: &SweptView, format: &Format) -> String {
    let expired = expired(swept);
    let failed = swept.failed.as_slice();
    if let Format::Json = format {
        let SweptView { expired_total, failed_total, pending, .. } = *swept;
        return json(&Swept { expired: &expired, expired_total, failed, failed_total, pending });
    }
    let expired =
        expired.iter().map(|HostName { unicode, .. }| [unicode.clone(), "expired".into()]);
    let failed = failed.iter().map(|Failed { fqdn, unicode, reason }| {
        [readable(fqdn, unicode).to_owned(), format!("failed: {reason}")]
    });
    let rows: Vec<_> = expired.chain(failed).collect();
    if rows.is_empty() { String::new() } else { table(["HOSTNAME", "RESULT"], &rows) }
}

/// A daemon of before 1.3 says a name in one form only.
fn expired(swept: &SweptView) -> Cow<'_, [HostName]> {
    if swept.expired_hosts.len() == swept.expired.len() {
        return Cow::Borrowed(&swept.expired_hosts);
    }
    let both = |name: &String| HostName { fqdn: name.clone(), unicode: name.clone() };
    Cow::Owned(swept.expired.iter().map(both).collect())
}

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

/// What the database says of numbers; nothing while it fails.
fn known(status: &StatusView, number: u64) -> Option<u64> {
    status.database_error.is_none().then_some(number)
}

fn zone<'a>(status: &StatusView, zone: &'a ZoneView) -> Health<'a> {
    let ZoneView { zone, down, pending, last_error } = zone;
    let (pending, last_error) = (known(status, *pending), last_error.as_deref());
    Health { zone, down: *down, pending, last_error }
}

fn status_text(status: &StatusView, format: &Format) -> String {
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
        ("users".to_owned(), maybe(known(status, status.users))),
        ("hostnames".to_owned(), maybe(known(status, status.hosts))),
        ("pending in dns".to_owned(), maybe(known(status, status.pending))),
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

/// As `2 d 3 h 4 min 5 s`, without leading zeros.
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
    fn status_is_read_downwards() {
        assert_eq!(
            status_text(&busy(), &TABLE),
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
            serde_json::from_str(&status_text(&status, &Format::Json)).unwrap();
        assert_eq!(value["uptime_seconds"], 93_784);
        assert_eq!(
            (&value["database_reachable"], &value["database_error"]),
            (&false.into(), &"locked".into())
        );
        assert_eq!(value["counters"]["updates.good"], 17);
        assert_eq!(value["zones"][1]["down"], true);
    }

    #[test]
    fn a_database_that_can_only_be_read_is_failing_and_tells_what_it_holds() {
        let status = StatusView { database_write_error: Some("disk full".into()), ..busy() };
        let table = status_text(&status, &TABLE);
        assert!(
            table.contains("database              failing: disk full\nusers                 3\n")
        );
        let value: serde_json::Value =
            serde_json::from_str(&status_text(&status, &Format::Json)).unwrap();
        assert_eq!(value["database_write_error"], "disk full");
        assert_eq!((&value["database_reachable"], &value["users"]), (&true.into(), &3.into()));
    }

    #[test]
    fn what_a_failing_database_does_not_tell_is_unknown_and_not_zero() {
        let status = StatusView { database_error: Some("locked".into()), ..busy() };
        let table = status_text(&status, &TABLE);
        for name in ["users", "hostnames", "pending in dns"] {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("  -"), "{line}");
        }
        let value: serde_json::Value =
            serde_json::from_str(&status_text(&status, &Format::Json)).unwrap();
        for unknown in [&value["users"], &value["hostnames"], &value["zones"][1]["pending"]] {
            assert!(unknown.is_null(), "{value}");
        }
    }

    #[test]
    fn an_uptime_has_no_leading_zeros() {
        assert_eq!(uptime(0), "0 s");
        assert_eq!(uptime(3600), "1 h 0 min 0 s");
    }

    #[test]
    fn a_sweep_names_what_expired_and_what_failed() {
        let name = |fqdn: &str, unicode: &str| (fqdn.to_owned(), unicode.to_owned());
        let (fqdn, unicode) = name("xn--bro-hoa.example.org", "büro.example.org");
        let expired = HostName { fqdn: fqdn.clone(), unicode };
        let (fqdn_too, unicode) = name("a.example.net", "a.example.net");
        let swept = SweptView {
            expired: vec![fqdn],
            expired_hosts: vec![expired],
            failed: vec![Failed { fqdn: fqdn_too, unicode, reason: "SERVFAIL".into() }],
            ..SweptView::default()
        };
        let table = "HOSTNAME          RESULT\n\
                     büro.example.org  expired\n\
                     a.example.net     failed: SERVFAIL\n";
        assert_eq!(swept_text(&swept, &TABLE), table);
        let value: serde_json::Value =
            serde_json::from_str(&swept_text(&swept, &Format::Json)).unwrap();
        assert_eq!(
            value["expired"],
            serde_json::json!([{"fqdn": "xn--bro-hoa.example.org", "unicode": "büro.example.org"}])
        );
        assert_eq!(swept_text(&SweptView::default(), &TABLE), "");
    }

    #[test]
    fn an_older_daemon_says_names_in_one_form_only() {
        let failed = Failed { fqdn: "b.example.org".into(), ..Failed::default() };
        let expired = vec!["büro.example.org".into()];
        let swept = SweptView { expired, failed: vec![failed], ..SweptView::default() };
        let table =
            "HOSTNAME          RESULT\nbüro.example.org  expired\nb.example.org     failed:\n";
        assert_eq!(swept_text(&swept, &TABLE), table);
    }
}
