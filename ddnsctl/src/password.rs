//! Obtains a new password. In: flags, a terminal or standard input. Out: a password of 1 to 1024
//! bytes, wiped when dropped.

use crate::exit::Failure;
use clap::{ArgGroup, Args};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use rand::RngExt;
use rand::distr::Alphanumeric;
use std::io::{self, BufRead, IsTerminal};
use zeroize::Zeroizing;

/// Maximum length of a password, bytes.
const MAX_BYTES: usize = 1024;

/// Characters of a generated password; 62 to the power of 20 is 119 bits.
const GENERATED_LENGTH: usize = 20;

/// Where a password comes from; a prompt without a flag.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").multiple(false))]
pub(crate) struct PasswordFlags {
    /// Read the password from the first line of standard input
    #[arg(long, group = "source")]
    password_stdin: bool,
    /// Generate a password of 20 letters and digits, and print it
    #[arg(long, group = "source")]
    generate: bool,
}

pub(crate) struct NewPassword {
    pub(crate) text: Zeroizing<String>,
    /// Generated here, so the caller must print it.
    pub(crate) generated: bool,
}

/// Obtains the password as the flags request.
///
/// # Errors
/// There is no terminal for a prompt, or the input is not a valid password.
pub(crate) fn obtain(flags: &PasswordFlags) -> Result<NewPassword, Failure> {
    if flags.generate {
        return Ok(NewPassword { text: generate(), generated: true });
    }
    let text = if flags.password_stdin { first_line(io::stdin().lock())? } else { prompt_twice()? };
    check(&text)?;
    Ok(NewPassword { text, generated: false })
}

/// Whether [`obtain`] will prompt for the password.
pub(crate) fn will_prompt(flags: &PasswordFlags) -> bool {
    !flags.generate && !flags.password_stdin && io::stdin().is_terminal()
}

/// Letters and digits only, because many routers do not percent-encode what they send.
fn generate() -> Zeroizing<String> {
    Zeroizing::new(
        rand::rng().sample_iter(Alphanumeric).take(GENERATED_LENGTH).map(char::from).collect(),
    )
}

fn prompt_twice() -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(usage(
            "cannot ask for the password: standard input is not a terminal (use --password-stdin or --generate)",
        ));
    }
    restore_when_killed();
    let first = prompt("Password: ")?;
    check(&first)?;
    if first == prompt("Password again: ")? {
        Ok(first)
    } else {
        Err(usage("the two passwords differ (nothing was changed; retry)"))
    }
}

/// Restores the terminal when a signal ends this process at the prompt. A thread waits for the
/// signal, because this one waits for input.
fn restore_when_killed() {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let Ok(before) = tcgetattr(io::stdin()) else { return };
    if signals.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
            let _ = signals.thread_unblock();
            let _ = raise(signal);
        }
    });
}

/// At Ctrl-C rpassword raises SIGINT before it enables the terminal's echo again. SIGINT is
/// blocked meanwhile, so that it ends the process only after that.
fn prompt(text: &str) -> Result<Zeroizing<String>, Failure> {
    let interrupt = SigSet::from(Signal::SIGINT);
    let blocked = interrupt.thread_block();
    let typed = rpassword::prompt_password(text);
    if blocked.is_ok() {
        let _ = interrupt.thread_unblock();
    }
    let typed = typed
        .map(Zeroizing::new)
        .map_err(|error| usage(&format!("cannot ask for the password: {error} (nothing was changed; use --password-stdin or --generate)")))?;
    checked_utf8(typed)
}

/// rpassword replaces what is not UTF-8 by this character, so different passwords would become
/// equal.
fn checked_utf8(typed: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if typed.contains(char::REPLACEMENT_CHARACTER) {
        return Err(usage(
            "the typed password is not UTF-8 text (nothing was changed; use another password, or a UTF-8 terminal)",
        ));
    }
    Ok(typed)
}

/// The first line without its line feed.
fn first_line(input: impl BufRead) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    let bound = MAX_BYTES as u64 + 2;
    let read = input.take(bound).read_until(b'\n', &mut line);
    read.map_err(|error| {
        usage(&format!(
            "cannot read the password from standard input: {error} (nothing was changed; pipe a password, or use --generate)"
        ))
    })?;
    let text = std::str::from_utf8(&line).map_err(|_| {
        usage("the password on standard input is not UTF-8 text (nothing was changed; use another password, or convert it)")
    })?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Zeroizing::new(text.to_owned()))
}

fn check(text: &str) -> Result<(), Failure> {
    match text.len() {
        0 => Err(usage("the password is empty (nothing was changed)")),
        1..=MAX_BYTES => Ok(()),
        _ => Err(usage(&format!(
            "the password is longer than {MAX_BYTES} bytes (nothing was changed)"
        ))),
    }
}

fn usage(sentence: &str) -> Failure {
    Failure::Usage(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piped(input: &[u8]) -> Result<String, String> {
        let line = first_line(input).map_err(|failure| failure.to_string())?;
        check(&line).map_err(|failure| failure.to_string())?;
        Ok(line.to_string())
    }

    #[test]
    fn a_piped_password_is_the_first_line_whatever_its_end() {
        for input in ["pass word", "pass word\n", "pass word\r\n", "pass word\nsecond\n"] {
            assert_eq!(piped(input.as_bytes()).as_deref(), Ok("pass word"), "{input:?}");
        }
        assert_eq!(piped(" ü \n".as_bytes()).as_deref(), Ok(" ü "));
    }

    #[test]
    fn an_empty_a_long_and_a_broken_password_are_refused() {
        assert!(piped(b"").unwrap_err().contains("empty"));
        assert!(piped(b"\nsecond").unwrap_err().contains("empty"));
        assert!(piped(&vec![b'x'; 1_000_000]).unwrap_err().contains("longer than 1024"));
        assert!(piped(b"\xff\n").unwrap_err().contains("UTF-8"));
        assert_eq!(piped(&[b'x'; 1024]).map(|text| text.len()), Ok(1024));
    }

    #[test]
    fn a_typed_password_that_was_replaced_in_part_is_refused() {
        let typed = |text: &str| checked_utf8(Zeroizing::new(text.to_owned()));
        assert!(typed("p\u{fffd}ss").is_err_and(|failure| failure.to_string().contains("UTF-8")));
        assert!(typed("päss").is_ok());
    }

    #[test]
    fn a_generated_password_is_twenty_letters_and_digits_and_never_the_same() {
        let one = generate();
        let two = generate();
        assert_eq!(one.len(), 20);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(*one, *two);
    }
}
