//! The real `ddnsctl`, bound to one daemon's socket. In: arguments and perhaps a password for its
//! standard input. Out: exit code and what it printed, or its JSON read.

use crate::process::{Finished, run, run_unread, run_within};
use crate::terminal::Terminal;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The password of every user that [`Ctl::add_user`] adds.
pub const PASSWORD: &str = "correct horse: battery";

/// `ddnsctl` with its `--socket`.
#[derive(Clone, Debug)]
pub struct Ctl {
    socket: PathBuf,
}

impl Ctl {
    /// A control program for the daemon on this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Runs a command.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "")
    }

    /// Runs a command with text on its standard input.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        run(&mut self.command(arguments), input)
    }

    /// Runs a command that may take longer than others.
    #[track_caller]
    pub fn run_within(&self, longest: Duration, arguments: &[&str]) -> Finished {
        run_within(longest, &mut self.command(arguments), "")
    }

    /// The same with its standard output in a pipe whose reader is gone.
    #[track_caller]
    pub fn run_unread(&self, arguments: &[&str], input: &str) -> Finished {
        run_unread(&mut self.command(arguments), input)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::setup::binary("ddnsctl"));
        // what the person who runs the tests has set must not decide
        command.env_remove("DDNSD_SOCKET").env_remove("NO_COLOR");
        command.arg("--socket").arg(&self.socket).args(arguments);
        command
    }

    /// Starts a command on a terminal of its own, as a person would.
    #[track_caller]
    pub fn on_terminal(&self, arguments: &[&str]) -> Terminal {
        let program = crate::setup::binary("ddnsctl");
        let mut words = vec![program.as_os_str(), "--socket".as_ref(), self.socket.as_os_str()];
        words.extend(arguments.iter().map(AsRef::<OsStr>::as_ref));
        Terminal::start(&words)
    }

    /// Runs a command that must succeed and print JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        self.run(&all).json()
    }

    /// Adds a user with [`PASSWORD`].
    #[track_caller]
    pub fn add_user(&self, name: &str) {
        self.add_user_with(name, PASSWORD).ok();
    }

    /// Adds a user with a password of the test's own.
    #[track_caller]
    pub fn add_user_with(&self, name: &str, password: &str) -> Finished {
        let email = format!("{name}@example.org");
        self.run_with_input(
            &["user", "add", name, &email, "--password-stdin"],
            &format!("{password}\n"),
        )
    }

    /// Adds a host, with options such as `["--dns-ttl", "77"]`.
    #[track_caller]
    pub fn add_host(&self, user: &str, label: &str, zone: &str, options: &[&str]) {
        let mut all = vec!["hostname", "add", user, label, zone];
        all.extend(options);
        self.run(&all).ok();
    }

    /// Every host as the daemon lists it, sorted by name.
    #[track_caller]
    pub fn hosts(&self) -> Vec<Host> {
        let list = self.json(&["hostname", "list"]);
        let rows = list.as_array().unwrap_or_else(|| panic!("no array: {list}"));
        let mut hosts: Vec<_> = rows.iter().map(Host::read).collect();
        hosts.sort_by(|one, other| one.fqdn.cmp(&other.fqdn));
        hosts
    }

    /// One host as the daemon lists it.
    ///
    /// # Panics
    /// When there is no such host.
    #[track_caller]
    pub fn host(&self, fqdn: &str) -> Host {
        let hosts = self.hosts();
        let found = hosts.iter().find(|host| host.fqdn == fqdn);
        found.unwrap_or_else(|| panic!("no {fqdn} in {hosts:?}")).clone()
    }
}

/// A host as `ddnsctl --json hostname list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its full name, A-labels.
    pub fqdn: String,
    /// Its owner.
    pub user: String,
    /// The A record that DNS should hold.
    pub ipv4: Option<String>,
    /// The AAAA record that DNS should hold.
    pub ipv6: Option<String>,
    /// The TTL in force.
    pub dns_ttl: u64,
    /// Whether DNS is known to hold it all.
    pub published: bool,
}

impl Host {
    #[track_caller]
    fn read(row: &Value) -> Self {
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        let needed = |key: &str| text(key).unwrap_or_else(|| panic!("no text `{key}` in {row}"));
        Self {
            fqdn: needed("fqdn"),
            user: needed("user"),
            ipv4: text("ipv4"),
            ipv6: text("ipv6"),
            dns_ttl: row["dns_ttl"].as_u64().unwrap_or_else(|| panic!("no `dns_ttl` in {row}")),
            published: needed("state") != "pending",
        }
    }

    /// Its A record as DNS should answer it: as [`crate::named::Named::lookup`] does.
    pub fn a(&self) -> Vec<(u32, String)> {
        let ttl = u32::try_from(self.dns_ttl).unwrap();
        self.ipv4.iter().map(|address| (ttl, address.clone())).collect()
    }
}
