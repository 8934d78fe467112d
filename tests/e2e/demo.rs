//! `ddnsd --demo` as a newcomer uses it: the lines that it prints are pasted as they are, and
//! nothing is left behind however it ends.

use ddnsd_tests::eventually::eventually;
use ddnsd_tests::process::{Finished, Running, run};
use ddnsd_tests::setup::binary;
use ddnsd_tests::terminal::Terminal;
use nix::sys::signal::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const LAST_LINE: &str = "Updates as they happen:\n";

/// A demo with a folder of its own for temporary files.
struct Demo {
    process: Running,
    folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stdout = File::create(output(&folder)).unwrap();
        let process = command(temporary(&folder)).stdout(stdout).stderr(Stdio::null()).spawn();
        Self { process: Running(process.unwrap()), folder }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(output(&self.folder)).unwrap()
    }

    fn prints(&self, text: &str) -> String {
        eventually(SOON, &format!("{text:?} from the demo"), || {
            let printed = self.printed();
            if printed.contains(text) { Ok(printed) } else { Err(printed) }
        })
    }

    /// The lines to paste.
    fn lines(&self) -> Vec<String> {
        let printed = self.prints(LAST_LINE);
        printed.lines().filter_map(|line| line.strip_prefix("   ")).map(str::to_owned).collect()
    }

    #[track_caller]
    fn ends_by(mut self, signal: Signal) {
        self.process.signal(signal);
        let status = self.process.wait(SOON, "the demo");
        assert_eq!(status.code(), Some(0), "{}", self.printed());
        assert_nothing_left(&self.folder);
    }
}

fn output(folder: &TempDir) -> PathBuf {
    folder.path().join("output")
}

/// The folder in which the demo makes its own.
fn temporary(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("temporary");
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn command(temporary: PathBuf) -> Command {
    let mut command = Command::new(binary("ddnsd"));
    command.arg("--demo").env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

#[track_caller]
fn assert_nothing_left(folder: &TempDir) {
    let left: Vec<_> = std::fs::read_dir(temporary(folder)).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// As typed into a shell in another folder.
fn paste(line: &str) -> Finished {
    run(Command::new("sh").args(["-c", line]).current_dir("/"), "")
}

#[test]
fn the_lines_that_the_demo_prints_work_as_they_are() {
    let demo = Demo::start();
    let lines = demo.lines();
    let [update, lookup, list, again] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(paste(update).ok().stdout, "good 192.0.2.1\n");
    assert_eq!(paste(lookup).ok().stdout, "192.0.2.1\n");
    paste(list).ok().prints(&["home.demo.example", "192.0.2.1", "published"]);
    assert_eq!(paste(again).ok().stdout, "nochg 192.0.2.1\n");
    let offline = update.replace("myip=192.0.2.1", "offline=YES");
    assert_eq!(paste(&offline).ok().stdout, "good\n");
    assert_eq!(paste(lookup).ok().stdout, "");
    let wrong = update.replace("demo:", "demo:x");
    assert_eq!(paste(&wrong).ok().stdout, "badauth\n");

    let printed = demo.prints("badauth");
    let (_, updates) = printed.split_once(LAST_LINE).unwrap();
    let codes = updates.lines().filter_map(|line| line.split_whitespace().nth(1));
    // beside the lines of the updates: a warning of the wrong password
    let codes: Vec<_> = codes.filter(|code| *code != "WARN").collect();
    assert_eq!(codes, ["good", "nochg", "good", "badauth"], "{updates}");
    assert!(updates.contains("home.demo.example → 192.0.2.1"), "{updates}");
    let password = update.split([':', ' ']).nth(3).unwrap();
    assert!(!updates.contains(password) && !printed.contains('\x1b'), "{updates}");
    demo.ends_by(Signal::SIGINT);
}

#[test]
fn the_demo_leaves_nothing_behind_however_it_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let demo = Demo::start();
        demo.prints(LAST_LINE);
        demo.ends_by(signal);
    }
}

#[test]
fn a_signal_while_the_demo_starts_leaves_nothing_behind() {
    for _ in 0..20 {
        let demo = Demo::start();
        // its folder is there: the daemon does not serve yet
        eventually(SOON, "the demo's folder", || {
            let mut made = std::fs::read_dir(temporary(&demo.folder)).unwrap();
            made.next().map(drop).ok_or_else(|| "none".to_owned())
        });
        demo.ends_by(Signal::SIGINT);
    }
}

#[test]
fn a_demo_that_cannot_start_says_why_and_leaves_nothing_behind() {
    let nowhere = Path::new("/nowhere").to_owned();
    run(&mut command(nowhere), "").exits(1).one_sentence().prints(&["temporary", "TMPDIR"]);
    // the path of a socket has 107 bytes at most
    let folder = tempfile::tempdir().unwrap();
    let long = temporary(&folder).join("x".repeat(100));
    std::fs::create_dir(&long).unwrap();
    run(&mut command(long.clone()), "").exits(1).one_sentence().prints(&["admin.sock"]);
    assert_eq!(std::fs::read_dir(long).unwrap().count(), 0);
    let mut with_a_file = command(temporary(&folder));
    run(with_a_file.args(["--config", "x.toml"]), "").exits(2).prints(&["--config"]);
}

#[test]
fn the_demo_uses_colour_on_a_terminal_unless_no_color_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = temporary(&folder).display().to_string();
    let ddnsd = binary("ddnsd").display().to_string();
    for (no_color, expected) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let variable = format!("TMPDIR={temporary}");
        let words = ["env", no_color, &variable, &ddnsd, "--demo"];
        let mut terminal = Terminal::start(&words);
        terminal.prompts("Updates as they happen:\r\n");
        assert_eq!(terminal.shown().contains("\x1b["), expected, "{}", terminal.shown());
        terminal.types("\x03");
        assert_eq!(terminal.ends().code(), Some(0), "{}", terminal.shown());
        assert_nothing_left(&folder);
    }
}
