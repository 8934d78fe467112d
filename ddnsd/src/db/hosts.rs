//! Hosts in the database: reading them, adding and removing.

use super::Db;
use super::cache::Caches;
use super::error::DbError;
use super::rows::{DetailsRow, HostRow, host_columns};
use super::writer::{Conn, Work};
use crate::model::host::{Host, HostDetails};
use crate::model::name::{Fqdn, Label, UserName, Zone};
use crate::model::time::Millis;
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

macro_rules! details_query {
    ($filter:literal) => {
        concat!(
            "SELECT ",
            host_columns!(),
            ", h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at, u.name AS owner, h.created_at,
               h.last_ipv4, h.last_ipv6, h.attempts, h.last_error
             FROM hosts h JOIN users u ON u.id = h.user_id LEFT JOIN touches t ON t.host_id = h.id
             WHERE ",
            $filter
        )
    };
}

impl Db {
    /// The host of this name; `None` if there is none.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host(&self, name: &Fqdn) -> Result<Option<Arc<Host>>, DbError> {
        let ticket = match self.0.caches.hosts.get(name) {
            Ok(host) => return Ok(Some(host)),
            Err(ticket) => ticket,
        };
        let row: Option<HostRow> =
            sqlx::query_as(concat!("SELECT ", host_columns!(), " FROM hosts h WHERE h.fqdn = ?1"))
                .bind(name.as_str())
                .fetch_optional(&self.0.readers)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let host = Arc::new(row.host()?);
        self.0.caches.hosts.fill(&host.fqdn, Arc::clone(&host), &ticket);
        Ok(Some(host))
    }

    /// One host with what administrators want to see of it.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host_details(&self, name: &Fqdn) -> Result<Option<HostDetails>, DbError> {
        self.flush_touches().await?;
        let row: Option<DetailsRow> = sqlx::query_as(details_query!("h.fqdn = ?1"))
            .bind(name.as_str())
            .fetch_optional(&self.0.readers)
            .await?;
        row.map(|row| row.details(|host| self.0.touches.noted(host))).transpose()
    }

    /// A page of hosts.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn host_page(&self, page: &HostPage) -> Result<Vec<HostDetails>, DbError> {
        self.flush_touches().await?;
        // one text per combination, so that each finds its index
        let sql = match (&page.user, &page.zone) {
            (None, None) => details_query!("h.fqdn > ?1 ORDER BY h.fqdn LIMIT ?2"),
            (Some(_), None) => {
                details_query!("h.fqdn > ?1 AND u.name = ?3 ORDER BY h.fqdn LIMIT ?2")
            }
            (None, Some(_)) => {
                details_query!("h.fqdn > ?1 AND h.zone = ?4 ORDER BY h.fqdn LIMIT ?2")
            }
            (Some(_), Some(_)) => details_query!(
                "h.fqdn > ?1 AND u.name = ?3 AND h.zone = ?4 ORDER BY h.fqdn LIMIT ?2"
            ),
        };
        let rows: Vec<DetailsRow> = sqlx::query_as(sql)
            .bind(&page.after)
            .bind(i64::from(page.limit))
            .bind(page.user.as_ref().map(UserName::as_str))
            .bind(page.zone.as_ref().map(Zone::as_str))
            .fetch_all(&self.0.readers)
            .await?;
        rows.into_iter().map(|row| row.details(|host| self.0.touches.noted(host))).collect()
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
        self.0.writer.run(Remove(host)).await
    }
}

impl Work for NewHost {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let done = sqlx::query(
            "INSERT INTO hosts (user_id, label, zone, fqdn, dns_ttl, expiry_ttl, created_at,
                                changed_at)
             SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?7 FROM users WHERE name = ?1",
        )
        .bind(self.user.as_str())
        .bind(self.label.as_str())
        .bind(self.zone.as_str())
        .bind(self.fqdn.as_str())
        .bind(self.dns_ttl)
        .bind(self.expiry_ttl)
        .bind(self.at.0)
        .execute(conn)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    fn remember(&self, _: &bool, caches: &Caches) {
        caches.hosts.forget(&self.fqdn);
    }
}

struct Remove(Arc<Host>);

impl Work for Remove {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        sqlx::query("DELETE FROM hosts WHERE id = ?1").bind(self.0.id.0).execute(conn).await?;
        Ok(())
    }

    fn remember(&self, (): &(), caches: &Caches) {
        caches.hosts.forget(&self.0.fqdn);
    }
}
