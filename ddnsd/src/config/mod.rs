//! The checked configuration. Every value is in range, and each part of the program gets its
//! section only. `check/` turns the text of the file into this or names every problem with its
//! line. `load.rs` reads the file and the files it names; `tsig_key.rs` parses BIND's key files;
//! `diff.rs` compares two configurations.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod check;
mod diff;
mod dns;
mod error;
mod files;
pub mod load;
mod mail_template;
mod text;
mod tls;
pub mod tsig_key;
mod validity;

use diff::Values;
pub use diff::{Difference, Differences};
pub use dns::{Builtin, DnsBackend, DnsConfig, DnsTransport, Rfc2136, ZoneKeys};
pub use error::{ConfigError, Problem};
use files::KeyFiles;
pub use files::{FileChange, ReadFile};
pub use tsig_key::{TsigAlgorithm, TsigKey};

use crate::model::certificate::Certificate;
pub use crate::model::host::Defaults;
use crate::model::name::Email;
use crate::model::secret::Secret;
use crate::template::Template;
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The whole file, checked. Seen by `app.rs` only.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[daemon]`: listening, TLS, time-outs, proxies.
    pub http: Http,
    /// `[daemon]` log keys.
    pub log: Log,
    /// `[database]`.
    pub database: Database,
    /// `[dns_service]`.
    pub dns: DnsConfig,
    /// `[defaults]`.
    pub defaults: Defaults,
    /// `[email]`; `None` when not enabled.
    pub email: Option<EmailConfig>,
    /// `[rate_limit]`.
    pub limits: LimitsConfig,
    /// `[auth]` and `daemon.thread_pool_size`.
    pub auth: Auth,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `metrics.listen`; `None` when off.
    pub metrics: Option<SocketAddr>,
    /// `[[endpoints]]`, one at least.
    pub endpoints: Arc<[Endpoint]>,
    /// The files that were read.
    pub files: Vec<ReadFile>,
    /// Those that hold TSIG keys.
    key_files: KeyFiles,
    /// Every key with its value, for [`Config::differences`].
    values: Values,
}

#[derive(Clone, Debug)]
pub struct Http {
    /// Name or address to listen on: all addresses that it resolves to.
    pub host: String,
    /// 0 picks a free port.
    pub port: u16,
    /// The certificates and their key, which belongs to the first one.
    pub tls: Option<Arc<rustls::sign::CertifiedKey>>,
    /// The first of them.
    pub certificate: Option<Certificate>,
    /// Log each request at INFO.
    pub log_requests: bool,
    /// The header that carries the client's address; `None` when empty.
    pub proxy_header: Option<http::HeaderName>,
    /// Peers whose `proxy_header` is used.
    pub trusted_proxies: Arc<[IpNet]>,
    pub request_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub level: tracing::Level,
    pub target: LogTarget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    /// A syslog daemon's datagram socket, RFC 3164.
    Syslog {
        /// Usually `/dev/log`.
        socket: PathBuf,
        /// The facility's number, 0 to 23.
        facility: u8,
    },
    /// A file, rotated by size.
    File {
        path: PathBuf,
        /// Bytes before rotation, 4096 at least.
        max_bytes: u64,
        /// Rotated files to keep.
        versions: u32,
    },
    /// journald's native socket.
    Journald,
}

#[derive(Clone, Debug)]
pub enum Database {
    /// A file that only this daemon uses.
    Sqlite {
        path: PathBuf,
        /// Connections in all, but 2 at least: one writes and one reads.
        pool_size: u32,
    },
    Mariadb(MariaDb),
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "the database {}", path.display()),
            Self::Mariadb(MariaDb { name, .. }) => write!(f, "the database `{name}`"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct MariaDb {
    pub host: String,
    pub port: u16,
    /// Unix socket, used instead of TCP.
    pub socket: Option<PathBuf>,
    pub user: String,
    /// From `password` or `password_file`; empty for none.
    pub password: Secret,
    pub name: String,
    pub tls: DatabaseTls,
    /// CA file for [`DatabaseTls::Verify`]; `None` uses the system's roots.
    pub tls_ca_file: Option<PathBuf>,
    /// Connections in all, but 2 at least: one writes and one reads.
    pub pool_size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    Disabled,
    /// If the server supports it.
    Preferred,
    /// Always; the certificate is not verified.
    Required,
    /// Always; CA and name are verified.
    Verify,
}

#[derive(Clone, Debug)]
pub struct EmailConfig {
    pub smtp_host: String,
    pub smtp_port: u16,
    /// Require STARTTLS.
    pub starttls: bool,
    /// The CA certificates that may have issued the server's certificate; `None` uses the system's
    /// roots.
    pub authorities: Option<Arc<[CertificateDer<'static>]>>,
    /// User and password for SMTP AUTH.
    pub login: Option<(String, Secret)>,
    pub sender: Sender,
    /// Template of change mails; `None` sends none.
    pub change_template: Option<Arc<Template>>,
    /// Template of expiry mails; `None` sends none.
    pub expiry_template: Option<Arc<Template>>,
}

/// Who mails are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// What a mail client shows beside the address.
    pub name: Option<String>,
    pub address: Email,
}

/// Limits per client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// If not, no request is counted.
    pub enabled: bool,
    pub good_window: Duration,
    /// Good requests in a window.
    pub good_max: u32,
    pub bad_window: Duration,
    /// Bad requests in a window.
    pub bad_max: u32,
    /// Between removals of idle entries.
    pub cleanup_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth {
    /// How long after its last use a verified password stays cached; zero disables the cache.
    pub cache_ttl: Duration,
    /// Parallel verifications, at most; the number of cores limits it too.
    pub threads: usize,
}

#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub socket: PathBuf,
    /// File mode of the socket.
    pub mode: u32,
    /// Group that may administer; `None` is the daemon's primary group.
    pub group: Option<String>,
}

/// One path that takes updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Starts with `/`; without repeated and trailing slashes.
    pub path: String,
    pub params: Params,
}

/// The accepted names of each parameter; the first one present wins; an empty list disables it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub hostname: Vec<String>,
    pub ipv4: Vec<String>,
    pub ipv6: Vec<String>,
    /// The prefix that a router passes on.
    pub prefix6: Vec<String>,
    pub username: Vec<String>,
    pub password: Vec<String>,
    /// Asks for a mail about the change.
    pub notify_change: Vec<String>,
}

/// The name of a request's parameter without a leading `amp;`, which routers send that have a
/// template with `&amp;`. It counts in any case.
pub fn param_name(given: &str) -> &str {
    let amp = given.get(..4).filter(|start| start.eq_ignore_ascii_case("amp;"));
    amp.and_then(|_| given.get(4..)).unwrap_or(given)
}

impl Default for Params {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            hostname: names(&["hostname", "host"]),
            ipv4: names(&["myip", "ipv4", "ip4", "myipv4", "ip"]),
            ipv6: names(&["myip6", "ipv6", "ip6", "myipv6"]),
            prefix6: names(&["ip6lanprefix", "ipv6prefix", "prefix", "praefix"]),
            username: names(&["username", "user"]),
            password: names(&["password", "pass", "token"]),
            notify_change: names(&["notify_change"]),
        }
    }
}

/// A path without repeated and trailing slashes: `//nic/update/` is `/nic/update`.
pub fn normal_path(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path: String = segments.flat_map(|segment| ["/", segment]).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}
