//! `ddnsctl hostname …`

mod lan;
mod setup;
mod suspend;
mod views;

use super::session::{Session, all_rows, print};
use crate::client::{CALL_TIMEOUT, DNS_TIMEOUT};
use crate::exit::{Failure, message};
use crate::output::{Format, json, quoted};
use clap::{ArgGroup, Args, Subcommand};
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::host::{
    AddHost, DeleteHost, FindHost, LeftRecord, ListHosts, ModifyHost, NewTtl, StoredHost,
    SuspendHost,
};
use ddnsd_proto::status::HostName;
use lan::{Lan, NewLan};
use serde::Serialize;
use views::{listed, shown};

/// RFC 2181, 8: the largest TTL.
const MAX_TTL: i64 = 2_147_483_647;

/// `hostname …`
#[derive(Debug, Subcommand)]
pub(super) enum HostnameCommand {
    /// List hosts with their addresses, last updates and states
    #[command(after_help = "States, the first that holds:
  suspended      the host or its user is suspended; its updates are rejected, and it does not expire
  never updated  no update came yet, and DNS is not changed
  pending        DNS does not hold what the last update wants; ddnsd retries
  unserved       the name server acknowledged the records and does not serve them (see hostname show)
  expired        no update came within the expiry TTL, so the records were removed; the next update
                 restores them. Clients that send changes only need --expiry-ttl 0
  absent         the records were removed: the host went offline, or was taken down
  published      DNS holds the addresses

Examples:
  ddnsctl hostname list
  ddnsctl hostname list --user alice --zone dyn.example.org
  ddnsctl --json hostname list | jq -r '.[] | select(.state == \"pending\") | .fqdn'")]
    List {
        /// Only hosts of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only hosts of this zone
        #[arg(long)]
        zone: Option<String>,
    },
    /// Show all details of a host
    #[command(after_help = "Example:
  ddnsctl hostname show pc dyn.example.org")]
    Show(Host),
    /// Add a host; its first update creates its DNS records
    #[command(after_help = "Examples:
  ddnsctl hostname add alice pc dyn.example.org
  ddnsctl hostname add alice @ alice.example.org --dns-ttl 30 --expiry-ttl 0
  ddnsctl hostname add alice nas dyn.example.org --ipv6-suffix mac:00:11:22:33:44:55 --follows router.dyn.example.org")]
    Add {
        /// The user who may update the host
        user: String,
        #[command(flatten)]
        host: Host,
        /// TTL of the records in seconds, instead of the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
        dns_ttl: Option<u32>,
        /// Seconds without an update until the records are removed, instead of the daemon's
        /// default; 0 for never
        #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
        expiry_ttl: Option<u32>,
        #[command(flatten)]
        lan: Lan,
    },
    /// Change a host's TTLs, IPv6 suffix or leader; what changes in DNS is published at once
    #[command(
        group = ArgGroup::new("settings").required(true).multiple(true),
        after_help = "Exit code 0 even if the name server does not accept the change: ddnsd retries automatically.

Examples:
  ddnsctl hostname modify pc dyn.example.org --dns-ttl 30
  ddnsctl hostname modify pc dyn.example.org --dns-ttl default --expiry-ttl 0
  ddnsctl hostname modify pc dyn.example.org --ipv6-suffix ::5:0:0:0:1 --follows router.dyn.example.org
  ddnsctl hostname modify pc dyn.example.org --follows none"
    )]
    Modify {
        #[command(flatten)]
        host: Host,
        /// TTL of the records in seconds, or `default` for the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = ttl, allow_negative_numbers = true, group = "settings")]
        dns_ttl: Option<Ttl>,
        /// Seconds without an update until the records are removed, 0 for never, or `default` for
        /// the daemon's default
        #[arg(long, value_name = "SECONDS", value_parser = ttl, allow_negative_numbers = true, group = "settings")]
        expiry_ttl: Option<Ttl>,
        #[command(flatten)]
        lan: NewLan,
    },
    /// Reject the updates of a host; its name stays taken, and it does not expire
    #[command(
        after_help = "Clients get `nohost`, as for a name that does not exist. The records stay, unless --take-down is
given. With it the AAAA records of the hosts that follow this one go, too, as with its offline=YES.

Examples:
  ddnsctl hostname suspend pc dyn.example.org
  ddnsctl hostname suspend pc dyn.example.org --take-down"
    )]
    Suspend {
        #[command(flatten)]
        host: Host,
        /// Remove its DNS records, too
        #[arg(long)]
        take_down: bool,
    },
    /// Accept the updates of a suspended host again; its time to expire starts again
    #[command(
        after_help = "Records that were taken down come back with the next update of the host.

Example:
  ddnsctl hostname resume pc dyn.example.org"
    )]
    Resume(Host),
    /// Remove a host's DNS records, then delete it; if the removal fails, nothing is deleted
    #[command(after_help = "Examples:
  ddnsctl hostname delete pc dyn.example.org
  ddnsctl hostname delete @ alice.example.org --force")]
    Delete {
        #[command(flatten)]
        host: Host,
        /// Delete the host even if its records cannot be removed, and print records that may
        /// remain; hosts that follow it then follow none
        #[arg(long)]
        force: bool,
    },
    Setup(setup::SetupArgs),
}

#[derive(Debug, Args)]
pub(super) struct Host {
    /// The name within the zone, or @ for the zone's own name
    hostname: String,
    /// The zone
    zone: String,
}

/// A TTL of `hostname modify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ttl {
    Default,
    Seconds(u32),
}

fn ttl(text: &str) -> Result<Ttl, String> {
    if text == "default" {
        return Ok(Ttl::Default);
    }
    seconds(text).map(Ttl::Seconds).map_err(|why| format!("{why}, or `default`"))
}

fn seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok().filter(|seconds| i64::from(*seconds) <= MAX_TTL);
    seconds.ok_or_else(|| format!("must be 0 to {MAX_TTL}"))
}

pub(super) async fn run(session: &Session, command: HostnameCommand) -> Result<(), Failure> {
    match command {
        HostnameCommand::List { user, zone } => list(session, user, zone).await,
        HostnameCommand::Show(host) => show(session, host).await,
        HostnameCommand::Add { user, host: Host { hostname, zone }, dns_ttl, expiry_ttl, lan } => {
            let (ipv6_suffix, follows) = lan.given();
            let new = AddHost { user, hostname, zone, dns_ttl, expiry_ttl, ipv6_suffix, follows };
            add(session, new).await
        }
        HostnameCommand::Modify { host: Host { hostname, zone }, dns_ttl, expiry_ttl, lan } => {
            let new = ModifyHost {
                hostname,
                zone,
                dns_ttl: dns_ttl.map(new_ttl),
                expiry_ttl: expiry_ttl.map(new_ttl),
                ipv6_suffix: lan.suffix(),
                follows: lan.leader(),
            };
            modify(session, new).await
        }
        HostnameCommand::Suspend { host: Host { hostname, zone }, take_down } => {
            suspend::suspend(session, SuspendHost { hostname, zone, take_down }).await
        }
        HostnameCommand::Resume(Host { hostname, zone }) => {
            suspend::resume(session, FindHost { hostname, zone }).await
        }
        HostnameCommand::Delete { host: Host { hostname, zone }, force } => {
            delete(session, DeleteHost { hostname, zone, force }).await
        }
        HostnameCommand::Setup(args) => setup::run(session, args).await,
    }
}

async fn list(
    session: &Session,
    user: Option<String>,
    zone: Option<String>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let hosts = all_rows(async |after| {
        let query = ListHosts { user: user.clone(), zone: zone.clone(), after, limit: MAX_PAGE };
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.host_list(ctx, query).await).await
    });
    let hosts = hosts.await?;
    if let Some(zone) = zone.as_deref().filter(|_| hosts.is_empty()) {
        let whose = user.as_ref().map_or_else(String::new, |user| format!(" of user {user}"));
        message(&format!("no hostname{whose} in zone {zone}"));
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
    let stored = &added.host;
    if let Format::Json = session.format {
        let warnings = &added.warnings;
        return print(&json(&Added { host: stored, user: &added.user, warnings }));
    }
    let AddHost { user, hostname, zone, .. } = &host;
    let name = &stored.unicode;
    message(&format!("added {name} for user {user}; its records appear with its first update"));
    message(&expiry(stored));
    for warning in &added.warnings {
        message(&format!("warning: {warning}"));
    }
    if repeats_zone(stored) {
        message(&format!(
            "this name contains the zone twice: HOSTNAME is only the part before the zone (to undo: ddnsctl hostname delete {} {}, and add it again)",
            quoted(hostname),
            quoted(zone)
        ));
    }
    Ok(())
}

/// When its records expire.
fn expiry(stored: &StoredHost) -> String {
    let StoredHost { hostname, zone, expiry_ttl, .. } = stored;
    if *expiry_ttl == 0 {
        return "they never expire".to_owned();
    }
    format!(
        "they are removed after {expiry_ttl} s without an update; for a client that sends changes only: ddnsctl hostname modify {hostname} {zone} --expiry-ttl 0"
    )
}

/// Whether the name within the zone ends with the zone.
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
        message(&if modified.changed {
            format!("modified {hostname} in {zone}")
        } else {
            format!("nothing to do: {hostname} in {zone} has these settings already")
        });
    }
    if let Some(why) = not_yet_published {
        message(&format!("not yet published: {why}; ddnsd retries automatically"));
    }
    match session.format {
        Format::Json => {
            let changed = modified.changed;
            print(&json(&Modified { host: &modified.host, changed, not_yet_published }))
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
    let request = host.clone();
    let client = session.client().await?;
    let deleted =
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_delete(ctx, request).await).await?;
    for LeftRecord { fqdn, record, address, .. } in &deleted.left_in_dns {
        message(&format!("may be left in DNS: {fqdn} {record} {address}"));
    }
    if deleted.others_possible {
        message("may be left in DNS instead: another address that was sent but never acknowledged");
    }
    let DeleteHost { hostname, zone, .. } = &host;
    match session.format {
        Format::Json => print(&json(&Deleted {
            host: &deleted.host,
            hostname,
            zone,
            left_in_dns: &deleted.left_in_dns,
            others_possible: deleted.others_possible,
        })),
        Format::Table(_) => {
            message(&format!("deleted {hostname} in {zone}"));
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
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Modified<'a> {
    #[serde(flatten)]
    host: &'a StoredHost,
    changed: bool,
    not_yet_published: Option<&'a str>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    #[serde(flatten)]
    host: &'a HostName,
    hostname: &'a str,
    zone: &'a str,
    left_in_dns: &'a [LeftRecord],
    others_possible: bool,
}
