//! The steps of a change: wanted and unpublished, then settled. Each names the row's version, so that
//! a step that lost against another change leaves no trace.

use super::Db;
use super::cache::Caches;
use super::error::DbError;
use super::rows::wanted_columns;
use super::writer::{Conn, Work};
use crate::model::host::{Acked, Host, HostId, Seen};
use crate::model::name::{Fqdn, Zone};
use crate::model::record::WantedRecords;
use crate::model::time::Millis;
use std::sync::Arc;

/// A change to be committed as wanted and unpublished.
#[derive(Clone, Debug)]
pub struct Want {
    /// The host as it was read.
    pub host: Arc<Host>,
    /// What DNS should hold from now on.
    pub records: WantedRecords,
    /// Which families this updates, and when; neither, for a removal.
    pub seen: Seen,
    /// When the sweep must look at it; `None` for never. An earlier look that is due stays due: the other
    /// family may expire then.
    pub check_at: Option<Millis>,
    /// Now.
    pub at: Millis,
}

/// What became of publishing a change.
#[derive(Clone, Debug)]
pub enum Settle {
    /// DNS acknowledged these records.
    Acknowledged {
        /// The host as it was published.
        host: Arc<Host>,
        /// With this TTL, seconds.
        ttl: u32,
    },
    /// It failed; the row stays unpublished.
    Failed {
        /// The host as it was to be published.
        host: Arc<Host>,
        /// Why, for administrators.
        error: String,
    },
}

/// A host that DNS is not known to hold as it is wanted.
#[derive(Clone, Debug)]
pub struct Unpublished {
    /// Since when; with the key its position for the next page.
    pub since: Millis,
    /// Key.
    pub host: HostId,
    /// Name, for reading it.
    pub fqdn: Fqdn,
    /// Its zone.
    pub zone: Zone,
}

impl Db {
    /// Commits changes as wanted and unpublished; durable when it returns. In the order given: the
    /// host as it is now, or `None` where the row had changed since it was read.
    ///
    /// # Errors
    /// The database failed; nothing was committed.
    pub async fn want(&self, changes: Vec<Want>) -> Result<Vec<Option<Arc<Host>>>, DbError> {
        self.0.writer.run(WantAll(changes)).await
    }

    /// Commits what became of a change. Returns the host as it is now, or `None` if another change
    /// came in between, which then is the one to publish.
    ///
    /// # Errors
    /// The database failed; the row stays unpublished and is published again.
    pub async fn settle(&self, result: Settle) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(result).await
    }

    /// Marks a host as unpublished, its wanted records unchanged. `None` if the row had changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn doubt(&self, host: Arc<Host>, at: Millis) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(Doubt { host, at }).await
    }

    /// Marks every host that has a record as unpublished: the name server is another one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn doubt_all(&self, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(DoubtAll(at)).await
    }

    /// A page of unpublished hosts, longest waiting first, after a position.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn unpublished(
        &self,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Vec<Unpublished>, DbError> {
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT unpublished_since, id, fqdn, zone FROM hosts
             WHERE unpublished_since >= ?1 AND (unpublished_since > ?1 OR id > ?2)
             ORDER BY unpublished_since, id LIMIT ?3",
        )
        .bind(after.0.0)
        .bind(after.1.0)
        .bind(i64::from(limit))
        .fetch_all(&self.0.readers)
        .await?;
        let hosts = rows.into_iter().map(|(since, id, name, zone)| {
            let fqdn = fqdn(id, &name)?;
            let (table, column, what) = ("hosts", "zone", "not a zone name");
            let wrong = |_| DbError::Row { table, column, row: id, what };
            let zone = Zone::parse(&zone).map_err(wrong)?;
            Ok(Unpublished { since: Millis(since), host: HostId(id), fqdn, zone })
        });
        Ok(hosts.filter_map(readable).collect())
    }

    /// The host of this name, for those who go through many: a row that does not convert is logged and
    /// passed over, so that it does not stop the others.
    ///
    /// # Errors
    /// The database failed.
    pub async fn readable_host(&self, name: &Fqdn) -> Result<Option<Arc<Host>>, DbError> {
        match self.host(name).await {
            Err(problem @ DbError::Row { .. }) => {
                tracing::error!(host = %name, "passed over: {problem}");
                Ok(None)
            }
            other => other,
        }
    }
}

/// The row if it converted; else it is logged, and the others go on.
pub(super) fn readable<T>(row: Result<T, DbError>) -> Option<T> {
    row.inspect_err(|problem| tracing::error!("passed over: {problem}")).ok()
}

/// A name as the table holds it.
pub(super) fn fqdn(row: i64, text: &str) -> Result<Fqdn, DbError> {
    Fqdn::parse(text).map_err(|_| DbError::Row {
        table: "hosts",
        column: "fqdn",
        row,
        what: "not a host name",
    })
}

pub(super) fn remember_host(host: Option<&Arc<Host>>, fallback: &Fqdn, caches: &Caches) {
    match host {
        Some(host) => caches.hosts.wrote(&host.fqdn, Arc::clone(host)),
        None => caches.hosts.forget(fallback),
    }
}

struct WantAll(Vec<Want>);

impl Work for WantAll {
    type Output = Vec<Option<Arc<Host>>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let mut hosts = Vec::with_capacity(self.0.len());
        for change in &self.0 {
            hosts.push(change.run(conn).await?);
        }
        Ok(hosts)
    }

    fn remember(&self, hosts: &Self::Output, caches: &Caches) {
        for (change, host) in self.0.iter().zip(hosts) {
            remember_host(host.as_ref(), &change.host.fqdn, caches);
        }
    }
}

impl Want {
    async fn run(&self, conn: &mut Conn) -> Result<Option<Arc<Host>>, DbError> {
        let (state4, ipv4) = wanted_columns(self.records.v4);
        let (state6, ipv6) = wanted_columns(self.records.v6);
        let done = sqlx::query(
            "UPDATE hosts SET
                 state4 = ?1, ipv4 = ?2, state6 = ?3, ipv6 = ?4,
                 last_ipv4 = COALESCE(?2, last_ipv4), last_ipv6 = COALESCE(?4, last_ipv6),
                 set4_at = COALESCE(?5, set4_at), set6_at = COALESCE(?6, set6_at),
                 unpublished_since = COALESCE(unpublished_since, ?7), attempts = 0,
                 last_error = NULL, check_at = CASE WHEN ?8 IS NULL THEN NULL ELSE MIN(COALESCE(check_at, ?8), ?8) END,
                 version = version + 1, changed_at = ?7
             WHERE id = ?9 AND version = ?10",
        )
        .bind(state4)
        .bind(ipv4)
        .bind(state6)
        .bind(ipv6)
        .bind(self.seen.v4.map(|at| at.0))
        .bind(self.seen.v6.map(|at| at.0))
        .bind(self.at.0)
        .bind(self.check_at.map(|at| at.0))
        .bind(self.host.id.0)
        .bind(self.host.version)
        .execute(conn)
        .await?;
        let host = Host {
            wanted: self.records,
            unpublished_since: self.host.unpublished_since.or(Some(self.at)),
            version: self.host.version + 1,
            ..Host::clone(&self.host)
        };
        Ok((done.rows_affected() > 0).then(|| Arc::new(host)))
    }
}

impl Work for Settle {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        match self {
            Settle::Acknowledged { host, ttl } => acknowledged(host, *ttl, conn).await,
            Settle::Failed { host, error } => failed(host, error, conn).await,
        }
    }

    fn remember(&self, host: &Self::Output, caches: &Caches) {
        let (Settle::Acknowledged { host: was, .. } | Settle::Failed { host: was, .. }) = self;
        remember_host(host.as_ref(), &was.fqdn, caches);
    }
}

async fn acknowledged(
    host: &Arc<Host>,
    ttl: u32,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let addresses = host.wanted.addresses();
    let done = sqlx::query(
        "UPDATE hosts SET acked_ipv4 = ?1, acked_ipv6 = ?2, acked_ttl = ?3,
             unpublished_since = NULL, attempts = 0, last_error = NULL
         WHERE id = ?4 AND version = ?5",
    )
    .bind(addresses.v4.map(|address| address.to_string()))
    .bind(addresses.v6.map(|address| address.to_string()))
    .bind(ttl)
    .bind(host.id.0)
    .bind(host.version)
    .execute(conn)
    .await?;
    let settled = Host {
        acked: Acked { addresses, ttl: Some(ttl) },
        unpublished_since: None,
        ..Host::clone(host)
    };
    Ok((done.rows_affected() > 0).then(|| Arc::new(settled)))
}

async fn failed(
    host: &Arc<Host>,
    error: &str,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let done = sqlx::query(
        "UPDATE hosts SET attempts = attempts + 1, last_error = ?1 WHERE id = ?2 AND version = ?3",
    )
    .bind(error)
    .bind(host.id.0)
    .bind(host.version)
    .execute(conn)
    .await?;
    Ok((done.rows_affected() > 0).then(|| Arc::clone(host)))
}

struct Doubt {
    host: Arc<Host>,
    at: Millis,
}

impl Work for Doubt {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let done = sqlx::query(
            "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?1),
                 version = version + 1
             WHERE id = ?2 AND version = ?3",
        )
        .bind(self.at.0)
        .bind(self.host.id.0)
        .bind(self.host.version)
        .execute(conn)
        .await?;
        let host = Host {
            unpublished_since: self.host.unpublished_since.or(Some(self.at)),
            version: self.host.version + 1,
            ..Host::clone(&self.host)
        };
        Ok((done.rows_affected() > 0).then(|| Arc::new(host)))
    }

    fn remember(&self, host: &Self::Output, caches: &Caches) {
        remember_host(host.as_ref(), &self.host.fqdn, caches);
    }
}

struct DoubtAll(Millis);

impl Work for DoubtAll {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?1),
                 acked_ipv4 = NULL, acked_ipv6 = NULL, acked_ttl = NULL, version = version + 1
             WHERE state4 = 1 OR state6 = 1",
        )
        .bind(self.0.0)
        .execute(conn)
        .await?;
        Ok(())
    }

    fn remember(&self, (): &(), caches: &Caches) {
        caches.hosts.forget_all();
    }
}
