//! The whole of ddnsd from outside: the real programs, a real name server, real clients.
//! A file per subject; the scene that most tests start from is here.

mod addresses;
mod admin;
mod administration;
mod aging_files;
mod behind_proxies;
mod bounds;
mod bounds_tls;
mod browser;
mod client_setup;
mod clients;
mod clock;
mod config;
mod contract;
mod crash;
mod credentials;
mod demo;
mod disbelieved;
mod disk;
mod expiry;
mod fail2ban;
mod flapping;
mod guesses;
mod hosts;
mod http;
mod http2;
mod json;
mod last_request;
mod limits;
mod listen;
mod lists;
mod log;
mod mail;
mod mariadb;
mod measured;
mod metrics;
mod name_server;
mod notices;
mod outage;
mod prefix;
mod readme;
mod rehash;
mod reload;
mod request_log;
mod routers;
mod servers;
mod several;
mod slow;
mod soak;
mod socket;
mod sqlite;
mod start;
mod status;
mod suspension;
mod terminal;
mod tls;
mod transcripts;
mod transfer;
mod unserved;
mod update;
mod upgrade;
mod versions;

use ddnsd_tests::ctl::Ctl;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::http::Reply;
use ddnsd_tests::named::{Named, ZONE};
use ddnsd_tests::process::{Running, program};
use ddnsd_tests::setup::Setup;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a dead name server's records may be late once it is back.
const RECOVERY: Duration = Duration::from_secs(30);

/// A program that has the SQLite file locked, until it is dropped.
fn lock_file(setup: &Setup) -> Running {
    let mut holder = Command::new(program("sqlite3"));
    holder.arg(setup.sqlite_file()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = Running(holder.spawn().unwrap());
    let statements = b"BEGIN IMMEDIATE;\nSELECT 'held';\n";
    holder.0.stdin.as_mut().unwrap().write_all(statements).unwrap();
    holder.0.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    holder
}

/// A name server, a daemon that updates it, and the user alice with the host `pc.dyn.example`.
struct Scene {
    daemon: Daemon,
    named: Named,
}

impl Scene {
    /// With the usual configuration.
    #[track_caller]
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    /// With a configuration of the test's own.
    #[track_caller]
    fn with(configure: impl FnOnce(Setup) -> Setup) -> Self {
        let scene = Self::without_hosts(configure);
        scene.ctl().add_user("alice");
        scene.ctl().add_host("alice", "pc", ZONE, &[]);
        scene
    }

    /// Without users and hosts.
    #[track_caller]
    fn without_hosts(configure: impl FnOnce(Setup) -> Setup) -> Self {
        let named = Named::start();
        let daemon = configure(Daemon::builder(&named)).start();
        Self { daemon, named }
    }

    fn ctl(&self) -> Ctl {
        self.daemon.ctl()
    }

    /// Adds further hosts of alice in the zone.
    #[track_caller]
    fn add_hosts(&self, labels: &[&str]) {
        labels.iter().for_each(|label| self.ctl().add_host("alice", label, ZONE, &[]));
    }

    /// An update by alice: `hostname=…&myip=…`.
    #[track_caller]
    fn update(&self, query: &str) -> Reply {
        self.daemon.update("alice", query)
    }

    /// Update messages that the name server got, without those that only check.
    fn change_messages(&self) -> u64 {
        let checks =
            || self.ctl().json(&["status"])["counters"]["checks.messages"].as_u64().unwrap();
        loop {
            let (before, arrived) = (checks(), self.named.update_messages());
            // none was sent meanwhile
            if checks() == before && self.named.update_messages() == arrived {
                return arrived - before;
            }
        }
    }

    /// The A records of a host in the zone, without TTLs.
    #[track_caller]
    fn a(&self, label: &str) -> Vec<String> {
        self.named.data(&format!("{label}.{ZONE}"), "A")
    }

    /// The AAAA records of a host in the zone, without TTLs.
    #[track_caller]
    fn aaaa(&self, label: &str) -> Vec<String> {
        self.named.data(&format!("{label}.{ZONE}"), "AAAA")
    }
}
