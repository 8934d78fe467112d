//! A configuration in, its keys and values as they are in force out, by section. Pure. Secrets are
//! compared and never shown.

use super::check::{facility_name, level_name};
use super::{
    AdminConfig, Builtin, Config, Database, DatabaseTls, DnsBackend, DnsConfig, DnsTransport,
    EmailConfig, Endpoint, Http, LimitsConfig, Log, LogTarget, MariaDb, Rfc2136, TsigKey,
};
use crate::model::secret::{Secret, SecretBytes};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The dotted key.
    pub(super) key: String,
    /// What may be shown of the value.
    pub(super) shown: String,
    /// What may not, or what the file holds that the value names.
    pub(super) hidden: Option<SecretBytes>,
}

/// The keys of one section, in display order.
struct Keys {
    section: &'static str,
    entries: Vec<Entry>,
}

impl Keys {
    fn of(section: &'static str) -> Self {
        Self { section, entries: Vec::new() }
    }

    fn add(mut self, key: &str, value: impl Display) -> Self {
        let key = format!("{}.{key}", self.section);
        self.entries.push(Entry { key, shown: value.to_string(), hidden: None });
        self
    }

    fn hiding(mut self, secret: SecretBytes) -> Self {
        if let Some(last) = self.entries.last_mut() {
            last.hidden = Some(secret);
        }
        self
    }

    fn seconds(self, key: &str, time: Duration) -> Self {
        self.add(key, time.as_secs())
    }

    fn path(self, key: &str, path: Option<&PathBuf>) -> Self {
        self.add(key, path.map_or_else(String::new, |path| path.display().to_string()))
    }

    fn list(self, key: &str, items: impl IntoIterator<Item = impl Display>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
        self.add(key, items.join(", "))
    }

    fn secret(self, key: &str, secret: &Secret) -> Self {
        // one that is empty is not set, as one of another backend is
        if secret.expose().is_empty() {
            return self.add(key, "");
        }
        self.add(key, "***").hiding(SecretBytes::new(secret.expose().as_bytes().to_vec()))
    }

    fn tsig(self, key: &str, tsig: &TsigKey) -> Self {
        let mut hidden = vec![tsig.algorithm as u8];
        hidden.extend_from_slice(tsig.secret.expose());
        self.add(key, format_args!("key {}", tsig.name)).hiding(SecretBytes::new(hidden))
    }
}

/// Every key that has an effect.
pub(super) fn of(config: &Config) -> Vec<Entry> {
    let Config { http, log, database: base, dns, defaults, email: mail, .. } = config;
    let auth = Keys::of("auth").seconds("cache_ttl", config.auth.cache_ttl);
    let defaults = Keys::of("defaults")
        .add("dns_ttl", defaults.dns_ttl)
        .add("expiry_ttl", defaults.expiry_ttl);
    let listen = config.metrics.map_or_else(String::new, |listen| listen.to_string());
    let sections = [
        daemon(http, log).add("thread_pool_size", config.auth.threads),
        database(base),
        dns_service(dns),
        defaults,
        email(mail.as_ref()),
        limits(&config.limits),
        auth,
        admin(&config.admin),
        Keys::of("metrics").add("listen", listen),
        endpoints(&config.endpoints),
    ];
    sections.into_iter().flat_map(|section| section.entries).collect()
}

fn daemon(http: &Http, log: &Log) -> Keys {
    let header = http.proxy_header.as_ref().map_or("", http::HeaderName::as_str);
    let mut keys = Keys::of("daemon")
        .add("host", &http.host)
        .add("port", http.port)
        .add("ssl", http.tls.is_some());
    if let Some(tls) = &http.tls {
        // a key that fits the same certificate is the same key
        let chain = tls.certified.cert.iter().flat_map(|der| der.iter().copied()).collect();
        keys = keys
            .add("ssl_cert_file", tls.cert_file.display())
            .hiding(SecretBytes::new(chain))
            .add("ssl_key_file", tls.key_file.display());
    }
    keys = keys
        .add("proxy_header", header)
        .list("trusted_proxies", http.trusted_proxies.iter())
        .seconds("request_timeout", http.request_timeout)
        .add("log_requests", http.log_requests)
        .add("log_level", level_name(log.level));
    match &log.target {
        LogTarget::Stdout => keys.add("log_target", "stdout"),
        LogTarget::Journald => keys.add("log_target", "journald"),
        LogTarget::Syslog { socket, facility } => keys
            .add("log_target", "syslog")
            .add("syslog_socket", socket.display())
            .add("syslog_facility", facility_name(*facility)),
        LogTarget::File { path, max_bytes, versions } => keys
            .add("log_target", "file")
            .add("log_file", path.display())
            .add("log_file_size", max_bytes)
            .add("log_versions", versions),
    }
}

fn database(database: &Database) -> Keys {
    let keys = Keys::of("database");
    match database {
        Database::Sqlite { path, pool_size } => {
            keys.add("backend", "sqlite").add("path", path.display()).add("pool_size", pool_size)
        }
        Database::Mariadb(server) => mariadb(keys.add("backend", "mariadb"), server),
    }
}

fn mariadb(keys: Keys, server: &MariaDb) -> Keys {
    let tls = match server.tls {
        DatabaseTls::Disabled => "disabled",
        DatabaseTls::Preferred => "preferred",
        DatabaseTls::Required => "required",
        DatabaseTls::Verify => "verify",
    };
    keys.add("host", &server.host)
        .add("port", server.port)
        .path("socket", server.socket.as_ref())
        .add("user", &server.user)
        .secret("password", &server.password)
        .add("name", &server.name)
        .add("tls", tls)
        .path("tls_ca_file", server.tls_ca_file.as_ref())
        .add("pool_size", server.pool_size)
}

fn dns_service(dns: &DnsConfig) -> Keys {
    let keys = Keys::of("dns_service");
    let keys = match &dns.backend {
        DnsBackend::Rfc2136(config) => rfc2136(keys.add("backend", "rfc2136"), config),
        DnsBackend::Builtin(config) => builtin(keys.add("backend", "builtin"), config),
    };
    keys.seconds("cleanup_interval", dns.cleanup_interval)
}

fn rfc2136(keys: Keys, config: &Rfc2136) -> Keys {
    let transport = match config.transport {
        DnsTransport::Auto => "auto",
        DnsTransport::Tcp => "tcp",
    };
    let mut keys = keys
        .add("dns_server", config.server.ip())
        .add("dns_port", config.server.port())
        .seconds("dns_timeout", config.timeout)
        .add("dns_transport", transport);
    if let Some(key) = &config.keys.default {
        keys = keys.tsig("ddns_default_key_file", key);
    }
    for (zone, key) in &config.keys.zones {
        keys = keys.tsig(&format!("zone_keys.\"{zone}\""), key);
    }
    keys
}

fn builtin(keys: Keys, config: &Builtin) -> Keys {
    let mut keys = keys
        .list("builtin.listen", &config.listen)
        .list("builtin.zones", &config.zones)
        .list("builtin.nameservers", &config.nameservers)
        .add("builtin.hostmaster", &config.hostmaster)
        .list("builtin.allow_transfer", &config.allow_transfer)
        .list("builtin.notify", &config.notify);
    for (name, addresses) in &config.nameserver_addresses {
        keys = keys.list(&format!("builtin.nameserver_addresses.\"{name}\""), addresses);
    }
    keys
}

fn email(email: Option<&EmailConfig>) -> Keys {
    let keys = Keys::of("email").add("enabled", email.is_some());
    let Some(email) = email else { return keys };
    let mut keys = keys
        .add("smtp_host", &email.smtp_host)
        .add("smtp_port", email.smtp_port)
        .add("smtp_starttls", email.starttls)
        .path("smtp_ca_file", email.ca_file.as_ref())
        .add("from_address", &email.from_address)
        .path("change_notification_template", email.change_template.as_ref())
        .path("expiry_notification_template", email.expiry_template.as_ref());
    if let Some((user, password)) = &email.login {
        keys = keys.add("smtp_username", user).secret("smtp_password_file", password);
    }
    keys
}

fn limits(limits: &LimitsConfig) -> Keys {
    Keys::of("rate_limit")
        .add("enabled", limits.enabled)
        .seconds("good_window_seconds", limits.good_window)
        .add("good_max_requests", limits.good_max)
        .seconds("bad_window_seconds", limits.bad_window)
        .add("bad_max_requests", limits.bad_max)
        .seconds("cleanup_interval", limits.cleanup_interval)
}

fn admin(admin: &AdminConfig) -> Keys {
    Keys::of("admin")
        .add("socket", admin.socket.display())
        .add("mode", format_args!("{:04o}", admin.mode))
        .add("group", admin.group.as_deref().unwrap_or_default())
}

fn endpoints(endpoints: &[Endpoint]) -> Keys {
    let mut keys = Keys::of("endpoints");
    for Endpoint { path, params } in endpoints {
        keys = keys
            .list(&format!("{path:?}.hostname"), &params.hostname)
            .list(&format!("{path:?}.ipv4"), &params.ipv4)
            .list(&format!("{path:?}.ipv6"), &params.ipv6)
            .list(&format!("{path:?}.username"), &params.username)
            .list(&format!("{path:?}.password"), &params.password)
            .list(&format!("{path:?}.notify_change"), &params.notify_change);
    }
    keys
}
