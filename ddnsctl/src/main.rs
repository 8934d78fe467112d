//! `ddnsctl`: administers ddnsd through its Unix socket. In: a command line. Out: data on stdout, talk on
//! stderr, an exit code.

mod args;
mod client;
mod commands;
mod exit;
mod output;
mod password;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match args::Args::read() {
        Ok(args) => exit::report(commands::run(args).await),
        Err(told) => exit::told(&told),
    }
}
