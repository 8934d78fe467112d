//! The real `ddnsd` in a temporary folder, on a free port, with its own database and admin socket.
//! [`Setup`] is what an administrator has on disk; [`Daemon`] is the running program. Its log
//! goes to a file, whose end is shown when a test fails.

use crate::ctl::Ctl;
use crate::eventually::eventually;
use crate::http::{Reply, Request, get};
use crate::named::tail;
use crate::primary::Primary;
use crate::process::Running;
use crate::setup::Setup;
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

/// Longest time from the start to the line that says ready, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// Longest time from SIGTERM to the end: 5 s are allowed to active requests.
const STOP: Duration = Duration::from_secs(10);

/// A running daemon; killed when dropped, with the end of its log shown if the test failed.
pub struct Daemon {
    setup: Setup,
    process: Option<Running>,
    urls: Vec<String>,
    log: PathBuf,
}

impl Daemon {
    /// See [`Setup::new`].
    pub fn builder(named: &dyn Primary) -> Setup {
        Setup::new(named)
    }

    /// Starts what is on disk and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn start(setup: Setup) -> Self {
        let log = setup.file("log");
        let mut daemon = Self { setup, process: None, urls: Vec::new(), log };
        daemon.start_again();
        daemon
    }

    /// What it was started from.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Writes another configuration, which counts from a reload or restart on.
    pub fn reconfigure(&mut self, configure: impl FnOnce(Setup) -> Setup) {
        let setup = std::mem::replace(&mut self.setup, Setup::empty());
        self.setup = configure(setup);
        self.setup.write();
    }

    /// Its first address, as `http://127.0.0.1:34567`.
    ///
    /// # Panics
    /// When it never logged one.
    pub fn url(&self) -> &str {
        self.urls.first().expect("an address it listens on")
    }

    /// All its addresses, in the order that it logged.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Its first address as `127.0.0.1:34567`.
    pub fn address(&self) -> &str {
        self.url().split("//").nth(1).expect("a host after http://")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running daemon").signal(signal);
    }

    /// A request for a path of it.
    pub fn get(&self, path: &str) -> Request {
        get(&format!("{}{path}", self.url()))
    }

    /// An update at the default path, `hostname=…&myip=…`, by a user that [`Ctl::add_user`] added.
    #[track_caller]
    pub fn update(&self, user: &str, query: &str) -> Reply {
        self.get(&format!("/update?{query}")).user(user, crate::ctl::PASSWORD).send()
    }

    /// Its process, or that of the program it was wrapped in.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> nix::unistd::Pid {
        self.process.as_ref().expect("a running daemon").pid()
    }

    /// Its control program.
    pub fn ctl(&self) -> Ctl {
        Ctl::new(&self.setup.socket())
    }

    /// Its log since its first start.
    pub fn log(&self) -> String {
        if let Some(process) = &self.process {
            written(process.0.id());
        }
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it as a power cut would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        self.process.take().expect("a running daemon").signal(Signal::SIGKILL);
    }

    /// Asks it to stop, by SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.stop_by(Signal::SIGTERM)
    }

    /// Waits until it has stopped as requested.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn terminated(&mut self) -> ExitStatus {
        self.process.take().expect("a running daemon").wait(STOP, "ddnsd")
    }

    /// Sends a signal that should end it and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop_by(&mut self, signal: Signal) -> ExitStatus {
        let mut process = self.process.take().expect("a running daemon");
        process.signal(signal);
        process.wait(STOP, &format!("ddnsd after {signal}"))
    }

    /// Stops it gracefully and starts it again.
    ///
    /// # Panics
    /// When it does not end with 0, or does not get ready again.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.terminate().success(), "a graceful stop");
        self.start_again();
    }

    /// Starts it again after its end, with its database, on a port of its choice.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn start_again(&mut self) {
        let before = self.log().len();
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = self
            .setup
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("ddnsd starts");
        let mut process = Running(child);
        self.urls = eventually(START, "ddnsd to log that it is ready", || {
            if let Some(status) = process.ended() {
                panic!("ddnsd ended instead of getting ready: {status}\n{}", tail(&self.log, 40));
            }
            let log = self.log();
            let log = &log[before..];
            if log.lines().any(says_ready) {
                Ok(listening_on(log))
            } else {
                Err(format!("its log: {log}"))
            }
        });
        assert!(!self.urls.is_empty(), "no line `listening on http://…`:\n{}", self.log());
        self.process = Some(process);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process = None;
        if std::thread::panicking() {
            eprintln!("---- the end of ddnsd's log ----\n{}\n----", tail(&self.log, 60));
        }
    }
}

/// Waits until the daemon's thread that writes the log sleeps: lines come from it a moment after
/// what they tell of. A daemon that was wrapped in another program has it elsewhere and is not
/// waited for.
fn written(process: u32) {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return };
    let writer = threads.flatten().map(|thread| thread.path()).find(|thread| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "ddnsd-log\n")
    });
    let Some(writer) = writer else { return };
    for _ in 0..1000 {
        let stat = std::fs::read_to_string(writer.join("stat")).unwrap_or_default();
        if stat.contains("(ddnsd-log) S") {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The addresses in lines like `… listening on http://127.0.0.1:34567`.
fn listening_on(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| line.split_once("listening on ")?.1.split_ascii_whitespace().next())
        .filter(|url| url.starts_with("http://") || url.starts_with("https://"))
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect()
}

/// Whether a line says `ready`, and not `already`. It comes last, so that all before it is whole.
fn says_ready(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_the_log() {
        let log = "12:00 INFO listening on http://127.0.0.1:4711\nlistening on http://[::1]:4711/ x\n\
                   INFO admin socket listening on /run/x\nINFO ready\n";
        assert_eq!(listening_on(log), ["http://127.0.0.1:4711", "http://[::1]:4711"]);
    }

    #[test]
    fn already_is_not_ready() {
        assert!(says_ready("INFO ddnsd: ready, 0.1.0"));
        assert!(!says_ready("INFO ddnsd: the database is already migrated"));
    }
}
