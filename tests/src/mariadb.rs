//! A private, real MariaDB in a temporary folder: Unix socket and a free port on 127.0.0.1. One is
//! shared by all tests of a process, each with a database and an account of its own; a test that
//! stops it, or wants TLS, starts its own. None outlives the test process, however that ends.

use crate::eventually::eventually;
use crate::named::{free_port, tail};
use crate::process::{Running, program, run};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Longest time until it answers, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Longest time from SIGTERM to its end.
const STOP: Duration = Duration::from_secs(30);

/// What makes a server small and quick; where nothing is stopped, nothing need reach the disk.
const SMALL: [&str; 8] = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--max-connections=500",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--performance-schema=0",
    "--lower-case-table-names=0",
];

/// The option of a server that does not run as root, though the tests do.
pub const AS_MYSQL: &str = "--user=mysql";

/// A running server; killed when dropped.
pub struct Mariadb {
    // dropped first, so that it never kills a process id that another process has by then
    guard: Option<Running>,
    process: Option<Running>,
    folder: TempDir,
    options: Vec<String>,
    port: u16,
    next_database: AtomicU32,
}

/// A database of a server and the account that owns it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The database.
    pub database: String,
    /// The user, from any address.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The server's port on 127.0.0.1.
    pub port: u16,
    /// The server's Unix socket.
    pub socket: PathBuf,
}

impl Mariadb {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Mariadb> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start_with(&[
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-flush-method=nosync",
            ])
        })
    }

    /// A server of the test's own, which it may stop and start again.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options, such as `--ssl-cert=FILE`.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not start.
    pub fn start_with(options: &[&str]) -> Self {
        let mut server = Self {
            guard: None,
            process: None,
            folder: tempfile::Builder::new().prefix("ddnsd-mariadb-").tempdir().unwrap(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            port: 0,
            next_database: AtomicU32::new(1),
        };
        server.lay_out();
        let mut problem = String::new();
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                Err(why) => problem = why,
            }
        }
        panic!("mariadbd did not start on any of five ports: {problem}");
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.file("sock")
    }

    /// A new, empty database and an account that may do everything in it and nothing elsewhere.
    /// The database has the server's own character set, latin1: what ddnsd needs it must say.
    #[track_caller]
    pub fn account(&self) -> Account {
        let number = self.next_database.fetch_add(1, Ordering::Relaxed);
        let (database, user) = (format!("t_{number}"), format!("u_{number}"));
        let password = format!("pässword of {user}: \"quoted\"");
        self.administer(&format!(
            "CREATE DATABASE {database}; CREATE USER {user}@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON {database}.* TO {user}@'%';"
        ));
        Account { database, user, password, port: self.port, socket: self.socket() }
    }

    /// Runs statements as its administrator.
    #[track_caller]
    pub fn administer(&self, statements: &str) {
        run(&mut self.administrator(), statements).ok();
    }

    /// Starts without this option from the next start on.
    pub fn drop_option(&mut self, option: &str) {
        self.options.retain(|given| given != option);
    }

    /// Sends it a signal: after SIGSTOP it answers no more and keeps its connections open.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running mariadbd").signal(signal);
    }

    /// Stops it as an administrator does; its port stays reserved for it.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.guard = None;
        let mut process = self.process.take().expect("a running mariadbd");
        process.signal(Signal::SIGTERM);
        process.wait(STOP, "mariadbd after SIGTERM");
    }

    /// Starts it again on the same port with what it held.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&mut self) {
        if let Err(why) = self.launch() {
            panic!("mariadbd did not start again on port {}: {why}", self.port);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn administrator(&self) -> Command {
        client("mariadb", "root", "", &self.socket())
    }

    fn lay_out(&self) {
        run(
            // a starting server removes all temporary tables in this folder, those of others too
            Command::new(program("mariadb-install-db"))
                .env("TMPDIR", self.folder.path())
                .arg("--no-defaults")
                .arg(format!("--datadir={}", self.file("data").display()))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                .args(["--innodb-log-file-size=8M", "--innodb-flush-method=nosync"])
                .args(user_option()),
            "",
        )
        .ok();
        if self.options.iter().any(|option| option == AS_MYSQL) {
            run(Command::new("chown").args(["-R", "mysql"]).arg(self.folder.path()), "").ok();
        }
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = std::fs::File::create(self.file("log")).unwrap();
        let child = Command::new(program("mariadbd"))
            .env("TMPDIR", self.folder.path())
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.file("data").display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.file("pid").display()))
            .arg(format!("--port={}", self.port))
            .args(SMALL)
            .args(&self.options)
            // the first user counts
            .args(user_option())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        self.guard = Some(guard(child.id(), self.folder.path()));
        self.process = Some(Running(child));
        let up = eventually(START, "mariadbd to answer or to end", || {
            if self.process.as_mut().is_some_and(|process| process.ended().is_some()) {
                return Ok(false);
            }
            let ping = run(self.administrator().args(["-e", "SELECT 1"]), "");
            if ping.code == Some(0) { Ok(true) } else { Err(ping.to_string()) }
        });
        if up {
            return Ok(());
        }
        (self.guard, self.process) = (None, None);
        Err(tail(&self.file("log"), 20))
    }
}

impl Account {
    /// `[database]` of a configuration that reaches it by TCP: key and value.
    pub fn settings(&self) -> Vec<(&'static str, toml::Value)> {
        vec![
            ("backend", "mariadb".into()),
            ("host", "127.0.0.1".into()),
            ("port", i64::from(self.port).into()),
            ("user", self.user.clone().into()),
            ("password", self.password.clone().into()),
            ("name", self.database.clone().into()),
        ]
    }

    /// Runs statements in the database. Out: a line per row, columns parted by tabs, no headings.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let mut client = self.client("mariadb");
        run(client.args(["--batch", "--skip-column-names", &self.database]), statements).ok().stdout
    }

    /// The same with every character as it is, as `--raw` has it.
    #[track_caller]
    pub fn sql_raw(&self, statements: &str) -> String {
        let mut client = self.client("mariadb");
        client.args(["--batch", "--raw", "--skip-column-names", &self.database]);
        run(&mut client, statements).ok().stdout
    }

    /// The statements that make the database again, a line per row.
    #[track_caller]
    pub fn dump(&self) -> String {
        let mut dump = self.client("mariadb-dump");
        dump.args(["--skip-opt", "--create-options", "--skip-comments", "--no-tablespaces"]);
        run(dump.args(["--hex-blob", &self.database]), "").ok().stdout
    }

    fn client(&self, name: &str) -> Command {
        client(name, &self.user, &self.password, &self.socket)
    }
}

/// A client program that logs in by the Unix socket.
fn client(name: &str, user: &str, password: &str, socket: &Path) -> Command {
    let mut client = Command::new(program(name));
    client.args(["--no-defaults", "--default-character-set=utf8mb4"]);
    client.arg(format!("--user={user}")).arg(format!("--password={password}"));
    client.arg(format!("--socket={}", socket.display()));
    client
}

/// A server that runs as root needs this option.
fn user_option() -> Option<&'static str> {
    nix::unistd::geteuid().is_root().then_some("--user=root")
}

/// A shell that waits for the end of its standard input, which comes when the test process is gone,
/// killed or not; then it kills the server and removes its folder. Statics are never dropped.
fn guard(server: u32, folder: &Path) -> Running {
    use std::os::unix::process::CommandExt;
    let script = r#"read -r _; kill -9 "$1"; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2""#;
    let shell = Command::new("sh")
        .args(["-c", script, "sh", &server.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // Ctrl-C ends the tests, and not what tidies up after them
        .spawn();
    Running(shell.expect("a shell"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_sees_its_own_database_only() {
        let server = Mariadb::shared();
        let (one, two) = (server.account(), server.account());
        assert_ne!(one.database, two.database);
        let seen = one.sql("SHOW DATABASES;");
        assert_eq!(seen, format!("information_schema\n{}\n", one.database));
    }

    #[test]
    fn a_server_keeps_its_data_over_a_restart_and_dies_with_its_guard() {
        let mut server = Mariadb::start();
        let account = server.account();
        account.sql("CREATE TABLE t (x BIGINT); INSERT INTO t VALUES (7);");
        server.stop();
        server.start_again();
        assert_eq!(account.sql("SELECT x FROM t;"), "7\n");
        assert!(account.dump().contains("INSERT INTO `t` VALUES (7);"));

        // as if the test process were gone: the guard's standard input ends
        let mut guard = server.guard.take().unwrap();
        drop(guard.0.stdin.take());
        let process = server.process.as_mut().unwrap();
        process.wait(STOP, "mariadbd whose tests are gone");
        guard.wait(STOP, "the guard");
        assert!(!server.folder.path().exists(), "its folder is left");
    }
}
