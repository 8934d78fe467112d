//! The outbox at the end of a world, compared with what DNS held and what was answered.

use super::server::Server;
use super::world::LAST;
use super::{number4, v4};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

/// Every mail is about something that DNS held, only host `brief` expires, and no mail is pending.
/// Each change of a counting host that was answered `good` has one mail.
pub(super) async fn check_mails(
    file: &Path,
    server: &Server,
    began: Instant,
    good: &HashSet<(String, u32)>,
) -> Result<(), String> {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let pending = "SELECT fqdn, notice FROM hosts WHERE notice IS NOT NULL";
    let pending: Vec<(String, String)> =
        sqlx::query_as(pending).fetch_all(&mut conn).await.unwrap();
    if !pending.is_empty() {
        return Err(format!("notices stay pending: {pending:?}"));
    }
    let queued = "SELECT kind, variables FROM outbox ORDER BY id";
    let queued: Vec<(String, String)> = sqlx::query_as(queued).fetch_all(&mut conn).await.unwrap();
    let mut about_numbers: HashMap<(String, u32), u32> = HashMap::new();
    for (kind, variables) in &queued {
        let mail: serde_json::Value = serde_json::from_str(variables).unwrap();
        let name = mail["fqdn"].as_str().unwrap();
        let ever = server.between(name, began, Instant::now());
        let n = |variable: &str| {
            let address = mail[variable].as_str().map(|it| it.parse::<Ipv4Addr>().unwrap());
            address.map(number4)
        };
        let is_true = match kind.as_str() {
            "change" => mail["ipv4_changed"] == false || ever.iter().any(|it| it.0 == n("ipv4")),
            _ => name == super::name("brief") && ever.contains(&(None, None)),
        };
        if !is_true {
            return Err(format!("a mail of {kind} about what never was: {mail}"));
        }
        if let Some(n) = n("ipv4").filter(|_| name.starts_with('h')) {
            *about_numbers.entry((name.to_owned(), n)).or_default() += 1;
        }
    }
    if let Some((twice, _)) = about_numbers.iter().find(|(_, count)| **count > 1) {
        return Err(format!("{twice:?} is mailed twice"));
    }
    if let Some(lost) = good.iter().find(|good| !about_numbers.contains_key(*good)) {
        return Err(format!("{lost:?} was good, and its mail is lost"));
    }
    let last = format!("\"{}\"", v4(LAST));
    let about: Vec<_> = queued.iter().filter(|(_, it)| it.contains(&last)).collect();
    match about.as_slice() {
        [(change, _), (expiry, _)] if change == "change" && expiry == "expiry" => Ok(()),
        other => Err(format!("a change and its expiry are mailed as {other:?}")),
    }
}
