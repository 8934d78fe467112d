//! `ddnsctl sync`

use super::session::{Session, print};
use crate::client::{CALL_TIMEOUT, Client, ClientError, DNS_TIMEOUT};
use crate::exit::{Failure, message};
use crate::output::{Format, json, table, text_or_empty};
use clap::Args;
use ddnsd_proto::host::ListHosts;
use ddnsd_proto::status::Failed;
use ddnsd_proto::sync::{DriftView, SyncHosts, SyncedPage};
use serde::Serialize;
use std::net::IpAddr;

/// Compare DNS with the database and repair records that differ
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the name server for each host that was ever updated, and publishes records again that differ.
Skips pending hosts, whose records are not published yet. Exit code 1 if something could not be
repaired or compared, and with --check if anything differs.

Examples:
  ddnsctl sync --check
  ddnsctl sync dyn.example.org"
)]
pub(super) struct SyncArgs {
    /// Only hosts of this zone
    zone: Option<String>,
    /// Only compare, and change nothing
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(session: &Session, args: SyncArgs) -> Result<(), Failure> {
    let SyncArgs { zone, check } = args;
    let client = session.client().await?;
    if let Some(zone) = &zone {
        must_have_hosts(&client, zone).await?;
    }
    let mut all = SyncedPage::default();
    let ended = pages(&client, zone, check, &mut all).await;
    // after an error too, print what was found until then
    let found = ended.is_ok() || !all.drift.is_empty();
    let text = if found { render(&all, check, &session.format) } else { String::new() };
    let printed = print(&text);
    ended?;
    if let Format::Table(_) = session.format {
        message(&summary(&all, check));
    }
    verdict(&all, check).and(printed)
}

/// Fails for a zone without hosts, because a misspelt zone would pass as one without differences.
async fn must_have_hosts(client: &Client, zone: &str) -> Result<(), Failure> {
    let query = ListHosts { zone: Some(zone.to_owned()), limit: 1, ..ListHosts::default() };
    let first = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_list(ctx, query).await).await?;
    if first.rows.is_empty() {
        return Err(Failure::Unfinished(format!(
            "no hostname in zone {zone} (`ddnsctl hostname list` shows all zones)"
        )));
    }
    Ok(())
}

async fn pages(
    client: &Client,
    zone: Option<String>,
    check: bool,
    all: &mut SyncedPage,
) -> Result<(), ClientError> {
    let mut after = None;
    loop {
        let hosts = SyncHosts { zone: zone.clone(), after, repair: !check };
        let page = client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.sync(ctx, hosts).await).await?;
        all.compared = all.compared.saturating_add(page.compared);
        all.pending = all.pending.saturating_add(page.pending);
        all.drift.extend(page.drift);
        all.failed.extend(page.failed);
        if page.next.is_none() {
            return Ok(());
        }
        after = page.next;
    }
}

/// Fails for unrepaired records, with `check` for any difference, and for hosts that were not
/// compared.
fn verdict(all: &SyncedPage, check: bool) -> Result<(), Failure> {
    let unfinished = |what: String| Err(Failure::Unfinished(what));
    let left = all.drift.iter().filter(|drift| !drift.repaired).count();
    if check && left > 0 {
        return unfinished("DNS differs from the database (`ddnsctl sync` repairs it)".to_owned());
    }
    if left > 0 {
        return unfinished(
            "some records could not be repaired (ddnsd retries; `ddnsctl hostname list` shows pending hosts)"
                .to_owned(),
        );
    }
    if !all.failed.is_empty() {
        return unfinished(format!(
            "{} could not be compared (fix the reason shown for each, then retry)",
            hosts(all.failed.len())
        ));
    }
    Ok(())
}

fn hosts(count: usize) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") }
}

//----- Output -----

fn summary(all: &SyncedPage, check: bool) -> String {
    let mut differing: Vec<_> =
        all.drift.iter().map(|drift| (&drift.fqdn, drift.repaired)).collect();
    differing.dedup();
    let repaired = differing.iter().filter(|(_, repaired)| *repaired).count();
    let mut parts =
        vec![format!("{} compared", all.compared), format!("{} differ", differing.len())];
    for (count, what) in [
        (if check { 0 } else { repaired }, "repaired"),
        (usize::try_from(all.pending).unwrap_or(usize::MAX), "pending"),
        (all.failed.len(), "could not be compared"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

fn render(all: &SyncedPage, check: bool, format: &Format) -> String {
    if let Format::Json = format {
        let SyncedPage { compared, pending, drift, failed, .. } = all;
        let drift = drift.iter().map(|drift| row(drift, check)).collect();
        return json(&Synced { compared: *compared, pending: *pending, drift, failed });
    }
    let drift = all.drift.iter().map(|drift| {
        [
            drift.unicode.clone(),
            drift.record.clone(),
            drift.in_dns.join(" "),
            text_or_empty(drift.in_dns_ttl),
            text_or_empty(drift.wanted),
            text_or_empty(drift.wanted.map(|_| drift.wanted_ttl)),
            result(drift, check),
        ]
    });
    let failed = all.failed.iter().map(|Failed { unicode, reason, .. }| {
        let none = String::new;
        let result = format!("not compared: {reason}");
        [unicode.clone(), none(), none(), none(), none(), none(), result]
    });
    let rows: Vec<_> = drift.chain(failed).collect();
    let header = ["HOSTNAME", "TYPE", "IN-DNS", "TTL", "WANTED", "TTL", "RESULT"];
    if rows.is_empty() { String::new() } else { table(header, &rows) }
}

fn result(drift: &DriftView, check: bool) -> String {
    match &drift.problem {
        _ if check => "differs".to_owned(),
        Some(problem) => format!("not yet repaired: {problem}"),
        None if drift.repaired => "repaired".to_owned(),
        None => "differs".to_owned(),
    }
}

#[derive(Serialize)]
struct Synced<'a> {
    compared: u32,
    pending: u32,
    drift: Vec<Row<'a>>,
    failed: &'a [Failed],
}

#[derive(Serialize)]
struct Row<'a> {
    fqdn: &'a str,
    unicode: &'a str,
    record: &'a str,
    in_dns: &'a [String],
    in_dns_ttl: Option<u32>,
    wanted: Option<IpAddr>,
    wanted_ttl: Option<u32>,
    repaired: bool,
    problem: Option<&'a str>,
}

fn row(drift: &DriftView, check: bool) -> Row<'_> {
    Row {
        fqdn: &drift.fqdn,
        unicode: &drift.unicode,
        record: &drift.record,
        in_dns: &drift.in_dns,
        in_dns_ttl: drift.in_dns_ttl,
        wanted: drift.wanted,
        wanted_ttl: drift.wanted.map(|_| drift.wanted_ttl),
        repaired: drift.repaired && !check,
        problem: drift.problem.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const TABLE: Format = Format::Table(TimeZone::UTC);

    fn changed(repaired: bool, problem: Option<&str>) -> DriftView {
        DriftView {
            fqdn: "pc.example.org".into(),
            unicode: "pc.example.org".into(),
            record: "A".into(),
            in_dns: vec!["192.0.2.7".into(), "192.0.2.9".into()],
            in_dns_ttl: Some(300),
            wanted: Some("192.0.2.1".parse().unwrap()),
            wanted_ttl: 60,
            repaired,
            problem: problem.map(str::to_owned),
        }
    }

    fn page(drift: Vec<DriftView>) -> SyncedPage {
        SyncedPage { compared: 12, drift, ..SyncedPage::default() }
    }

    #[test]
    fn drift_is_a_table_and_no_drift_is_empty() {
        let left =
            DriftView { record: "AAAA".into(), wanted: None, ..changed(false, Some("REFUSED")) };
        assert_eq!(
            render(&page(vec![changed(true, None), left]), false, &TABLE),
            "\
HOSTNAME        TYPE  IN-DNS               TTL  WANTED     TTL  RESULT
pc.example.org  A     192.0.2.7 192.0.2.9  300  192.0.2.1  60   repaired
pc.example.org  AAAA  192.0.2.7 192.0.2.9  300  -          -    not yet repaired: REFUSED
"
        );
        assert_eq!(render(&page(Vec::new()), false, &TABLE), "");
        let json: serde_json::Value =
            serde_json::from_str(&render(&page(Vec::new()), true, &Format::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"compared": 12, "pending": 0, "drift": [], "failed": []})
        );
    }

    #[test]
    fn a_check_fails_on_drift_and_a_repair_only_on_what_is_unrepaired() {
        assert!(verdict(&page(Vec::new()), true).is_ok());
        assert!(verdict(&page(vec![changed(false, None)]), true).is_err());
        assert!(verdict(&page(vec![changed(true, None)]), false).is_ok());
        assert!(verdict(&page(vec![changed(false, Some("down"))]), false).is_err());
        let failed = vec![Failed::default()];
        assert!(verdict(&SyncedPage { failed, ..SyncedPage::default() }, false).is_err());
    }

    #[test]
    fn a_host_with_two_records_counts_once() {
        let both = page(vec![changed(true, None), changed(true, None)]);
        assert_eq!(summary(&both, false), "12 compared, 1 differ, 1 repaired");
        assert_eq!(summary(&page(Vec::new()), true), "12 compared, 0 differ");
        let some = SyncedPage { pending: 2, failed: vec![Failed::default()], ..both };
        assert_eq!(
            summary(&some, true),
            "12 compared, 1 differ, 2 pending, 1 could not be compared"
        );
    }
}
