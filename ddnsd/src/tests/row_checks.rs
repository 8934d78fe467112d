//! Reads the hosts' rows all the time and compares them with what the name server holds. In: the
//! database file. Out: problems with a row, or between two readings of it.

use super::lan;
use super::server::Held;
use super::world::Problem::{self, Certain};
use super::world::{BRIEF_TTL, World};
use super::{number4, number6};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, FromRow, Row as _};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const PERIOD: Duration = Duration::from_millis(15);
const HOSTS: &str =
    "SELECT id, label, fqdn, version, unpublished_since, state4, ipv4, state6, ipv6,
    ipv6_suffix, ipv6_prefix, follows, suspended_at IS NOT NULL OR is_offline = 1 AS is_left_alone
    FROM hosts";
/// `state4` and `state6`.
const NEVER_SET: i64 = 0;
const ABSENT: i64 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    label: String,
    fqdn: String,
    version: i64,
    unpublished_since: Option<i64>,
    state4: i64,
    ipv4: Option<String>,
    state6: i64,
    ipv6: Option<String>,
    ipv6_suffix: Option<String>,
    ipv6_prefix: Option<String>,
    follows: Option<i64>,
    /// A follower that is suspended, or went offline by itself.
    is_left_alone: bool,
}

impl FromRow<'_, SqliteRow> for Row {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            label: row.try_get("label")?,
            fqdn: row.try_get("fqdn")?,
            version: row.try_get("version")?,
            unpublished_since: row.try_get("unpublished_since")?,
            state4: row.try_get("state4")?,
            ipv4: row.try_get("ipv4")?,
            state6: row.try_get("state6")?,
            ipv6: row.try_get("ipv6")?,
            ipv6_suffix: row.try_get("ipv6_suffix")?,
            ipv6_prefix: row.try_get("ipv6_prefix")?,
            follows: row.try_get("follows")?,
            is_left_alone: row.try_get("is_left_alone")?,
        })
    }
}

impl Row {
    fn wanted(&self) -> (i64, &Option<String>, i64, &Option<String>) {
        (self.state4, &self.ipv4, self.state6, &self.ipv6)
    }

    /// Whether DNS holds what the row wants, by number; a family that was never set does not count.
    fn is_held(&self, held: Held) -> bool {
        let v4 = self.ipv4.as_ref().map(|it| number4(it.parse::<Ipv4Addr>().unwrap()));
        let v6 = self.ipv6.as_ref().map(|it| number6(it.parse::<Ipv6Addr>().unwrap()));
        (self.state4 == NEVER_SET || held.0 == v4) && (self.state6 == NEVER_SET || held.1 == v6)
    }
}

/// Reads and compares until it is aborted.
pub(super) async fn run(file: PathBuf, world: World) {
    // the first run of the daemon creates the file
    let options = SqliteConnectOptions::new().filename(file);
    let mut conn = loop {
        sleep(PERIOD).await;
        if let Ok(conn) = options.connect().await {
            break conn;
        }
    };
    let mut before: HashMap<i64, Row> = HashMap::new();
    let mut reported = HashSet::new();
    let mut since = Instant::now();
    loop {
        sleep(PERIOD).await;
        let brief_updated = *world.brief_updated.lock().unwrap();
        let began = Instant::now();
        let rows: Result<Vec<Row>, _> = sqlx::query_as(HOSTS).fetch_all(&mut conn).await;
        // there is no table yet
        let Ok(rows) = rows else { continue };
        let ended = Instant::now();
        for row in &rows {
            let change = before.get(&row.id).map(|before| check_change(before, row));
            let held = world.server.between(&row.fqdn, since, began);
            let held = before.get(&row.id).map(|before| check_held(before, row, &held));
            let lan = check_lan(row, &rows);
            let problems =
                [check_expiry(row, brief_updated), change.flatten(), held.flatten(), lan];
            // what one row version causes is one problem
            if let Some(problem) = problems.into_iter().flatten().next()
                && reported.insert((row.id, row.version))
            {
                world.problem(problem);
            }
        }
        before = rows.into_iter().map(|row| (row.id, row)).collect();
        since = ended;
    }
}

/// No host expires before its TTL has passed, whatever the wall clock says.
fn check_expiry(row: &Row, brief_updated: Option<Instant>) -> Option<Problem> {
    let is_down = row.state4 == ABSENT || row.state6 == ABSENT;
    let ttl = Duration::from_secs(BRIEF_TTL.into());
    let is_alive = match row.label.as_str() {
        "brief" => brief_updated.is_some_and(|at| at.elapsed() < ttl),
        // a client takes it offline, or an administrator takes it down
        "mixed" | lan::ALONE | lan::SUSPENDED => false,
        // an hour never passes
        _ => true,
    };
    (is_down && is_alive).then(|| Certain(format!("expired too early: {row:?}")))
}

/// Every change of what a row wants raises its version.
fn check_change(before: &Row, row: &Row) -> Option<Problem> {
    let is_right = before.version != row.version || before.wanted() == row.wanted();
    let what = || format!("changed without a new version: {before:?}, {row:?}");
    (!is_right).then(|| Certain(what()))
}

/// While a row is published, DNS holds what it wants.
fn check_held(before: &Row, row: &Row, held: &[Held]) -> Option<Problem> {
    let is_published = [before, row].iter().all(|row| row.unpublished_since.is_none());
    let is_same = before.version == row.version;
    let is_right = held.iter().all(|held| row.is_held(*held));
    let what = || format!("{row:?} is published, and DNS holds {held:?}");
    (is_published && is_same && !is_right).then(|| Problem::unless_just_delayed(what()))
}

/// A follower always wants its suffix in the prefix of its leader, as both are in one reading.
fn check_lan(row: &Row, rows: &[Row]) -> Option<Problem> {
    let leader = rows.iter().find(|leader| row.follows == Some(leader.id))?;
    let part = |text: &Option<String>| {
        let text = text.as_ref()?.split('/').next()?;
        Some(number6(text.parse::<Ipv6Addr>().unwrap()))
    };
    let net = part(&leader.ipv6_prefix).filter(|_| !row.is_left_alone)?;
    let expected = Some(net + part(&row.ipv6_suffix)?);
    let what = || format!("not in the prefix of its leader: {row:?}, {leader:?}");
    (part(&row.ipv6) != expected).then(|| Certain(what()))
}
