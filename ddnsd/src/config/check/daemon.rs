//! `[daemon]`: listening, TLS, proxies and the log.

use super::networks;
use super::section::Section;
use super::value::MAX_SECONDS;
use crate::config::files::NamedFiles;
use crate::config::text::shown;
use crate::config::{Http, Log, LogTarget};
use http::HeaderName;
use tracing::Level;

pub(super) struct Daemon {
    pub(super) http: Http,
    pub(super) log: Log,
    /// Parallel password verifications.
    pub(super) threads: u32,
}

pub(super) fn read(section: &mut Section<'_>, files: &mut NamedFiles) -> Daemon {
    let log = log(section);
    let threads = section.number("thread_pool_size", 1..=u32::MAX, 10);
    let http = Http {
        host: section.text("host", "localhost"),
        port: section.number("port", 0..=u16::MAX, 8443),
        tls: None,
        certificate: None,
        log_requests: section.flag("log_requests", false),
        proxy_header: section.parsed("proxy_header", "", None, header_name),
        trusted_proxies: section.list("trusted_proxies", Vec::new(), networks::network).into(),
        request_timeout: section.seconds("request_timeout", 1..=MAX_SECONDS, 10),
    };
    section.not_empty(&[("host", &http.host)]);
    let has_tls = tls(section, files);
    warn(section, &http, has_tls);
    Daemon { http, log, threads }
}

/// Whether TLS is on; names the certificate's files if it is.
fn tls(section: &mut Section<'_>, files: &mut NamedFiles) -> bool {
    let ssl = section.flag("ssl", false);
    let when = ssl.then_some("when daemon.ssl is true");
    let cert = section.required_file("ssl_cert_file", when);
    let key = section.required_file("ssl_key_file", when);
    if ssl {
        files.tls = cert.zip(key);
    }
    ssl
}

fn warn(section: &mut Section<'_>, http: &Http, has_tls: bool) {
    if http.proxy_header.is_some() && http.trusted_proxies.is_empty() {
        section.warn("proxy_header", "has no effect, because trusted_proxies is empty");
    }
    if http.proxy_header.is_none() && !http.trusted_proxies.is_empty() {
        let what = "has no effect on the client address, because proxy_header is empty; updates from these \
                    proxies must name an address, or the reply is badip";
        section.warn("trusted_proxies", what);
    }
    let is_local = http.host == "localhost"
        || networks::address(&http.host).is_ok_and(|address| address.is_loopback());
    if !has_tls && !is_local && http.trusted_proxies.is_empty() {
        let what = "passwords travel unencrypted, because ssl is off and no proxy is trusted";
        section.warn("ssl", what);
    }
}

fn header_name(text: &str) -> Result<Option<HeaderName>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| {
        let got = shown(text);
        format!(r#"must be the name of an HTTP header like "X-Forwarded-For", got {got}"#)
    };
    HeaderName::from_bytes(text.as_bytes()).map(Some).map_err(wrong)
}

const LEVELS: &[(&str, Level)] = &[
    ("DEBUG", Level::DEBUG),
    ("INFO", Level::INFO),
    ("WARNING", Level::WARN),
    ("ERROR", Level::ERROR),
];

/// The numbers of RFC 3164, 4.1.1.
const FACILITIES: &[(&str, u8)] = &[
    ("daemon", 3),
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum TargetName {
    Stdout,
    Syslog,
    File,
    Journald,
}

const TARGETS: &[(&str, TargetName)] = &[
    ("stdout", TargetName::Stdout),
    ("syslog", TargetName::Syslog),
    ("file", TargetName::File),
    ("journald", TargetName::Journald),
];

fn log(section: &mut Section<'_>) -> Log {
    let level = section.choice("log_level", Level::INFO, LEVELS);
    let target = section.choice("log_target", TargetName::Stdout, TARGETS);
    let socket = section.text("syslog_socket", "/dev/log");
    let facility = section.choice("syslog_facility", 3, FACILITIES);
    let path = section.text("log_file", "/var/log/ddnsd/ddnsd.log");
    let max_bytes = section.number("log_file_size", 4096..=u64::MAX, 52_428_800);
    let versions = section.number("log_versions", 0..=9999, 5);
    let target = match target {
        TargetName::Stdout => LogTarget::Stdout,
        TargetName::Journald => LogTarget::Journald,
        TargetName::Syslog => {
            section.not_empty(&[("syslog_socket", &socket)]);
            LogTarget::Syslog { socket: socket.into(), facility }
        }
        TargetName::File => {
            section.not_empty(&[("log_file", &path)]);
            LogTarget::File { path: path.into(), max_bytes, versions }
        }
    };
    Log { level, target }
}
