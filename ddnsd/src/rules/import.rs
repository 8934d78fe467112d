//! Reads the lines of an import. In: a line of JSON. Out: a user or a host with checked names,
//! addresses and times, or what is wrong with it. Hashes, and which users exist, are checked
//! elsewhere.

use crate::model::address::Addresses;
use crate::model::host::{ImportedHost, Seen};
use crate::model::name::{Email, Fqdn, HostNames, Label, UserName, Zone};
use crate::model::prefix::{Ipv6Prefix, Ipv6Suffix};
use crate::model::text::cannot_take;
use crate::model::time::Millis;
use crate::model::ttl as ttl_range;
use crate::model::user::{ImportedUser, PasswordHash};
use crate::rules::request::unreachable;
use serde::Deserialize;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportEntry {
    User(ImportedUser),
    Host(Box<ImportedHost>),
}

/// A line as it is in the file; absent values are `null` or left out. It has no Debug: it holds
/// hashes.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ImportLine {
    user: Option<String>,
    email: Option<String>,
    password_hash: Option<String>,
    created: Option<String>,
    suspended: Option<String>,
    hostname: Option<String>,
    zone: Option<String>,
    dns_ttl: Option<i64>,
    expiry_ttl: Option<i64>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    ipv4_updated: Option<String>,
    ipv6_updated: Option<String>,
    last_ipv4: Option<String>,
    last_ipv6: Option<String>,
    ipv6_suffix: Option<String>,
    follows: Option<String>,
    ipv6_prefix: Option<String>,
}

/// Reads a line.
///
/// # Errors
/// Says what is wrong with it: no JSON object, an unknown or missing key, or an illegal value.
pub fn entry(line: &str) -> Result<ImportEntry, String> {
    // editors of some systems begin a file with a byte order mark
    let line = line.trim_start_matches('\u{feff}');
    if !line.trim_start().starts_with('{') {
        return Err("it is not a JSON object, which begins with {".to_owned());
    }
    let line: ImportLine = serde_json::from_str(line).map_err(|error| parse_problem(&error))?;
    if line.hostname.is_some() || line.zone.is_some() {
        line.host().map(|host| ImportEntry::Host(Box::new(host)))
    } else {
        line.user().map(ImportEntry::User)
    }
}

/// The user that a faulty line is about, if that can be read.
pub fn user_of_faulty_line(line: &str) -> Option<UserName> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let has = |key: &str| value.get(key).is_some_and(|value| !value.is_null());
    let is_host = has("hostname") || has("zone");
    let name = value.get("user").filter(|_| !is_host)?;
    UserName::parse(name.as_str()?).ok()
}

impl ImportLine {
    fn user(self) -> Result<ImportedUser, String> {
        let of_hosts = [
            ("dns_ttl", self.dns_ttl.is_some()),
            ("expiry_ttl", self.expiry_ttl.is_some()),
            ("ipv4", self.ipv4.is_some()),
            ("ipv6", self.ipv6.is_some()),
            ("ipv4_updated", self.ipv4_updated.is_some()),
            ("ipv6_updated", self.ipv6_updated.is_some()),
            ("last_ipv4", self.last_ipv4.is_some()),
            ("last_ipv6", self.last_ipv6.is_some()),
            ("ipv6_suffix", self.ipv6_suffix.is_some()),
            ("follows", self.follows.is_some()),
            ("ipv6_prefix", self.ipv6_prefix.is_some()),
        ];
        if let Some((key, _)) = of_hosts.iter().find(|(_, given)| *given) {
            return Err(format!("{key} belongs to a host, but hostname and zone are missing"));
        }
        let name = needed("user", self.user)?;
        let email = needed("email", self.email)?;
        let hash = needed("password_hash", self.password_hash)?;
        Ok(ImportedUser {
            name: user_name(&name)?,
            email: Email::parse(&email).map_err(|why| cannot_take("email", &email, &why))?,
            hash: PasswordHash(hash.into_boxed_str()),
            created_at: time("created", self.created.as_deref())?,
            suspended_at: time("suspended", self.suspended.as_deref())?,
        })
    }

    fn host(self) -> Result<ImportedHost, String> {
        for (key, given) in
            [("email", self.email.is_some()), ("password_hash", self.password_hash.is_some())]
        {
            if given {
                return Err(format!("{key} belongs to a user, but this line is a host's"));
            }
        }
        let hostname = needed("hostname", self.hostname)?;
        let zone = needed("zone", self.zone)?;
        let user = user_name(&needed("user", self.user)?)?;
        let HostNames { label, zone, fqdn } = names(&hostname, &zone)?;
        let leader = self.follows.as_deref().map(|text| read("follows", text, Fqdn::parse));
        let leader = leader.transpose()?;
        let suffix = self.ipv6_suffix.as_deref();
        let suffix = suffix.map(|text| read("ipv6_suffix", text, Ipv6Suffix::parse)).transpose()?;
        let prefix = self.ipv6_prefix.as_deref();
        let prefix = prefix.map(|text| read("ipv6_prefix", text, Ipv6Prefix::parse)).transpose()?;
        check_place(&fqdn, leader.as_ref(), suffix, prefix)?;
        Ok(ImportedHost {
            user,
            label,
            zone,
            fqdn,
            dns_ttl: ttl("dns_ttl", self.dns_ttl)?,
            expiry_ttl: ttl("expiry_ttl", self.expiry_ttl)?,
            addresses: Addresses {
                v4: address("ipv4", "an IPv4 address", self.ipv4.as_deref())?,
                v6: address("ipv6", "an IPv6 address", self.ipv6.as_deref())?,
            },
            last_addresses: Addresses {
                v4: address("last_ipv4", "an IPv4 address", self.last_ipv4.as_deref())?,
                v6: address("last_ipv6", "an IPv6 address", self.last_ipv6.as_deref())?,
            },
            seen: Seen {
                v4: time("ipv4_updated", self.ipv4_updated.as_deref())?,
                v6: time("ipv6_updated", self.ipv6_updated.as_deref())?,
            },
            suffix,
            leader,
            prefix,
            created_at: time("created", self.created.as_deref())?,
            suspended_at: time("suspended", self.suspended.as_deref())?,
        })
    }
}

fn check_place(
    fqdn: &Fqdn,
    leader: Option<&Fqdn>,
    suffix: Option<Ipv6Suffix>,
    prefix: Option<Ipv6Prefix>,
) -> Result<(), String> {
    let Some(leader) = leader else { return Ok(()) };
    if leader == fqdn {
        Err(format!("hostname {fqdn} cannot follow itself"))
    } else if suffix.is_none() {
        Err("follows needs an ipv6_suffix".to_owned())
    } else if prefix.is_some() {
        Err(format!("ipv6_prefix belongs to the host that {fqdn} follows"))
    } else {
        Ok(())
    }
}

fn read<T, E: std::fmt::Display>(
    key: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, String> {
    parse(text).map_err(|why| cannot_take(key, text, &why))
}

/// The parser's message without its line number: it sees one line only.
fn parse_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    let what =
        text.strip_suffix(&end).unwrap_or(&text).replace("expected i64", "expected a number");
    if error.is_data() {
        format!("{what} (column {})", error.column())
    } else {
        format!("it is not a JSON object: {what} (column {})", error.column())
    }
}

fn needed(key: &str, value: Option<String>) -> Result<String, String> {
    value.ok_or_else(|| format!("{key} is missing"))
}

fn user_name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|why| cannot_take("user", text, &why))
}

fn names(hostname: &str, zone: &str) -> Result<HostNames, String> {
    let zone = Zone::parse(zone).map_err(|why| cannot_take("zone", zone, &why))?;
    let names = Label::parse(hostname).and_then(|label| HostNames::new(label, zone));
    names.map_err(|why| cannot_take("hostname", hostname, &why))
}

fn ttl(key: &str, seconds: Option<i64>) -> Result<Option<u32>, String> {
    seconds.map(ttl_range::check).transpose().map_err(|why| format!("{key} {why}"))
}

fn address<A>(key: &str, what: &str, text: Option<&str>) -> Result<Option<A>, String>
where
    A: FromStr + Copy + Into<IpAddr>,
{
    let parse = |text: &str| {
        let address: A =
            text.parse().map_err(|_| cannot_take(key, text, &format_args!("it is not {what}")))?;
        match unpublishable(address.into()) {
            Some(why) => Err(cannot_take(key, text, &format_args!("no one can reach it ({why})"))),
            None => Ok(address),
        }
    };
    text.map(parse).transpose()
}

/// Why no host ever had this address. A client's own one may be loopback or link-local.
fn unpublishable(address: IpAddr) -> Option<&'static str> {
    if address.to_canonical() != address {
        return Some("an IPv4 address written as IPv6");
    }
    unreachable(address).filter(|why| !matches!(*why, "loopback" | "link-local"))
}

fn time(key: &str, text: Option<&str>) -> Result<Option<Millis>, String> {
    let parse = |text: &str| {
        let at = text.parse::<jiff::Timestamp>().map_err(|_| {
            cannot_take(key, text, &"it is not a time like 2026-11-23T10:00:00.000Z (RFC 3339)")
        });
        at.map(|at| Millis(at.as_millisecond()))
    };
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(line: &str) -> ImportedHost {
        match entry(line) {
            Ok(ImportEntry::Host(host)) => *host,
            other => panic!("not a host: {other:?}"),
        }
    }

    fn problem(line: &str) -> String {
        entry(line).expect_err(line)
    }

    #[test]
    fn a_user_needs_name_mail_and_hash_and_no_more() {
        let line = r#"{"user":"alice","email":"a@example.org","password_hash":"$argon2id$x"}"#;
        let Ok(ImportEntry::User(user)) = entry(line) else { panic!("not a user") };
        assert_eq!((user.name.as_str(), user.email.as_str()), ("alice", "a@example.org"));
        assert_eq!((&*user.hash.0, user.created_at), ("$argon2id$x", None));
        assert!(!format!("{user:?}").contains("argon2"));
    }

    #[test]
    fn a_host_needs_name_zone_and_user_and_no_more() {
        let host = host(r#"{"hostname":"Büro","zone":"example.org.","user":"alice","ipv4":null}"#);
        assert_eq!(host.fqdn.as_str(), "xn--bro-hoa.example.org");
        assert_eq!(
            (host.dns_ttl, host.addresses, host.created_at),
            (None, Addresses::default(), None)
        );
    }

    #[test]
    fn what_is_no_object_or_no_address_of_a_host_is_refused() {
        assert!(problem(r#"["alice","a@example.org","$argon2id$x"]"#).contains("object"));
        assert!(
            entry("\u{feff}{\"hostname\":\"pc\",\"zone\":\"example.org\",\"user\":\"a\"}").is_ok()
        );
        for (key, address) in [
            ("ipv4", "0.0.0.0"),
            ("ipv4", "224.0.0.1"),
            ("last_ipv4", "255.255.255.255"),
            ("ipv6", "::"),
            ("ipv6", "::ffff:192.0.2.1"),
        ] {
            let line = format!(
                r#"{{"hostname":"pc","zone":"example.org","user":"a","{key}":"{address}"}}"#
            );
            assert!(problem(&line).contains("no one can reach it"), "{line}");
        }
    }

    #[test]
    fn all_fields_of_a_host_are_read() {
        let host = host(
            r#"{"hostname":"@","zone":"example.org","user":"alice","dns_ttl":0,"expiry_ttl":2147483647,
               "ipv4":"192.0.2.1","ipv6":null,"ipv4_updated":"2026-11-23T10:00:00.123Z",
               "ipv6_updated":"2026-11-23T12:00:00+02:00","last_ipv4":"192.0.2.1",
               "last_ipv6":"2001:db8::1","created":"1970-01-01T00:00:00Z",
               "suspended":"1970-01-01T00:00:01Z"}"#,
        );
        assert_eq!((host.dns_ttl, host.expiry_ttl), (Some(0), Some(2_147_483_647)));
        assert_eq!(host.addresses.to_string(), "192.0.2.1");
        assert_eq!(host.last_addresses.to_string(), "192.0.2.1 2001:db8::1");
        let v4 = Some(Millis(1_795_428_000_123));
        let v6 = Some(Millis(1_795_428_000_000));
        assert_eq!(host.seen, Seen { v4, v6 });
        assert_eq!((host.created_at, host.suspended_at), (Some(Millis(0)), Some(Millis(1000))));
    }

    #[test]
    fn the_user_of_a_faulty_line_is_read_if_possible() {
        let name = |line| user_of_faulty_line(line).map(|name| name.as_str().to_owned());
        assert_eq!(name(r#"{"user":"a","email":7}"#).as_deref(), Some("a"));
        assert_eq!(name(r#"{"user":"a","zone":"x"}"#), None);
        assert_eq!(name("nonsense"), None);
    }

    #[test]
    fn a_problem_names_what_is_wrong() {
        for (line, words) in [
            ("nonsense", "it is not a JSON object"),
            ("{", "it is not a JSON object"),
            ("{} {}", "it is not a JSON object: trailing characters (column 4)"),
            ("[1]", "it is not a JSON object"),
            ("{}", "user is missing"),
            (r#"{"user":"a","colour":"red"}"#, "unknown field `colour`"),
            (r#"{"user":"a","user":"b"}"#, "duplicate field `user`"),
            (r#"{"user":"a","email":"a@example.org"}"#, "password_hash is missing"),
            (r#"{"user":"a:b","email":"a@example.org","password_hash":"x"}"#, "user \"a:b\""),
            (r#"{"user":"a","email":"nobody","password_hash":"x"}"#, "email \"nobody\""),
            (r#"{"user":"a","ipv4":"192.0.2.1"}"#, "ipv4 belongs to a host"),
            (r#"{"hostname":"pc","user":"a"}"#, "zone is missing"),
            (r#"{"zone":"example.org","user":"a"}"#, "hostname is missing"),
            (r#"{"hostname":"pc","zone":"example.org"}"#, "user is missing"),
            (
                r#"{"hostname":"pc","zone":"example.org","user":"a","email":"x"}"#,
                "belongs to a user",
            ),
            (r#"{"hostname":"a_b","zone":"example.org","user":"a"}"#, "hostname \"a_b\""),
            (r#"{"hostname":"pc","zone":"a b","user":"a"}"#, "zone \"a b\""),
            (r#"{"hostname":"@","zone":"org","user":"a"}"#, "single label"),
        ] {
            let found = problem(line);
            assert!(found.contains(words), "{line}: {found}");
        }
        for (key, value, words) in [
            ("dns_ttl", "-1", "dns_ttl is 0 to 2147483647 seconds, not -1"),
            ("expiry_ttl", "2147483648", "not 2147483648"),
            ("dns_ttl", "1.5", "column"),
            ("dns_ttl", "\"60\"", "column"),
            ("ipv4", "\"2001:db8::1\"", "it is not an IPv4 address"),
            ("last_ipv6", "\"192.0.2.1\"", "it is not an IPv6 address"),
            ("created", "\"yesterday\"", "RFC 3339"),
            ("ipv4_updated", "\"2026-11-23 10:00\"", "RFC 3339"),
        ] {
            let line =
                format!(r#"{{"hostname":"pc","zone":"example.org","user":"a","{key}":{value}}}"#);
            let found = problem(&line);
            assert!(found.contains(words), "{line}: {found}");
        }
    }
}
