//! Two configurations in: the one in force and the one of the file. Out: the one that can be in force
//! without a restart, and what differs, by key. Pure.

use super::keys::{self, Entry};
use super::{Config, DnsBackend};
use std::collections::BTreeMap;

/// What takes effect only when ddnsd is started again; a section's name with a dot is all of it.
const NEED_A_RESTART: [&str; 7] = [
    "database.",
    "daemon.host",
    "daemon.port",
    "admin.",
    "metrics.listen",
    "dns_service.backend",
    "dns_service.builtin.listen",
];

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// The value before and now; empty where it is not set. `None` for what is not shown: a secret, or
    /// what a file holds.
    pub values: Option<(String, String)>,
}

/// What became of a file that differs from the configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What can be in force at once.
    pub changed: Vec<Difference>,
    /// What needs a restart; the value before stays in force.
    pub needs_restart: Vec<Difference>,
}

impl Config {
    /// This configuration, as far as it can take effect without a restart.
    #[must_use]
    pub fn without_restart(&self, running: &Self) -> Self {
        let mut next = self.clone();
        next.http.host.clone_from(&running.http.host);
        next.http.port = running.http.port;
        next.database = running.database.clone();
        next.admin = running.admin.clone();
        next.metrics = running.metrics;
        match (&mut next.dns.backend, &running.dns.backend) {
            (DnsBackend::Rfc2136(_), DnsBackend::Rfc2136(_)) => {}
            (DnsBackend::Builtin(next), DnsBackend::Builtin(running)) => {
                next.listen.clone_from(&running.listen);
            }
            (next, running) => *next = running.clone(),
        }
        next
    }

    /// What is wrong with this configuration as a whole, although the file of which it took a part has
    /// nothing wrong: the rest needs a restart.
    pub fn conflict(&self) -> Option<String> {
        let DnsBackend::Rfc2136(dns) = &self.dns.backend else { return None };
        let (most, dns) = (self.http.request_timeout.as_secs(), dns.timeout.as_secs());
        (dns >= most).then(|| {
            format!(
                "daemon.request_timeout: must be more than the dns_service.dns_timeout in force ({dns}), \
                 got {most}; or restart ddnsd with the new backend"
            )
        })
    }

    /// What this file's configuration changes in the running one.
    pub fn differences(&self, running: &Self) -> Differences {
        let next = keys::of(&self.without_restart(running));
        let mut needs_restart = differing(&next, &keys::of(self));
        needs_restart.retain(|difference| needs_a_restart(&difference.key));
        Differences { changed: differing(&keys::of(running), &next), needs_restart }
    }
}

fn needs_a_restart(key: &str) -> bool {
    NEED_A_RESTART.iter().any(|name| match name.strip_suffix('.') {
        Some(_) => key.starts_with(name),
        None => key == *name,
    })
}

/// The keys whose values differ, in the order of `new`, then those that are gone.
fn differing(old: &[Entry], new: &[Entry]) -> Vec<Difference> {
    let by_key = |entries| -> BTreeMap<&str, &Entry> {
        let entries: &[Entry] = entries;
        entries.iter().map(|entry| (entry.key.as_str(), entry)).collect()
    };
    let (was, is) = (by_key(old), by_key(new));
    let gone = old.iter().filter(|entry| !is.contains_key(entry.key.as_str()));
    let keys = new.iter().chain(gone).map(|entry| entry.key.as_str());
    keys.filter_map(|key| difference(key, was.get(key).copied(), is.get(key).copied())).collect()
}

fn difference(key: &str, old: Option<&Entry>, new: Option<&Entry>) -> Option<Difference> {
    let shown = |entry: Option<&Entry>| entry.map_or_else(String::new, |entry| entry.shown.clone());
    let hidden = |entry: Option<&Entry>| entry.and_then(|entry| entry.hidden.clone());
    let (was, is) = (shown(old), shown(new));
    if was != is {
        return Some(Difference { key: key.to_owned(), values: Some((was, is)) });
    }
    (hidden(old) != hidden(new)).then(|| Difference { key: key.to_owned(), values: None })
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
    fn a_timeout_that_only_another_backend_bears_is_a_conflict_until_the_restart() {
        let running = config("dns_service.dns_timeout = 5");
        let file = config("dns_service.backend = \"builtin\"\ndaemon.request_timeout = 3");
        assert_eq!((running.conflict(), file.conflict()), (None, None));
        let merged = file.without_restart(&running).conflict().unwrap();
        assert!(merged.starts_with("daemon.request_timeout: must be more than"), "{merged}");
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
    fn what_changed_is_named_with_both_values() {
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
                "daemon.trusted_proxies  -> 10.0.0.0/8, ::1/128",
                "daemon.log_level WARNING -> INFO",
                "daemon.log_target stdout -> file",
                "daemon.log_file  -> x",
                "daemon.log_file_size  -> 52428800",
                "daemon.log_versions  -> 5",
                "dns_service.dns_port 53 -> 5353",
                "defaults.dns_ttl 60 -> 30",
            ]
        );
        assert_eq!(found.needs_restart, []);
    }

    #[test]
    fn what_needs_a_restart_is_named_again_and_again_and_stays_as_it_is() {
        let old = config("");
        let new = config(
            "database.pool_size = 7\ndaemon.host = \"::\"\ndaemon.port = 1\nadmin.mode = \"0600\"\n\
             metrics.listen = \"127.0.0.1:1\"\nauth.cache_ttl = 1",
        );
        let found = new.differences(&old);
        assert_eq!(shown(&found.changed), ["auth.cache_ttl 86400 -> 1"]);
        let restart = [
            "daemon.host localhost -> ::",
            "daemon.port 8443 -> 1",
            "database.pool_size 5 -> 7",
            "admin.mode 0660 -> 0600",
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
    fn another_backend_keeps_the_name_server_of_before() {
        let old = config("dns_service.dns_port = 1");
        let new = config("dns_service.backend = \"builtin\"\ndns_service.cleanup_interval = 7");
        let found = new.differences(&old);
        assert_eq!(shown(&found.changed), ["dns_service.cleanup_interval 60 -> 7"]);
        assert_eq!(
            shown(&found.needs_restart),
            [
                "dns_service.backend rfc2136 -> builtin",
                "dns_service.builtin.listen  -> 127.0.0.1:53"
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
    fn a_secret_that_neither_backend_has_is_no_difference() {
        let (sqlite, mariadb) = (config(""), config("database.backend = \"mariadb\""));
        for (new, old) in [(&mariadb, &sqlite), (&sqlite, &mariadb)] {
            let found = shown(&new.differences(old).needs_restart);
            assert!(found.iter().any(|line| line.starts_with("database.backend")), "{found:?}");
            assert!(!found.iter().any(|line| line.contains("password")), "{found:?}");
        }
    }

    #[test]
    fn endpoints_are_told_apart_by_their_paths() {
        let new = config(
            "[[endpoints]]\npath = \"/nic\"\nparams.hostname = []\n[[endpoints]]\npath = \"/update\"\nparams.ipv4 = [\"ip\"]",
        );
        let found = shown(&new.differences(&config("")).changed);
        assert!(
            found.contains(&"endpoints.\"/update\".ipv4 myip, ipv4, ip4 -> ip".to_owned()),
            "{found:?}"
        );
        assert!(
            found.contains(&"endpoints.\"/nic\".ipv6  -> myip6, ipv6, ip6".to_owned()),
            "{found:?}"
        );
        assert!(!found.iter().any(|line| line.contains("\"/update\".ipv6")), "{found:?}");
    }
}
