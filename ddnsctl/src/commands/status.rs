//! `ddnsctl status`

use super::session::{Session, print};
use crate::client::CALL_TIMEOUT;
use crate::exit::{Failure, message};
use crate::output::{Format, json, local, pairs, text_or_empty, utc};
use clap::Args;
use ddnsd_proto::status::{CertificateView, LastReloadView, Named, StatusView, ZoneView};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;

/// Records that are pending for longer are a problem: the name server got several tries.
const MAX_PENDING_MS: i64 = 5 * 60 * 1000;

/// Show the daemon's state: problems first, then database, zones, queues and counters
#[derive(Debug, Args)]
#[command(
    after_help = "With --check the exit code is 1 if the database or a zone is down, if the certificate is not valid,
if a host is unserved, or if records have been pending for over 5 minutes; the reasons are on
stderr. Without it they are the first lines.

Examples:
  ddnsctl status
  ddnsctl status --check
  ddnsctl --json status | jq .counters"
)]
pub(super) struct StatusArgs {
    /// Only check: print `ok`, or print the problems and exit with 1
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(session: &Session, args: StatusArgs) -> Result<(), Failure> {
    let client = session.client().await?;
    let status = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.status(ctx).await).await?;
    let problems = problems(&status);
    let printed = match &session.format {
        Format::Json => print(&json(&state(&status, &problems))),
        Format::Table(_) if args.check && problems.is_empty() => print("ok\n"),
        Format::Table(_) if args.check => Ok(()),
        Format::Table(zone) => print(&table(&status, &problems, zone)),
    };
    match problems.split_last() {
        Some((last, others)) if args.check => {
            for problem in others {
                message(&format!("ddnsctl: {problem}"));
            }
            Err(Failure::Unfinished(last.clone()))
        }
        _ => printed,
    }
}

/// What an administrator must look at, as sentences.
fn problems(status: &StatusView) -> Vec<String> {
    let read = status.database_error.as_ref().map(|why| format!("the database is down: {why}"));
    let write = &status.database_write_error;
    let write = write.as_ref().map(|why| format!("the database takes no changes: {why}"));
    let certificate = status.certificate.as_ref().filter(|it| !it.is_valid);
    let certificate = certificate.and_then(|it| it.warning.clone());
    let down = status.zones.iter().filter(|zone| zone.down).map(|zone| {
        let why = zone.last_error.as_deref().unwrap_or("its name server does not answer");
        format!("zone {} is down: {why}", zone.zone)
    });
    let late = status.zones.iter().filter(|zone| !zone.down);
    let late = late.filter_map(|zone| {
        let pending = zone.pending_ms.filter(|ms| *ms > MAX_PENDING_MS)?;
        let hosts = if zone.pending == 1 { "host has" } else { "hosts have" };
        let why = zone.last_error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!(
            "{} {hosts} been pending in zone {} for {}{why}",
            zone.pending,
            zone.zone,
            duration(pending)
        ))
    });
    let unserved = status.zones.iter().filter(|zone| zone.unserved > 0).map(|zone| {
        let hosts = if zone.unserved == 1 { "host is" } else { "hosts are" };
        let why = zone.unserved_reason.as_deref().unwrap_or("`ddnsctl hostname show` says why");
        format!("{} {hosts} unserved in zone {}: {why}", zone.unserved, zone.zone)
    });
    let whole = read.into_iter().chain(write).chain(certificate);
    whole.chain(down).chain(late).chain(unserved).collect()
}

//----- JSON -----

#[derive(Serialize)]
struct State<'a> {
    problems: &'a [String],
    version: &'a str,
    uptime_seconds: u64,
    last_reload: Option<Reload>,
    certificate: Option<Certificate<'a>>,
    database_reachable: bool,
    database_error: Option<&'a str>,
    database_write_error: Option<&'a str>,
    users: Option<u64>,
    hostnames: Option<u64>,
    pending: Option<u64>,
    pending_seconds: Option<i64>,
    unserved: Option<u64>,
    check_round_seconds: Option<i64>,
    zones: Vec<Health<'a>>,
    queues: BTreeMap<&'a str, u64>,
    counters: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct Certificate<'a> {
    ends_at: String,
    is_valid: bool,
    warning: Option<&'a str>,
}

#[derive(Serialize)]
struct Reload {
    at: String,
    succeeded: bool,
}

#[derive(Serialize)]
struct Health<'a> {
    zone: &'a str,
    down: bool,
    pending: Option<u64>,
    pending_seconds: Option<i64>,
    unserved: Option<u64>,
    unserved_reason: Option<&'a str>,
    last_error_at: Option<String>,
    last_error: Option<&'a str>,
    last_error_is_over: Option<bool>,
}

fn state<'a>(status: &'a StatusView, problems: &'a [String]) -> State<'a> {
    let reload = |LastReloadView { at, succeeded }| Reload { at: utc(at), succeeded };
    State {
        problems,
        version: &status.version,
        uptime_seconds: status.uptime_ms / 1000,
        last_reload: status.last_reload.map(reload),
        certificate: status.certificate.as_ref().map(certificate),
        database_reachable: status.database_error.is_none(),
        database_error: status.database_error.as_deref(),
        database_write_error: status.database_write_error.as_deref(),
        users: known(status, status.users),
        hostnames: known(status, status.hosts),
        pending: known(status, status.pending),
        pending_seconds: status.pending_ms.map(|ms| ms / 1000),
        unserved: known(status, status.unserved),
        check_round_seconds: status.check_round_ms.map(|ms| ms / 1000),
        zones: status.zones.iter().map(|view| zone(status, view)).collect(),
        queues: by_name(&status.queues),
        counters: by_name(&status.counters),
    }
}

fn certificate(view: &CertificateView) -> Certificate<'_> {
    let CertificateView { ends_at, is_valid, warning } = view;
    Certificate { ends_at: utc(*ends_at), is_valid: *is_valid, warning: warning.as_deref() }
}

/// A number from the database; unknown while the database fails.
fn known(status: &StatusView, number: u64) -> Option<u64> {
    status.database_error.is_none().then_some(number)
}

fn zone<'a>(status: &StatusView, zone: &'a ZoneView) -> Health<'a> {
    Health {
        zone: &zone.zone,
        down: zone.down,
        pending: known(status, zone.pending),
        pending_seconds: zone.pending_ms.map(|ms| ms / 1000),
        unserved: known(status, zone.unserved),
        unserved_reason: zone.unserved_reason.as_deref(),
        last_error_at: zone.last_error_at.map(utc),
        last_error: zone.last_error.as_deref(),
        last_error_is_over: zone.last_error.as_ref().map(|_| is_over(zone)),
    }
}

fn by_name(named: &[Named]) -> BTreeMap<&str, u64> {
    named.iter().map(|Named { name, value }| (name.as_str(), *value)).collect()
}

//----- Table -----

type Pair = (String, String);

/// Groups of pairs, all aligned alike, with an empty line between two groups.
fn table(status: &StatusView, problems: &[String], times: &TimeZone) -> String {
    let mut groups = vec![verdict(problems), daemon(status, times), database(status)];
    groups.push(status.zones.iter().flat_map(|zone| zone_lines(zone, times)).collect());
    let number =
        |prefix: &str, named: &Named| (format!("{prefix}{}", named.name), named.value.to_string());
    groups.push(status.queues.iter().map(|named| number("queue ", named)).collect());
    let group = |named: &Named| named.name.split('.').next().unwrap_or_default().to_owned();
    for counters in status.counters.chunk_by(|a, b| group(a) == group(b)) {
        groups.push(counters.iter().map(|named| number("", named)).collect());
    }
    groups.retain(|group| !group.is_empty());
    let aligned = pairs(&groups.concat());
    let mut lines = aligned.lines();
    let groups = groups.iter().map(|group| {
        lines.by_ref().take(group.len()).flat_map(|line| [line, "\n"]).collect::<String>()
    });
    groups.collect::<Vec<_>>().join("\n")
}

fn pair(name: &str, value: impl Into<String>) -> Pair {
    (name.to_owned(), value.into())
}

fn verdict(problems: &[String]) -> Vec<Pair> {
    if problems.is_empty() {
        return vec![pair("state", "ok")];
    }
    problems.iter().map(|problem| pair("problem", problem.as_str())).collect()
}

fn daemon(status: &StatusView, times: &TimeZone) -> Vec<Pair> {
    let mut lines = vec![
        pair("version", status.version.as_str()),
        pair("uptime", duration(i64::try_from(status.uptime_ms).unwrap_or(i64::MAX))),
    ];
    if let Some(LastReloadView { at, succeeded }) = status.last_reload {
        let at = local(at, times);
        let result = if succeeded { at } else { format!("failed {at}; nothing was changed") };
        lines.push(pair("last reload", result));
    }
    if let Some(CertificateView { ends_at, warning, .. }) = &status.certificate {
        let ends = local(*ends_at, times);
        let text =
            warning.as_ref().map_or(format!("ends {ends}"), |why| format!("ends {ends}: {why}"));
        lines.push(pair("certificate", text));
    }
    lines
}

fn database(status: &StatusView) -> Vec<Pair> {
    let failing = status.database_error.is_some() || status.database_write_error.is_some();
    let pending = text_or_empty(known(status, status.pending));
    let pending = match status.pending_ms {
        Some(ms) => format!("{pending}, the first for {}", duration(ms)),
        None => pending,
    };
    let mut lines = vec![
        pair("database", if failing { "failing" } else { "ok" }),
        pair("users", text_or_empty(known(status, status.users))),
        pair("hostnames", text_or_empty(known(status, status.hosts))),
        pair("pending in dns", pending),
        pair("unserved by dns", text_or_empty(known(status, status.unserved))),
    ];
    lines.extend(status.check_round_ms.map(|ms| pair("check of all took", duration(ms))));
    lines
}

/// A line with the state of the zone, and one with its last error.
fn zone_lines(zone: &ZoneView, times: &TimeZone) -> Vec<Pair> {
    let mut health = if zone.down { "down".to_owned() } else { "ok".to_owned() };
    if let Some(ms) = zone.pending_ms {
        health = format!("{health}, {} pending, the first for {}", zone.pending, duration(ms));
    }
    if zone.unserved > 0 {
        health = format!("{health}, {} unserved", zone.unserved);
    }
    let name = format!("zone {}", zone.zone);
    let mut lines = vec![(name, health)];
    if let Some(error) = &zone.last_error {
        let at = zone.last_error_at.map_or("before the start".to_owned(), |at| local(at, times));
        let over = if is_over(zone) { " (over)" } else { "" };
        lines.push(pair("  last error", format!("{at}{over}: {error}")));
    }
    lines
}

/// Whether the last error of a zone no longer matters: everything is published and served.
fn is_over(zone: &ZoneView) -> bool {
    !zone.down && zone.pending == 0 && zone.unserved == 0
}

/// Formats milliseconds as `2 d 3 h 4 min 5 s`, without leading zeros.
fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
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

    fn named(name: &str, value: u64) -> Named {
        Named { name: name.into(), value }
    }

    fn busy() -> StatusView {
        StatusView {
            version: "0.1.0".into(),
            uptime_ms: 93_784_999,
            users: 3,
            hosts: 12,
            pending: 1,
            pending_ms: Some(61_000),
            zones: vec![
                ZoneView { zone: "dyn.example.org".into(), ..ZoneView::default() },
                ZoneView {
                    zone: "example.net".into(),
                    down: true,
                    pending: 1,
                    pending_ms: Some(61_000),
                    last_error_at: Some(1_795_428_000_123),
                    last_error: Some("no answer within 2 s".to_owned()),
                    ..ZoneView::default()
                },
            ],
            queues: vec![named("dns", 2)],
            counters: vec![named("updates.good", 17), named("dns.tcp", 0)],
            ..StatusView::default()
        }
    }

    fn shown(status: &StatusView) -> String {
        table(status, &problems(status), &TimeZone::UTC)
    }

    fn as_json(status: &StatusView) -> serde_json::Value {
        serde_json::to_value(state(status, &problems(status))).unwrap()
    }

    #[test]
    fn problems_come_first_and_groups_are_separated() {
        assert_eq!(
            shown(&busy()),
            "\
problem               zone example.net is down: no answer within 2 s

version               0.1.0
uptime                1 d 2 h 3 min 4 s

database              ok
users                 3
hostnames             12
pending in dns        1, the first for 1 min 1 s
unserved by dns       0

zone dyn.example.org  ok
zone example.net      down, 1 pending, the first for 1 min 1 s
  last error          2026-11-23 10:00:00: no answer within 2 s

queue dns             2

updates.good          17

dns.tcp               0
"
        );
    }

    #[test]
    fn a_daemon_without_problems_is_ok() {
        let status = StatusView { zones: Vec::new(), ..busy() };
        assert!(shown(&status).starts_with("state            ok\n\nversion"), "{}", shown(&status));
    }

    #[test]
    fn records_are_a_problem_after_five_minutes_only() {
        let pending = |ms| StatusView {
            zones: vec![ZoneView {
                zone: "example.net".into(),
                pending: 2,
                pending_ms: Some(ms),
                ..ZoneView::default()
            }],
            ..StatusView::default()
        };
        assert_eq!(problems(&pending(MAX_PENDING_MS)), [""; 0]);
        let late = problems(&pending(MAX_PENDING_MS + 1000));
        assert_eq!(late, ["2 hosts have been pending in zone example.net for 5 min 1 s"]);
    }

    #[test]
    fn an_unserved_host_is_a_problem_with_its_reason() {
        let zones = vec![ZoneView {
            zone: "example.net".into(),
            unserved: 1,
            unserved_reason: Some("it answers NXDOMAIN".into()),
            ..ZoneView::default()
        }];
        let check_round_ms = Some(61_000);
        let status = StatusView { zones, unserved: 1, check_round_ms, ..StatusView::default() };
        let problem = "1 host is unserved in zone example.net: it answers NXDOMAIN";
        assert_eq!(problems(&status), [problem]);
        let table = shown(&status);
        assert!(table.contains("unserved by dns    1\ncheck of all took  1 min 1 s\n"), "{table}");
        assert!(table.contains("zone example.net   ok, 1 unserved\n"), "{table}");
    }

    #[test]
    fn a_reload_that_failed_is_shown_with_its_time() {
        let last_reload = Some(LastReloadView { at: 1_795_428_000_123, succeeded: false });
        let status = StatusView { last_reload, ..busy() };
        let line = "last reload           failed 2026-11-23 10:00:00; nothing was changed\n";
        assert!(shown(&status).contains(line), "{}", shown(&status));
        assert_eq!(as_json(&status)["last_reload"]["at"], "2026-11-23T10:00:00.123Z");
    }

    #[test]
    fn status_is_one_json_object() {
        let value = as_json(&StatusView { database_error: Some("locked".into()), ..busy() });
        assert_eq!(value["uptime_seconds"], 93_784);
        assert_eq!(
            (&value["database_reachable"], &value["database_error"]),
            (&false.into(), &"locked".into())
        );
        assert_eq!(value["counters"]["updates.good"], 17);
        assert_eq!(value["zones"][1]["down"], true);
        assert_eq!(value["zones"][1]["last_error_at"], "2026-11-23T10:00:00.123Z");
        assert_eq!(value["problems"][0], "the database is down: locked");
    }

    #[test]
    fn a_database_that_can_only_be_read_is_failing_but_its_numbers_are_shown() {
        let status = StatusView { database_write_error: Some("disk full".into()), ..busy() };
        let table = shown(&status);
        assert!(
            table.starts_with("problem               the database takes no changes: disk full\n")
        );
        assert!(table.contains("database              failing\nusers                 3\n"));
        let value = as_json(&status);
        assert_eq!(value["database_write_error"], "disk full");
        assert_eq!((&value["database_reachable"], &value["users"]), (&true.into(), &3.into()));
    }

    #[test]
    fn numbers_of_a_failing_database_are_unknown_and_not_zero() {
        let status =
            StatusView { database_error: Some("locked".into()), pending_ms: None, ..busy() };
        let table = shown(&status);
        for name in ["users", "hostnames", "pending in dns"] {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("  -"), "{line}");
        }
        let value = as_json(&status);
        for unknown in [&value["users"], &value["hostnames"], &value["zones"][1]["pending"]] {
            assert!(unknown.is_null(), "{value}");
        }
    }

    #[test]
    fn a_last_error_that_is_over_says_so() {
        let mut status = busy();
        let zone = &mut status.zones[1];
        (zone.down, zone.pending, zone.pending_ms) = (false, 0, None);
        let line = "  last error          2026-11-23 10:00:00 (over): no answer within 2 s\n";
        assert!(shown(&status).contains(line), "{}", shown(&status));
        assert_eq!(as_json(&status)["zones"][1]["last_error_is_over"], true);
        assert_eq!(as_json(&busy())["zones"][1]["last_error_is_over"], false);
    }

    #[test]
    fn a_duration_has_no_leading_zeros() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(3_600_000), "1 h 0 min 0 s");
    }
}
