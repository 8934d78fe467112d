//! What every primary name server of the tests has in common, whichever program it is: the zone
//! [`ZONE`], in which the key `ddns-key` may change everything but the name `denied`, and the zone
//! [`OPEN`], which takes unsigned updates. Asked with `dig`, changed behind the daemon's back with
//! `nsupdate`.

use crate::eventually::eventually;
use crate::named::{free_port, tail};
use crate::process::{Running, program, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The zone that every server here has.
pub const ZONE: &str = "dyn.example";
/// The zone that takes updates from this machine without a key.
pub const OPEN: &str = "open.example";

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Owner name, without the last dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// `A`, `AAAA`, …
    pub kind: String,
    /// As `dig` prints it.
    pub data: String,
}

/// A running primary.
pub trait Primary {
    /// Its port on 127.0.0.1, UDP and TCP.
    fn port(&self) -> u16;

    /// The key file, as `tsig-keygen` wrote it.
    fn key_file(&self) -> PathBuf;

    /// The zones, if the daemon under test serves them itself.
    fn own_zones(&self) -> Option<&[String]> {
        None
    }

    /// Kills the server; its port stays reserved for it.
    fn stop(&mut self);

    /// Starts it again on the same port, with the zones as they were.
    ///
    /// # Panics
    /// When it does not start.
    fn start_again(&mut self);

    /// TTL and data of a name's records, sorted: `[(60, "192.0.2.1")]`.
    ///
    /// # Panics
    /// When the server does not answer.
    #[track_caller]
    fn lookup(&self, name: &str, kind: &str) -> Vec<(u32, String)> {
        let answer = dig(self.port(), &["+norecurse", "+tries=3", "+time=3", name, kind]);
        let records = answer.unwrap_or_else(|why| panic!("dig {name} {kind}: {why}"));
        records.into_iter().map(|record| (record.ttl, record.data)).collect()
    }

    /// Only the data of a name's records, sorted.
    #[track_caller]
    fn data(&self, name: &str, kind: &str) -> Vec<String> {
        self.lookup(name, kind).into_iter().map(|(_, data)| data).collect()
    }

    /// Every record of a type at any of these names, sorted, by one run of `dig`.
    ///
    /// # Panics
    /// When the server does not answer.
    #[track_caller]
    fn lookup_all(&self, names: &[String], kind: &str) -> Vec<Record> {
        let mut question = vec!["+norecurse", "+tries=3", "+time=3"];
        for name in names {
            question.extend([name.as_str(), kind]);
        }
        dig(self.port(), &question).unwrap_or_else(|why| panic!("dig {kind}: {why}"))
    }

    /// Changes a zone with the server's key, as an administrator would: lines like
    /// `update add www.dyn.example. 60 A 192.0.2.9`.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    fn nsupdate(&self, lines: &str) {
        let input = format!("server 127.0.0.1 {}\n{lines}\nsend\n", self.port());
        run(Command::new(program("nsupdate")).arg("-k").arg(self.key_file()), &input).ok();
    }
}

/// Runs dig; an answer with an error code is an empty list, no answer is an error.
pub(crate) fn dig(port: u16, question: &[&str]) -> Result<Vec<Record>, String> {
    let port = port.to_string();
    let dig = run(
        Command::new(program("dig"))
            .args(["@127.0.0.1", "-p", &port, "+noall", "+answer", "+nocookie"])
            .args(question),
        "",
    );
    if dig.code != Some(0) {
        return Err(dig.to_string());
    }
    let mut records: Vec<_> = dig.stdout.lines().filter_map(record).collect();
    records.sort();
    Ok(records)
}

/// All that dig prints for a question, without what differs each time.
///
/// # Panics
/// When there is no answer.
#[track_caller]
pub(crate) fn full_dig(port: u16, question: &[&str]) -> String {
    let port = port.to_string();
    let mut dig = Command::new(program("dig"));
    dig.args(["@127.0.0.1", "-p", &port, "+noall", "+comments", "+question", "+answer"]);
    dig.args(["+authority", "+additional", "+norecurse", "+tries=2", "+time=3", "+nocookie"]);
    run(dig.args(question), "").ok().stdout
}

/// Reads `pc.dyn.example.  60  IN  A  192.0.2.1`; comments of dig are no records.
fn record(line: &str) -> Option<Record> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().filter(|word| !word.starts_with(';'))?;
    let ttl = words.next()?.parse().ok()?;
    let kind = words.nth(1)?.to_owned();
    let data = words.collect::<Vec<_>>().join(" ");
    Some(Record { name: name.trim_end_matches('.').to_owned(), ttl, kind, data })
}

/// A zone's file: nothing but what a zone must have.
pub(crate) fn zone_file(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 300\n@ SOA ns host 1 3600 900 604800 60\n@ NS ns\nns A 127.0.0.1\n"
    )
}

/// Starts a server's program and waits until it answers for [`ZONE`]; if it ends instead, says what
/// its output (to `log`).
pub(crate) fn launch(command: &mut Command, port: u16, log: &Path) -> Result<Running, String> {
    let output = std::fs::File::create(log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut process = Running(child);
    let up = eventually(Duration::from_secs(20), "a name server to answer or to end", || {
        if process.ended().is_some() {
            return Ok(false);
        }
        let soa = dig(port, &["+norecurse", "+tries=1", "+time=1", ZONE, "SOA"])?;
        if soa.is_empty() { Err("no SOA yet".to_owned()) } else { Ok(true) }
    });
    if up { Ok(process) } else { Err(tail(log, 15)) }
}

/// Tries ports until the server starts, because another process may take one meanwhile.
pub(crate) fn on_a_free_port(
    mut start: impl FnMut(u16) -> Result<Running, String>,
) -> (u16, Running) {
    let mut problem = String::new();
    for _ in 0..5 {
        let port = free_port();
        match start(port) {
            Ok(process) => return (port, process),
            Err(why) => problem = why,
        }
    }
    panic!("a name server did not start on any of five ports: {problem}");
}

/// Makes a key file for `ddns-key`, and says its secret.
pub(crate) fn make_key(file: &Path, algorithm: &str) -> String {
    let made = run(Command::new(program("tsig-keygen")).args(["-a", algorithm, "ddns-key"]), "");
    let text = made.ok().stdout;
    crate::named::write_private(file, &text);
    let secret = text.split_once("secret \"").and_then(|(_, rest)| rest.split('"').next());
    secret.expect("a secret in the key file").to_owned()
}
