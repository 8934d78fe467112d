//! What the sweep reads and writes: hosts that may have expired, and when to check them again. All
//! times are on the service clock.

use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::row::row;
use super::rows::{Page, RowOf, readable};
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::host::{Age, HostId, Seen};
use crate::model::name::Fqdn;
use crate::model::time::{Millis, Uptime};

pub(super) const STATEMENTS: Statements = &[ALL];

statements! { ALL;
    DUE: Indexed =
        "SELECT h.check_at, h.id, h.fqdn, h.version,
             h.set4_uptime, h.set6_uptime, t.ipv4_uptime, t.ipv6_uptime,
             u.suspended_at AS owner_suspended_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id
             LEFT JOIN users u ON u.id = h.user_id
         WHERE h.check_at <= ? AND h.check_at >= ? AND (h.check_at > ? OR h.id > ?)
         ORDER BY h.check_at, h.id LIMIT ?";
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
    AGE: Indexed =
        "SELECT h.set4_uptime, h.set6_uptime, t.ipv4_uptime, t.ipv6_uptime,
             u.suspended_at AS owner_suspended_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id
             LEFT JOIN users u ON u.id = h.user_id
         WHERE h.id = ?";
}

/// A host that may have expired.
#[derive(Clone, Debug)]
pub struct DueHost {
    /// When it was due.
    pub check_at: Uptime,
    /// Key.
    pub host: HostId,
    /// Name, for reading it.
    pub fqdn: Fqdn,
    pub age: Age,
    /// As the row had it.
    pub version: i64,
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
    struct DueRow {
        check_at: i64,
        id: i64,
        fqdn: String,
        version: i64,
        ;
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
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn due(
        &self,
        now: Uptime,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Page<DueHost>, DbError> {
        let (at, id) = (after.0.0, after.1.0);
        let rows: Vec<DueRow> = self.0.readers.all(&DUE, args![now.0, at, at, id, limit]).await?;
        let last = rows.last().map(|row| (Millis(row.check_at), HostId(row.id)));
        let due = rows.into_iter().map(|row| {
            let host = HostId(row.id);
            Ok(DueHost {
                check_at: Uptime(row.check_at),
                host,
                fqdn: RowOf { table: "hosts", row: row.id }.parsed(
                    "fqdn",
                    "not a host name",
                    Fqdn::parse(&row.fqdn),
                )?,
                age: row.age.age(self.unwritten_touch(host).uptime),
                version: row.version,
            })
        });
        Ok(Page { rows: due.filter_map(readable).collect(), last })
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

    /// What the expiry of a host counts by.
    ///
    /// # Errors
    /// The database failed.
    pub async fn age(&self, host: HostId) -> Result<Age, DbError> {
        let unwritten = self.unwritten_touch(host).uptime;
        let stored: Option<AgeRow> = self.0.readers.optional(&AGE, args![host.0]).await?;
        let unknown = Age { updated: unwritten, ..Age::default() };
        Ok(stored.map_or(unknown, |row| row.age(unwritten)))
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
