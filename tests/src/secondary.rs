//! Private secondaries of the daemon's zones, in temporary folders: BIND and Knot. And a resolver,
//! unbound, that asks the daemon.

use crate::eventually::eventually;
use crate::named::{free_port, tail};
use crate::primary::{ZONE, dig};
use crate::process::{Running, copy_program, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Longest time until it runs.
const START: Duration = Duration::from_secs(20);

/// A running secondary or resolver; killed when dropped, with the end of its log shown if the test
/// failed.
pub struct Secondary {
    folder: TempDir,
    port: u16,
    program: SecondaryProgram,
    process: Option<Running>,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondaryProgram {
    /// BIND.
    Bind,
    /// Knot DNS.
    Knot,
    /// unbound, with a stub zone.
    Unbound,
}

impl Secondary {
    /// One that is not started yet, because its primary must know its port.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new(program: SecondaryProgram) -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-secondary-").tempdir().unwrap();
        Self { folder, port: free_port(), program, process: None }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, as a secondary of [`ZONE`] on this port.
    ///
    /// # Panics
    /// When its program is not installed or does not start.
    #[track_caller]
    pub fn start(&mut self, primary: u16) {
        let mut command = match self.program {
            SecondaryProgram::Bind => self.bind(primary),
            SecondaryProgram::Knot => self.knot(primary),
            SecondaryProgram::Unbound => self.unbound(primary),
        };
        let log = std::fs::File::create(self.file("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(Running(command.spawn().expect("it starts")));
        eventually(START, "the secondary to answer", || {
            if self.process.as_mut().is_some_and(|process| process.ended().is_some()) {
                panic!("it ended:\n{}", tail(&self.file("log"), 20));
            }
            dig(self.port, &["+tries=1", "+time=1", "version.bind", "CH", "TXT"]).map(|_| ())
        });
    }

    /// The data of a name's records, sorted; empty while it has none.
    pub fn data(&self, name: &str, kind: &str) -> Vec<String> {
        let answer = dig(self.port, &["+tries=2", "+time=2", name, kind]).unwrap_or_default();
        answer.into_iter().filter(|record| record.kind == kind).map(|record| record.data).collect()
    }

    /// The serial that it has; `None` while it has no zone.
    pub fn serial(&self) -> Option<u32> {
        self.data(ZONE, "SOA").first()?.split(' ').nth(2)?.parse().ok()
    }

    fn bind(&self, primary: u16) -> Command {
        let folder = self.folder.path().display();
        let port = self.port;
        let text = format!(
            r#"options {{ directory "{folder}"; pid-file none; session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; notify no; dnssec-validation no; }};
controls {{ }};
zone "{ZONE}" {{ type secondary; file "zone"; primaries {{ 127.0.0.1 port {primary}; }};
  allow-notify {{ 127.0.0.1; }}; }};
"#
        );
        self.write("named.conf", &text);
        // AppArmor's profile of Debian's named allows it no file below /tmp, but goes by the path
        copy_program(&program("named"), &self.file("named"));
        let mut command = Command::new(self.file("named"));
        command.args(["-g", "-n", "1", "-c"]).arg(self.file("named.conf"));
        command
    }

    fn knot(&self, primary: u16) -> Command {
        let folder = self.folder.path().display();
        let port = self.port;
        let text = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {folder}\n    \
             pidfile: {folder}/knot.pid\nlog:\n  - target: stderr\n    any: info\n\
             database:\n    storage: {folder}\n\
             remote:\n  - id: ddnsd\n    address: 127.0.0.1@{primary}\n\
             acl:\n  - id: ddnsd\n    address: 127.0.0.1\n    action: notify\n\
             zone:\n  - domain: {ZONE}\n    storage: {folder}\n    master: ddnsd\n    acl: ddnsd\n"
        );
        self.write("knot.conf", &text);
        let mut command = Command::new(program("knotd"));
        command.arg("-c").arg(self.file("knot.conf"));
        command
    }

    fn unbound(&self, primary: u16) -> Command {
        let port = self.port;
        // no query may leave this machine: the only zone that it knows is ours
        let text = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  username: \"\"\n  \
             chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-not-query-localhost: no\n  \
             module-config: \"iterator\"\n  cache-max-negative-ttl: 0\n  cache-max-ttl: 0\n  \
             use-caps-for-id: yes\n  hide-version: yes\n  num-threads: 1\n\
             stub-zone:\n  name: {ZONE}\n  stub-addr: 127.0.0.1@{primary}\n"
        );
        self.write("unbound.conf", &text);
        let mut command = Command::new(program("unbound"));
        command.args(["-d", "-c"]).arg(self.file("unbound.conf"));
        command
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        self.process = None;
        if std::thread::panicking() {
            let log = tail(&self.file("log"), 30);
            eprintln!("---- the end of the log of {:?} ----\n{log}\n----", self.program);
        }
    }
}
