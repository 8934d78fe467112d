//! The stored steps of a change. `want` stores the wanted records and marks the host unpublished.
//! `settle` stores the result. A result for an older version only marks the row unpublished.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::leases;
use super::outbox;
use super::rows::wanted_columns;
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::change::Want;
use crate::model::host::{Acked, Host};
use crate::model::lease::Lease;
use crate::model::time::Millis;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[WANTING, SETTLING];

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
             expired_at = CASE WHEN ? = 1 THEN ? ELSE expired_at END, notice = ?, ipv6_prefix = ?, is_offline = ?, leased_by = ?,
             leased_until = ?,
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
        if changes.is_empty() {
            // an empty transaction too would wait for the writer
            return Ok(Vec::new());
        }
        let lease = |change: &Want| match (change.publish, change.is_sent) {
            (true, true) => self.new_lease(),
            (true, false) => self.ended_lease(),
            (false, _) => change.host.lease.as_deref().cloned(),
        };
        let changes = changes.into_iter().map(|change| (lease(&change), change)).collect();
        self.0.writer.run(WantAll(changes)).await
    }
}

struct WantAll(Vec<(Option<Lease>, Want)>);

impl Write for WantAll {
    type Output = Vec<Option<Arc<Host>>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let mut hosts = Vec::with_capacity(self.0.len());
        for (lease, change) in &self.0 {
            hosts.push(want_one(change, lease.clone(), conn).await?);
        }
        Ok(hosts)
    }

    fn update_caches(&self, hosts: &Self::Output, caches: &Caches) {
        for ((_, change), host) in self.0.iter().zip(hosts) {
            caches.hosts.update(&change.host.fqdn, host.as_ref());
        }
    }
}

/// Stores one change; `None` if the row had changed since it was read.
pub(super) async fn want_one(
    change: &Want,
    lease: Option<Lease>,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let Want { host, records, seen, uptime, check_at, notices, lan, publish, at, .. } = change;
    let (leased_by, leased_until) = leases::columns(lease.as_ref());
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
        i64::from(*publish),
        change.is_expiry.then_some(at.0),
        outbox::column(notices.as_ref()),
        lan.prefix.map(|prefix| prefix.to_string()),
        i64::from(lan.is_offline),
        leased_by,
        leased_until,
        check_at,
        check_at,
        check_at,
        at.0,
        host.id.0,
        host.version,
    ];
    let rows = conn.run(&WANT, args).await?;
    let wanting =
        || if *publish { host.wanting(*records, *notices, *at, lease) } else { host.placed(*lan) };
    Ok((rows > 0).then(|| Arc::new(Host { lan: (*lan).into(), ..wanting() })))
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
    /// Nothing new happened; the row stays unpublished, and the lease is given back.
    NotSent {
        /// The host as it is wanted.
        host: Arc<Host>,
        at: Millis,
    },
}

statements! { SETTLING;
    ACKNOWLEDGED: Indexed =
        "UPDATE hosts SET acked_ipv4 = ?, acked_ipv6 = ?, acked_ttl = ?,
             unpublished_since = ?, attempts = 0, last_error = NULL, notice = NULL,
             leased_by = ?, leased_until = ?
         WHERE id = ? AND version = ?";
    FAILED: Indexed =
        "UPDATE hosts SET attempts = attempts + 1, last_error = ?, leased_by = ?, leased_until = ?
         WHERE id = ? AND version = ?";
    GIVE_BACK: Indexed = "UPDATE hosts SET leased_by = ?, leased_until = ? WHERE id = ? AND version = ?";
    // Another change came first. DNS may hold the older records, or get them from a late message.
    // The new version overtakes any result in flight, so the host is sent again.
    MARK_OVERTAKEN: Indexed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?), version = version + 1,
             leased_until = CASE WHEN leased_by = ? THEN ? ELSE leased_until END
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
        let settle = Settle { lease: self.ended_lease(), result };
        let settled = self.0.writer.run(settle).await;
        if queues_mail && settled.is_ok() {
            self.0.mail_queued.notify_one();
        }
        settled
    }
}

/// A result, and the lease of this daemon, which has ended.
struct Settle {
    result: PublishResult,
    lease: Option<Lease>,
}

impl Settle {
    fn host(&self) -> &Arc<Host> {
        let (PublishResult::Acknowledged { host, .. }
        | PublishResult::Failed { host, .. }
        | PublishResult::NotSent { host, .. }) = &self.result;
        host
    }
}

impl Write for Settle {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let lease = self.lease.clone();
        match &self.result {
            PublishResult::Acknowledged { host, ttl, is_final, at } => {
                let settled = host.acknowledged(*ttl, *is_final, lease);
                store_acknowledged(host, &settled, *at, conn).await
            }
            PublishResult::Failed { host, error, at } => {
                store_failed(host, Some(error), *at, lease, conn).await
            }
            PublishResult::NotSent { host, at } => store_failed(host, None, *at, lease, conn).await,
        }
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host().fqdn, now.as_ref());
    }
}

async fn store_acknowledged(
    host: &Host,
    settled: &Host,
    at: Millis,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let Acked { addresses, ttl } = settled.acked;
    let (leased_by, leased_until) = leases::columns(settled.lease.as_deref());
    let args = args![
        addresses.v4.map(|address| address.to_string()),
        addresses.v6.map(|address| address.to_string()),
        ttl,
        settled.unpublished_since.map(|since| since.0),
        leased_by,
        leased_until,
        host.id.0,
        host.version,
    ];
    // queue the mails before ACKNOWLEDGED clears `notice`; a repeated settle queues none again
    outbox::queue(host, at, conn).await?;
    if conn.run(&ACKNOWLEDGED, args).await? == 0 {
        mark_overtaken(host, at, settled.lease.as_deref(), conn).await?;
        return Ok(None);
    }
    Ok(Some(Arc::new(settled.clone())))
}

async fn store_failed(
    host: &Arc<Host>,
    error: Option<&str>,
    at: Millis,
    lease: Option<Lease>,
    conn: &mut Conn,
) -> Result<Option<Arc<Host>>, DbError> {
    let (by, until) = leases::columns(lease.as_ref());
    let rows = match error {
        Some(error) => conn.run(&FAILED, args![error, by, until, host.id.0, host.version]).await?,
        None => conn.run(&GIVE_BACK, args![by, until, host.id.0, host.version]).await?,
    };
    if rows == 0 {
        // an unanswered message may still be applied, after the change that came first
        mark_overtaken(host, at, lease.as_ref(), conn).await?;
        return Ok(None);
    }
    Ok(Some(Arc::new(Host { lease: lease.map(Box::new), ..Host::clone(host) })))
}

async fn mark_overtaken(
    host: &Host,
    at: Millis,
    lease: Option<&Lease>,
    conn: &mut Conn,
) -> Result<(), DbError> {
    let (by, until) = leases::columns(lease);
    conn.run(&MARK_OVERTAKEN, args![at.0, by, until, host.id.0]).await?;
    Ok(())
}
