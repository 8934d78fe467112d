//! Whole sessions of an administrator as reviewed text. In: a file of comments (`# …`), commands
//! (`$ …`, run by a shell) and what happens beside them (`@ …`), each with its output below it.
//! Out: the same text with the present output, without what differs from run to run; a
//! difference fails the test, and `DDNSD_BLESS=1` writes the file again for review.
//!
//! Below a command: standard output indented, then standard error after `! `, then the exit code if
//! it is not 0. The shell knows `ddnsctl` (of this daemon), `update USER QUERY` (a router's
//! request), `records NAME TYPE` (what DNS answers) and `nameserver 'CHANGE; …'` (by `nsupdate`,
//! behind our back).

use crate::ctl::PASSWORD;
use crate::process::{Finished, run};
use crate::setup::{binary, source};
use std::fmt::Write as _;
use std::process::Command;

/// What every command of a transcript can use.
const PRELUDE: &str = r#"
ddnsctl() {
    case " $* " in
        *' --help '*) env -u DDNSD_SOCKET "$DDNSCTL" "$@" ;; # it would be shown, and wrap the lines
        *) "$DDNSCTL" "$@" ;;
    esac
}
update() { curl -q -sS -g -A router/1.0 --noproxy '*' -u "$1:$PASSWORD" "$URL/update?$2"; }
records() { dig @127.0.0.1 -p "$DNS_PORT" +norecurse +noall +answer +nocookie "$1" "$2" |
    awk '!/^;/ && NF { print $1, $2, $4, $5 }' | sort; }
nameserver() { { echo "server 127.0.0.1 $DNS_PORT"; echo "$1" | tr ';' '\n'; echo send; } |
    nsupdate -k "$DNS_KEY"; }
"#;

/// Where a session's commands run, and what differs from run to run.
pub struct Session<'a> {
    /// The daemon's address, `http://127.0.0.1:34567`.
    pub url: &'a str,
    /// The daemon's admin socket; commands run in its folder.
    pub socket: &'a std::path::Path,
    /// The name server's port.
    pub dns_port: u16,
    /// The name server's key.
    pub dns_key: std::path::PathBuf,
    /// Further texts that differ, and what stands for each.
    pub differs: Vec<(String, &'static str)>,
}

/// Runs `tests/e2e/transcripts/NAME.txt` and compares. `beside` carries out the `@` lines, and says
/// where the session goes on.
///
/// # Panics
/// When the output differs from the file.
#[track_caller]
pub fn check(name: &str, session: &Session<'_>, mut beside: impl FnMut(&str)) {
    let file = source(&format!("tests/e2e/transcripts/{name}.txt"));
    let expected =
        std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let mut now = String::new();
    for line in expected.lines() {
        match line.get(..2) {
            Some("# ") => writeln!(now, "{line}").unwrap(),
            Some("@ ") => {
                beside(&line[2..]);
                writeln!(now, "{line}\n").unwrap();
            }
            Some("$ ") => {
                let finished = session.run(&line[2..]);
                writeln!(now, "{line}\n{}", session.redacted(&below(&finished))).unwrap();
            }
            _ => {} // output
        }
    }
    if now == expected {
        return;
    }
    if std::env::var_os("DDNSD_BLESS").is_some() {
        std::fs::write(&file, now).unwrap();
        return;
    }
    let new = session.socket.with_file_name("now.txt");
    std::fs::write(&new, now).unwrap();
    let difference = run(Command::new("diff").args(["-u"]).arg(&file).arg(&new), "").stdout;
    panic!("the session {name} is another one now; if it should be, DDNSD_BLESS=1:\n{difference}");
}

impl Session<'_> {
    fn run(&self, line: &str) -> Finished {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{PRELUDE}\n{line}")]);
        shell.current_dir(self.socket.parent().expect("a folder"));
        for variable in ["NO_COLOR", "LANG", "LC_ALL", "COLUMNS"] {
            shell.env_remove(variable);
        }
        shell.env("TZ", "UTC").env("DDNSD_SOCKET", self.socket).env("PASSWORD", PASSWORD);
        shell.env("DDNSCTL", binary("ddnsctl")).env("URL", self.url);
        shell.env("DNS_PORT", self.dns_port.to_string()).env("DNS_KEY", &self.dns_key);
        run(&mut shell, "")
    }

    fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let folder = self.socket.parent().expect("a folder").display().to_string();
        let port = |port: &str| format!("127.0.0.1:{port}");
        for (seen, shown) in [
            (folder, "/run/ddnsd"),
            (port(self.url.rsplit(':').next().expect("a port")), "127.0.0.1:8443"),
            (port(&self.dns_port.to_string()), "127.0.0.1:53"),
            (env!("CARGO_PKG_VERSION").to_owned(), "VERSION"),
        ] {
            text = text.replace(&seen, shown);
        }
        for (seen, shown) in &self.differs {
            text = text.replace(seen, shown);
        }
        redacted(&text)
    }
}

/// The output of a command, as a transcript shows it.
fn below(finished: &Finished) -> String {
    let mut text = String::new();
    for (mark, stream) in [("  ", &finished.stdout), ("! ", &finished.stderr)] {
        for line in stream.lines() {
            text += format!("{mark}{line}").trim_end();
            text.push('\n');
        }
    }
    match finished.code {
        Some(0) => {}
        Some(code) => writeln!(text, "[exit {code}]").unwrap(),
        None => text += "[killed]\n",
    }
    text
}

//----- What differs from run to run -----

/// Counts that depend on how the clock ticks: what is written or sent in the background.
const COUNTS: [&str; 18] = [
    "uptime_seconds",
    "pending_seconds",
    "checks.messages",
    "checks.hosts",
    "checks.queries",
    "checks.unknown",
    "queue checks",
    "queue database",
    "checks",
    "queue keepalives",
    "keepalives",
    "database.commits",
    "database.writes",
    "database.reads",
    "dns.messages",
    "dns.hosts",
    "dns.tcp",
    "dns.unanswered",
];

/// Times, durations, generated passwords, hashes, the system's error numbers and such counts.
fn redacted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
        let (shown, length) = match known(rest) {
            Some(known) if !inside => known,
            _ => (first.to_string(), first.len_utf8()),
        };
        out += &shown;
        rest = &rest[length..];
    }
    out
}

/// What stands at the start of `rest` if it differs from run to run: as it is shown, and its
/// length.
fn known(rest: &str) -> Option<(String, usize)> {
    time(rest).or_else(|| hash(rest)).or_else(|| password(rest)).or_else(|| number(rest))
}

/// `2026-11-23 10:00:00` in tables, `2026-11-23T10:00:00.123Z` in JSON.
fn time(rest: &str) -> Option<(String, usize)> {
    let shape = |c: u8| if c.is_ascii_digit() { b'0' } else { c };
    let start: Vec<u8> = rest.bytes().take(19).map(shape).collect();
    match start.as_slice() {
        b"0000-00-00 00:00:00" => Some(("YYYY-MM-DD hh:mm:ss".to_owned(), 19)),
        b"0000-00-00T00:00:00" => Some(("YYYY-MM-DDThh:mm:ssZ".to_owned(), rest.find('Z')? + 1)),
        _ => None,
    }
}

fn hash(rest: &str) -> Option<(String, usize)> {
    let end = rest.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(rest.len());
    rest.starts_with("$argon2").then(|| ("$argon2…".to_owned(), end))
}

/// As `--generate` makes them: 20 letters and digits, not of one kind.
fn password(rest: &str) -> Option<(String, usize)> {
    let word = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    (word.len() == 20 && mixed).then(|| ("GENERATED20PASSWORDx".to_owned(), 20))
}

/// A value that is known by its label only, in a table or in JSON.
fn number(rest: &str) -> Option<(String, usize)> {
    let from = |label: &str, until: fn(char) -> bool, shown: &str| {
        let after = rest.strip_prefix(label)?;
        let gap = after.find(|c: char| !matches!(c, '"' | ':' | ' '))?;
        let value = after.get(gap..)?.find(until)?;
        let start = rest.get(..label.len() + gap)?;
        (gap > 0 && value > 0).then(|| (format!("{start}{shown}"), start.len() + value))
    };
    let no_digit = |c: char| !c.is_ascii_digit();
    let count = COUNTS.iter().find_map(|label| from(label, no_digit, "N"));
    count
        .or_else(|| from("uptime", |c| c == '\n', "DURATION"))
        .or_else(|| from("the first for", |c| c == '\n', "DURATION"))
        .or_else(|| from("os error", no_digit, "N"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_between_runs_are_redacted_and_the_rest_stays() {
        for (printed, shown) in [
            ("pc  2026-11-24 03:04:41  60", "pc  YYYY-MM-DD hh:mm:ss  60"),
            (r#""at": "2026-11-24T03:04:41.538Z","#, r#""at": "YYYY-MM-DDThh:mm:ssZ","#),
            ("$argon2id$v=19$m=1,t=2$a$b\"}", "$argon2…\"}"),
            ("aB3defghijklmnopqrst\n", "GENERATED20PASSWORDx\n"),
            ("refused (os error 111)", "refused (os error N)"),
            ("uptime  1 min 3 s\nusers   1", "uptime  DURATION\nusers   1"),
            ("database.writes   17\n\"dns.tcp\": 3,\n", "database.writes   N\n\"dns.tcp\": N,\n"),
            ("xn--bcher-kva.dyn.example 192.0.2.1 ü", "xn--bcher-kva.dyn.example 192.0.2.1 ü"),
        ] {
            assert_eq!(redacted(printed), shown);
        }
    }
}
