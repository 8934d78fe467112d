//! What every command needs: the socket, the output format, and how to list and print.

use crate::client::{Client, ClientError};
use crate::exit::Failure;
use crate::output::Format;
use ddnsd_proto::Page;
use std::io::{self, Write};
use std::path::PathBuf;

pub(super) struct Session {
    pub(super) socket: PathBuf,
    pub(super) format: Format,
}

impl Session {
    pub(super) async fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket).await
    }
}

/// All rows of a list, page by page.
pub(super) async fn all_rows<T>(
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

/// Prints data. A caller that has a failure to report returns that one, because a closed pipe
/// counts as success.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
