//! Figures for `status`.

use super::error::DbError;
use super::handle::Db;
use super::statement::{Statements, args, statements};
use crate::model::time::Millis;

pub(super) const STATEMENTS: Statements = &[COUNTING, PENDING, UNSERVED];

/// Numbers of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub users: u64,
    pub hosts: u64,
    /// Hosts whose records DNS is not known to hold.
    pub unpublished: u64,
    /// Mails that wait for being sent.
    pub mails_waiting: u64,
    /// Mails that are not tried any more.
    pub mails_failed: u64,
    /// Hosts whose records DNS does not serve although it acknowledged them.
    pub unserved: u64,
}

/// A zone with unpublished hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingZone {
    pub zone: String,
    /// The number of its unpublished hosts.
    pub hosts: u64,
    /// Since when the first of them has been unpublished.
    pub since: Millis,
    /// Why publishing failed, of any of these hosts: the reason is mostly the same.
    pub last_error: Option<String>,
}

statements! { COUNTING;
    COUNTS: FullScan =
        "SELECT (SELECT COUNT(*) FROM users) AS users, (SELECT COUNT(*) FROM hosts) AS hosts,
                (SELECT COUNT(*) FROM hosts WHERE unpublished_since IS NOT NULL) AS unpublished,
                (SELECT COUNT(*) FROM outbox WHERE failed_at IS NULL) AS mails_waiting,
                (SELECT COUNT(*) FROM outbox WHERE failed_at IS NOT NULL) AS mails_failed,
                (SELECT COUNT(*) FROM hosts WHERE unserved_since IS NOT NULL) AS unserved";
    HOSTS: FullScan = "SELECT COUNT(*) FROM hosts";
}

impl Db {
    /// # Errors
    /// The database failed.
    pub async fn counts(&self) -> Result<Counts, DbError> {
        let row: Option<(i64, i64, i64, i64, i64, i64)> =
            self.0.readers.optional(&COUNTS, args![]).await?;
        let (users, hosts, unpublished, mails_waiting, mails_failed, unserved) =
            row.unwrap_or_default();
        Ok(Counts {
            users: users.unsigned_abs(),
            hosts: hosts.unsigned_abs(),
            unpublished: unpublished.unsigned_abs(),
            mails_waiting: mails_waiting.unsigned_abs(),
            mails_failed: mails_failed.unsigned_abs(),
            unserved: unserved.unsigned_abs(),
        })
    }

    /// The number of hosts.
    ///
    /// # Errors
    /// The database failed.
    pub async fn host_count(&self) -> Result<u64, DbError> {
        let row: Option<(i64,)> = self.0.readers.optional(&HOSTS, args![]).await?;
        Ok(row.unwrap_or_default().0.unsigned_abs())
    }
}

/// The index is named, because an optimizer would go through all hosts in the order of their zones.
macro_rules! pending_zones {
    ($index:literal) => {
        concat!(
            "SELECT zone, COUNT(*) AS hosts, MIN(unpublished_since) AS since,
                MAX(last_error) AS last_error FROM hosts ",
            $index,
            " WHERE unpublished_since IS NOT NULL GROUP BY zone ORDER BY zone"
        )
    };
}

statements! { PENDING;
    PENDING_ZONES: FullScan = pending_zones!("INDEXED BY hosts_unpublished"),
        mariadb pending_zones!("FORCE INDEX (hosts_unpublished)");
}

impl Db {
    /// The zones with unpublished hosts, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pending_zones(&self) -> Result<Vec<PendingZone>, DbError> {
        let rows: Vec<(String, i64, i64, Option<String>)> =
            self.0.readers.all(&PENDING_ZONES, args![]).await?;
        let zone = |(zone, hosts, since, last_error): (_, i64, _, _)| PendingZone {
            zone,
            hosts: hosts.unsigned_abs(),
            since: Millis(since),
            last_error,
        };
        Ok(rows.into_iter().map(zone).collect())
    }
}

/// A zone with hosts that DNS does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnservedZone {
    pub zone: String,
    pub hosts: u64,
    /// Why, of any of these hosts.
    pub reason: String,
}

/// With a named index, as `pending_zones`.
macro_rules! unserved_zones {
    ($index:literal) => {
        concat!(
            "SELECT zone, COUNT(*) AS hosts, MAX(unserved) AS reason FROM hosts ",
            $index,
            " WHERE unserved_since IS NOT NULL GROUP BY zone ORDER BY zone"
        )
    };
}

statements! { UNSERVED;
    UNSERVED_ZONES: FullScan = unserved_zones!("INDEXED BY hosts_unserved"),
        mariadb unserved_zones!("FORCE INDEX (hosts_unserved)");
}

impl Db {
    /// The zones with unserved hosts, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unserved_zones(&self) -> Result<Vec<UnservedZone>, DbError> {
        let rows: Vec<(String, i64, Option<String>)> =
            self.0.readers.all(&UNSERVED_ZONES, args![]).await?;
        let zone = |(zone, hosts, reason): (_, i64, Option<String>)| UnservedZone {
            zone,
            hosts: hosts.unsigned_abs(),
            reason: reason.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(zone).collect())
    }
}
