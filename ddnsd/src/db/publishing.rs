//! The steps of a change: wanted and unpublished, then settled. Each names the row's version, so that
//! a step that lost against another change leaves no trace.

use super::Db;
use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::outbox;
use super::rows::{UnpublishedRow, wanted_columns};
use super::statement::{args, statements};
use super::write::Write;
use crate::model::change::Want;
use crate::model::host::{Acked, Host, HostId};
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;
use std::sync::Arc;

statements! {
    UNPUBLISHED_REMOVALS: Indexed =
        "SELECT unpublished_since, id, fqdn, zone, version, attempts,
             last_error IS NOT NULL AS has_failed
         FROM hosts
         WHERE unpublished_since >= ? AND (unpublished_since > ? OR id > ?)
             AND state4 <> 1 AND state6 <> 1
         ORDER BY unpublished_since, id LIMIT ?";
    UNPUBLISHED_ADDRESSES: Indexed =
        "SELECT unpublished_since, id, fqdn, zone, version, attempts,
             last_error IS NOT NULL AS has_failed
         FROM hosts
         WHERE unpublished_since >= ? AND (unpublished_since > ? OR id > ?)
             AND (state4 = 1 OR state6 = 1)
         ORDER BY unpublished_since, id LIMIT ?";
    WANT: Indexed =
        "UPDATE hosts SET
             state4 = ?, ipv4 = ?, state6 = ?, ipv6 = ?,
             last_ipv4 = COALESCE(?, last_ipv4), last_ipv6 = COALESCE(?, last_ipv6),
             set4_at = COALESCE(?, set4_at), set6_at = COALESCE(?, set6_at),
             set4_uptime = COALESCE(?, set4_uptime), set6_uptime = COALESCE(?, set6_uptime),
             unpublished_since = COALESCE(unpublished_since, ?), attempts = 0, last_error = NULL,
             notice = ?,
             check_at = CASE WHEN ? IS NULL THEN NULL WHEN check_at < ? THEN check_at ELSE ? END,
             version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
    ACKNOWLEDGED: Indexed =
        "UPDATE hosts SET acked_ipv4 = ?, acked_ipv6 = ?, acked_ttl = ?,
             unpublished_since = ?, attempts = 0, last_error = NULL, notice = NULL
         WHERE id = ? AND version = ?";
    FAILED: Indexed =
        "UPDATE hosts SET attempts = attempts + 1, last_error = ? WHERE id = ? AND version = ?";
    // a settle that lost: DNS may hold, or get, what was published late
    LOST: Indexed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?), version = version + 1
         WHERE id = ?";
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
        /// Whether no unanswered message can overwrite it any more.
        is_final: bool,
        /// When.
        at: Millis,
    },
    /// It failed; the row stays unpublished.
    Failed {
        /// The host as it was to be published.
        host: Arc<Host>,
        /// Why, for administrators.
        error: String,
        /// When.
        at: Millis,
    },
}

/// Which unpublished hosts are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpublishedKind {
    /// Those that should have a record.
    WithAddress,
    /// Those whose records are only to go.
    WithoutAddress,
}

/// Rows of a list, and where the next page begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What could be read.
    pub rows: Vec<T>,
    /// The position after these rows and those that could not be read; `None` if there were none.
    pub last: Option<(Millis, HostId)>,
}

/// A host that DNS is not known to hold as it is wanted.
#[derive(Clone, Debug)]
pub struct UnpublishedHost {
    /// Key.
    pub host: HostId,
    /// Name, for reading it.
    pub fqdn: Fqdn,
    /// Its zone.
    pub zone: Zone,
    /// How often publishing it failed.
    pub attempts: u32,
    /// Since when.
    pub since: Millis,
    /// As the row has it.
    pub version: i64,
    /// Whether it was sent in vain before.
    pub has_failed: bool,
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

    /// A page of unpublished hosts, longest waiting first, after a position.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn unpublished(
        &self,
        which: UnpublishedKind,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Page<UnpublishedHost>, DbError> {
        let sql = match which {
            UnpublishedKind::WithAddress => &UNPUBLISHED_ADDRESSES,
            UnpublishedKind::WithoutAddress => &UNPUBLISHED_REMOVALS,
        };
        let (since, id) = (after.0.0, after.1.0);
        let rows: Vec<UnpublishedRow> =
            self.0.readers.all(sql, args![since, since, id, limit]).await?;
        let last = rows.last().map(UnpublishedRow::position);
        let rows = rows.into_iter().map(UnpublishedRow::unpublished).filter_map(readable).collect();
        Ok(Page { rows, last })
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

pub(super) fn cache_host(host: Option<&Arc<Host>>, fallback: &Fqdn, caches: &Caches) {
    match host {
        Some(host) => caches.hosts.wrote(&host.fqdn, Arc::clone(host)),
        None => caches.hosts.forget(fallback),
    }
}

struct WantAll(Vec<Want>);

impl Write for WantAll {
    type Output = Vec<Option<Arc<Host>>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let mut hosts = Vec::with_capacity(self.0.len());
        for change in &self.0 {
            hosts.push(change.run(conn).await?);
        }
        Ok(hosts)
    }

    fn update_caches(&self, hosts: &Self::Output, caches: &Caches) {
        for (change, host) in self.0.iter().zip(hosts) {
            cache_host(host.as_ref(), &change.host.fqdn, caches);
        }
    }
}

impl Want {
    async fn run(&self, conn: &mut Conn) -> Result<Option<Arc<Host>>, DbError> {
        let (state4, ipv4) = wanted_columns(self.records.v4);
        let (state6, ipv6) = wanted_columns(self.records.v6);
        let (seen4, seen6) = (self.seen.v4.map(|at| at.0), self.seen.v6.map(|at| at.0));
        let updated = self.seen.on_service_clock(self.uptime);
        let (at, check_at) = (self.at.0, self.check_at.map(|check_at| check_at.0));
        let (last4, last6, host) = (ipv4.clone(), ipv6.clone(), &self.host);
        let args = args![
            state4,
            ipv4,
            state6,
            ipv6,
            last4,
            last6,
            seen4,
            seen6,
            updated.v4.map(|at| at.0),
            updated.v6.map(|at| at.0),
            at,
            outbox::column(self.notices.as_ref()),
            check_at,
            check_at,
            check_at,
            at,
            host.id.0,
            host.version,
        ];
        let rows = conn.run(&WANT, args).await?;
        Ok((rows > 0).then(|| Arc::new(host.wanting(self.records, self.notices, self.at))))
    }
}

impl Write for Settle {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        match self {
            Settle::Acknowledged { host, ttl, is_final, at } => {
                acknowledged(host, &host.acknowledged(*ttl, *is_final), *at, conn).await
            }
            Settle::Failed { host, error, at } => failed(host, error, *at, conn).await,
        }
    }

    fn update_caches(&self, host: &Self::Output, caches: &Caches) {
        let (Settle::Acknowledged { host: was, .. } | Settle::Failed { host: was, .. }) = self;
        cache_host(host.as_ref(), &was.fqdn, caches);
    }
}

async fn acknowledged(
    host: &Host,
    settled: &Host,
    at: Millis,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let Acked { addresses, ttl } = settled.acked;
    let v4 = addresses.v4.map(|address| address.to_string());
    let v6 = addresses.v6.map(|address| address.to_string());
    let since = settled.unpublished_since.map(|since| since.0);
    let (id, version) = (host.id.0, host.version);
    // before the row forgets what is owed: a settle that is done twice finds nothing to queue
    outbox::queue(host, at, conn).await?;
    if conn.run(&ACKNOWLEDGED, args![v4, v6, ttl, since, id, version]).await? == 0 {
        conn.run(&LOST, args![at.0, id]).await?;
        return Ok(None);
    }
    Ok(Some(Arc::new(settled.clone())))
}

async fn failed(
    host: &Arc<Host>,
    error: &str,
    at: Millis,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let rows = conn.run(&FAILED, args![error, host.id.0, host.version]).await?;
    if rows == 0 {
        // what was not answered may be applied yet, after what came in between
        conn.run(&LOST, args![at.0, host.id.0]).await?;
        return Ok(None);
    }
    Ok(Some(Arc::clone(host)))
}
