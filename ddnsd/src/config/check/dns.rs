//! `[dns_service]`: the name server that takes the updates and its keys, or the built-in one.

use super::builtin_dns::builtin;
use super::networks;
use super::section::Section;
use super::value::MAX_SECONDS;
use crate::config::files::{NamedFile, NamedFiles};
use crate::config::{DnsBackend, DnsConfig, DnsTransport, Rfc2136, ZoneKeys};
use crate::model::name::Zone;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use toml::de::DeValue;

#[derive(Clone, Copy, PartialEq, Eq)]
enum DnsBackendName {
    Rfc2136,
    Builtin,
}

const BACKENDS: &[(&str, DnsBackendName)] =
    &[("rfc2136", DnsBackendName::Rfc2136), ("builtin", DnsBackendName::Builtin)];

const TRANSPORTS: &[(&str, DnsTransport)] =
    &[("auto", DnsTransport::Auto), ("tcp", DnsTransport::Tcp)];

/// `dns_timeout` must be less than `request_timeout`; `None` if that is wrong itself.
pub(super) fn read(
    section: &mut Section<'_>,
    request_timeout: Option<Duration>,
    files: &mut NamedFiles,
) -> DnsConfig {
    let backend = section.choice("backend", DnsBackendName::Rfc2136, BACKENDS);
    let cleanup_interval = section.seconds("cleanup_interval", 1..=MAX_SECONDS, 60);
    let verify_interval = section.seconds("verify_interval", 0..=MAX_SECONDS, 3600);
    let rfc2136 = rfc2136(section);
    let default_key = section.file("ddns_default_key_file");
    let zone_keys = section.within("zone_keys", zone_keys);
    let builtin =
        section.within("builtin", |inner| builtin(inner, backend == DnsBackendName::Builtin));
    let backend = match backend {
        DnsBackendName::Builtin => DnsBackend::Builtin(builtin),
        DnsBackendName::Rfc2136 => {
            bound_timeout(section, rfc2136.timeout, request_timeout);
            if default_key.is_none() && section.is_sound("dns_service.ddns_default_key_file") {
                let what =
                    "is not set, so updates of zones that zone_keys does not name go unsigned";
                section.warn("ddns_default_key_file", what);
            }
            files.keys.default = default_key;
            files.keys.zones = zone_keys;
            DnsBackend::Rfc2136(rfc2136)
        }
    };
    DnsConfig { backend, cleanup_interval, verify_interval }
}

fn rfc2136(section: &mut Section<'_>) -> Rfc2136 {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = section.parsed("dns_server", "127.0.0.1", loopback, networks::address);
    Rfc2136 {
        server: SocketAddr::new(address, section.number("dns_port", 1..=u16::MAX, 53)),
        timeout: section.seconds("dns_timeout", 1..=MAX_SECONDS, 5),
        transport: section.choice("dns_transport", DnsTransport::Auto, TRANSPORTS),
        keys: ZoneKeys::default(),
    }
}

/// A change may take all of `dns_timeout`, and the request must still be answered in time.
fn bound_timeout(section: &mut Section<'_>, timeout: Duration, request: Option<Duration>) {
    if let Some(request) = request
        && timeout >= request
        && section.is_sound("dns_service.dns_timeout")
    {
        let got = timeout.as_secs();
        let limit = request.as_secs();
        let default = if section.is_given("dns_timeout") { "" } else { ", its default" };
        let what =
            format!("must be less than daemon.request_timeout ({limit}), got {got}{default}");
        section.problem("dns_timeout", what);
    }
}

fn zone_keys(section: &mut Section<'_>) -> Vec<(Zone, NamedFile)> {
    let mut keys = Vec::new();
    let mut seen = BTreeSet::new();
    for key in section.keys() {
        // in TOML, an unquoted zone with dots is a table
        let expected = r#"a key file, "zone.example" = "FILE" with all its quotes"#;
        let Some(path) = section.take(key, expected, DeValue::as_str) else {
            continue;
        };
        section.record(key, path);
        let location = section.location(key);
        match Zone::parse(key) {
            Err(error) => section.problem(key, format!("must be the name of a zone, but {error}")),
            Ok(_) if path.is_empty() => section.problem(key, "must name a key file"),
            Ok(zone) if !seen.insert(zone.clone()) => {
                section.problem(key, "names a zone that another entry names already");
            }
            Ok(zone) => keys.push((zone, NamedFile { location, path: path.into() })),
        }
    }
    keys
}
