//! A private BIND in a temporary folder: its zones, TSIG keys made by `tsig-keygen`, ports that
//! stay the same over a restart. Asked with `dig`, changed behind the daemon's back with
//! `nsupdate`. With `DDNSD_TEST_NAME_SERVER=builtin` it is only a port and the names of its zones:
//! the daemon under test serves them itself. Tests that need BIND then fail, and are left out.

use crate::eventually::eventually;
use crate::primary::{OPEN, Primary, Record, dig, make_key, zone_file};
use crate::process::{Running, copy_program, program, run};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub use crate::primary::ZONE;

/// A running name server; killed when dropped.
pub struct Named {
    folder: TempDir,
    zones: Vec<String>,
    algorithm: String,
    port: u16,
    statistics_port: u16,
    process: Option<Running>,
    /// The daemon serves its zones.
    is_builtin: bool,
    /// In place of the usual statements.
    statements: Option<NamedStatements>,
}

/// A configuration of the test's own.
#[derive(Clone, Debug)]
pub struct NamedStatements {
    /// Within `options`.
    pub options: String,
    /// The statements of zones or views.
    pub zones: String,
    /// The key file of another server, to have the same key.
    pub key_file: Option<PathBuf>,
}

impl Named {
    /// A server of [`ZONE`] whose key `ddns-key` (hmac-sha256) may change everything in it.
    ///
    /// # Panics
    /// When BIND is not installed or does not start.
    pub fn start() -> Self {
        Self::with(&[ZONE], "hmac-sha256")
    }

    /// A server of these zones, with a key of this algorithm.
    ///
    /// # Panics
    /// When BIND is not installed or does not start.
    pub fn with(zones: &[&str], algorithm: &str) -> Self {
        Self::configured(zones, algorithm, None)
    }

    /// A server with a configuration of the test's own, in the folder of [`ZONE`]'s file.
    ///
    /// # Panics
    /// When BIND is not installed or does not start.
    pub fn with_statements(statements: NamedStatements) -> Self {
        Self::configured(&[ZONE], "hmac-sha256", Some(statements))
    }

    fn configured(zones: &[&str], algorithm: &str, statements: Option<NamedStatements>) -> Self {
        let mut server = Self {
            folder: tempfile::Builder::new().prefix("ddnsd-named-").tempdir().unwrap(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            algorithm: algorithm.to_owned(),
            port: 0,
            statistics_port: 0,
            process: None,
            is_builtin: std::env::var("DDNSD_TEST_NAME_SERVER").is_ok_and(|name| name == "builtin"),
            statements,
        };
        if server.is_builtin {
            // BIND refuses updates of a zone that it does not have; ddnsd refuses its hosts
            server.zones.extend([OPEN, "other.example"].map(str::to_owned));
            server.zones.sort();
            server.zones.dedup();
            server.port = free_port();
            return server;
        }
        server.lay_out();
        let mut problem = String::new();
        for _ in 0..5 {
            (server.port, server.statistics_port) = (free_port(), free_port());
            server.configure();
            match server.launch() {
                Ok(()) => return server,
                Err(why) => problem = why,
            }
        }
        panic!("named did not start on any of five ports: {problem}");
    }

    /// Its port on 127.0.0.1, UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key file, as `tsig-keygen` wrote it.
    pub fn key_file(&self) -> PathBuf {
        self.file("ddns.key")
    }

    /// The key of `update-policy local`, which each start makes again.
    pub fn session_key_file(&self) -> PathBuf {
        self.file("session.key")
    }

    /// Kills the server; its port stays reserved for it.
    pub fn stop(&mut self) {
        self.must_be_bind();
        self.process = None;
    }

    #[track_caller]
    fn must_be_bind(&self) {
        assert!(!self.is_builtin, "this test needs BIND: leave it out when ddnsd serves the zones");
    }

    /// Starts it again on the same port, with the zones as they were.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        if let Err(why) = self.launch() {
            panic!("named did not start again on port {}: {why}", self.port);
        }
    }

    /// The records of a name and type, sorted; an empty list if there are none.
    ///
    /// # Panics
    /// When the server does not answer.
    #[track_caller]
    pub fn dig(&self, name: &str, kind: &str) -> Vec<Record> {
        let answer = self.ask(&["+norecurse", "+tries=3", "+time=3", name, kind]);
        answer.unwrap_or_else(|why| panic!("dig {name} {kind}: {why}"))
    }

    /// TTL and data of a name's records, sorted: `[(60, "192.0.2.1")]`.
    #[track_caller]
    pub fn lookup(&self, name: &str, kind: &str) -> Vec<(u32, String)> {
        self.dig(name, kind).into_iter().map(|record| (record.ttl, record.data)).collect()
    }

    /// Only the data of a name's records, sorted.
    #[track_caller]
    pub fn data(&self, name: &str, kind: &str) -> Vec<String> {
        self.dig(name, kind).into_iter().map(|record| record.data).collect()
    }

    /// Every A and AAAA record of a zone except those it started with, sorted, by zone transfer.
    ///
    /// # Panics
    /// When the server does not answer.
    #[track_caller]
    pub fn addresses(&self, zone: &str) -> Vec<Record> {
        let mut records = self.ask(&["+onesoa", zone, "AXFR"]).unwrap();
        let glue = format!("ns.{zone}");
        records.retain(|r| ["A", "AAAA"].contains(&r.kind.as_str()) && r.name != glue);
        records
    }

    /// The serial of a zone: one more for each message that changed something.
    ///
    /// # Panics
    /// When the server does not answer.
    #[track_caller]
    pub fn serial(&self, zone: &str) -> u32 {
        let soa = self.data(zone, "SOA");
        soa.first().and_then(|soa| soa.split(' ').nth(2)?.parse().ok()).expect("a SOA record")
    }

    /// How many UPDATE messages have arrived since the (last) start, changed or not.
    ///
    /// # Panics
    /// When the statistics cannot be read.
    #[track_caller]
    pub fn update_messages(&self) -> u64 {
        self.must_be_bind();
        let url = format!("http://127.0.0.1:{}/json/v1/server", self.statistics_port);
        let statistics = crate::http::get(&url).send().json();
        statistics["opcodes"]["UPDATE"].as_u64().expect("opcodes.UPDATE in named's statistics")
    }

    /// Changes a zone with `nsupdate` and the server's key, as an administrator would:
    /// lines like `update add www.dyn.example. 60 A 192.0.2.9`.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn nsupdate(&self, lines: &str) {
        self.must_be_bind();
        let input = format!("server 127.0.0.1 {}\n{lines}\nsend\n", self.port);
        run(Command::new(program("nsupdate")).arg("-k").arg(self.key_file()), &input).ok();
    }

    /// Changes a zone that takes updates without a key: lines as for [`Self::nsupdate`].
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn nsupdate_unsigned(&self, lines: &str) {
        let input = format!("server 127.0.0.1 {}\n{lines}\nsend\n", self.port);
        // over TCP, because it may be long
        run(Command::new(program("nsupdate")).arg("-v"), &input).ok();
    }

    /// Stops it where it stands: it takes connections and datagrams, and answers none.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.process.as_ref().expect("a running server").signal(Signal::SIGSTOP);
    }

    /// Lets it go on, with all that came meanwhile.
    ///
    /// # Panics
    /// When it does not run.
    pub fn go_on(&self) {
        self.process.as_ref().expect("a running server").signal(Signal::SIGCONT);
    }

    /// The end of its log, for failures.
    pub fn log_tail(&self) -> String {
        tail(&self.file("log"), 15)
    }

    /// Deletes what updates changed, while it is stopped: the zones are as they were at first.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn restore_first_files(&self) {
        for zone in &self.zones {
            std::fs::write(self.file(&format!("{zone}.zone")), zone_file(zone)).unwrap();
            let _may_not_exist = std::fs::remove_file(self.file(&format!("{zone}.zone.jnl")));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lay_out(&self) {
        match self.statements.as_ref().and_then(|statements| statements.key_file.as_ref()) {
            Some(key) => drop(std::fs::copy(key, self.key_file()).unwrap()),
            None => drop(make_key(&self.key_file(), &self.algorithm)),
        }
        for zone in self.zones.iter().map(String::as_str).chain([OPEN]) {
            std::fs::write(self.file(&format!("{zone}.zone")), zone_file(zone)).unwrap();
        }
        // of another view
        std::fs::write(self.file("first.zone"), zone_file(ZONE)).unwrap();
        // AppArmor's profile of Debian's named allows it no file below /tmp, but goes by the path
        copy_program(&program("named"), &self.file("named"));
    }

    fn configure(&self) {
        let folder = self.folder.path().display();
        let mut text = format!(
            r#"include "{folder}/ddns.key";
options {{ directory "{folder}"; pid-file none; session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; notify no; dnssec-validation no; allow-transfer {{ 127.0.0.1; }}; {options} }};
controls {{ }};
statistics-channels {{ inet 127.0.0.1 port {statistics} allow {{ 127.0.0.1; }}; }};
logging {{ channel f {{ file "{folder}/log"; severity info; print-time yes; }}; category default {{ f; }}; }};
"#,
            port = self.port,
            statistics = self.statistics_port,
            options = self.statements.as_ref().map_or("", |statements| &statements.options),
        );
        if let Some(statements) = &self.statements {
            text.push_str(&statements.zones);
            std::fs::write(self.file("named.conf"), text).unwrap();
            return;
        }
        for zone in &self.zones {
            writeln!(
                text,
                r#"zone "{zone}" {{ type primary; file "{zone}.zone"; update-policy {{
                deny ddns-key name denied.{zone}. ANY; grant ddns-key zonesub ANY; }}; }};"#
            )
            .unwrap();
        }
        writeln!(
            text,
            r#"zone "{OPEN}" {{ type primary; file "{OPEN}.zone"; allow-update {{ 127.0.0.1; }}; }};"#
        )
        .unwrap();
        std::fs::write(self.file("named.conf"), text).unwrap();
    }

    fn launch(&mut self) -> Result<(), String> {
        let child = Command::new(self.file("named"))
            .args(["-f", "-n", "1", "-c"])
            .arg(self.file("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.file("stderr")).unwrap())
            .spawn()
            .map_err(|error| error.to_string())?;
        self.process = Some(Running(child));
        let zone = self.zones.first().expect("a zone").clone();
        let up = eventually(Duration::from_secs(20), "named to answer or to end", || {
            if self.process.as_mut().is_some_and(|process| process.ended().is_some()) {
                return Ok(false);
            }
            self.ask(&["+tries=1", "+time=1", &zone, "SOA"]).map(|_| true)
        });
        if up { Ok(()) } else { Err(tail(&self.file("stderr"), 5) + &self.log_tail()) }
    }

    fn ask(&self, question: &[&str]) -> Result<Vec<Record>, String> {
        dig(self.port, question)
    }
}

impl Primary for Named {
    fn port(&self) -> u16 {
        self.port
    }

    fn key_file(&self) -> PathBuf {
        self.file("ddns.key")
    }

    fn own_zones(&self) -> Option<&[String]> {
        self.is_builtin.then_some(&self.zones)
    }

    fn stop(&mut self) {
        Named::stop(self);
    }

    fn start_again(&mut self) {
        Named::start_again(self);
    }
}

/// A port that is free for UDP and TCP. Below the range the kernel hands out by itself: a stopped
/// server's port must not become the source port of a passing connection.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 19_000).unwrap();
    (0..19_000)
        .map(|_| 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed) % 19_000) % 19_000)
        .find(|port| {
            TcpListener::bind(("127.0.0.1", *port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
        })
        .expect("a free port")
}

/// Writes a file that only its owner can read.
///
/// # Panics
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The last lines of a file; nothing if it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_port_and_records_over_a_restart() {
        let mut named = Named::start();
        let port = named.port();
        named.nsupdate("update add www.dyn.example. 77 A 192.0.2.9");
        assert_eq!(named.lookup("www.dyn.example", "A"), [(77, "192.0.2.9".to_owned())]);
        assert_eq!(named.lookup("www.dyn.example", "AAAA"), []);
        assert_eq!((named.serial(ZONE), named.update_messages()), (2, 1));
        named.stop();
        assert!(named.ask(&["+tries=1", "+time=1", ZONE, "SOA"]).is_err(), "it is stopped");
        named.start_again();
        assert_eq!(named.port(), port);
        assert_eq!(named.data("www.dyn.example", "A"), ["192.0.2.9"]);
        let all = named.addresses(ZONE);
        assert_eq!(all.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["www.dyn.example"]);
    }

    #[test]
    fn two_servers_have_two_ports() {
        let (one, two) = (free_port(), free_port());
        assert_ne!(one, two);
    }
}
