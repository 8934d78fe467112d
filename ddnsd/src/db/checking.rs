//! Checks of what DNS serves: which hosts are to be checked, and what a check found.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::rows::{HostRow, Page, host_columns, readable};
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::host::{Host, HostId};
use crate::model::name::Zone;
use crate::model::time::{Millis, Uptime};
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[LISTING, STORING, CLAIMING];

//----- Hosts to check -----

statements! { LISTING;
    HOSTS_BY_ID: Indexed =
        concat!("SELECT ", host_columns!(), " FROM hosts h WHERE h.id > ? ORDER BY h.id LIMIT ?");
    HOSTS_OF_ZONE: Indexed =
        concat!(
            "SELECT ",
            host_columns!(),
            " FROM hosts h WHERE h.zone = ? AND h.fqdn > ? ORDER BY h.fqdn LIMIT ?"
        ),
        mariadb concat!(
            "SELECT ",
            host_columns!(),
            " FROM hosts h FORCE INDEX (hosts_by_zone)
             WHERE h.zone = ? AND h.fqdn > ? ORDER BY h.fqdn LIMIT ?"
        );
    UNSERVED_HOSTS: Indexed =
        concat!(
            "SELECT ",
            host_columns!(),
            " FROM hosts h
              WHERE h.unserved_since >= ? AND (h.unserved_since > ? OR h.id > ?)
              ORDER BY h.unserved_since, h.id LIMIT ?"
        );
}

impl Db {
    /// A page of all hosts after this one, in the order of their keys.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn hosts_by_id(&self, after: HostId, limit: u32) -> Result<Page<Arc<Host>>, DbError> {
        Ok(page(self.0.readers.all(&HOSTS_BY_ID, args![after.0, limit]).await?))
    }

    /// A page of a zone's hosts, in byte order of their names after this one. Returns the last
    /// name of the page, too; `None` at the end.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn hosts_of_zone_after(
        &self,
        zone: &Zone,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Arc<Host>>, Option<String>), DbError> {
        let args = args![zone.as_str(), after, limit];
        let rows: Vec<HostRow> = self.0.readers.all(&HOSTS_OF_ZONE, args).await?;
        let last = rows.last().map(|row| row.fqdn().to_owned());
        Ok((page(rows).rows, last))
    }

    /// A page of hosts that DNS does not serve, after a position, longest unserved first.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn unserved_hosts(
        &self,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Page<Arc<Host>>, DbError> {
        let (Millis(since), HostId(id)) = after;
        let args = args![since, since, id, limit];
        Ok(page(self.0.readers.all(&UNSERVED_HOSTS, args).await?))
    }
}

fn page(rows: Vec<HostRow>) -> Page<Arc<Host>> {
    let last = rows.last().map(HostRow::position);
    let rows = rows.into_iter().map(|row| row.host().map(Arc::new)).filter_map(readable).collect();
    Page { rows, last }
}

//----- What a check found -----

/// What a check found of a host, to be stored.
#[derive(Clone, Debug)]
pub enum CheckFinding {
    /// DNS serves what it acknowledged.
    Served(Arc<Host>),
    /// It does not, for this reason.
    Unserved { host: Arc<Host>, reason: String, at: Millis },
    /// It serves another TTL, seconds, or the acknowledged one again.
    Ttl(Arc<Host>, Option<u32>),
}

statements! { STORING;
    MARK_SERVED: Indexed =
        "UPDATE hosts SET unserved_since = NULL, unserved = NULL WHERE id = ? AND version = ?";
    MARK_UNSERVED: Indexed =
        "UPDATE hosts SET unserved_since = COALESCE(unserved_since, ?), unserved = ?
         WHERE id = ? AND version = ?";
    SET_SERVED_TTL: Indexed = "UPDATE hosts SET served_ttl = ? WHERE id = ? AND version = ?";
}

impl Db {
    /// Stores what a check found. Returns the host as it is now, or `None` if it has changed since
    /// it was read.
    ///
    /// # Errors
    /// The database failed; the next check finds it again.
    pub async fn store_check(&self, checked: CheckFinding) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(checked).await
    }
}

impl CheckFinding {
    fn host(&self) -> &Arc<Host> {
        match self {
            CheckFinding::Served(host)
            | CheckFinding::Unserved { host, .. }
            | CheckFinding::Ttl(host, _) => host,
        }
    }
}

impl Write for CheckFinding {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let host = self.host();
        let (id, version) = (host.id.0, host.version);
        let (rows, unserved_since) = match self {
            CheckFinding::Served(_) => (conn.run(&MARK_SERVED, args![id, version]).await?, None),
            CheckFinding::Unserved { reason, at, .. } => {
                let args = args![at.0, reason.as_str(), id, version];
                (conn.run(&MARK_UNSERVED, args).await?, host.unserved_since.or(Some(*at)))
            }
            CheckFinding::Ttl(_, ttl) => {
                let rows = conn.run(&SET_SERVED_TTL, args![*ttl, id, version]).await?;
                (rows, host.unserved_since)
            }
        };
        Ok((rows > 0).then(|| Arc::new(host.checked(unserved_since))))
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host().fqdn, now.as_ref());
    }
}

//----- Which daemon checks all hosts -----

statements! { CLAIMING;
    CHECKER: Indexed = "SELECT value FROM meta WHERE name = 'checker'";
    CLAIM: Indexed = "UPDATE meta SET value = ? WHERE name = 'checker' AND value = ?";
}

impl Db {
    /// Claims the checks of all hosts for a daemon until this time of the service clock, which
    /// daemons share. Returns whether no other daemon has them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_checks(
        &self,
        daemon: &str,
        now: Uptime,
        until: Uptime,
    ) -> Result<bool, DbError> {
        if self.0.is_sole_owner() {
            return Ok(true);
        }
        let row: Option<(String,)> = self.0.readers.optional(&CHECKER, args![]).await?;
        let previous = row.map(|(value,)| value).unwrap_or_default();
        let (holder, claimed_until) = previous.split_once(' ').unwrap_or_default();
        if holder != daemon && claimed_until.parse().is_ok_and(|claimed: i64| claimed > now.0) {
            return Ok(false);
        }
        let value = format!("{daemon} {}", until.0);
        match self.0.writer.run(ClaimChecks { value, previous }).await {
            Ok(is_ours) => Ok(is_ours),
            // another daemon committed first
            Err(DbError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

struct ClaimChecks {
    value: String,
    previous: String,
}

impl Write for ClaimChecks {
    type Output = bool;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let args = args![self.value.as_str(), self.previous.as_str()];
        Ok(conn.run(&CLAIM, args).await? > 0)
    }
}
