//! A private Knot DNS in a temporary folder.

use crate::primary::{OPEN, Primary, ZONE, launch, make_key, on_a_free_port, zone_file};
use crate::process::{Running, program};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A running knotd, whose policy names what may be changed: `pc`, `nas`, `brief`, `alias`, `h0` to
/// `h199`; killed when dropped.
pub struct Knot {
    folder: TempDir,
    port: u16,
    process: Option<Running>,
}

impl Knot {
    /// A server of the tests' zones.
    ///
    /// # Panics
    /// When Knot is not installed or does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-knot-").tempdir().unwrap();
        let mut server = Self { folder, port: 0, process: None };
        let secret = make_key(&server.key_file(), "hmac-sha256");
        for zone in [ZONE, OPEN] {
            std::fs::write(server.file(&format!("{zone}.zone")), zone_file(zone)).unwrap();
        }
        let (port, process) = on_a_free_port(|port| {
            server.configure(port, &secret);
            server.launch(port)
        });
        (server.port, server.process) = (port, Some(process));
        server
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, port: u16, secret: &str) {
        let folder = self.folder.path().display();
        // a list: a rule that denies must match every record of a message, and so never does among
        // many
        let labels = ["pc", "nas", "brief", "alias"].map(str::to_owned).into_iter();
        let labels = labels.chain((0..200).map(|host| format!("h{host}")));
        let names: Vec<_> = labels.map(|label| format!("{label}.{ZONE}.")).collect();
        let names = format!("{ZONE}., {}", names.join(", "));
        let text = format!(
            r"
server:
    listen: 127.0.0.1@{port}
    rundir: {folder}
    pidfile: {folder}/knot.pid
log:
  - target: stderr
    any: info
database:
    storage: {folder}
key:
  - id: ddns-key
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: signed
    key: ddns-key
    action: update
    update-owner: name
    update-owner-match: equal
    update-owner-name: [ {names} ]
  - id: unsigned
    address: 127.0.0.1
    action: update
zone:
  - domain: {ZONE}
    storage: {folder}
    file: {ZONE}.zone
    acl: signed
  - domain: {OPEN}
    storage: {folder}
    file: {OPEN}.zone
    acl: unsigned
"
        );
        crate::named::write_private(&self.file("knot.conf"), &text);
    }

    fn launch(&self, port: u16) -> Result<Running, String> {
        let mut command = Command::new(program("knotd"));
        launch(command.arg("-c").arg(self.file("knot.conf")), port, &self.file("log"))
    }
}

impl Primary for Knot {
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
        self.process = Some(self.launch(self.port).expect("knotd starts again"));
    }
}
