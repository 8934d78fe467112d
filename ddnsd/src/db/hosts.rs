//! Hosts: reading, adding, changing their TTLs, removing.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::leases;
use super::rows::{DetailsRow, HostRow, from_json, host_columns};
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::log_budget::log_repeated;
use crate::model::host::{Host, HostDetails};
use crate::model::lease::Lease;
use crate::model::name::{Fqdn, Label, UserName, Zone};
use crate::model::prefix::Ipv6Suffix;
use crate::model::time::Millis;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements =
    &[READING, SHOWING, PAGING, ZONES, ADDING, SETTING_TTLS, REMOVING];

//----- One host -----

statements! { READING;
    ONE: Indexed = concat!("SELECT ", host_columns!(json), " FROM hosts h WHERE h.fqdn = ?");
}

impl Db {
    /// The host of this name.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host(&self, name: &Fqdn) -> Result<Option<Arc<Host>>, DbError> {
        let load = || async {
            let row: Option<(String,)> =
                self.0.readers.optional(&ONE, args![name.as_str()]).await?;
            let host = |json: &str| from_json::<HostRow>(json)?.host_of(name.clone());
            row.map(|(json,)| host(&json).map(Arc::new)).transpose()
        };
        self.0.caches.hosts.get_or_load(name, load).await
    }

    /// The host of this name, for a story that goes through many hosts: a row that does not convert
    /// is logged and skipped, so that it does not stop the others.
    ///
    /// # Errors
    /// The database failed.
    pub async fn readable_host(&self, name: &Fqdn) -> Result<Option<Arc<Host>>, DbError> {
        match self.host(name).await {
            Err(problem @ DbError::Row { .. }) => {
                log_repeated!(error, host = %name, "skipped: {problem}");
                Ok(None)
            }
            other => other,
        }
    }
}

//----- Hosts as administrators see them -----

/// Rows as JSON arrays, each for one [`DetailsRow`]. The owner is joined from the left: otherwise
/// an optimizer may begin with the users and sort all hosts.
macro_rules! details_query {
    ($index:literal, $filter:literal) => {
        concat!(
            "SELECT json_array(",
            host_columns!(json),
            ", json_array(h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at),
               json_array(h.last_ipv4, h.last_ipv6),
               u.name, u.suspended_at, h.expired_at, h.created_at, h.attempts, h.last_error,
               h.unserved, h.served_ttl, l.fqdn, l.ipv6_prefix) AS details
             FROM hosts h ",
            $index,
            " LEFT JOIN users u ON u.id = h.user_id LEFT JOIN touches t ON t.host_id = h.id
              LEFT JOIN hosts l ON l.id = h.follows WHERE ",
            $filter
        )
    };
}

/// The same rows in one text, separated by commas. SQLite's thread and the reader would wake each
/// other for each row.
macro_rules! joined_query {
    ($filter:literal) => {
        concat!("SELECT group_concat(details, ',') FROM (", details_query!("", $filter), ")")
    };
}

statements! { SHOWING;
    DETAILS: Indexed = details_query!("", "h.fqdn = ?");
}

impl Db {
    /// One host with its details for administrators.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host_details(&self, name: &Fqdn) -> Result<Option<HostDetails>, DbError> {
        self.try_to_flush_touches().await;
        let row = self.0.readers.optional(&DETAILS, args![name.as_str()]).await?;
        row.map(|(json,): (String,)| self.details(from_json(&json)?)).transpose()
    }

    fn details(&self, row: DetailsRow) -> Result<HostDetails, DbError> {
        row.details(|host| self.unwritten_touch(host).at)
    }

    /// Flushes, because a keepalive that is being written while the rows are read could be missing
    /// from both. A database that cannot be written can still be read.
    async fn try_to_flush_touches(&self) {
        if let Err(problem) = self.flush_touches().await {
            tracing::debug!("keepalives are not written before hosts are read: {problem}");
        }
    }
}

/// A page of hosts, in byte order of their names.
#[derive(Clone, Debug, Default)]
pub struct HostPage {
    /// Only this user's.
    pub user: Option<UserName>,
    /// Only this zone's.
    pub zone: Option<Zone>,
    /// Only names after this one; empty for the first page.
    pub after: String,
    pub limit: u32,
}

statements! { PAGING;
    // One text per combination of filters, so that each finds its index. Without FORCE INDEX
    // MariaDB sorts the rest of the table for every page; it gives a row to each host, because it
    // may cut a text of all.
    PAGE: Indexed = joined_query!("h.fqdn > ? ORDER BY h.fqdn LIMIT ?"),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_fqdn)", "h.fqdn > ? ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_USER: Indexed = joined_query!(
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?)
             ORDER BY h.fqdn LIMIT ?"
        ),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_user)",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?)
             ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_ZONE: Indexed =
        joined_query!("h.fqdn > ? AND h.zone = ? ORDER BY h.fqdn LIMIT ?"),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_zone)", "h.fqdn > ? AND h.zone = ? ORDER BY h.fqdn LIMIT ?"
        );
    PAGE_OF_BOTH: Indexed = joined_query!(
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?) AND h.zone = ?
             ORDER BY h.fqdn LIMIT ?"
        ),
        mariadb details_query!(
            "FORCE INDEX (hosts_by_user)",
            "h.fqdn > ? AND h.user_id = (SELECT id FROM users WHERE name = ?) AND h.zone = ?
             ORDER BY h.fqdn LIMIT ?"
        );
}

impl Db {
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn host_page(&self, page: &HostPage) -> Result<Vec<HostDetails>, DbError> {
        self.try_to_flush_touches().await;
        let readers = &self.0.readers;
        let after = page.after.as_str();
        let limit = page.limit;
        let rows: Vec<(Option<String>,)> = match (&page.user, &page.zone) {
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
        let rows: Vec<_> = rows.into_iter().filter_map(|(rows,)| rows).collect();
        let rows: Vec<DetailsRow> = from_json(&format!("[{}]", rows.join(",")))?;
        rows.into_iter().map(|row| self.details(row)).collect()
    }
}

//----- Zones -----

statements! { ZONES;
    // run once per zone, because DISTINCT would read the whole index
    NEXT_ZONE: Indexed = "SELECT zone FROM hosts WHERE zone > ? ORDER BY zone LIMIT 1";
}

impl Db {
    /// The first zone with a host after this one, in byte order; the first of all after an empty
    /// name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn zone_after(&self, zone: &str) -> Result<Option<String>, DbError> {
        let row: Option<(String,)> = self.0.readers.optional(&NEXT_ZONE, args![zone]).await?;
        Ok(row.map(|(zone,)| zone))
    }
}

//----- Add -----

/// A host to add.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// Its owner.
    pub user: UserName,
    /// Name within the zone.
    pub label: Label,
    pub zone: Zone,
    pub fqdn: Fqdn,
    /// Seconds; `None` is the configuration's default.
    pub dns_ttl: Option<u32>,
    /// Seconds; `None` is the configuration's default.
    pub expiry_ttl: Option<u32>,
    pub suffix: Option<Ipv6Suffix>,
    /// The host that it follows. The caller holds its lock.
    pub leader: Option<Arc<Host>>,
    pub at: Millis,
}

statements! { ADDING;
    ADD: Indexed =
        "INSERT INTO hosts (user_id, label, zone, fqdn, dns_ttl, expiry_ttl, ipv6_suffix, follows,
             created_at, changed_at)
         SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM users WHERE name = ?";
}

impl Db {
    /// Adds a host; `false` if its user does not exist.
    ///
    /// # Errors
    /// [`DbError::Exists`], or the database failed.
    pub async fn add_host(&self, host: NewHost) -> Result<bool, DbError> {
        self.0.writer.run(host).await
    }
}

impl Write for NewHost {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let args = args![
            self.label.as_str(),
            self.zone.as_str(),
            self.fqdn.as_str(),
            self.dns_ttl,
            self.expiry_ttl,
            self.suffix.map(|suffix| suffix.to_string()),
            self.leader.as_ref().map(|leader| leader.id.0),
            self.at.0,
            self.at.0,
            self.user.as_str(),
        ];
        Ok(conn.run(&ADD, args).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.hosts.update(&self.fqdn, None);
        if let Some(leader) = &self.leader {
            caches.hosts.update(&leader.fqdn, None);
        }
    }
}

//----- TTLs -----

/// New TTLs of a host.
#[derive(Clone, Debug)]
pub struct SetTtls {
    /// As it was read.
    pub host: Arc<Host>,
    /// Seconds; `None` is the configuration's default.
    pub dns_ttl: Option<u32>,
    /// Seconds; `None` is the configuration's default.
    pub expiry_ttl: Option<u32>,
    /// Whether the host becomes unpublished, so that DNS gets the new TTL.
    pub publish: bool,
    /// Whether the next sweep must check the host.
    pub check_now: bool,
    pub at: Millis,
}

statements! { SETTING_TTLS;
    SET_TTLS: Indexed =
        "UPDATE hosts SET dns_ttl = ?, expiry_ttl = ?,
             unpublished_since = COALESCE(unpublished_since, ?), check_at = COALESCE(?, check_at),
             leased_by = ?, leased_until = ?,
             version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
}

impl Db {
    /// Commits new TTLs; they are durable when it returns. Returns the host as it is now, or `None`
    /// if the row had changed since it was read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_ttls(&self, ttls: SetTtls) -> Result<Option<Arc<Host>>, DbError> {
        let lease =
            if ttls.publish { self.new_lease() } else { ttls.host.lease.as_deref().cloned() };
        self.0.writer.run(StoreTtls { ttls, lease }).await
    }
}

struct StoreTtls {
    ttls: SetTtls,
    lease: Option<Lease>,
}

impl Write for StoreTtls {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let SetTtls { host, dns_ttl, expiry_ttl, publish, check_now, at } = &self.ttls;
        let unpublished = publish.then_some(*at);
        let (leased_by, leased_until) = leases::columns(self.lease.as_ref());
        let args = args![
            *dns_ttl,
            *expiry_ttl,
            unpublished.map(|at| at.0),
            check_now.then_some(0_i64),
            leased_by,
            leased_until,
            at.0,
            host.id.0,
            host.version,
        ];
        let rows = conn.run(&SET_TTLS, args).await?;
        let host = host.with_ttls(*dns_ttl, *expiry_ttl, unpublished, self.lease.clone());
        Ok((rows > 0).then(|| Arc::new(host)))
    }

    fn update_caches(&self, host: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.ttls.host.fqdn, host.as_ref());
    }
}

//----- Remove -----

statements! { REMOVING;
    END_FOLLOWING: Indexed =
        "UPDATE hosts SET follows = NULL, version = version + 1 WHERE follows = ?";
    REMOVE: Indexed = "DELETE FROM hosts WHERE id = ? AND version = ?";
}

impl Db {
    /// Deletes a host's row; `false` if it had changed since it was read. Its followers, whose
    /// locks the caller holds, then follow none. Its records in DNS are the caller's concern.
    /// `related`: the followers, or the leader.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove(&self, host: Arc<Host>, related: Vec<Fqdn>) -> Result<bool, DbError> {
        self.0.writer.run(RemoveHost { host, related }).await
    }
}

struct RemoveHost {
    host: Arc<Host>,
    related: Vec<Fqdn>,
}

impl Write for RemoveHost {
    type Output = bool;
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let RemoveHost { host, .. } = self;
        if host.lan.is_followed {
            conn.run(&END_FOLLOWING, args![host.id.0]).await?;
        }
        Ok(conn.run(&REMOVE, args![host.id.0, host.version]).await? > 0)
    }

    fn roll_back(&self, is_removed: &bool) -> bool {
        !is_removed
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.hosts.update(&self.host.fqdn, None);
        for fqdn in &self.related {
            caches.hosts.update(fqdn, None);
        }
    }
}
