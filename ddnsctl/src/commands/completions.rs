//! `ddnsctl completions`; needs no daemon.

use super::session::print;
use crate::exit::Failure;
use clap::ValueEnum;
use clap_complete::{generate, shells};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(shell: Shell, command: clap::Command) -> Result<(), Failure> {
    print(&script(shell, command))
}

pub(super) fn script(shell: Shell, mut command: clap::Command) -> String {
    let name = env!("CARGO_PKG_NAME");
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}
