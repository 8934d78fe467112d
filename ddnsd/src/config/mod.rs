//! The checked configuration: what the program works with. Every value here is in range, and a part of
//! the program gets its section only. `check/` turns the file's text into this or names every problem
//! with its line; `load.rs` reads the file and those it names; `tsig_key.rs` understands BIND's key files.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod check;
mod diff;
mod dns;
mod error;
mod files;
mod keys;
pub mod load;
mod text;
mod tls;
pub mod tsig_key;

pub use diff::{Difference, Differences};
pub use dns::{Builtin, DnsBackend, DnsConfig, DnsTransport, Rfc2136, ZoneKeys};
pub use error::{ConfigError, Problem};
pub use tsig_key::{TsigAlgorithm, TsigKey};

pub use crate::model::host::Defaults;
use crate::model::secret::Secret;
use ipnet::IpNet;
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
}

/// Where and how HTTP is served.
#[derive(Clone, Debug)]
pub struct Http {
    /// Name or address to listen on; every address it resolves to.
    pub host: String,
    /// 0 picks a free one.
    pub port: u16,
    /// TLS, when `ssl` is on.
    pub tls: Option<Tls>,
    /// One line per request at INFO.
    pub log_requests: bool,
    /// The header that carries the client's address; `None` when empty.
    pub proxy_header: Option<http::HeaderName>,
    /// Peers whose header counts.
    pub trusted_proxies: Arc<[IpNet]>,
    /// For one whole request.
    pub request_timeout: Duration,
}

/// A certificate chain and its key, as read and matched.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the chain.
    pub cert_file: PathBuf,
    /// PEM file of the key.
    pub key_file: PathBuf,
    /// What the files held, the key fitting the certificate.
    pub certified: Arc<rustls::sign::CertifiedKey>,
}

/// How much is logged, and where.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least level that is logged.
    pub level: tracing::Level,
    /// Where.
    pub target: LogTarget,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
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
        /// Its path.
        path: PathBuf,
        /// Bytes before rotation, 4096 at least.
        max_bytes: u64,
        /// Rotated files kept.
        versions: u32,
    },
    /// journald's native socket.
    Journald,
}

/// Which database.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file that this daemon owns alone.
    Sqlite {
        /// Its path.
        path: PathBuf,
        /// Connections for reading.
        pool_size: u32,
    },
    /// A database on a MariaDB server.
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

/// How to reach a MariaDB server.
#[derive(Clone, Debug)]
pub struct MariaDb {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket instead of TCP, if set.
    pub socket: Option<PathBuf>,
    /// User name.
    pub user: String,
    /// From `password` or `password_file`; empty for none.
    pub password: Secret,
    /// Database name.
    pub name: String,
    /// How the connection is encrypted.
    pub tls: DatabaseTls,
    /// CA file for [`DatabaseTls::Verify`]; `None` is the system's roots.
    pub tls_ca_file: Option<PathBuf>,
    /// Connections.
    pub pool_size: u32,
}

/// Encryption of the connection to MariaDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Never.
    Disabled,
    /// If the server can.
    Preferred,
    /// Always, not verified.
    Required,
    /// Always, CA and name verified.
    Verify,
}

/// Outgoing mail.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// The relay.
    pub smtp_host: String,
    /// Its port.
    pub smtp_port: u16,
    /// Require STARTTLS.
    pub starttls: bool,
    /// CA file; `None` is the system's roots.
    pub ca_file: Option<PathBuf>,
    /// SMTP AUTH.
    pub login: Option<(String, Secret)>,
    /// Sender.
    pub from_address: String,
    /// Template of change mails; `None` sends none.
    pub change_template: Option<PathBuf>,
    /// Template of expiry mails; `None` sends none.
    pub expiry_template: Option<PathBuf>,
}

/// Limits per client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Off means nothing is counted.
    pub enabled: bool,
    /// Window for good requests.
    pub good_window: Duration,
    /// Good requests in it.
    pub good_max: u32,
    /// Window for bad requests.
    pub bad_window: Duration,
    /// Bad requests in it.
    pub bad_max: u32,
    /// Between purges of idle entries.
    pub cleanup_interval: Duration,
}

/// Password verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth {
    /// How long since its last use a verified password stays known; zero never.
    pub cache_ttl: Duration,
    /// Verifications at once, at most (the cores bound it too).
    pub threads: usize,
}

/// The admin socket.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Its path.
    pub socket: PathBuf,
    /// Its file mode, as `0o660`.
    pub mode: u32,
    /// Group that may administer; `None` is the daemon's primary one.
    pub group: Option<String>,
}

/// One path that takes updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Starts with `/`; repeated and trailing slashes are normalised away.
    pub path: String,
    /// Accepted parameter names.
    pub params: Params,
}

/// The accepted names of each parameter, the first present wins; empty disables it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Host names.
    pub hostname: Vec<String>,
    /// IPv4 addresses.
    pub ipv4: Vec<String>,
    /// IPv6 addresses.
    pub ipv6: Vec<String>,
    /// User name.
    pub username: Vec<String>,
    /// Password.
    pub password: Vec<String>,
    /// Ask for a mail about the change.
    pub notify_change: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            hostname: names(&["hostname", "host"]),
            ipv4: names(&["myip", "ipv4", "ip4"]),
            ipv6: names(&["myip6", "ipv6", "ip6"]),
            username: names(&["username", "user"]),
            password: names(&["password", "pass", "token"]),
            notify_change: names(&["notify_change"]),
        }
    }
}

/// A request's or an endpoint's path in the form that is compared: `//nic/update/` is `/nic/update`.
pub fn normal_path(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path: String = segments.flat_map(|segment| ["/", segment]).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}
