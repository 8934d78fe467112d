//! What the sweep reads and writes: hosts that may have expired, and when to check them again.
//! Times are on the service clock, but for `seen`.

use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::handle::Db;
use super::row::row;
use super::rows::{HostRow, SeenRow, host_columns, readable};
use super::statement::{Arg, Statements, args, statements};
use super::unwritten::Touch;
use super::write::Write;
use crate::model::host::{Age, Host, HostId, Seen};
use crate::model::time::{Millis, Uptime};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[ALL];

statements! { ALL;
    DUE: Indexed =
        "SELECT check_at, id FROM hosts
         WHERE check_at <= ? AND check_at >= ? AND (check_at > ? OR id > ?)
         ORDER BY check_at, id LIMIT ?";
    SCHEDULE_CHECK: Indexed =
        "UPDATE hosts SET check_at = ? WHERE id = ? AND check_at = ? AND version = ?",
        mariadb
        // with a mere `?`, or SIGNED, the first row would decide how many digits the others may
        // have
        "UPDATE (
             WITH r (next, id, was, version) AS (VALUES (
                 CAST(? AS DECIMAL(20)), CAST(? AS DECIMAL(20)),
                 CAST(? AS DECIMAL(20)), CAST(? AS DECIMAL(20))
             )) SELECT * FROM r
         ) v STRAIGHT_JOIN hosts h ON h.id = CAST(v.id AS SIGNED)
         SET h.check_at = v.next WHERE h.check_at = v.was AND h.version = v.version";
    CHECK_ALL_NOW: FullScan = "UPDATE hosts SET check_at = 0 WHERE state4 = 1 OR state6 = 1";
    AGING: Indexed = concat!(
        "SELECT ",
        host_columns!(),
        ", h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at,
             h.set4_uptime, h.set6_uptime, t.ipv4_uptime, t.ipv6_uptime,
             u.suspended_at AS owner_suspended_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id
             LEFT JOIN users u ON u.id = h.user_id
         WHERE h.id IN (?)"
    );
}

/// A host that may have expired.
#[derive(Clone, Copy, Debug)]
pub struct DueHost {
    /// When it was due.
    pub check_at: Uptime,
    pub host: HostId,
}

/// A host, and what its expiry counts by.
#[derive(Clone, Debug)]
pub struct AgingHost {
    pub host: Arc<Host>,
    pub age: Age,
    pub seen: Seen,
}

/// The next check of a host that has not expired.
#[derive(Clone, Copy, Debug)]
pub struct NextCheck {
    /// Key.
    pub host: HostId,
    /// When it was due, as read.
    pub was: Uptime,
    /// When it is due next; `None` for never.
    pub at: Option<Uptime>,
    /// Of the row, as read.
    pub version: i64,
}

row! {
    struct AgingRow {
        ;
        host: HostRow,
        seen: SeenRow,
        age: AgeRow,
    }
}

row! {
    #[expect(clippy::struct_field_names, reason = "they are the columns' names")]
    struct UptimeRow {
        set4_uptime: Option<i64>,
        set6_uptime: Option<i64>,
        ipv4_uptime: Option<i64>,
        ipv6_uptime: Option<i64>,
    }
}

impl UptimeRow {
    fn seen(&self) -> Seen<Uptime> {
        Seen {
            v4: self.set4_uptime.max(self.ipv4_uptime).map(Uptime),
            v6: self.set6_uptime.max(self.ipv6_uptime).map(Uptime),
        }
    }
}

row! {
    struct AgeRow {
        owner_suspended_at: Option<i64>,
        ;
        updated: UptimeRow,
    }
}

impl AgeRow {
    /// `unwritten`: updates that are not in the database yet.
    fn age(&self, unwritten: Seen<Uptime>) -> Age {
        let is_owner_suspended = self.owner_suspended_at.is_some();
        Age { updated: unwritten.or(self.updated.seen()), is_owner_suspended }
    }
}

impl Db {
    /// A page of hosts that are due for a check, after a position.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due(
        &self,
        now: Uptime,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Vec<DueHost>, DbError> {
        let (at, id) = (after.0.0, after.1.0);
        let rows: Vec<(i64, i64)> =
            self.0.readers.all(&DUE, args![now.0, at, at, id, limit]).await?;
        let due = |(at, id)| DueHost { check_at: Uptime(at), host: HostId(id) };
        Ok(rows.into_iter().map(due).collect())
    }

    /// These hosts as they are now, by their keys; without those that are deleted. The caller holds
    /// their locks.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn aging(&self, hosts: &[HostId]) -> Result<HashMap<HostId, AgingHost>, DbError> {
        // memory is read first: a flush between the two reads would hide an update from both
        let unwritten: HashMap<_, _> =
            hosts.iter().map(|host| (*host, self.unwritten_touch(*host))).collect();
        let mut aging = HashMap::with_capacity(hosts.len());
        for some in hosts.chunks(ROWS_PER_STATEMENT) {
            let items = some.iter().map(|host| Arg::from(host.0)).collect();
            let full = some.len().next_power_of_two();
            let rows: Vec<AgingRow> = self.0.readers.all_of(&AGING, items, full).await?;
            let rows = rows.into_iter().map(|row| row.host(&unwritten)).filter_map(readable);
            aging.extend(rows.map(|row| (row.host.id, row)));
        }
        Ok(aging)
    }

    /// Schedules the next check of hosts. A host that changed since the page was read keeps the
    /// check that its change scheduled.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_checks(&self, hosts: Vec<NextCheck>) -> Result<(), DbError> {
        self.0.writer.run(ScheduleChecks(hosts)).await
    }

    /// Makes the next sweep check every host that has a record: the default TTL changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn check_all_now(&self) -> Result<(), DbError> {
        self.0.writer.run(CheckAllNow).await
    }
}

impl AgingRow {
    fn host(self, unwritten: &HashMap<HostId, Touch>) -> Result<AgingHost, DbError> {
        let host = self.host.host()?;
        let touch = unwritten.get(&host.id).copied().unwrap_or_default();
        Ok(AgingHost {
            age: self.age.age(touch.uptime),
            seen: touch.at.or(self.seen.seen()),
            host: Arc::new(host),
        })
    }
}

struct ScheduleChecks(Vec<NextCheck>);

impl Write for ScheduleChecks {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let row = |NextCheck { host, was, at, version }: &NextCheck| {
            args![at.map(|at| at.0), host.0, was.0, *version].into()
        };
        conn.run_each(&SCHEDULE_CHECK, self.0.iter().map(row).collect()).await
    }
}

struct CheckAllNow;

impl Write for CheckAllNow {
    type Output = ();
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&CHECK_ALL_NOW, args![]).await?;
        Ok(())
    }
}
