//! What an administrator has on disk: a folder, a configuration that is built key by key, and the
//! programs that read it. Out: a [`Daemon`], or a program that has ended because it should.

use crate::daemon::Daemon;
use crate::database::{Backend, Database};
use crate::mariadb::{Account, Mariadb};
use crate::named::write_private;
use crate::primary::Primary;
use crate::process::{Finished, run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use toml::{Table, Value};

const SQLITE_FILE: &str = "ddnsd.sqlite";

/// A configuration and the folder that it names.
pub struct Setup {
    folder: TempDir,
    settings: Table,
    database: Database,
    wrapper: Vec<String>,
}

impl Setup {
    /// A daemon's folder and configuration: a free port on 127.0.0.1, the database that the tests
    /// are run on, no rate limits, and the given name server with its key.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new(named: &dyn Primary) -> Self {
        let setup = Self::empty()
            .set("daemon.host", "127.0.0.1")
            .set("daemon.port", 0)
            .set("rate_limit.enabled", false);
        let setup = match named.own_zones() {
            Some(zones) => setup.serving(zones, named.port()),
            None => setup
                .set("dns_service.dns_server", "127.0.0.1")
                .set("dns_service.dns_port", i64::from(named.port()))
                .set("dns_service.dns_timeout", 2)
                .set("dns_service.ddns_default_key_file", path_text(&named.key_file())),
        };
        let socket = path_text(&setup.socket());
        let setup = setup.set("admin.socket", socket);
        match Backend::under_test() {
            Backend::Sqlite => setup.on_sqlite(),
            Backend::Mariadb => setup.on_mariadb(Mariadb::shared().account()),
        }
    }

    /// With the daemon's own name server, which serves these zones and lets this machine transfer
    /// them.
    fn serving(self, zones: &[String], port: u16) -> Self {
        let nameservers: Vec<_> = zones.iter().map(|zone| format!("ns.{zone}")).collect();
        let glue = nameservers.iter().map(|name| (name.clone(), vec!["127.0.0.1"].into()));
        let glue: Table = glue.collect();
        self.set("dns_service.backend", "builtin")
            .builtin("listen", vec![format!("127.0.0.1:{port}")])
            .builtin("zones", zones.to_vec())
            .builtin("nameservers", nameservers)
            .builtin("hostmaster", "hostmaster@dyn.example")
            .builtin("allow_transfer", vec!["127.0.0.0/8"])
            .builtin("nameserver_addresses", glue)
    }

    /// Sets a key of `[dns_service.builtin]`.
    #[must_use]
    pub fn builtin(mut self, key: &str, value: impl Into<Value>) -> Self {
        let empty = || Table::new().into();
        let section = self.settings.entry("dns_service").or_insert_with(empty);
        let section = section.as_table_mut().expect("a section");
        let section = section.entry("builtin").or_insert_with(empty);
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        self
    }

    /// Only a folder, with no configuration in it.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ddnsd-test-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let database = Database::Sqlite(folder.path().join(SQLITE_FILE));
        Self { folder, settings: Table::new(), database, wrapper: Vec::new() }
    }

    /// Keeps everything in a SQLite file, whatever the tests are run on: for what is about that
    /// file.
    #[must_use]
    pub fn on_sqlite(self) -> Self {
        let path = self.sqlite_file();
        self.on(Database::Sqlite(path))
    }

    /// Keeps everything in this database of a MariaDB, whatever the tests are run on.
    #[must_use]
    pub fn on_mariadb(self, account: Account) -> Self {
        self.on(Database::Mariadb(account))
    }

    fn on(mut self, database: Database) -> Self {
        self.settings.insert("database".to_owned(), database.settings().into());
        self.database = database;
        self
    }

    /// Sets a key, `section.key`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (section, key) = key.split_once('.').expect("section.key");
        let section = self.settings.entry(section).or_insert_with(|| Table::new().into());
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        self
    }

    /// Sets what stands outside all sections, such as `endpoints`.
    #[must_use]
    pub fn set_top(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// Leaves a key out, `section.key`.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let (section, key) = key.split_once('.').expect("section.key");
        self.settings.get_mut(section).and_then(Value::as_table_mut).map(|table| table.remove(key));
        self
    }

    /// Starts the daemon through another program, such as `["setpriv", "--groups", "1"]`.
    #[must_use]
    pub fn wrapped_in(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The database, to look into it behind the daemon's back.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The SQLite file, if it is one.
    pub fn sqlite_file(&self) -> PathBuf {
        self.file(SQLITE_FILE)
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.file("admin.sock")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// Writes the configuration, readable by its owner only.
    pub fn write(&self) {
        write_private(&self.config(), &toml::to_string(&self.settings).unwrap());
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn start(self) -> Daemon {
        self.write();
        Daemon::start(self)
    }

    /// Runs `ddnsd --config FILE` and these arguments to its end: for what must not start.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.write();
        self.run_as_written(arguments)
    }

    /// The same with the configuration file as the test itself wrote it.
    #[track_caller]
    pub fn run_as_written(&self, arguments: &[&str]) -> Finished {
        run(self.command().args(arguments), "")
    }

    /// `ddnsd --config FILE`, through the wrapper if there is one.
    pub fn command(&self) -> Command {
        let mut words: Vec<_> = self.wrapper.iter().map(PathBuf::from).collect();
        words.push(binary("ddnsd"));
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg("--config").arg(self.config());
        // the environment of the person who runs the tests must not decide
        command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        command
    }
}

/// A program of this workspace, as `cargo build` left it beside the tests.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    // target/debug/deps/e2e-0123456789abcdef, or target/release/bench
    let program = std::env::current_exe().unwrap();
    let mut folder = program.parent().expect("a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("target/debug");
    }
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// A file of the source tree, by its path from the top.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join(path)
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_written_for_its_owner_only() {
        let setup =
            Setup::empty().set("daemon.port", 1).set("daemon.host", "x").without("daemon.port");
        setup.write();
        assert_eq!(std::fs::read_to_string(setup.config()).unwrap(), "[daemon]\nhost = \"x\"\n");
        let mode = std::fs::metadata(setup.config()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
