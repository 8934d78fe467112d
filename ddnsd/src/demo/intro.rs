//! The lines that a user of the demo pastes into another terminal.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const ADDRESS: &str = "192.0.2.1";

/// What the lines say.
pub(super) struct Intro<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) host: &'a str,
    pub(super) http: SocketAddr,
    pub(super) dns: SocketAddr,
    pub(super) ctl: Ctl,
    pub(super) socket: &'a Path,
}

/// How to run ddnsctl.
pub(super) enum Ctl {
    /// It stands beside ddnsd.
    Program(PathBuf),
    /// Cargo runs this ddnsd and may not have built ddnsctl.
    Cargo { manifest: PathBuf, is_release: bool },
    /// Found by the shell.
    Installed,
}

impl Ctl {
    pub(super) fn find() -> Self {
        let Ok(ddnsd) = std::env::current_exe() else { return Self::Installed };
        let ctl = ddnsd.with_file_name("ddnsctl");
        if ctl.is_file() {
            return Self::Program(ctl);
        }
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let workspace = manifest.as_deref().and_then(Path::parent);
        match workspace.map(|workspace| workspace.join("Cargo.toml")) {
            Some(manifest) if manifest.is_file() => {
                let profile = ddnsd.parent().and_then(Path::file_name);
                let is_release = profile.is_some_and(|profile| profile == "release");
                Self::Cargo { manifest, is_release }
            }
            _ => Self::Installed,
        }
    }

    fn command(&self) -> String {
        match self {
            Self::Program(path) => quoted(path),
            Self::Cargo { manifest, is_release } => {
                let release = if *is_release { " --release" } else { "" };
                let manifest = quoted(manifest);
                format!("cargo run -q{release} --manifest-path {manifest} --bin ddnsctl --")
            }
            Self::Installed => "ddnsctl".to_owned(),
        }
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

impl Intro<'_> {
    pub(super) fn text(&self, has_colour: bool) -> String {
        let Self { user, password, host, http, dns, ctl, socket } = self;
        // curl would ask the proxy for an address of this machine
        let has_proxy = ["http_proxy", "ALL_PROXY", "all_proxy"];
        let has_proxy = has_proxy.iter().any(|name| std::env::var_os(name).is_some());
        let curl = if has_proxy { "curl --noproxy '*'" } else { "curl" };
        let update = format!(
            "{curl} -u {user}:{password} 'http://{http}/update?hostname={host}&myip={ADDRESS}'"
        );
        let lookup = format!("dig +short @{} -p {} {host}", dns.ip(), dns.port());
        let list = format!("{} --socket {} hostname list", ctl.command(), quoted(socket));
        let steps = [
            (format!("A router sends its new address. The answer: good {ADDRESS}"), &update),
            (format!("The built-in name server has it. The answer: {ADDRESS}"), &lookup),
            ("The administrator sees it:".to_owned(), &list),
            (format!("The router sends the same again. The answer: nochg {ADDRESS}"), &update),
        ];
        let (on, off) = if has_colour { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
        let mut text = format!(
            "ddnsd --demo: dynamic DNS for {host}, on this machine only.\n\
             Ctrl-C ends it and leaves nothing behind.\n\n\
             Paste these lines into another terminal:\n\n"
        );
        for ((what, line), number) in steps.iter().zip(1..) {
            // writing to a String cannot fail
            let _ = writeln!(text, "{number}. {what}\n   {on}{line}{off}\n");
        }
        text.push_str("Updates as they happen:\n");
        text
    }
}
