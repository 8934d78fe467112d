//! `ddnsctl export` and `ddnsctl import`

use super::{Session, every, print};
use crate::client::{CALL_TIMEOUT, Client, ClientError, DNS_TIMEOUT};
use crate::exit::{Failure, say};
use crate::output::{Format, json, json_line, utc};
use ddnsd_proto::MAX_PAGE;
use ddnsd_proto::host::{HostView, ListHosts};
use ddnsd_proto::transfer::{
    BeginImport, Confidential, ImportToken, Imported, Line, MAX_LINE, Problem, StageLines,
    UserRecord,
};
use ddnsd_proto::user::ListUsers;
use serde::Serialize;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

/// For storing a whole import; the daemon keeps an idle connection for 10 minutes.
const LONG: Duration = Duration::from_mins(9);

/// Bytes of lines that are sent together; escaped, they are at most six times as long.
const CHUNK: usize = 256 << 10;

/// Prints users and hosts as JSON lines, with `--json` or without.
pub(super) async fn export(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    // hosts first, so that the owner of each is among the users that are asked for later
    let hosts = every(async |after| {
        let query = ListHosts { after, limit: MAX_PAGE, ..ListHosts::default() };
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.host_list(ctx, query).await).await
    });
    let hosts = hosts.await?;
    let users = every(async |after| {
        let query = ListUsers { after, limit: MAX_PAGE };
        client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.user_export(ctx, query).await).await
    });
    let users = users.await?;
    say("this holds password hashes: keep it from others (umask 077, or chmod 600 FILE)");
    print(&exported(&users, &hosts))
}

/// Stores what a file holds, all or nothing.
pub(super) async fn import(
    session: &Session,
    file: &Path,
    skip_existing: bool,
) -> Result<(), Failure> {
    let mut lines = Lines::open(file)?;
    let client = session.client().await?;
    let begin = BeginImport { skip_existing };
    let import =
        client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.import_begin(ctx, begin).await).await?;
    let staged = stage(&client, &import, &mut lines).await;
    if let Err(failure) = staged.and_then(|staged| some(staged, &lines.name)) {
        // it would be forgotten by itself too, only later
        let _ =
            client.call(CALL_TIMEOUT, async |rpc, ctx| rpc.import_abandon(ctx, import).await).await;
        return Err(failure);
    }
    let done = client.call(LONG, async |rpc, ctx| rpc.import_commit(ctx, import).await).await?;
    finish(session, &done)
}

/// An export that failed writes nothing, and a pipe does not tell.
fn some(staged: usize, name: &str) -> Result<(), Failure> {
    if staged == 0 {
        return Err(Failure::Unfinished(format!(
            "{name} has no line, so nothing was imported (did the export fail that should have written it?)"
        )));
    }
    Ok(())
}

/// Hands the lines over; says how many there were.
async fn stage(client: &Client, import: &ImportToken, lines: &mut Lines) -> Result<usize, Failure> {
    let mut staged = 0;
    loop {
        let chunk = lines.chunk()?;
        if chunk.is_empty() {
            return Ok(staged);
        }
        staged += chunk.len();
        let chunk = StageLines { token: import.token.clone(), lines: chunk };
        let sent: Result<_, ClientError> =
            client.call(DNS_TIMEOUT, async |rpc, ctx| rpc.import_stage(ctx, chunk).await).await;
        sent?;
    }
}

fn finish(session: &Session, done: &Imported) -> Result<(), Failure> {
    let printed = match session.format {
        Format::Json => print(&outcome(done)),
        Format::Table(_) => Ok(()),
    };
    if done.problems_total == 0 {
        if let Format::Table(_) = session.format {
            let Imported { users, hosts, existing_users, existing_hosts, .. } = done;
            say(&format!("imported {users} users and {hosts} hostnames"));
            if existing_users + existing_hosts > 0 {
                say(&format!(
                    "left alone {existing_users} users and {existing_hosts} hostnames that exist already"
                ));
            }
        }
        return printed;
    }
    for Problem { line, problem } in &done.problems {
        say(&format!("line {line}: {problem}"));
    }
    let more = done.problems_total.saturating_sub(done.problems.len() as u64);
    if more > 0 {
        say(&format!("and {more} more"));
    }
    Err(Failure::Unfinished("nothing was imported; mend these lines and try again".to_owned()))
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
        let opened = File::open(file)
            .map_err(|error| Failure::Usage(format!("cannot open {name}: {error} (nothing was imported; is that its name, and may you read it?)")))?;
        Ok(Self { name, input: Box::new(BufReader::new(opened)), number: 0 })
    }

    /// The next lines; none at the end.
    fn chunk(&mut self) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK {
            let Some(line) = self.next().map_err(|error| {
                Failure::Usage(format!(
                    "cannot read {}: {error} (nothing was imported; name a file that can be read)",
                    self.name
                ))
            })?
            else {
                break;
            };
            if line.fault.is_some() || !line.text.0.trim().is_empty() {
                bytes += line.text.0.len();
                // what a line costs beside its text
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

/// A user's line. The order of the keys is part of the format.
#[derive(Serialize)]
struct UserLine<'a> {
    user: &'a str,
    email: &'a str,
    password_hash: &'a str,
    created: String,
}

/// A host's line: addresses that are wanted, `null` for defaults and for what was never set.
#[derive(Serialize)]
struct HostLine<'a> {
    hostname: &'a str,
    zone: &'a str,
    user: &'a str,
    dns_ttl: Option<u32>,
    expiry_ttl: Option<u32>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    ipv4_updated: Option<String>,
    ipv6_updated: Option<String>,
    last_ipv4: Option<Ipv4Addr>,
    last_ipv6: Option<Ipv6Addr>,
    created: String,
}

/// Users, then hosts. A host whose owner is not among the users was deleted meanwhile, owner and all.
fn exported(users: &[UserRecord], hosts: &[HostView]) -> String {
    let names: HashSet<_> = users.iter().map(|user| user.name.as_str()).collect();
    let mut text: String = users.iter().map(user_line).collect();
    text.extend(hosts.iter().filter(|host| names.contains(host.user.as_str())).map(host_line));
    text
}

fn user_line(user: &UserRecord) -> String {
    let UserRecord { name, email, password_hash, created_at } = user;
    let created = utc(*created_at);
    json_line(&UserLine { user: name, email, password_hash: &password_hash.0, created })
}

fn host_line(host: &HostView) -> String {
    json_line(&HostLine {
        hostname: &host.hostname,
        zone: &host.zone,
        user: &host.user,
        dns_ttl: Some(host.dns_ttl).filter(|_| !host.dns_ttl_is_default),
        expiry_ttl: Some(host.expiry_ttl).filter(|_| !host.expiry_ttl_is_default),
        ipv4: host.ipv4,
        ipv6: host.ipv6,
        ipv4_updated: host.ipv4_updated_at.map(utc),
        ipv6_updated: host.ipv6_updated_at.map(utc),
        last_ipv4: host.last_ipv4,
        last_ipv6: host.last_ipv6,
        created: utc(host.created_at),
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
    fn a_line_that_is_too_long_or_no_text_is_a_fault_of_its_own() {
        let fits = "x".repeat(MAX_LINE);
        let file =
            [fits.as_bytes(), b"\n", fits.as_bytes(), b"y", &vec![b'z'; 999_999], b"\n\xff\nb\n"];
        let lines = read(&file.concat());
        let faults: Vec<_> = lines.iter().map(|(_, _, fault)| fault.as_deref()).collect();
        let (long, binary) = ("it is longer than 65536 bytes", "it is not UTF-8 text");
        assert_eq!(faults, [None, Some(long), Some(binary), None]);
        assert_eq!((lines[3].0, lines[3].1.as_str()), (4, "b"));
    }

    #[test]
    fn a_long_file_goes_in_chunks_that_fit_a_frame() {
        let file = "\u{1}".repeat(MAX_LINE) + "\n";
        let input = Box::new(io::Cursor::new(file.repeat(9).into_bytes()));
        let mut lines = Lines { name: String::new(), input, number: 0 };
        let chunk = lines.chunk().unwrap();
        assert!(chunk.len() < 9);
        let frame = serde_json::to_vec(&StageLines { token: String::new(), lines: chunk }).unwrap();
        assert!(frame.len() < ddnsd_proto::transport::MAX_FRAME / 2, "{}", frame.len());
    }

    #[test]
    fn an_export_is_users_then_hosts_with_every_key_in_its_place() {
        let alice = UserRecord {
            name: "alice".into(),
            email: "a@example.org".into(),
            password_hash: Confidential("$argon2id$x".into()),
            created_at: 1_795_428_000_000,
        };
        let host = HostView {
            hostname: "pc".into(),
            zone: "example.org".into(),
            user: "alice".into(),
            dns_ttl: 60,
            dns_ttl_is_default: true,
            expiry_ttl: 0,
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            last_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv4_updated_at: Some(1_795_428_000_001),
            created_at: 1_795_428_000_000,
            ..HostView::default()
        };
        let orphan = HostView { user: "bob".into(), ..HostView::default() };
        assert_eq!(
            exported(&[alice], &[orphan, host]),
            concat!(
                r#"{"user":"alice","email":"a@example.org","password_hash":"$argon2id$x","#,
                r#""created":"2026-11-23T10:00:00.000Z"}"#,
                "\n",
                r#"{"hostname":"pc","zone":"example.org","user":"alice","dns_ttl":null,"#,
                r#""expiry_ttl":0,"ipv4":"192.0.2.1","ipv6":null,"#,
                r#""ipv4_updated":"2026-11-23T10:00:00.001Z","ipv6_updated":null,"#,
                r#""last_ipv4":"192.0.2.1","last_ipv6":null,"created":"2026-11-23T10:00:00.000Z"}"#,
                "\n"
            )
        );
    }
}
