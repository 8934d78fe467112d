//! Programs that run to their end. In: a command and perhaps its standard input. Out: exit status
//! and what it printed. Each has a deadline, so that a hanging program fails its test and no other.

use crate::eventually::eventually;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest time a program may take that runs to its end.
const LONGEST: Duration = Duration::from_secs(40);

/// A program that has ended.
pub struct Finished {
    /// Its command line, for messages.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The program must have succeeded.
    ///
    /// # Panics
    /// When it did not, with its output.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// The program must have ended with this code.
    ///
    /// # Panics
    /// When it ended otherwise, with its output.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code (expected on the right) of {self}");
        self
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// When it failed or printed something else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let finished = self.ok();
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("no JSON on standard output: {error}\nof {finished}"))
    }

    /// Standard output and standard error together.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Its output must contain each of these, in upper or lower case.
    ///
    /// # Panics
    /// When one is missing, with its output.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        let output = self.output().to_lowercase();
        for part in parts {
            assert!(output.contains(&part.to_lowercase()), "{part:?} is not in its output: {self}");
        }
        self
    }

    /// Standard error must be one sentence: a single line that is not a panic.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn one_sentence(self) -> Self {
        let lines = self.stderr.lines().filter(|line| !line.trim().is_empty()).count();
        assert_eq!(lines, 1, "standard error must be one sentence: {self}");
        assert!(!self.stderr.contains("panicked"), "it panicked: {self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "{command}\n  exit code: {code:?}\n  stdout: {stdout:?}\n  stderr: {stderr:?}")
    }
}

/// Runs a program to its end, `input` on its standard input.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Finished {
    run_within(LONGEST, command, input)
}

/// The same with a bound of the test's own.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[track_caller]
pub fn run_within(longest: Duration, command: &mut Command, input: &str) -> Finished {
    let mut stdout = scratch();
    let finished = run_into(stdout.try_clone().unwrap().into(), longest, command, input);
    Finished { stdout: contents(&mut stdout), ..finished }
}

/// The same with its standard output in a pipe whose reader is gone.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[track_caller]
pub fn run_unread(command: &mut Command, input: &str) -> Finished {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    run_into(writer.into(), LONGEST, command, input)
}

#[track_caller]
fn run_into(stdout: Stdio, longest: Duration, command: &mut Command, input: &str) -> Finished {
    let line = line_of(command);
    let mut stderr = scratch();
    let child = command
        .stdin(file_with(input))
        .stdout(stdout)
        .stderr(Stdio::from(stderr.try_clone().unwrap()))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    let mut child = Running(child);
    let status = child.wait(longest, &line);
    Finished {
        command: line,
        code: status.code(),
        stdout: String::new(),
        stderr: contents(&mut stderr),
    }
}

/// A process that is killed when it is dropped.
pub struct Running(pub Child);

impl Running {
    /// Its process id.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Sends it a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let _ = nix::sys::signal::kill(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended `within`.
    #[track_caller]
    pub fn wait(&mut self, within: Duration, name: &str) -> ExitStatus {
        eventually(within, &format!("the end of {name}"), || {
            self.ended().ok_or_else(|| "still running".to_owned())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Finds a program of the system, also in the folders that only root's PATH has.
///
/// # Panics
/// When it is not installed.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed; tests/run installs what is needed"))
}

/// Copies a program to where it can be run. Not by our own hand: a process that another test starts
/// meanwhile would hold the file open for writing, and no process could run it ("text file busy").
#[track_caller]
pub fn copy_program(from: &Path, to: &Path) {
    run(Command::new("cp").arg(from).arg(to), "").ok();
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn scratch() -> File {
    tempfile::tempfile().unwrap()
}

fn file_with(text: &str) -> File {
    let mut file = scratch();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_shows_output_and_code() {
        let finished =
            run(Command::new("sh").args(["-c", "cat; echo talk >&2; exit 3"]), "data").exits(3);
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("data", "talk\n"));
    }

    #[test]
    #[should_panic(expected = "exit code: Some(1)")]
    fn a_failed_program_fails_the_test_that_needed_it() {
        run(&mut Command::new("false"), "").ok();
    }
}
