//! Where a new user's password comes from. In: flags, a terminal or standard input. Out: a password of
//! 1 to 1024 bytes, wiped when dropped.

use crate::args::PasswordFlags;
use crate::exit::Failure;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use rand::RngExt;
use rand::distr::Alphanumeric;
use std::io::{self, BufRead, IsTerminal};
use zeroize::Zeroizing;

/// The longest password, bytes.
const MAX: usize = 1024;

/// Characters of a made-up password; 62 to the power of 20 is 119 bits.
const GENERATED: usize = 20;

/// A password and whether nobody but us knows it yet.
pub(crate) struct NewPassword {
    /// The password.
    pub(crate) text: Zeroizing<String>,
    /// Made up here, to be printed.
    pub(crate) generated: bool,
}

/// Gets the password from where the flags say.
///
/// # Errors
/// No terminal to ask on, or nothing usable was typed or piped in.
pub(crate) fn obtain(flags: &PasswordFlags) -> Result<NewPassword, Failure> {
    if flags.generate {
        return Ok(NewPassword { text: generate(), generated: true });
    }
    let text = if flags.password_stdin { first_line(io::stdin().lock())? } else { ask_twice()? };
    check(&text)?;
    Ok(NewPassword { text, generated: false })
}

/// Whether somebody is there to be asked.
pub(crate) fn asks(flags: &PasswordFlags) -> bool {
    !flags.generate && !flags.password_stdin && io::stdin().is_terminal()
}

/// Letters and digits only: many routers do not escape what they send.
fn generate() -> Zeroizing<String> {
    Zeroizing::new(rand::rng().sample_iter(Alphanumeric).take(GENERATED).map(char::from).collect())
}

fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(usage(
            "no terminal to ask for the password on (use --password-stdin or --generate)",
        ));
    }
    restore_when_killed();
    let first = ask("Password: ")?;
    check(&first)?;
    if first == ask("The same again: ")? {
        Ok(first)
    } else {
        Err(usage("the two passwords differ (nothing was changed; try again)"))
    }
}

/// Whoever ends us at the prompt gets the terminal back as it was. A thread waits for that, because this one
/// waits for what is typed.
fn restore_when_killed() {
    let ends: SigSet = [Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let Ok(before) = tcgetattr(io::stdin()) else { return };
    if ends.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        if let Ok(signal) = ends.wait() {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
            let _ = ends.thread_unblock();
            let _ = raise(signal);
        }
    });
}

/// Ctrl-C makes rpassword raise SIGINT while the terminal still hides what is typed; held back, it ends
/// us once the terminal is as it was.
fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let interrupt = SigSet::from(Signal::SIGINT);
    let held = interrupt.thread_block();
    let typed = rpassword::prompt_password(prompt);
    if held.is_ok() {
        let _ = interrupt.thread_unblock();
    }
    let typed = typed
        .map(Zeroizing::new)
        .map_err(|error| usage(&format!("cannot ask for the password: {error} (nothing was changed; use --password-stdin or --generate)")))?;
    readable(typed)
}

/// rpassword puts this one character for whatever is not UTF-8, so that different passwords would be equal.
fn readable(typed: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if typed.contains(char::REPLACEMENT_CHARACTER) {
        return Err(usage(
            "the password that was typed is not UTF-8 text (nothing was changed; use another one, or a terminal that speaks UTF-8)",
        ));
    }
    Ok(typed)
}

/// The first line without its end.
fn first_line(input: impl BufRead) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX + 2));
    let bound = MAX as u64 + 2;
    let read = input.take(bound).read_until(b'\n', &mut line);
    read.map_err(|error| {
        usage(&format!(
            "cannot read the password from standard input: {error} (nothing was changed; pipe one in, or use --generate)"
        ))
    })?;
    let text = std::str::from_utf8(&line).map_err(|_| {
        usage("the password on standard input is not UTF-8 text (nothing was changed; use another one, or convert it)")
    })?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Zeroizing::new(text.to_owned()))
}

fn check(text: &str) -> Result<(), Failure> {
    match text.len() {
        0 => Err(usage("the password is empty (nothing was changed)")),
        1..=MAX => Ok(()),
        _ => Err(usage(&format!("the password is longer than {MAX} bytes (nothing was changed)"))),
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
    fn an_empty_an_endless_and_a_broken_password_are_refused() {
        assert!(piped(b"").unwrap_err().contains("empty"));
        assert!(piped(b"\nsecond").unwrap_err().contains("empty"));
        assert!(piped(&vec![b'x'; 1_000_000]).unwrap_err().contains("longer than 1024"));
        assert!(piped(b"\xff\n").unwrap_err().contains("UTF-8"));
        assert_eq!(piped(&[b'x'; 1024]).map(|text| text.len()), Ok(1024));
    }

    #[test]
    fn a_typed_password_that_was_replaced_in_part_is_refused() {
        let typed = |text: &str| readable(Zeroizing::new(text.to_owned()));
        assert!(typed("p\u{fffd}ss").is_err_and(|failure| failure.to_string().contains("UTF-8")));
        assert!(typed("päss").is_ok());
    }

    #[test]
    fn a_generated_password_is_twenty_letters_and_digits_and_never_the_same() {
        let (one, two) = (generate(), generate());
        assert_eq!(one.len(), 20);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(*one, *two);
    }
}
