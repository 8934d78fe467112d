//! `ddnsctl hostname …`

mod views;

use super::{Session, every, print};
use crate::args::{Host, Hostname, Ttl};
use crate::client::{CALL_TIMEOUT, DNS_TIMEOUT};
use crate::exit::{Failure, say};
use crate::output::{Format, json, quoted};
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::host::{
    AddHost, DeleteHost, Deleted, FindHost, LeftRecord, ListHosts, ModifyHost, NewTtl, StoredHost,
};
use ddnsd_proto::status::HostName;
use serde::Serialize;
use std::borrow::Cow;
use views::{listed, shown};

/// Carries a command out.
pub(super) async fn run(session: &Session, command: Hostname) -> Result<(), Failure> {
    match command {
        Hostname::List { user, zone } => list(session, user, zone).await,
        Hostname::Show(host) => show(session, host).await,
        Hostname::Add { user, host: Host { hostname, zone }, dns_ttl, expiry_ttl } => {
            add(session, AddHost { user, hostname, zone, dns_ttl, expiry_ttl }).await
        }
        Hostname::Modify { host: Host { hostname, zone }, dns_ttl, expiry_ttl } => {
            let (dns_ttl, expiry_ttl) = (dns_ttl.map(new_ttl), expiry_ttl.map(new_ttl));
            modify(session, ModifyHost { hostname, zone, dns_ttl, expiry_ttl }).await
        }
        Hostname::Delete { host: Host { hostname, zone }, force } => {
            delete(session, DeleteHost { hostname, zone, force }).await
        }
    }
}

async fn list(
    session: &Session,
    user: Option<String>,
    zone: Option<String>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let hosts = every(async |after| {
        let query = ListHosts { user: user.clone(), zone: zone.clone(), after, limit: MAX_PAGE };
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_list(ctx, query).await).await
    });
    let hosts = hosts.await?;
    if let Some(zone) = zone.as_deref().filter(|_| hosts.is_empty()) {
        let whose = user.as_ref().map_or_else(String::new, |user| format!(" of user {user}"));
        say(&format!("there is no hostname{whose} in zone {zone}"));
    }
    print(&listed(&hosts, &session.format))
}

async fn show(session: &Session, Host { hostname, zone }: Host) -> Result<(), Failure> {
    let host = FindHost { hostname, zone };
    let client = session.client().await?;
    let found = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_show(ctx, host).await).await?;
    print(&shown(&found, &session.format))
}

async fn add(session: &Session, host: AddHost) -> Result<(), Failure> {
    let new = host.clone();
    let client = session.client().await?;
    let added = client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_add(ctx, new).await).await?;
    let AddHost { user, hostname, zone, .. } = &host;
    match session.format {
        Format::Json => print(&added.host.as_ref().map_or_else(
            || json(&Typed { hostname, zone, user }),
            |host| json(&Added { host, user: &added.user }),
        )),
        Format::Table(_) => {
            // an older daemon does not say what it has made of it
            let name = added
                .host
                .as_ref()
                .map_or_else(|| format!("{hostname} in {zone}"), |stored| stored.unicode.clone());
            say(&format!("added {name} for user {user}; its records appear with its first update"));
            if let Some(stored) = &added.host
                && repeats_zone(stored)
            {
                say(&format!(
                    "the zone stands in that name twice: HOSTNAME is only what stands before it (if that was not meant: ddnsctl hostname delete {} {}, and add it again)",
                    quoted(hostname),
                    quoted(zone)
                ));
            }
            Ok(())
        }
    }
}

/// Whether the zone was written twice.
fn repeats_zone(stored: &StoredHost) -> bool {
    let StoredHost { hostname, zone, .. } = stored;
    hostname.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

async fn modify(session: &Session, host: ModifyHost) -> Result<(), Failure> {
    let new = host.clone();
    let client = session.client().await?;
    let modified =
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_modify(ctx, new).await).await?;
    let ModifyHost { hostname, zone, .. } = &host;
    let not_yet_published = modified.not_yet_published.as_deref();
    if let Format::Table(_) = session.format {
        say(&if modified.changed {
            format!("modified {hostname} in {zone}")
        } else {
            format!("nothing to do: {hostname} in {zone} has these TTLs already")
        });
    }
    if let Some(why) = not_yet_published {
        say(&format!("not yet published: {why}; it is published by itself later"));
    }
    match session.format {
        Format::Json => {
            let changed = modified.changed;
            print(&json(&Modified { host: modified.host.as_ref(), changed, not_yet_published }))
        }
        Format::Table(_) => Ok(()),
    }
}

fn new_ttl(ttl: Ttl) -> NewTtl {
    match ttl {
        Ttl::Default => NewTtl { seconds: None },
        Ttl::Seconds(seconds) => NewTtl { seconds: Some(seconds) },
    }
}

async fn delete(session: &Session, host: DeleteHost) -> Result<(), Failure> {
    let gone = host.clone();
    let client = session.client().await?;
    let deleted =
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_delete(ctx, gone).await).await?;
    let DeleteHost { hostname, zone, .. } = &host;
    for record in &deleted.left_in_dns {
        say(&format!("may be left in DNS: {record}"));
    }
    let others_possible = deleted.others_possible;
    if others_possible == Some(true) {
        say(
            "may be left in DNS instead: an address that was sent in between and never acknowledged",
        );
    }
    match session.format {
        Format::Json => {
            let (host, left_in_dns) = (deleted.host.as_ref(), left(&deleted));
            print(&json(&Gone { host, hostname, zone, left_in_dns: &left_in_dns, others_possible }))
        }
        Format::Table(_) => {
            say(&format!("deleted {hostname} in {zone}"));
            Ok(())
        }
    }
}

//----- Output -----

#[derive(Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    host: &'a StoredHost,
    user: &'a str,
}

/// A daemon of before 1.3 does not say what it stores.
#[derive(Serialize)]
struct Typed<'a> {
    hostname: &'a str,
    zone: &'a str,
    user: &'a str,
}

#[derive(Serialize)]
struct Modified<'a> {
    #[serde(flatten)]
    host: Option<&'a StoredHost>,
    changed: bool,
    not_yet_published: Option<&'a str>,
}

#[derive(Serialize)]
struct Gone<'a> {
    #[serde(flatten)]
    host: Option<&'a HostName>,
    hostname: &'a str,
    zone: &'a str,
    left_in_dns: &'a [LeftRecord],
    others_possible: Option<bool>,
}

/// A daemon of before 1.3 says each in a line only, as `pc.example.org A 192.0.2.1`.
fn left(deleted: &Deleted) -> Cow<'_, [LeftRecord]> {
    if deleted.records.len() == deleted.left_in_dns.len() {
        return Cow::Borrowed(&deleted.records);
    }
    let parts = |line: &String| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (fqdn, record, address) = (word(), word(), word());
        LeftRecord { unicode: fqdn.clone(), fqdn, record, address }
    };
    Cow::Owned(deleted.left_in_dns.iter().map(parts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_daemon_says_in_lines_is_said_in_parts() {
        let line = "pc.example.org AAAA 2001:db8::1".to_owned();
        let deleted = Deleted { left_in_dns: vec![line], ..Deleted::default() };
        let [left] = &*left(&deleted) else { panic!("one record") };
        assert_eq!(
            (&*left.fqdn, &*left.record, &*left.address),
            ("pc.example.org", "AAAA", "2001:db8::1")
        );
    }
}
