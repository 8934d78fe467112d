//! `[dns_service]`, checked: the name server that takes the records, and the key of each zone.

use super::tsig_key::TsigKey;
use crate::model::name::Zone;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct DnsConfig {
    pub backend: DnsBackend,
    /// Between expiry sweeps.
    pub cleanup_interval: Duration,
    /// Within which every host is checked once; zero for never.
    pub verify_interval: Duration,
}

#[derive(Clone, Debug)]
pub enum DnsBackend {
    /// Another server, updated with RFC 2136.
    Rfc2136(Rfc2136),
    /// The name server in ddnsd itself.
    Builtin(Builtin),
}

/// A primary name server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rfc2136 {
    pub server: SocketAddr,
    /// How long one change may take, retries included.
    pub timeout: Duration,
    pub transport: DnsTransport,
    pub keys: ZoneKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    /// UDP; TCP for retries, for large messages and after a truncated answer.
    Auto,
    Tcp,
}

/// The content of `ddns_default_key_file` and `zone_keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneKeys {
    /// For zones that no entry names.
    pub default: Option<Arc<TsigKey>>,
    /// The longest entry that is the zone or a parent of it wins.
    pub zones: Vec<(Zone, Arc<TsigKey>)>,
}

impl ZoneKeys {
    /// The key for a zone's updates; `None` sends them unsigned.
    pub fn of(&self, zone: &Zone) -> Option<&Arc<TsigKey>> {
        self.zones
            .iter()
            .filter(|(entry, _)| entry.holds(zone))
            .max_by_key(|(entry, _)| entry.as_str().len())
            .map(|(_, key)| key)
            .or(self.default.as_ref())
    }
}

#[derive(Clone, Debug)]
pub struct Builtin {
    /// Addresses to answer on, UDP and TCP.
    pub listen: Vec<SocketAddr>,
    pub zones: Vec<Zone>,
    /// NS names; the first is the SOA's primary.
    pub nameservers: Vec<String>,
    /// Glue for name servers inside a zone.
    pub nameserver_addresses: Vec<(String, Vec<IpAddr>)>,
    /// Responsible person of the SOA.
    pub hostmaster: String,
    /// Who may AXFR.
    pub allow_transfer: Vec<IpNet>,
    /// Secondaries that get NOTIFY.
    pub notify: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TsigAlgorithm;
    use crate::model::secret::SecretBytes;

    fn key(name: &str) -> Arc<TsigKey> {
        let secret = SecretBytes::new(b"secret".to_vec());
        Arc::new(TsigKey { name: name.into(), algorithm: TsigAlgorithm::Sha256, secret })
    }

    #[test]
    fn the_longest_entry_that_is_the_zone_or_a_parent_wins_in_any_order() {
        let entry = |zone| (Zone::parse(zone).unwrap(), key(zone));
        let [outer, inner, other] = ["example.org", "dyn.example.org", "ample.org"].map(entry);
        for zones in [[&outer, &inner, &other], [&inner, &other, &outer]] {
            let zones = zones.map(Clone::clone).to_vec();
            let keys = ZoneKeys { default: Some(key("default")), zones };
            for (zone, expected) in [
                ("example.org", "example.org"),
                ("else.example.org", "example.org"),
                ("dyn.example.org", "dyn.example.org"),
                ("a.dyn.example.org", "dyn.example.org"),
                ("notdyn.example.org", "example.org"),
                ("org", "default"),
                ("notexample.org", "default"),
            ] {
                let found = keys.of(&Zone::parse(zone).unwrap()).unwrap();
                assert_eq!(found.name, expected, "{zone}");
            }
        }
    }
}
