//! `[dns_service.builtin]`: the name server in ddnsd itself.

use super::networks;
use super::section::Section;
use crate::config::Builtin;
use crate::config::text::shown;
use crate::model::name::{Email, Fqdn, Zone};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const HOSTMASTER: &str = "hostmaster@example.com";
/// Of each list, what a name server needs at most.
const MAX_LISTEN: usize = 64;
const MAX_ZONES: usize = 1_000;
/// With 13 names, an NS answer still fits a UDP message.
const MAX_NAMESERVERS: usize = 13;
const MAX_ADDRESSES: usize = 16;
const MAX_SECONDARIES: usize = 64;

pub(super) fn builtin(section: &mut Section<'_>, is_used: bool) -> Builtin {
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
    let example = |text: &str| zone(text).into_iter().collect();
    let builtin = Builtin {
        listen: section.list("listen", listen, networks::listen),
        zones: section.list("zones", example("dyn.example.com"), zone),
        nameservers: section.list("nameservers", vec!["ns1.example.com".to_owned()], host),
        nameserver_addresses: section.within("nameserver_addresses", glue),
        hostmaster: section.parsed("hostmaster", HOSTMASTER, HOSTMASTER.to_owned(), mail),
        allow_transfer: section.list("allow_transfer", Vec::new(), networks::network),
        notify: section.list("notify", Vec::new(), networks::server),
    };
    bound(section, "listen", &builtin.listen, MAX_LISTEN);
    bound(section, "zones", &builtin.zones, MAX_ZONES);
    bound(section, "nameservers", &builtin.nameservers, MAX_NAMESERVERS);
    bound(section, "notify", &builtin.notify, MAX_SECONDARIES);
    if is_used {
        check_used(section, &builtin);
    }
    builtin
}

/// A list of different items, not too many.
fn bound<T: Ord + ToString>(section: &mut Section<'_>, key: &str, list: &[T], max: usize) {
    if list.len() > max {
        section.problem(key, format!("must have at most {max} items, got {}", list.len()));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = list.iter().find(|item| !seen.insert(*item)) {
        section.problem(key, format!("names {} twice", shown(&twice.to_string())));
    }
}

fn check_used(section: &mut Section<'_>, builtin: &Builtin) {
    for (key, is_empty) in [
        ("listen", builtin.listen.is_empty()),
        ("zones", builtin.zones.is_empty()),
        ("nameservers", builtin.nameservers.is_empty()),
    ] {
        if is_empty && section.is_sound(&section.location(key).key) {
            section.problem(key, "must not be empty");
        }
    }
    for key in ["zones", "nameservers", "hostmaster"] {
        if !section.is_given(key) {
            section.warn(key, "is not set, so the example's name is published");
        }
    }
    warn_of_glue(section, builtin);
}

/// Resolvers find a name server inside its own zone only by its addresses there.
fn warn_of_glue(section: &mut Section<'_>, builtin: &Builtin) {
    let is_served = |name: &String| {
        Zone::parse(name).is_ok_and(|name| builtin.zones.iter().any(|zone| zone.holds(&name)))
    };
    let addresses = &builtin.nameserver_addresses;
    for name in builtin.nameservers.iter().filter(|name| is_served(name)) {
        if !addresses.iter().any(|(given, addresses)| given == name && !addresses.is_empty()) {
            let what = format!(
                "has `{name}`, which lies in a served zone: set its addresses in \
                 nameserver_addresses, unless it is a host with an address"
            );
            section.warn("nameservers", what);
        }
    }
    for (name, _) in addresses.iter().filter(|(name, _)| !is_served(name)) {
        let what = format!("has `{name}`, which lies in no served zone, so it is not published");
        section.warn("nameserver_addresses", what);
    }
}

fn glue(section: &mut Section<'_>) -> Vec<(String, Vec<IpAddr>)> {
    let mut glue = Vec::new();
    let mut seen = BTreeSet::new();
    for key in section.keys() {
        let addresses = section.list(key, Vec::new(), networks::address);
        bound(section, key, &addresses, MAX_ADDRESSES);
        match host(key) {
            Ok(name) if !seen.insert(name.clone()) => {
                section.problem(key, "is a name that another entry has already");
            }
            Ok(name) => glue.push((name, addresses)),
            Err(what) => section.problem(key, what),
        }
    }
    glue
}

fn zone(text: &str) -> Result<Zone, String> {
    Zone::parse(text)
        .map_err(|why| format!("must be names of zones, got {}, but {why}", shown(text)))
}

fn host(text: &str) -> Result<String, String> {
    let name = Fqdn::parse(text).map(|name| name.as_str().to_owned());
    name.map_err(|why| format!("must be a host name, got {}, but {why}", shown(text)))
}

fn mail(text: &str) -> Result<String, String> {
    // RFC 1035, 8: the local part is a label
    const MAX_LOCAL: usize = 63;
    let mail = Email::parse(text).map(|mail| mail.as_str().to_owned());
    let mail = mail.map_err(|_| format!("must be a mail address, got {}", shown(text)))?;
    let local = mail.rsplit_once('@').map_or(mail.as_str(), |(local, _)| local);
    if local.len() > MAX_LOCAL || !local.is_ascii() {
        let what = "must be a mail address with at most 63 ASCII characters before the @";
        return Err(format!("{what}, got {}", shown(text)));
    }
    Ok(mail)
}
