//! `ddnsctl import`

use super::session::{Session, print};
use crate::client::{CALL_TIMEOUT, Client, DNS_TIMEOUT};
use crate::exit::{Failure, message};
use crate::output::{Format, json};
use clap::Args;
use ddnsd_proto::transfer::{
    BeginImport, Confidential, ImportToken, Imported, Line, MAX_LINE, Problem, StageLines,
};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Store the users and hosts of an export, all or nothing
#[derive(Debug, Args)]
#[command(
    after_help = "If a line cannot be stored, all problems are printed with their line numbers, nothing is stored,
and the exit code is 1. ddnsd publishes imported hosts that have addresses.

A user's line needs user, email and password_hash (Argon2), a host's line hostname, zone and user:
  {\"user\":\"alice\",\"email\":\"alice@example.org\",\"password_hash\":\"$argon2id$...\"}
  {\"hostname\":\"pc\",\"zone\":\"dyn.example.org\",\"user\":\"alice\",\"ipv4\":\"192.0.2.1\"}

Examples:
  ddnsctl import backup.jsonl
  ddnsctl import - --skip-existing < backup.jsonl"
)]
pub(super) struct ImportArgs {
    /// The file, or - for standard input
    file: PathBuf,
    /// Skip users and hosts that exist already, instead of refusing the file
    #[arg(long)]
    skip_existing: bool,
}

/// Time limit for storing a whole import.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(9);

/// Bytes of lines per call. Escaped in JSON, they are at most six times as long. With 100 bytes for
/// each line, they are fewer lines than a call may have.
const CHUNK: usize = 256 << 10;

pub(super) async fn run(session: &Session, args: ImportArgs) -> Result<(), Failure> {
    let mut lines = Lines::open(&args.file)?;
    // read before the connection is opened, because the daemon closes an idle one
    let first = lines.chunk()?;
    if first.is_empty() {
        // an export that failed writes nothing, and a pipe does not report the failure
        return Err(Failure::Unfinished(format!(
            "{} has no lines, so nothing was imported (did the export fail?)",
            lines.name
        )));
    }
    let client = session.client().await?;
    let begin = BeginImport { skip_existing: args.skip_existing };
    let import =
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.import_begin(ctx, begin).await).await?;
    if let Err(failure) = stage(&client, &import, first, &mut lines).await {
        // the daemon would discard it too, but only later
        let abandoned =
            client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.import_abandon(ctx, import).await);
        let _ = abandoned.await;
        return Err(failure);
    }
    let commit = client.call(COMMIT_TIMEOUT, async |rpc, ctx| rpc.import_commit(ctx, import).await);
    report(session, &commit.await?)
}

/// Transfers all lines.
async fn stage(
    client: &Client,
    import: &ImportToken,
    first: Vec<Line>,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let mut chunk = first;
    while !chunk.is_empty() {
        let lines_of_import = StageLines { token: import.token.clone(), lines: chunk };
        let staged =
            client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.import_stage(ctx, lines_of_import).await);
        staged.await?;
        chunk = lines.chunk()?;
    }
    Ok(())
}

fn report(session: &Session, done: &Imported) -> Result<(), Failure> {
    let printed = match session.format {
        Format::Json => print(&outcome(done)),
        Format::Table(_) => Ok(()),
    };
    if done.problems_total > 0 {
        return Err(problems(done));
    }
    if let Format::Table(_) = session.format {
        let Imported { users, hosts, existing_users, existing_hosts, .. } = done;
        message(&format!("imported {users} users and {hosts} hostnames"));
        if existing_users + existing_hosts > 0 {
            message(&format!(
                "skipped {existing_users} users and {existing_hosts} hostnames that exist already"
            ));
        }
    }
    if let Some(warning) = &done.warning {
        message(&format!("warning: {warning}"));
    }
    printed
}

/// Prints the problems.
fn problems(done: &Imported) -> Failure {
    for Problem { line, problem } in &done.problems {
        message(&format!("line {line}: {problem}"));
    }
    let more = done.problems_total.saturating_sub(done.problems.len() as u64);
    if more > 0 {
        message(&format!("and {more} more"));
    }
    Failure::Unfinished("nothing was imported; fix these lines and retry".to_owned())
}

//----- Input -----

/// The lines of a file that are not blank.
struct Lines {
    name: String,
    input: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn open(file: &Path) -> Result<Self, Failure> {
        if file == Path::new("-") {
            let input = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { name: "standard input".to_owned(), input, number: 0 });
        }
        let name = file.display().to_string();
        let opened = File::open(file).map_err(|error| {
            Failure::Usage(format!(
                "cannot open {name}: {error} (nothing was imported; check its name and permissions)"
            ))
        })?;
        Ok(Self { name, input: Box::new(BufReader::new(opened)), number: 0 })
    }

    /// The next lines; empty at the end of the file.
    fn chunk(&mut self) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK {
            let Some(line) = self.next().map_err(|error| {
                Failure::Usage(format!(
                    "cannot read {}: {error} (nothing was imported; use a readable file)",
                    self.name
                ))
            })?
            else {
                break;
            };
            if line.fault.is_some() || !line.text.0.trim().is_empty() {
                bytes += line.text.0.len();
                // JSON around the text
                bytes += 100;
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let bound = MAX_LINE as u64 + 2;
        if self.input.by_ref().take(bound).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let ended = bytes.ends_with(b"\n");
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let fault = |fault: String| Line { number, fault: Some(fault), ..Line::default() };
        if bytes.len() > MAX_LINE {
            if !ended {
                self.skip_line()?;
            }
            return Ok(Some(fault(format!("it is longer than {MAX_LINE} bytes"))));
        }
        Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => Line { number, text: Confidential(text), fault: None },
            Err(_) => fault("it is not UTF-8 text".to_owned()),
        }))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        self.input.skip_until(b'\n').map(drop)
    }
}

//----- Output -----

#[derive(Serialize)]
struct Outcome<'a> {
    users: u64,
    hostnames: u64,
    existing_users: u64,
    existing_hostnames: u64,
    problems: &'a [Problem],
    problems_total: u64,
}

fn outcome(done: &Imported) -> String {
    json(&Outcome {
        users: done.users,
        hostnames: done.hosts,
        existing_users: done.existing_users,
        existing_hostnames: done.existing_hosts,
        problems: &done.problems,
        problems_total: done.problems_total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, String, Option<String>)> {
        let input = Box::new(io::Cursor::new(text.to_vec()));
        let mut lines = Lines { name: String::new(), input, number: 0 };
        let mut all = Vec::new();
        loop {
            let chunk = lines.chunk().unwrap();
            if chunk.is_empty() {
                return all;
            }
            all.extend(chunk.into_iter().map(|line| (line.number, line.text.0, line.fault)));
        }
    }

    #[test]
    fn lines_keep_their_numbers_and_blank_ones_are_skipped() {
        let text = |number, text: &str| (number, text.to_owned(), None);
        assert_eq!(read(b""), []);
        assert_eq!(read(b"a\r\n\n  \nb"), [text(1, "a"), text(4, "b")]);
    }

    #[test]
    fn a_line_that_is_too_long_or_not_utf8_is_reported_alone() {
        let fits = "x".repeat(MAX_LINE);
        let file =
            [fits.as_bytes(), b"\n", fits.as_bytes(), b"y", &vec![b'z'; 999_999], b"\n\xff\nb\n"];
        let lines = read(&file.concat());
        let faults: Vec<_> = lines.iter().map(|(_, _, fault)| fault.as_deref()).collect();
        let long = "it is longer than 65536 bytes";
        let binary = "it is not UTF-8 text";
        assert_eq!(faults, [None, Some(long), Some(binary), None]);
        assert_eq!((lines[3].0, lines[3].1.as_str()), (4, "b"));
    }

    #[test]
    fn a_long_file_is_sent_in_chunks_that_fit_a_frame() {
        let file = "\u{1}".repeat(MAX_LINE) + "\n";
        let input = Box::new(io::Cursor::new(file.repeat(9).into_bytes()));
        let mut lines = Lines { name: String::new(), input, number: 0 };
        let chunk = lines.chunk().unwrap();
        assert!(chunk.len() < 9);
        let frame = serde_json::to_vec(&StageLines { token: String::new(), lines: chunk }).unwrap();
        assert!(frame.len() < ddnsd_proto::transport::MAX_FRAME / 2, "{}", frame.len());
    }
}
