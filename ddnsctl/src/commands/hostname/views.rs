//! Hosts as tables and JSON; pure.

use crate::output::{Format, json, local, pairs, table, text_or_empty, utc};
use ddnsd_proto::host::{HostState, HostView, LastRequestView};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host in JSON: the reply, but with times by RFC 3339.
#[derive(Serialize)]
struct Row<'a> {
    fqdn: &'a str,
    unicode: &'a str,
    hostname: &'a str,
    zone: &'a str,
    user: &'a str,
    state: HostState,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    last_ipv4: Option<Ipv4Addr>,
    last_ipv6: Option<Ipv6Addr>,
    ipv4_updated_at: Option<String>,
    ipv6_updated_at: Option<String>,
    dns_ttl: u32,
    dns_ttl_is_default: bool,
    expiry_ttl: u32,
    expiry_ttl_is_default: bool,
    pending_since: Option<String>,
    attempts: u32,
    last_error: Option<&'a str>,
    unserved_since: Option<String>,
    unserved: Option<&'a str>,
    served_ttl: Option<u32>,
    expired_at: Option<String>,
    suspended_at: Option<String>,
    user_suspended_at: Option<String>,
    ipv6_suffix: Option<Ipv6Addr>,
    follows: Option<&'a str>,
    ipv6_prefix: Option<&'a str>,
    no_ipv6: Option<&'a str>,
    created_at: String,
}

/// One host in JSON, with its last request or null.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    last_request: Option<LastRequest<'a>>,
}

#[derive(Serialize)]
struct LastRequest<'a> {
    at: String,
    client: &'a str,
    user_agent: Option<&'a str>,
    word: &'a str,
    reason: Option<&'a str>,
}

fn last_request(last: &LastRequestView) -> LastRequest<'_> {
    LastRequest {
        at: utc(last.at),
        client: &last.client,
        user_agent: last.user_agent.as_deref(),
        word: &last.word,
        reason: last.reason.as_deref(),
    }
}

fn result(last: &LastRequestView) -> String {
    match &last.reason {
        Some(reason) => format!("{} ({reason})", last.word),
        None => last.word.clone(),
    }
}

fn row(host: &HostView) -> Row<'_> {
    Row {
        fqdn: &host.fqdn,
        unicode: &host.unicode,
        hostname: &host.hostname,
        zone: &host.zone,
        user: &host.user,
        state: host.state,
        ipv4: host.ipv4,
        ipv6: host.ipv6,
        last_ipv4: host.last_ipv4,
        last_ipv6: host.last_ipv6,
        ipv4_updated_at: host.ipv4_updated_at.map(utc),
        ipv6_updated_at: host.ipv6_updated_at.map(utc),
        dns_ttl: host.dns_ttl,
        dns_ttl_is_default: host.dns_ttl_is_default,
        expiry_ttl: host.expiry_ttl,
        expiry_ttl_is_default: host.expiry_ttl_is_default,
        pending_since: host.pending_since.map(utc),
        attempts: host.attempts,
        last_error: host.last_error.as_deref(),
        unserved_since: host.unserved_since.map(utc),
        unserved: host.unserved.as_deref(),
        served_ttl: host.served_ttl,
        expired_at: host.expired_at.map(utc),
        suspended_at: host.suspended_at.map(utc),
        user_suspended_at: host.user_suspended_at.map(utc),
        ipv6_suffix: host.ipv6_suffix,
        follows: host.follows.as_deref(),
        ipv6_prefix: host.ipv6_prefix.as_deref(),
        no_ipv6: host.no_ipv6.as_deref(),
        created_at: utc(host.created_at),
    }
}

pub(super) fn listed(hosts: &[HostView], format: &Format) -> String {
    let zone = match format {
        Format::Json => return json(&hosts.iter().map(row).collect::<Vec<_>>()),
        Format::Table(zone) => zone,
    };
    let header = [
        "HOSTNAME",
        "USER",
        "IPV4",
        "IPV4-UPDATED",
        "IPV6",
        "IPV6-UPDATED",
        "DNS-TTL",
        "EXPIRY-TTL",
        "STATE",
    ];
    // few hosts have a suffix; the others' table stays as narrow as it is
    if hosts.iter().any(|host| host.ipv6_suffix.is_some()) {
        let header = with_lan(header, ["IPV6-SUFFIX", "FOLLOWS"]);
        let row = |host: &HostView| {
            let suffix = text_or_empty(host.ipv6_suffix);
            with_lan(cells(host, zone), [suffix, text_or_empty(host.follows.as_deref())])
        };
        return table(header, &hosts.iter().map(row).collect::<Vec<_>>());
    }
    table(header, &hosts.iter().map(|host| cells(host, zone)).collect::<Vec<_>>())
}

fn cells(host: &HostView, zone: &TimeZone) -> [String; 9] {
    [
        host.unicode.clone(),
        host.user.clone(),
        text_or_empty(host.ipv4),
        when(host.ipv4_updated_at, zone),
        text_or_empty(host.ipv6),
        when(host.ipv6_updated_at, zone),
        ttl(host.dns_ttl, host.dns_ttl_is_default),
        ttl(host.expiry_ttl, host.expiry_ttl_is_default),
        state(host.state).to_owned(),
    ]
}

/// A row with two columns before the TTLs.
fn with_lan<T>(row: [T; 9], [suffix, follows]: [T; 2]) -> [T; 11] {
    let [name, user, v4, v4_at, v6, v6_at, dns_ttl, expiry_ttl, state] = row;
    [name, user, v4, v4_at, v6, v6_at, suffix, follows, dns_ttl, expiry_ttl, state]
}

pub(super) fn shown(host: &HostView, format: &Format) -> String {
    let zone = match format {
        Format::Json => {
            let last_request = host.last_request.as_ref().map(last_request);
            return json(&Shown { row: row(host), last_request });
        }
        Format::Table(zone) => zone,
    };
    let last = host.last_request.as_ref();
    let mut lines = vec![
        ("fqdn", host.fqdn.clone()),
        ("readable", host.unicode.clone()),
        ("hostname", host.hostname.clone()),
        ("zone", host.zone.clone()),
        ("user", host.user.clone()),
        ("state", state(host.state).to_owned()),
        ("ipv4", text_or_empty(host.ipv4)),
        ("ipv4 last", text_or_empty(host.last_ipv4)),
        ("ipv4 updated", when(host.ipv4_updated_at, zone)),
        ("ipv6", text_or_empty(host.ipv6)),
        ("ipv6 last", text_or_empty(host.last_ipv6)),
        ("ipv6 updated", when(host.ipv6_updated_at, zone)),
        ("dns ttl", ttl(host.dns_ttl, host.dns_ttl_is_default)),
        ("expiry ttl", ttl(host.expiry_ttl, host.expiry_ttl_is_default)),
        ("pending since", when(host.pending_since, zone)),
        ("attempts", host.attempts.to_string()),
        ("last error", text_or_empty(host.last_error.as_deref())),
    ];
    // a host seldom has these
    lines.extend(host.expired_at.map(|at| {
        let ttl = host.expiry_ttl;
        ("expired", format!("{}: no update within {ttl} s (expiry ttl)", local(at, zone)))
    }));
    lines.extend(host.suspended_at.map(|at| ("suspended since", local(at, zone))));
    lines.extend(host.user_suspended_at.map(|at| ("user suspended since", local(at, zone))));
    lines.extend(host.unserved_since.map(|at| ("unserved since", local(at, zone))));
    lines.extend(host.unserved.as_ref().map(|why| ("unserved because", text_or_empty(Some(why)))));
    lines.extend(host.served_ttl.map(|ttl| ("ttl in dns", ttl.to_string())));
    lines.extend(host.ipv6_suffix.map(|suffix| ("ipv6 suffix", suffix.to_string())));
    lines.extend(host.follows.as_ref().map(|leader| ("follows", leader.clone())));
    lines.extend(host.ipv6_prefix.as_ref().map(|prefix| ("ipv6 prefix", prefix.clone())));
    lines.extend(host.no_ipv6.as_ref().map(|why| ("no ipv6 because", text_or_empty(Some(why)))));
    lines.extend([
        ("created", local(host.created_at, zone)),
        ("last request", when(last.map(|last| last.at), zone)),
        ("last client", text_or_empty(last.map(|last| &last.client))),
        ("last user agent", text_or_empty(last.and_then(|last| last.user_agent.as_ref()))),
        ("last result", text_or_empty(last.map(result))),
    ]);
    pairs(&lines)
}

fn when(millis: Option<i64>, zone: &TimeZone) -> String {
    text_or_empty(millis.map(|millis| local(millis, zone)))
}

fn ttl(seconds: u32, is_default: bool) -> String {
    if is_default { format!("{seconds} (default)") } else { seconds.to_string() }
}

fn state(state: HostState) -> &'static str {
    match state {
        HostState::Suspended => "suspended",
        HostState::NeverUpdated => "never updated",
        HostState::Published => "published",
        HostState::Pending => "pending",
        HostState::Unserved => "unserved",
        HostState::Expired => "expired",
        HostState::Absent => "absent",
        HostState::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> HostView {
        HostView {
            fqdn: "xn--bro-hoa.dyn.example.org".into(),
            unicode: "büro.dyn.example.org".into(),
            hostname: "xn--bro-hoa".into(),
            zone: "dyn.example.org".into(),
            user: "alice".into(),
            state: HostState::Published,
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            last_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv4_updated_at: Some(1_795_428_000_000),
            dns_ttl: 60,
            dns_ttl_is_default: true,
            created_at: 1_795_428_000_000,
            ..HostView::default()
        }
    }

    fn refused() -> LastRequestView {
        LastRequestView {
            at: 1_795_428_000_000,
            client: "198.51.100.7".into(),
            user_agent: Some("inadyn/2.12\u{9b}31m".into()),
            word: "badauth".into(),
            reason: Some("wrong password".into()),
        }
    }

    #[test]
    fn hosts_are_a_table() {
        let fresh = HostView {
            unicode: "pc.example.org".into(),
            user: "bo".into(),
            state: HostState::NeverUpdated,
            dns_ttl: 30,
            expiry_ttl: 3600,
            expiry_ttl_is_default: true,
            ..HostView::default()
        };
        assert_eq!(
            listed(&[published(), fresh], &Format::Table(TimeZone::UTC)),
            "\
HOSTNAME              USER   IPV4       IPV4-UPDATED         IPV6  IPV6-UPDATED  DNS-TTL       EXPIRY-TTL      STATE
büro.dyn.example.org  alice  192.0.2.1  2026-11-23 10:00:00  -     -             60 (default)  0               published
pc.example.org        bo     -          -                    -     -             30            3600 (default)  never updated
"
        );
    }

    #[test]
    fn one_host_is_shown_in_full() {
        assert_eq!(
            shown(&published(), &Format::Table(TimeZone::UTC)),
            "\
fqdn             xn--bro-hoa.dyn.example.org
readable         büro.dyn.example.org
hostname         xn--bro-hoa
zone             dyn.example.org
user             alice
state            published
ipv4             192.0.2.1
ipv4 last        192.0.2.1
ipv4 updated     2026-11-23 10:00:00
ipv6             -
ipv6 last        -
ipv6 updated     -
dns ttl          60 (default)
expiry ttl       0
pending since    -
attempts         0
last error       -
created          2026-11-23 10:00:00
last request     -
last client      -
last user agent  -
last result      -
"
        );
    }

    #[test]
    fn a_suspended_host_shows_since_when() {
        let at = Some(1_795_428_000_000);
        let host = HostView {
            state: HostState::Suspended,
            suspended_at: at,
            user_suspended_at: at,
            ..published()
        };
        let table = shown(&host, &Format::Table(TimeZone::UTC));
        for line in [
            "state                 suspended\n",
            "suspended since       2026-11-23 10:00:00\n",
            "user suspended since  2026-11-23 10:00:00\n",
        ] {
            assert!(table.contains(line), "{table}");
        }
    }

    #[test]
    fn the_last_request_is_shown_with_its_result_and_escaped_for_terminals() {
        let host = HostView { last_request: Some(refused()), ..published() };
        let table = shown(&host, &Format::Table(TimeZone::UTC));
        let last = "\
last request     2026-11-23 10:00:00
last client      198.51.100.7
last user agent  inadyn/2.12\\u{9b}31m
last result      badauth (wrong password)
";
        assert!(table.ends_with(last), "{table}");
        let json: serde_json::Value = serde_json::from_str(&shown(&host, &Format::Json)).unwrap();
        assert_eq!(json["fqdn"], "xn--bro-hoa.dyn.example.org");
        assert_eq!(
            json["last_request"],
            serde_json::json!({
                "at": "2026-11-23T10:00:00.000Z",
                "client": "198.51.100.7",
                "user_agent": "inadyn/2.12\u{9b}31m",
                "word": "badauth",
                "reason": "wrong password",
            })
        );
    }

    #[test]
    fn one_host_is_a_json_object_with_nulls_for_missing_values() {
        let value: serde_json::Value =
            serde_json::from_str(&shown(&published(), &Format::Json)).unwrap();
        assert_eq!(value["state"], "published");
        assert_eq!(value["ipv4"], "192.0.2.1");
        assert_eq!(value["ipv6"], serde_json::Value::Null);
        assert_eq!(value.get("last_request"), Some(&serde_json::Value::Null));
        assert_eq!(value["ipv4_updated_at"], "2026-11-23T10:00:00.000Z");
        assert_eq!(value["dns_ttl_is_default"], true);
        assert_eq!(listed(&[], &Format::Json), "[]\n");
    }
}
