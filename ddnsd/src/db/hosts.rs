//! Hosts in the database: reading them, adding and removing.

use super::Db;
use super::cache::Caches;
use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::rows::{DetailsRow, HostRow, host_columns};
use super::statement::{Arg, args, statements};
use super::write::Write;
use crate::model::host::{Host, HostDetails, HostId};
use crate::model::name::{Fqdn, Label, UserName, Zone};
use crate::model::time::Millis;
use std::collections::HashSet;
use std::sync::Arc;

/// A host to add.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// Its owner.
    pub user: UserName,
    /// Name within the zone.
    pub label: Label,
    /// Zone.
    pub zone: Zone,
    /// Whole name, unique.
    pub fqdn: Fqdn,
    /// Seconds, or the default.
    pub dns_ttl: Option<u32>,
    /// Seconds, or the default.
    pub expiry_ttl: Option<u32>,
    /// When.
    pub at: Millis,
}

/// Which hosts to read: in byte order of their names, after one of them.
#[derive(Clone, Debug, Default)]
pub struct HostPage {
    /// Only this user's.
    pub user: Option<UserName>,
    /// Only this zone's.
    pub zone: Option<Zone>,
    /// Names after this one; empty for the first page.
    pub after: String,
    /// At most this many.
    pub limit: u32,
}

/// The owner is joined from the left, so that no optimizer begins with the users and sorts all hosts.
macro_rules! details_query {
    ($index:literal, $filter:literal) => {
        concat!(
            "SELECT ",
            host_columns!(),
            ", h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at, u.name AS owner, h.created_at,
               h.last_ipv4, h.last_ipv6, h.attempts, h.last_error
             FROM hosts h ",
            $index,
            " LEFT JOIN users u ON u.id = h.user_id LEFT JOIN touches t ON t.host_id = h.id WHERE ",
            $filter
        )
    };
}

statements! {
    ONE: Indexed = concat!("SELECT ", host_columns!(), " FROM hosts h WHERE h.fqdn = ?");
    DETAILS: Indexed = details_query!("", "h.fqdn = ?");
    // one text per combination, so that each finds its index; MariaDB would rather sort the rest of a table
    // than follow an index, and again for every page
    PAGE: Indexed = details_query!("", "h.fqdn > ? ORDER BY h.fqdn LIMIT ?"),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_fqdn)", "h.fqdn > ? ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_USER: Indexed = details_query!(
            "",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?)
             ORDER BY h.fqdn LIMIT ?"
        ),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_user)",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?)
             ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_ZONE: Indexed =
        details_query!("", "h.fqdn > ? AND h.zone = ? ORDER BY h.fqdn LIMIT ?"),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_zone)", "h.fqdn > ? AND h.zone = ? ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_BOTH: Indexed = details_query!(
            "",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?) AND h.zone = ?
             ORDER BY h.fqdn LIMIT ?"
        ),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_user)",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?) AND h.zone = ?
             ORDER BY h.fqdn LIMIT ?"
        );
    ADD: Indexed =
        "INSERT INTO hosts (user_id, label, zone, fqdn, dns_ttl, expiry_ttl, created_at, changed_at)
         SELECT id, ?, ?, ?, ?, ?, ?, ? FROM users WHERE name = ?";
    THERE: Indexed = "SELECT id FROM hosts WHERE id IN (?)";
    // asked again and again: DISTINCT would go through the whole index
    NEXT_ZONE: Indexed = "SELECT zone FROM hosts WHERE zone > ? ORDER BY zone LIMIT 1";
    REMOVE: Indexed = "DELETE FROM hosts WHERE id = ?";
}

impl Db {
    /// The host of this name; `None` if there is none.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host(&self, name: &Fqdn) -> Result<Option<Arc<Host>>, DbError> {
        let ticket = match self.0.caches.hosts.get(name) {
            Ok(known) => return Ok(known),
            Err(ticket) => ticket,
        };
        let row: Option<HostRow> = self.0.readers.optional(&ONE, args![name.as_str()]).await?;
        let host = row.map(|row| row.host().map(Arc::new)).transpose()?;
        self.0.caches.hosts.fill(name, host.clone(), &ticket);
        Ok(host)
    }

    /// Memory is laid over the rows anyway; without this a keepalive that is being written while the rows are
    /// read could be missing from both. A database that cannot be written can still be read.
    async fn try_to_flush_touches(&self) {
        if let Err(problem) = self.flush_touches().await {
            tracing::debug!("keepalives are not written before hosts are read: {problem}");
        }
    }

    /// One host with what administrators want to see of it.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host_details(&self, name: &Fqdn) -> Result<Option<HostDetails>, DbError> {
        self.try_to_flush_touches().await;
        let row: Option<DetailsRow> =
            self.0.readers.optional(&DETAILS, args![name.as_str()]).await?;
        row.map(|row| row.details(|host| self.0.touches.unwritten(host).at)).transpose()
    }

    /// A page of hosts.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn host_page(&self, page: &HostPage) -> Result<Vec<HostDetails>, DbError> {
        self.try_to_flush_touches().await;
        let (readers, after, limit) = (&self.0.readers, page.after.as_str(), page.limit);
        let rows: Vec<DetailsRow> = match (&page.user, &page.zone) {
            (None, None) => readers.all(&PAGE, args![after, limit]).await,
            (Some(user), None) => {
                readers.all(&PAGE_OF_USER, args![after, user.as_str(), limit]).await
            }
            (None, Some(zone)) => {
                readers.all(&PAGE_OF_ZONE, args![after, zone.as_str(), limit]).await
            }
            (Some(user), Some(zone)) => {
                let args = args![after, user.as_str(), zone.as_str(), limit];
                readers.all(&PAGE_OF_BOTH, args).await
            }
        }?;
        rows.into_iter().map(|row| row.details(|host| self.0.touches.unwritten(host).at)).collect()
    }

    /// The first zone with a host after this one, in byte order; the first of all after the empty text.
    ///
    /// # Errors
    /// The database failed.
    pub async fn zone_after(&self, zone: &str) -> Result<Option<String>, DbError> {
        let row: Option<(String,)> = self.0.readers.optional(&NEXT_ZONE, args![zone]).await?;
        Ok(row.map(|(zone,)| zone))
    }

    /// Adds a host; `false` if its user does not exist.
    ///
    /// # Errors
    /// [`DbError::Exists`], or the database failed.
    pub async fn add_host(&self, host: NewHost) -> Result<bool, DbError> {
        self.0.writer.run(host).await
    }

    /// Deletes a host's row; what DNS holds is the caller's concern.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove(&self, host: Arc<Host>) -> Result<(), DbError> {
        self.0.writer.run(RemoveHost(host)).await
    }
}

/// Those of these hosts that were not deleted meanwhile.
pub(super) async fn there(
    hosts: impl Iterator<Item = HostId>,
    conn: &mut Conn,
) -> Result<HashSet<HostId>, DbError> {
    let ids: Vec<_> = hosts.map(|host| Arg::from(host.0)).collect();
    let mut there = HashSet::with_capacity(ids.len());
    for some in ids.chunks(ROWS_PER_STATEMENT) {
        let full = some.len().next_power_of_two();
        let rows: Vec<(i64,)> = conn.all_of(&THERE, some.to_vec(), full).await?;
        there.extend(rows.into_iter().map(|(id,)| HostId(id)));
    }
    Ok(there)
}

impl Write for NewHost {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let (label, zone, fqdn) = (self.label.as_str(), self.zone.as_str(), self.fqdn.as_str());
        let (at, user) = (self.at.0, self.user.as_str());
        let args = args![label, zone, fqdn, self.dns_ttl, self.expiry_ttl, at, at, user];
        Ok(conn.run(&ADD, args).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.hosts.forget(&self.fqdn);
    }
}

struct RemoveHost(Arc<Host>);

impl Write for RemoveHost {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&REMOVE, args![self.0.id.0]).await?;
        Ok(())
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.hosts.forget(&self.0.fqdn);
    }
}
