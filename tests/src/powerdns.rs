//! A private PowerDNS with its SQLite backend in a temporary folder. Its caches are off: it would
//! answer for seconds what was there before an update. It has no policies per name.

use crate::primary::{OPEN, Primary, ZONE, launch, make_key, on_a_free_port, zone_file};
use crate::process::{Running, program, run};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Where Debian's package keeps the tables.
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// A running `pdns_server`; killed when dropped.
pub struct PowerDns {
    folder: TempDir,
    port: u16,
    /// More lines of its configuration.
    lines: String,
    process: Option<Running>,
}

/// A file whose presence makes [`PowerDns::with_policy`] drop updates.
const SHUT: &str = "shut";

impl PowerDns {
    /// A server of the tests' zones.
    ///
    /// # Panics
    /// When PowerDNS is not installed or does not start.
    pub fn start() -> Self {
        Self::with("cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n")
    }

    /// A server that caches answers for 20 s and that there is none for 60 s, as it does by
    /// default.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn with_caches() -> Self {
        Self::with("")
    }

    /// A server whose policy script accepts updates until [`Self::shut`].
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn with_policy() -> Self {
        Self::with(
            "cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n\
             lua-dnsupdate-policy-script=FOLDER/policy.lua\n",
        )
    }

    /// From now on the policy drops updates, which are acknowledged all the same, or not any more.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn shut(&self, is_shut: bool) {
        let file = self.file(SHUT);
        if is_shut { std::fs::write(file, "") } else { std::fs::remove_file(file) }.unwrap();
    }

    fn with(lines: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-pdns-").tempdir().unwrap();
        let lines = lines.replace("FOLDER", folder.path().to_str().expect("a UTF-8 path"));
        let mut server = Self { folder, port: 0, lines, process: None };
        let shut = server.file(SHUT);
        let policy = format!(
            "function updatepolicy(input)\n  local f = io.open('{}')\n  if f then f:close() return \
             false end\n  return true\nend\n",
            shut.display()
        );
        std::fs::write(server.file("policy.lua"), policy).unwrap();
        let secret = make_key(&server.key_file(), "hmac-sha256");
        server.configure(0);
        let schema = std::fs::read_to_string(SCHEMA).unwrap_or_else(|why| {
            panic!("{SCHEMA}: {why}; tests/run installs pdns-backend-sqlite3")
        });
        run(Command::new(program("sqlite3")).arg(server.file("pdns.db")), &schema).ok();
        for zone in [ZONE, OPEN] {
            let file = server.file(&format!("{zone}.zone"));
            std::fs::write(&file, zone_file(zone)).unwrap();
            server.pdnsutil(&["load-zone", zone, file.to_str().expect("a UTF-8 path")]);
        }
        server.pdnsutil(&["import-tsig-key", "ddns-key", "hmac-sha256", &secret]);
        server.pdnsutil(&["set-meta", ZONE, "TSIG-ALLOW-DNSUPDATE", "ddns-key"]);
        let (port, process) = on_a_free_port(|port| {
            server.configure(port);
            server.launch(port)
        });
        (server.port, server.process) = (port, Some(process));
        server
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, port: u16) {
        let folder = self.folder.path().display();
        let text = format!(
            "launch=gsqlite3\ngsqlite3-database={folder}/pdns.db\nlocal-address=127.0.0.1\n\
             local-port={port}\nsocket-dir={folder}\ndnsupdate=yes\n\
             allow-dnsupdate-from=127.0.0.0/8\nsecurity-poll-suffix=\n{}",
            self.lines
        );
        std::fs::write(self.file("pdns.conf"), text).unwrap();
    }

    fn pdnsutil(&self, words: &[&str]) {
        let mut command = Command::new(program("pdnsutil"));
        run(command.arg("--config-dir").arg(self.folder.path()).args(words), "").ok();
    }

    fn launch(&self, port: u16) -> Result<Running, String> {
        let mut command = Command::new(program("pdns_server"));
        command.arg(format!("--config-dir={}", self.folder.path().display()));
        launch(command.args(["--guardian=no", "--daemon=no"]), port, &self.file("log"))
    }
}

impl Primary for PowerDns {
    fn port(&self) -> u16 {
        self.port
    }

    fn key_file(&self) -> PathBuf {
        self.file("ddns.key")
    }

    fn stop(&mut self) {
        self.process = None;
    }

    fn start_again(&mut self) {
        self.process = Some(self.launch(self.port).expect("pdns_server starts again"));
    }
}
