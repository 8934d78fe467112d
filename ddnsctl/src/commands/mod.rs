//! What each command does: asks the daemon, prints its answer.

mod completions;
mod daemon;
mod hostname;
mod reload;
mod sync;
mod transfer;
mod user;

use crate::args::{Args, Command};
use crate::client::{Client, ClientError};
use crate::exit::Failure;
use crate::output::Format;
use ddnsd_proto::Page;
use jiff::tz::TimeZone;
use std::io::{self, Write};
use std::path::PathBuf;

/// What every command needs.
struct Session {
    socket: PathBuf,
    format: Format,
}

impl Session {
    async fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket).await
    }
}

/// Carries the command line out.
///
/// # Errors
/// Says why not; the sentence is still to be printed.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let format = if args.json { Format::Json } else { Format::Table(TimeZone::system()) };
    let session = Session { socket: args.socket, format };
    match args.command {
        Command::User(command) => user::run(&session, command).await,
        Command::Hostname(command) => hostname::run(&session, command).await,
        Command::Cleanup => daemon::cleanup(&session).await,
        Command::Sync { zone, check } => sync::run(&session, zone, check).await,
        Command::Status => daemon::status(&session).await,
        Command::Reload => reload::run(&session).await,
        Command::Export => transfer::export(&session).await,
        Command::Import { file, skip_existing } => {
            transfer::import(&session, &file, skip_existing).await
        }
        Command::Completions { shell } => completions::run(shell),
    }
}

/// All rows of a list: asks for pages until there is no next.
async fn every<T>(
    mut page: impl AsyncFnMut(Option<String>) -> Result<Page<T>, ClientError>,
) -> Result<Vec<T>, ClientError> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let Page { rows: more, next } = page(after).await?;
        rows.extend(more);
        if next.is_none() {
            return Ok(rows);
        }
        after = next;
    }
}

/// Prints. Where there is a verdict too, that comes first: a closed pipe excuses no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
