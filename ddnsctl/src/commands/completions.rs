//! `ddnsctl completions`: needs no daemon.

use super::print;
use crate::args::{Args, Shell};
use crate::exit::Failure;
use clap::CommandFactory;
use clap_complete::{generate, shells};

/// Prints the script of a shell.
pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    print(&script(shell))
}

fn script(shell: Shell) -> String {
    let mut command = Args::command();
    let name = env!("CARGO_PKG_NAME");
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_knows_every_noun_and_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in ["hostname", "passwd", "modify", "skip-existing", "completions"] {
                assert!(script.contains(word), "{shell:?} {word}");
            }
        }
    }
}
