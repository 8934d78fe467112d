//! `ddnsctl cleanup`

use super::session::{Session, print};
use crate::client::DNS_TIMEOUT;
use crate::exit::{Failure, message};
use crate::output::{Format, json, table};
use ddnsd_proto::status::{Failed, HostName, SweptView};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let swept = client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.cleanup(ctx).await).await?;
    let printed = print(&render(&swept, &session.format));
    if let Format::Table(_) = session.format {
        summarize(&swept);
    }
    match swept.failed_total {
        0 => printed,
        1 => Err(not_removed("1 expired host")),
        failed => Err(not_removed(&format!("{failed} expired hosts"))),
    }
}

fn not_removed(hosts: &str) -> Failure {
    Failure::Unfinished(format!("the records of {hosts} could not be removed (ddnsd retries)"))
}

fn summarize(swept: &SweptView) {
    let SweptView { expired_total: expired, failed_total: failed, pending, .. } = swept;
    let listed = swept.expired.len() + swept.failed.len();
    let more = (expired + failed).saturating_sub(listed as u64);
    let unlisted = if more == 0 { String::new() } else { format!(" ({more} not listed)") };
    message(&format!("{expired} expired, {failed} failed{unlisted}"));
    let others = pending.saturating_sub(*failed);
    if others > 0 {
        message(&format!(
            "{others} more pending: DNS does not hold their records yet (`ddnsctl status` shows why)"
        ));
    }
}

fn render(swept: &SweptView, format: &Format) -> String {
    if let Format::Json = format {
        return json(swept);
    }
    let expired =
        swept.expired.iter().map(|HostName { unicode, .. }| [unicode.clone(), "expired".into()]);
    let failed = swept
        .failed
        .iter()
        .map(|Failed { unicode, reason, .. }| [unicode.clone(), format!("failed: {reason}")]);
    let rows: Vec<_> = expired.chain(failed).collect();
    if rows.is_empty() { String::new() } else { table(["HOSTNAME", "RESULT"], &rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn a_sweep_lists_expired_and_failed_hosts() {
        let table = Format::Table(TimeZone::UTC);
        let fqdn = "xn--bro-hoa.example.org".to_owned();
        let expired = HostName { fqdn, unicode: "büro.example.org".into() };
        let name = "a.example.net".to_owned();
        let failed = Failed { fqdn: name.clone(), unicode: name, reason: "SERVFAIL".into() };
        let swept =
            SweptView { expired: vec![expired], failed: vec![failed], ..SweptView::default() };
        assert_eq!(
            render(&swept, &table),
            "HOSTNAME          RESULT\n\
             büro.example.org  expired\n\
             a.example.net     failed: SERVFAIL\n"
        );
        let value: serde_json::Value =
            serde_json::from_str(&render(&swept, &Format::Json)).unwrap();
        assert_eq!(
            value["expired"],
            serde_json::json!([{"fqdn": "xn--bro-hoa.example.org", "unicode": "büro.example.org"}])
        );
        assert_eq!(render(&SweptView::default(), &table), "");
    }
}
