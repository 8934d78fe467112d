//! In: the text of the configuration file. Out: the checked configuration and the files it names,
//! or every problem. Pure: `load.rs` reads the files. Each section has a file or function, each key
//! a line.

mod builtin_dns;
mod daemon;
mod database;
mod dns;
mod email;
mod endpoints;
mod line_index;
mod networks;
mod section;
#[cfg(test)]
mod tests;
mod value;

use super::diff::Values;
use super::error::Problem;
use super::files::{KeyFiles, NamedFiles};
use super::text::shown;
use super::{AdminConfig, Auth, Config, Defaults, LimitsConfig};
use line_index::LineIndex;
use section::Section;
use std::net::SocketAddr;
use std::time::Duration;
use toml::de::DeTable;
use value::MAX_SECONDS;

/// The result of a check; usable only if there are no problems.
pub(super) struct Checked {
    /// Complete except for the content of the files.
    pub(super) config: Config,
    /// The files that this configuration uses.
    pub(super) files: NamedFiles,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// # Errors
/// The one place where the text is not TOML; all other problems are in [`Checked::problems`].
pub(super) fn check(text: &str) -> Result<Checked, Problem> {
    let lines = LineIndex::of(text);
    let table = DeTable::parse(text).map_err(|error| lines.syntax(&error))?;
    let mut file = Section::root(table.get_ref(), &lines);
    let mut files = NamedFiles::default();

    let daemon = file.within("daemon", |section| daemon::read(section, &mut files));
    let request_timeout =
        file.is_sound("daemon.request_timeout").then_some(daemon.http.request_timeout);
    let mut config = Config {
        http: daemon.http,
        log: daemon.log,
        database: file.within("database", |section| database::read(section, &mut files)),
        dns: file.within("dns_service", |section| dns::read(section, request_timeout, &mut files)),
        defaults: file.within("defaults", defaults),
        email: file.within("email", |section| email::read(section, &mut files)),
        limits: file.within("rate_limit", limits),
        auth: file.within("auth", |section| auth(section, daemon.threads)),
        admin: file.within("admin", admin),
        metrics: file.within("metrics", metrics),
        endpoints: endpoints::read(&mut file).into(),
        files: Vec::new(),
        key_files: KeyFiles::default(),
        values: Values::default(),
    };
    let findings = file.finish();
    config.values = findings.values;
    Ok(Checked { config, files, problems: findings.problems, warnings: findings.warnings })
}

fn defaults(section: &mut Section<'_>) -> Defaults {
    Defaults {
        dns_ttl: section.number("dns_ttl", 0..=MAX_SECONDS, 60),
        expiry_ttl: section.number("expiry_ttl", 0..=MAX_SECONDS, 3600),
    }
}

fn limits(section: &mut Section<'_>) -> LimitsConfig {
    LimitsConfig {
        enabled: section.flag("enabled", true),
        good_window: section.seconds("good_window_seconds", 1..=MAX_SECONDS, 60),
        good_max: section.number("good_max_requests", 1..=u32::MAX, 5),
        bad_window: section.seconds("bad_window_seconds", 1..=MAX_SECONDS, 60),
        bad_max: section.number("bad_max_requests", 1..=u32::MAX, 3),
        cleanup_interval: section.seconds("cleanup_interval", 1..=MAX_SECONDS, 60),
    }
}

fn auth(section: &mut Section<'_>, threads: u32) -> Auth {
    let cache_ttl: Duration = section.seconds("cache_ttl", 0..=MAX_SECONDS, 86_400);
    Auth { cache_ttl, threads: usize::try_from(threads).unwrap_or(usize::MAX) }
}

const SOCKET: &str = "/run/ddnsd/admin.sock";

fn admin(section: &mut Section<'_>) -> AdminConfig {
    let socket = section.parsed("socket", SOCKET, SOCKET.to_owned(), socket_path);
    section.not_empty(&[("socket", &socket)]);
    let group = section.text("group", "");
    AdminConfig {
        socket: socket.into(),
        mode: section.parsed("mode", "0660", 0o660, octal_mode),
        group: (!group.is_empty()).then_some(group),
    }
}

/// 107 bytes is the maximum of unix(7).
fn socket_path(text: &str) -> Result<String, String> {
    if text.len() > 107 {
        return Err(format!("must be at most 107 bytes, got {} bytes", text.len()));
    }
    Ok(text.to_owned())
}

fn octal_mode(text: &str) -> Result<u32, String> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    let wrong = || format!(r#"must be an octal file mode like "0660", got {}"#, shown(text));
    mode.ok_or_else(wrong)
}

fn metrics(section: &mut Section<'_>) -> Option<SocketAddr> {
    section.parsed("listen", "", None, |text| {
        if text.is_empty() { Ok(None) } else { networks::socket(text).map(Some) }
    })
}
