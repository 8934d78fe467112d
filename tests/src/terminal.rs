//! A real terminal (a pty) with a program in it that it belongs to. In: what a person types. Out:
//! what appeared, whether typing is echoed, and how the program ended.

use crate::eventually::eventually;
use crate::process::{Running, program};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest time for a prompt to appear or for the program to end.
const SOON: Duration = Duration::from_secs(20);

/// A terminal; what runs in it is killed when it is dropped.
pub struct Terminal {
    process: Running,
    keyboard: File,
    /// Kept open, so that the terminal's state can be read after the program has ended.
    line: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
    name: String,
}

impl Terminal {
    /// Starts a program with its standard input, output and error on a new terminal, which is its
    /// controlling one, so that `/dev/tty` and Ctrl-C work.
    ///
    /// # Panics
    /// When there are no terminals or the program cannot be started.
    #[track_caller]
    pub fn start(words: &[impl AsRef<OsStr>]) -> Self {
        let pair = openpty(None, None).expect("a terminal");
        let end = |_| Stdio::from(pair.slave.try_clone().unwrap());
        let process = Command::new(program("setsid"))
            .arg("--ctty")
            .args(words)
            .env("TERM", "xterm")
            .stdin(end(0))
            .stdout(end(1))
            .stderr(end(2))
            .spawn()
            .expect("setsid");
        let keyboard = File::from(pair.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let screen = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || show(screen.0, &screen.1));
        let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        let name = words.join(" ");
        Self { process: Running(process), keyboard, line: pair.slave, shown, name }
    }

    /// All that has appeared so far.
    pub fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits until what has appeared ends like this: a prompt.
    #[track_caller]
    pub fn prompts(&self, end: &str) {
        eventually(SOON, &format!("the prompt {end:?} of {}", self.name), || {
            let shown = self.shown();
            if shown.ends_with(end) { Ok(()) } else { Err(format!("{shown:?}")) }
        });
    }

    /// Types, with `\n` for the Enter key and `\x03` for Ctrl-C.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether what is typed appears.
    pub fn echoes(&self) -> bool {
        let state = tcgetattr(&self.line).expect("the terminal's state");
        state.local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits for the program's end, and until all that it printed has appeared.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let status = self.process.wait(SOON, &self.name);
        // what is printed now appears after everything that the program printed
        nix::unistd::write(&self.line, b"\0").unwrap();
        self.prompts("\0");
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).pop();
        status
    }
}

/// Reads until the terminal is closed.
fn show(mut screen: File, shown: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(length) = screen.read(&mut bytes) {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(&bytes[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_text_is_echoed_until_a_program_disables_the_echo() {
        let script = r#"printf 'name? '; read name; stty -echo < /dev/tty
                        printf 'secret? '; read secret; stty echo; exit 3"#;
        let mut terminal = Terminal::start(&["sh", "-c", script]);
        terminal.prompts("name? ");
        terminal.types("alice\n");
        terminal.prompts("secret? ");
        assert!(!terminal.echoes());
        terminal.types("hush\n");
        assert_eq!(terminal.ends().code(), Some(3));
        assert!(terminal.echoes());
        assert_eq!(terminal.shown(), "name? alice\r\nsecret? ");
    }

    #[test]
    fn ctrl_c_interrupts_what_runs_in_it() {
        use std::os::unix::process::ExitStatusExt;
        let mut terminal = Terminal::start(&["sh", "-c", "printf '> '; exec cat"]);
        terminal.prompts("> ");
        terminal.types("\x03");
        assert_eq!(terminal.ends().signal(), Some(2));
    }
}
