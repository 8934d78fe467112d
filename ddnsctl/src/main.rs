//! `ddnsctl`: administers ddnsd through its Unix socket. In: a command line. Out: data on stdout,
//! messages on stderr, and an exit code.

mod client;
mod commands;
mod exit;
mod output;
mod password;
mod snippets;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match commands::Args::read() {
        Ok(args) => exit::report(commands::run(args).await),
        Err(error) => exit::report_usage(&error),
    }
}
