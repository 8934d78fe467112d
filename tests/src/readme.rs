//! The README's own text as configuration: what it shows is what runs. In: a block of code. Out:
//! name servers that are configured by it, with only paths, ports and the secret replaced.

use crate::named::write_private;
use crate::primary::{Primary, ZONE, launch, make_key, on_a_free_port, zone_file};
use crate::process::{Running, copy_program, program, run};
use crate::setup::source;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// The zone in the README's examples.
const EXAMPLE: &str = "dyn.example.com";

/// The block of this language that contains a text.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn block(language: &str, containing: &str) -> String {
    let readme = std::fs::read_to_string(source("README.md")).unwrap();
    let start = format!("\n```{language}\n");
    let blocks = readme.split(&start).skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block));
    let found = blocks.find(|block| block.contains(containing));
    let found = found.unwrap_or_else(|| panic!("README.md: no {language} block with {containing}"));
    found.to_owned() + "\n"
}

/// A program that serves the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// named.
    Bind,
    /// knotd.
    Knot,
    /// `pdns_server` with its SQLite backend.
    PowerDns,
}

/// A name server that is configured as the README says; killed when dropped.
pub struct ReadmePrimary {
    server: Server,
    folder: TempDir,
    port: u16,
    process: Option<Running>,
}

impl ReadmePrimary {
    /// A server of [`ZONE`].
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start(server: Server) -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-readme-").tempdir().unwrap();
        let mut primary = Self { server, folder, port: 0, process: None };
        let secret = make_key(&primary.key_file(), "hmac-sha256");
        std::fs::write(primary.file(&format!("{ZONE}.zone")), zone_file(ZONE)).unwrap();
        if server == Server::PowerDns {
            primary.make_powerdns_zone(&secret);
        }
        let (port, process) = on_a_free_port(|port| {
            primary.configure(port, &secret);
            primary.launch(port)
        });
        (primary.port, primary.process) = (port, Some(process));
        primary
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, port: u16, secret: &str) {
        let folder = self.folder.path().display();
        let text = match self.server {
            Server::Bind => {
                let block = block("named", "update-policy");
                let block = block.replace("/etc/bind", &folder.to_string());
                format!(
                    "options {{ directory \"{folder}\"; pid-file none; \
                     session-keyfile \"{folder}/session.key\"; recursion no; notify no; \
                     managed-keys-directory \"{folder}\"; dnssec-validation no; \
                     listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; }};\n\
                     controls {{ }};\n{}",
                    block.replace("/var/lib/bind", &folder.to_string())
                )
            }
            Server::Knot => format!(
                "server:\n    listen: 127.0.0.1@{port}\n    rundir: {folder}\n    pidfile: {folder}/pid\n\
                 log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {folder}\n\
                 template:\n  - id: default\n    storage: {folder}\n{}",
                block("yaml", "acl:").replace("SECRET", secret)
            ),
            Server::PowerDns => format!(
                "{}launch=gsqlite3\ngsqlite3-database={folder}/pdns.db\nlocal-address=127.0.0.1\n\
                 local-port={port}\nsocket-dir={folder}\nsecurity-poll-suffix=\ncache-ttl=0\n\
                 query-cache-ttl=0\nnegquery-cache-ttl=0\n",
                block("ini", "dnsupdate")
            ),
        };
        let name = if self.server == Server::PowerDns { "pdns.conf" } else { "conf" };
        write_private(&self.file(name), &text.replace(EXAMPLE, ZONE));
    }

    fn make_powerdns_zone(&self, secret: &str) {
        self.configure(0, secret);
        let schema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
        let schema = std::fs::read_to_string(schema).expect("pdns-backend-sqlite3 is installed");
        run(Command::new(program("sqlite3")).arg(self.file("pdns.db")), &schema).ok();
        let commands = block("sh", "pdnsutil create-zone");
        let commands = commands.replace("SECRET", secret).replace(EXAMPLE, ZONE);
        let pdnsutil = format!(
            "pdnsutil() {{ command {} --config-dir={} \"$@\"; }}",
            program("pdnsutil").display(),
            self.folder.path().display()
        );
        run(Command::new("sh").args(["-euc", &format!("{pdnsutil}\n{commands}")]), "").ok();
    }

    fn launch(&self, port: u16) -> Result<Running, String> {
        let mut command = match self.server {
            Server::Bind => {
                // AppArmor's profile of Debian's named goes by the path
                let named = self.file("named");
                if !named.exists() {
                    copy_program(&program("named"), &named);
                }
                let mut command = Command::new(named);
                command.args(["-g", "-n", "1", "-c"]).arg(self.file("conf"));
                command
            }
            Server::Knot => {
                let mut command = Command::new(program("knotd"));
                command.arg("-c").arg(self.file("conf"));
                command
            }
            Server::PowerDns => {
                let mut command = Command::new(program("pdns_server"));
                command.arg(format!("--config-dir={}", self.folder.path().display()));
                command.args(["--guardian=no", "--daemon=no"]);
                command
            }
        };
        launch(&mut command, port, &self.file("log"))
    }
}

impl Primary for ReadmePrimary {
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
        self.process = Some(self.launch(self.port).expect("it starts again"));
    }
}
