//! `ddnsctl export`

use super::session::{Session, all_rows, print};
use crate::client::DNS_TIMEOUT;
use crate::exit::{Failure, message};
use crate::output::{json_line, utc};
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::host::{HostView, ListHosts};
use ddnsd_proto::transfer::UserRecord;
use ddnsd_proto::user::ListUsers;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{fstat, stat};
use serde::Serialize;
use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

/// Prints users and hosts as JSON lines, with or without `--json`.
pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    if is_closed(io::stdout())? {
        return Err(io::Error::other("it is closed").into());
    }
    let client = session.client().await?;
    // hosts first, so that the users read afterwards include the owner of each
    let hosts = all_rows(async |after| {
        let query = ListHosts { after, limit: MAX_PAGE, ..ListHosts::default() };
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_list(ctx, query).await).await
    });
    let hosts = hosts.await?;
    let users = all_rows(async |after| {
        let query = ListUsers { after, limit: MAX_PAGE };
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.user_export(ctx, query).await).await
    });
    let users = users.await?;
    message("the export contains password hashes: protect it (umask 077, or chmod 600 FILE)");
    print(&exported(&users, &hosts))
}

/// Whether the standard library put `/dev/null` in its place at the start of the process. It opens
/// that for reading and writing. So do programs that discard an output, but an export has no other
/// purpose than its output. A shell opens `/dev/null` for writing only.
fn is_closed(stdout: impl AsFd) -> io::Result<bool> {
    let flags = OFlag::from_bits_truncate(fcntl(&stdout, FcntlArg::F_GETFL)?);
    let is_both = flags & OFlag::O_ACCMODE == OFlag::O_RDWR;
    Ok(is_both && fstat(&stdout)?.st_rdev == stat("/dev/null")?.st_rdev)
}

/// A user's line. The order of the keys is part of the format.
#[derive(Serialize)]
struct UserLine<'a> {
    user: &'a str,
    email: &'a str,
    password_hash: &'a str,
    created: String,
    suspended: Option<String>,
}

/// A host's line: the wanted addresses; `null` for defaults and for values that were never set.
#[derive(Serialize)]
struct HostLine<'a> {
    hostname: &'a str,
    zone: &'a str,
    user: &'a str,
    dns_ttl: Option<u32>,
    expiry_ttl: Option<u32>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    ipv4_updated: Option<String>,
    ipv6_updated: Option<String>,
    last_ipv4: Option<Ipv4Addr>,
    last_ipv6: Option<Ipv6Addr>,
    ipv6_suffix: Option<Ipv6Addr>,
    follows: Option<&'a str>,
    ipv6_prefix: Option<&'a str>,
    created: String,
    suspended: Option<String>,
}

/// Users, then hosts; a host stands before those that follow it. A host without its owner was
/// deleted together with the owner meanwhile.
fn exported(users: &[UserRecord], hosts: &[HostView]) -> String {
    let names: HashSet<_> = users.iter().map(|user| user.name.as_str()).collect();
    let mut text: String = users.iter().map(user_line).collect();
    let owned = || hosts.iter().filter(|host| names.contains(host.user.as_str()));
    text.extend(owned().filter(|host| host.follows.is_none()).map(host_line));
    text.extend(owned().filter(|host| host.follows.is_some()).map(host_line));
    text
}

fn user_line(user: &UserRecord) -> String {
    let UserRecord { name, email, password_hash, created_at, suspended_at } = user;
    json_line(&UserLine {
        user: name,
        email,
        password_hash: &password_hash.0,
        created: utc(*created_at),
        suspended: suspended_at.map(utc),
    })
}

fn host_line(host: &HostView) -> String {
    json_line(&HostLine {
        hostname: &host.hostname,
        zone: &host.zone,
        user: &host.user,
        dns_ttl: Some(host.dns_ttl).filter(|_| !host.dns_ttl_is_default),
        expiry_ttl: Some(host.expiry_ttl).filter(|_| !host.expiry_ttl_is_default),
        ipv4: host.ipv4,
        ipv6: host.ipv6,
        ipv4_updated: host.ipv4_updated_at.map(utc),
        ipv6_updated: host.ipv6_updated_at.map(utc),
        last_ipv4: host.last_ipv4,
        last_ipv6: host.last_ipv6,
        ipv6_suffix: host.ipv6_suffix,
        follows: host.follows.as_deref(),
        ipv6_prefix: host.ipv6_prefix.as_deref(),
        created: utc(host.created_at),
        suspended: host.suspended_at.map(utc),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ddnsd_proto::transfer::Confidential;

    #[test]
    fn an_export_is_users_then_hosts_with_all_keys_in_order() {
        let alice = UserRecord {
            name: "alice".into(),
            email: "a@example.org".into(),
            password_hash: Confidential("$argon2id$x".into()),
            created_at: 1_795_428_000_000,
            suspended_at: Some(1_795_428_000_000),
        };
        let host = HostView {
            hostname: "pc".into(),
            zone: "example.org".into(),
            user: "alice".into(),
            dns_ttl: 60,
            dns_ttl_is_default: true,
            expiry_ttl: 0,
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            last_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv4_updated_at: Some(1_795_428_000_001),
            created_at: 1_795_428_000_000,
            ..HostView::default()
        };
        let orphan = HostView { user: "bob".into(), ..HostView::default() };
        assert_eq!(
            exported(&[alice], &[orphan, host]),
            concat!(
                r#"{"user":"alice","email":"a@example.org","password_hash":"$argon2id$x","#,
                r#""created":"2026-11-23T10:00:00.000Z","#,
                r#""suspended":"2026-11-23T10:00:00.000Z"}"#,
                "\n",
                r#"{"hostname":"pc","zone":"example.org","user":"alice","dns_ttl":null,"#,
                r#""expiry_ttl":0,"ipv4":"192.0.2.1","ipv6":null,"#,
                r#""ipv4_updated":"2026-11-23T10:00:00.001Z","ipv6_updated":null,"#,
                r#""last_ipv4":"192.0.2.1","last_ipv6":null,"ipv6_suffix":null,"follows":null,"ipv6_prefix":null,"created":"2026-11-23T10:00:00.000Z","#,
                r#""suspended":null}"#,
                "\n"
            )
        );
    }
}
