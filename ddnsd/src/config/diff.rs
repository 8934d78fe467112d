//! Two configurations in: the one in force and the one of the file. Out: the one that can take
//! effect without a restart, and the keys that differ. Pure. `check/` records the value of each key
//! it reads, defaults included; `load.rs` adds what the named files hold.

use super::{Config, DnsBackend};
use crate::model::secret::SecretBytes;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Keys that take effect only at the next start; a name with a dot at its end is a whole section.
const RESTART_KEYS: [&str; 7] = [
    "database.",
    "daemon.host",
    "daemon.port",
    "admin.",
    "metrics.listen",
    "dns_service.backend",
    "dns_service.builtin.listen",
];

/// The value of every key by its dotted name. Holds no secret in clear.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<String, Value>);

#[derive(Clone, Debug, Default)]
struct Value {
    /// As the file writes it; `***` for a secret.
    shown: String,
    /// SHA-256 of a secret, or of what the named file holds.
    digest: Option<SecretBytes>,
}

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// The old and the new value; empty where it is not set. `None` for what is not shown: a
    /// secret, or what a file holds.
    pub values: Option<(String, String)>,
}

/// How a file differs from the configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What takes effect at once.
    pub changed: Vec<Difference>,
    /// What needs a restart; the old value stays in force.
    pub needs_restart: Vec<Difference>,
}

impl Values {
    pub(super) fn record(&mut self, key: impl Into<String>, shown: impl Display) {
        self.0.insert(key.into(), Value { shown: shown.to_string(), digest: None });
    }

    /// Adds the content behind a recorded value: it is compared and never shown.
    pub(super) fn record_content(&mut self, key: &str, content: &[u8]) {
        if let Some(value) = self.0.get_mut(key) {
            value.digest = Some(SecretBytes::new(Sha256::digest(content).to_vec()));
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The keys whose values differ, sorted; a key that is missing has an empty value.
    fn differences(&self, next: &Self) -> Vec<Difference> {
        let empty = Value::default();
        let value_in = |values: &Self, key: &String| values.0.get(key).unwrap_or(&empty).clone();
        let keys: BTreeSet<_> = self.0.keys().chain(next.0.keys()).collect();
        let compare = |key: &String| difference(key, value_in(self, key), value_in(next, key));
        keys.into_iter().filter_map(compare).collect()
    }

    /// These values, but those of the keys that `is_kept` names as they are in `running`.
    fn keeping(&self, running: &Self, is_kept: impl Fn(&str) -> bool) -> Self {
        let new = self.0.iter().filter(|(key, _)| !is_kept(key));
        let old = running.0.iter().filter(|(key, _)| is_kept(key));
        Self(new.chain(old).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

fn difference(key: &str, old: Value, new: Value) -> Option<Difference> {
    // a file that is not in use is not read, so it has no digest
    let has_other_content = old.digest.zip(new.digest).is_some_and(|(old, new)| old != new);
    let has_other_value = old.shown != new.shown;
    if !has_other_value && !has_other_content {
        return None;
    }
    let values = has_other_value.then_some((old.shown, new.shown));
    Some(Difference { key: key.to_owned(), values })
}

impl Config {
    /// Logs everything, whatever `daemon.log_level` says.
    pub fn force_debug(&mut self) {
        self.log.level = tracing::Level::DEBUG;
        self.values.record("daemon.log_level", "DEBUG");
    }

    /// This configuration, as far as it can take effect without a restart.
    #[must_use]
    pub fn without_restart(&self, running: &Self) -> Self {
        let mut next = self.clone();
        next.http.host.clone_from(&running.http.host);
        next.http.port = running.http.port;
        next.database = running.database.clone();
        next.admin = running.admin.clone();
        next.metrics = running.metrics;
        let is_other_backend = match (&mut next.dns.backend, &running.dns.backend) {
            (DnsBackend::Rfc2136(_), DnsBackend::Rfc2136(_)) => false,
            (DnsBackend::Builtin(next), DnsBackend::Builtin(running)) => {
                next.listen.clone_from(&running.listen);
                false
            }
            (next, running) => {
                *next = running.clone();
                true
            }
        };
        if is_other_backend {
            next.key_files.clone_from(&running.key_files);
        }
        // another backend is not running, so all that belongs to a backend waits for the restart
        let of_any_backend = ["dns_service.cleanup_interval", "dns_service.verify_interval"];
        let is_of_backend =
            |key: &str| key.starts_with("dns_service.") && !of_any_backend.contains(&key);
        let is_kept = |key: &str| needs_restart(key) || (is_other_backend && is_of_backend(key));
        next.values = self.values.keeping(&running.values, is_kept);
        next
    }

    /// What is wrong with a configuration that took its backend from the running one, although the
    /// file itself has no problem.
    pub fn conflict(&self) -> Option<String> {
        let DnsBackend::Rfc2136(dns) = &self.dns.backend else { return None };
        let request_timeout = self.http.request_timeout.as_secs();
        let dns_timeout = dns.timeout.as_secs();
        (dns_timeout >= request_timeout).then(|| {
            format!(
                "daemon.request_timeout: must be more than the dns_service.dns_timeout in force \
                 ({dns_timeout}), got {request_timeout}; or restart ddnsd with the new backend"
            )
        })
    }

    /// What this file's configuration changes in the running one.
    pub fn differences(&self, running: &Self) -> Differences {
        let next = self.without_restart(running).values;
        Differences {
            changed: running.values.differences(&next),
            needs_restart: next.differences(&self.values),
        }
    }
}

fn needs_restart(key: &str) -> bool {
    RESTART_KEYS.iter().any(|name| key == *name || (name.ends_with('.') && key.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    fn config(text: &str) -> Config {
        let checked = check::check(&format!("database.path = \"a\"\n{text}")).unwrap();
        assert_eq!(checked.problems, []);
        checked.config
    }

    #[test]
    fn a_timeout_that_only_the_other_backend_allows_is_a_conflict_until_the_restart() {
        let running = config("dns_service.dns_timeout = 5");
        let file = config("dns_service.backend = \"builtin\"\ndaemon.request_timeout = 3");
        assert_eq!((running.conflict(), file.conflict()), (None, None));
        let merged = file.without_restart(&running).conflict().unwrap();
        assert!(merged.starts_with("daemon.request_timeout: must be more than"), "{merged}");
    }

    #[test]
    fn debug_on_the_command_line_is_no_difference() {
        let debug = |text| {
            let mut config = config(text);
            config.force_debug();
            config
        };
        let found = debug("daemon.log_level = \"ERROR\"").differences(&debug(""));
        assert_eq!(found, Differences::default());
    }

    #[test]
    fn the_content_of_a_file_is_compared_and_not_shown() {
        let with_key = |content: &str| {
            let mut config = config("dns_service.ddns_default_key_file = \"k\"");
            config.values.record_content("dns_service.ddns_default_key_file", content.as_bytes());
            config
        };
        let found = with_key("new").differences(&with_key("old"));
        assert_eq!(shown(&found.changed), ["dns_service.ddns_default_key_file changed"]);
        assert_eq!(with_key("old").differences(&with_key("old")), Differences::default());
        let unread = config("dns_service.ddns_default_key_file = \"k\"");
        assert_eq!(with_key("old").differences(&unread), Differences::default());
        assert_eq!(unread.differences(&with_key("old")), Differences::default());
    }

    fn shown(differences: &[Difference]) -> Vec<String> {
        let line = |difference: &Difference| match &difference.values {
            Some((old, new)) => format!("{} {old} -> {new}", difference.key),
            None => format!("{} changed", difference.key),
        };
        differences.iter().map(line).collect()
    }

    #[test]
    fn the_same_configuration_has_no_differences() {
        let same = config("daemon.port = 1");
        assert_eq!(same.differences(&config("daemon.port = 1")), Differences::default());
    }

    #[test]
    fn a_changed_key_is_named_with_both_values() {
        let (old, new) = (
            config("daemon.log_level = \"warning\""),
            config(
                "defaults.dns_ttl = 30\ndaemon.log_target = \"file\"\ndaemon.log_file = \"x\"\n\
                 dns_service.dns_port = 5353\ndaemon.trusted_proxies = [\"10.0.0.0/8\", \"::1\"]",
            ),
        );
        let found = new.differences(&old);
        assert_eq!(
            shown(&found.changed),
            [
                "daemon.log_file /var/log/ddnsd/ddnsd.log -> x",
                "daemon.log_level WARNING -> INFO",
                "daemon.log_target stdout -> file",
                "daemon.trusted_proxies  -> 10.0.0.0/8, ::1/128",
                "defaults.dns_ttl 60 -> 30",
                "dns_service.dns_port 53 -> 5353",
            ]
        );
        assert_eq!(found.needs_restart, []);
    }

    #[test]
    fn a_key_that_needs_a_restart_is_named_at_each_reload_and_keeps_its_value() {
        let old = config("");
        let new = config(
            "database.pool_size = 7\ndaemon.host = \"::\"\ndaemon.port = 1\nadmin.mode = \"0600\"\n\
             metrics.listen = \"127.0.0.1:1\"\nauth.cache_ttl = 1",
        );
        let found = new.differences(&old);
        assert_eq!(shown(&found.changed), ["auth.cache_ttl 86400 -> 1"]);
        let restart = [
            "admin.mode 0660 -> 0600",
            "daemon.host localhost -> ::",
            "daemon.port 8443 -> 1",
            "database.pool_size 5 -> 7",
            "metrics.listen  -> 127.0.0.1:1",
        ];
        assert_eq!(shown(&found.needs_restart), restart);
        let running = new.without_restart(&old);
        assert_eq!((running.http.port, running.auth.cache_ttl.as_secs()), (8443, 1));
        let again = new.differences(&running);
        assert_eq!(
            (again.changed.len(), shown(&again.needs_restart)),
            (0, restart.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn another_backend_keeps_the_running_name_server() {
        let old = config("dns_service.dns_port = 1");
        let new = config(
            "dns_service.backend = \"builtin\"\ndns_service.cleanup_interval = 7\n\
             dns_service.builtin.listen = [\"127.0.0.1:54\"]",
        );
        let found = new.differences(&old);
        assert_eq!(shown(&found.changed), ["dns_service.cleanup_interval 60 -> 7"]);
        assert_eq!(
            shown(&found.needs_restart),
            [
                "dns_service.backend rfc2136 -> builtin",
                "dns_service.builtin.listen 127.0.0.1:53 -> 127.0.0.1:54",
                "dns_service.dns_port 1 -> 53",
            ]
        );
        let DnsBackend::Rfc2136(kept) = new.without_restart(&old).dns.backend else { panic!() };
        assert_eq!(kept.server.port(), 1);
    }

    #[test]
    fn a_secret_is_compared_and_not_shown() {
        let mariadb = |password: &str| {
            config(&format!("database.backend = \"mariadb\"\ndatabase.password = {password:?}"))
        };
        let found = mariadb("hunter2").differences(&mariadb("hunter3"));
        assert_eq!(shown(&found.needs_restart), ["database.password changed"]);
        let found = mariadb("hunter2").differences(&mariadb(""));
        assert_eq!(shown(&found.needs_restart), ["database.password  -> ***"]);
        assert!(!format!("{found:?}").contains("hunter"));
    }

    #[test]
    fn a_secret_that_is_not_set_is_no_difference() {
        let (sqlite, mariadb) = (config(""), config("database.backend = \"mariadb\""));
        for (new, old) in [(&mariadb, &sqlite), (&sqlite, &mariadb)] {
            let found = shown(&new.differences(old).needs_restart);
            assert!(found.iter().any(|line| line.starts_with("database.backend")), "{found:?}");
            assert!(!found.iter().any(|line| line.contains("password")), "{found:?}");
        }
    }

    #[test]
    fn the_keys_of_endpoints_are_named_by_their_paths() {
        let new = config(
            "[[endpoints]]\npath = \"/nic\"\nparams.hostname = []\n[[endpoints]]\npath = \"/update\"\nparams.ipv4 = [\"ip\"]",
        );
        let found = shown(&new.differences(&config("")).changed);
        assert!(
            found.contains(
                &"endpoints.\"/update\".ipv4 myip, ipv4, ip4, myipv4, ip -> ip".to_owned()
            ),
            "{found:?}"
        );
        assert!(
            found.contains(&"endpoints.\"/nic\".ipv6  -> myip6, ipv6, ip6, myipv6".to_owned()),
            "{found:?}"
        );
        assert!(!found.iter().any(|line| line.contains("\"/update\".ipv6")), "{found:?}");
    }
}
