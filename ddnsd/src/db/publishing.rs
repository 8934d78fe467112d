//! The stored steps of a change. `want` stores the wanted records and marks the host unpublished.
//! `settle` stores the result. A result for an older version only marks the row unpublished.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::outbox;
use super::row::row;
use super::rows::{Page, RowOf, readable, wanted_columns};
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::change::Want;
use crate::model::host::{Acked, Host, HostId};
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[WANTING, SETTLING, LISTING];

//----- Want -----

statements! { WANTING;
    // An earlier `check_at` stays, because the other family may expire first; NULL means never.
    // A new change starts with no attempts. A set `unpublished_since` stays, too.
    WANT: Indexed =
        "UPDATE hosts SET
             state4 = ?, ipv4 = ?, state6 = ?, ipv6 = ?,
             last_ipv4 = COALESCE(?, last_ipv4), last_ipv6 = COALESCE(?, last_ipv6),
             set4_at = COALESCE(?, set4_at), set6_at = COALESCE(?, set6_at),
             set4_uptime = COALESCE(?, set4_uptime), set6_uptime = COALESCE(?, set6_uptime),
             unpublished_since = COALESCE(unpublished_since, ?), attempts = 0, last_error = NULL,
             notice = ?, ipv6_prefix = ?, is_offline = ?,
             check_at = CASE WHEN ? IS NULL THEN NULL WHEN check_at < ? THEN check_at ELSE ? END,
             version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
}

impl Db {
    /// Commits changes as wanted, and as unpublished if they are to be published; they are durable
    /// when it returns. Returns the hosts as they are now, in the same order; `None` where the row
    /// had changed since it was read.
    ///
    /// # Errors
    /// The database failed; nothing was committed.
    pub async fn want(&self, changes: Vec<Want>) -> Result<Vec<Option<Arc<Host>>>, DbError> {
        self.0.writer.run(WantAll(changes)).await
    }
}

struct WantAll(Vec<Want>);

impl Write for WantAll {
    type Output = Vec<Option<Arc<Host>>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let mut hosts = Vec::with_capacity(self.0.len());
        for change in &self.0 {
            hosts.push(want_one(change, conn).await?);
        }
        Ok(hosts)
    }

    fn update_caches(&self, hosts: &Self::Output, caches: &Caches) {
        for (change, host) in self.0.iter().zip(hosts) {
            caches.hosts.update(&change.host.fqdn, host.as_ref());
        }
    }
}

async fn want_one(change: &Want, conn: &mut Conn) -> Result<Option<Arc<Host>>, DbError> {
    let Want { host, records, seen, uptime, check_at, notices, lan, publish, at } = change;
    let updated = seen.on_service_clock(*uptime);
    let (state4, ipv4) = wanted_columns(records.v4);
    let (state6, ipv6) = wanted_columns(records.v6);
    let check_at = check_at.map(|at| at.0);
    let args = args![
        state4,
        ipv4.clone(),
        state6,
        ipv6.clone(),
        ipv4,
        ipv6,
        seen.v4.map(|at| at.0),
        seen.v6.map(|at| at.0),
        updated.v4.map(|at| at.0),
        updated.v6.map(|at| at.0),
        publish.then_some(at.0),
        outbox::column(notices.as_ref()),
        lan.prefix.map(|prefix| prefix.to_string()),
        i64::from(lan.is_offline),
        check_at,
        check_at,
        check_at,
        at.0,
        host.id.0,
        host.version,
    ];
    let rows = conn.run(&WANT, args).await?;
    let wanting =
        || if *publish { host.wanting(*records, *notices, *at) } else { host.placed(*lan) };
    Ok((rows > 0).then(|| Arc::new(Host { lan: *lan, ..wanting() })))
}

//----- PublishResult -----

/// The result of publishing a host, to be stored.
#[derive(Clone, Debug)]
pub enum PublishResult {
    /// DNS acknowledged these records.
    Acknowledged {
        /// The host as it was sent.
        host: Arc<Host>,
        /// The TTL it was published with, in seconds.
        ttl: u32,
        /// Whether no unanswered message can overwrite it any more.
        is_final: bool,
        at: Millis,
    },
    /// Publishing failed; the row stays unpublished.
    Failed {
        /// The host as it was sent.
        host: Arc<Host>,
        /// The reason, for administrators.
        error: String,
        at: Millis,
    },
}

statements! { SETTLING;
    ACKNOWLEDGED: Indexed =
        "UPDATE hosts SET acked_ipv4 = ?, acked_ipv6 = ?, acked_ttl = ?,
             unpublished_since = ?, attempts = 0, last_error = NULL, notice = NULL
         WHERE id = ? AND version = ?";
    FAILED: Indexed =
        "UPDATE hosts SET attempts = attempts + 1, last_error = ? WHERE id = ? AND version = ?";
    // Another change came first. DNS may hold the older records, or get them from a late message.
    // The new version overtakes any result in flight, so the host is sent again.
    MARK_OVERTAKEN: Indexed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?), version = version + 1
         WHERE id = ?";
}

impl Db {
    /// Commits the result of publishing a host. Returns the host as it is now, or `None` if another
    /// change came first, which then is the one to publish.
    ///
    /// # Errors
    /// The database failed; the row stays unpublished and is published again.
    pub async fn settle(&self, result: PublishResult) -> Result<Option<Arc<Host>>, DbError> {
        let queues_mail = matches!(
            &result, PublishResult::Acknowledged { host, .. } if host.notices.is_some()
        );
        let settled = self.0.writer.run(result).await;
        if queues_mail && settled.is_ok() {
            self.0.mail_queued.notify_one();
        }
        settled
    }
}

impl Write for PublishResult {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        match self {
            PublishResult::Acknowledged { host, ttl, is_final, at } => {
                store_acknowledged(host, &host.acknowledged(*ttl, *is_final), *at, conn).await
            }
            PublishResult::Failed { host, error, at } => store_failed(host, error, *at, conn).await,
        }
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        let (PublishResult::Acknowledged { host, .. } | PublishResult::Failed { host, .. }) = self;
        caches.hosts.update(&host.fqdn, now.as_ref());
    }
}

async fn store_acknowledged(
    host: &Host,
    settled: &Host,
    at: Millis,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let Acked { addresses, ttl } = settled.acked;
    let args = args![
        addresses.v4.map(|address| address.to_string()),
        addresses.v6.map(|address| address.to_string()),
        ttl,
        settled.unpublished_since.map(|since| since.0),
        host.id.0,
        host.version,
    ];
    // queue the mails before ACKNOWLEDGED clears `notice`; a repeated settle queues none again
    outbox::queue(host, at, conn).await?;
    if conn.run(&ACKNOWLEDGED, args).await? == 0 {
        conn.run(&MARK_OVERTAKEN, args![at.0, host.id.0]).await?;
        return Ok(None);
    }
    Ok(Some(Arc::new(settled.clone())))
}

async fn store_failed(
    host: &Arc<Host>,
    error: &str,
    at: Millis,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let rows = conn.run(&FAILED, args![error, host.id.0, host.version]).await?;
    if rows == 0 {
        // an unanswered message may still be applied, after the change that came first
        conn.run(&MARK_OVERTAKEN, args![at.0, host.id.0]).await?;
        return Ok(None);
    }
    Ok(Some(Arc::clone(host)))
}

//----- Unpublished hosts -----

/// Which unpublished hosts to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpublishedKind {
    /// Hosts that should have a record.
    WithAddress,
    /// Hosts whose records are only to be removed.
    WithoutAddress,
}

/// A host whose wanted records DNS is not known to hold.
#[derive(Clone, Debug)]
pub struct UnpublishedHost {
    pub host: HostId,
    pub fqdn: Fqdn,
    pub zone: Zone,
    /// How often publishing it failed.
    pub attempts: u32,
    pub since: Millis,
    pub version: i64,
    /// Whether the last attempt failed.
    pub has_failed: bool,
}

row! {
    struct UnpublishedRow {
        unpublished_since: i64,
        id: i64,
        fqdn: String,
        zone: String,
        attempts: i64,
        version: i64,
        has_failed: i64,
    }
}

statements! { LISTING;
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
}

impl Db {
    /// A page of unpublished hosts after a position, longest waiting first.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn unpublished(
        &self,
        kind: UnpublishedKind,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Page<UnpublishedHost>, DbError> {
        let sql = match kind {
            UnpublishedKind::WithAddress => &UNPUBLISHED_ADDRESSES,
            UnpublishedKind::WithoutAddress => &UNPUBLISHED_REMOVALS,
        };
        let (Millis(since), HostId(id)) = after;
        let rows: Vec<UnpublishedRow> =
            self.0.readers.all(sql, args![since, since, id, limit]).await?;
        let last = rows.last().map(|row| (Millis(row.unpublished_since), HostId(row.id)));
        let rows = rows.into_iter().map(UnpublishedRow::unpublished).filter_map(readable).collect();
        Ok(Page { rows, last })
    }
}

impl UnpublishedRow {
    fn unpublished(self) -> Result<UnpublishedHost, DbError> {
        let row = RowOf { table: "hosts", row: self.id };
        Ok(UnpublishedHost {
            host: HostId(self.id),
            fqdn: row.parsed("fqdn", "not a host name", Fqdn::parse(&self.fqdn))?,
            zone: row.parsed("zone", "not a zone name", Zone::parse(&self.zone))?,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            since: Millis(self.unpublished_since),
            version: self.version,
            has_failed: self.has_failed != 0,
        })
    }
}
