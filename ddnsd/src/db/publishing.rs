//! The stored steps of a change. `want` stores the wanted records and marks the host unpublished.
//! `settle` stores the result. A result for an older version only marks the row unpublished.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::leases;
use super::outbox;
use super::rows::wanted_columns;
use super::statement::{Arg, BoundStatement, Statements, args, statements};
use super::write::{JointWrite, Write};
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
        self.0.writer.run_jointly(WantAll(changes)).await
    }
}

struct WantAll(Vec<(Option<Lease>, Want)>);

impl JointWrite for WantAll {
    type Output = Vec<Option<Arc<Host>>>;
    const DURABLE: bool = true;

    fn statements(&self) -> Vec<BoundStatement> {
        let bound = |(lease, change): &(Option<Lease>, Want)| BoundStatement {
            sql: &WANT,
            args: values(change, lease.as_ref()),
        };
        self.0.iter().map(bound).collect()
    }

    fn output(&self, matched: &[u64]) -> Self::Output {
        let changes = self.0.iter().zip(matched);
        changes.map(|((lease, change), rows)| wanted(change, lease.as_ref(), *rows)).collect()
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
    let rows = conn.run(&WANT, values(change, lease.as_ref())).await?;
    Ok(wanted(change, lease.as_ref(), rows))
}

fn values(change: &Want, lease: Option<&Lease>) -> Vec<Arg> {
    let Want { host, records, seen, uptime, check_at, notices, lan, publish, at, .. } = change;
    let (leased_by, leased_until) = leases::columns(lease);
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
    args.into()
}

/// The host as it is now, if its row matched.
fn wanted(change: &Want, lease: Option<&Lease>, rows: u64) -> Option<Arc<Host>> {
    let Want { host, records, notices, lan, publish, at, .. } = change;
    let stored = || match publish {
        true => host.wanting(*records, *notices, *at, lease.cloned()),
        false => Host { notices: notices.map(Box::new), ..host.placed(*lan) },
    };
    (rows > 0).then(|| Arc::new(Host { lan: (*lan).into(), ..stored() }))
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

/// When a result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Now,
    /// A millisecond later at most, with changes that come meanwhile.
    Soon,
}

statements! { SETTLING;
    // A change that was decided before this result still holds the notice. The new version
    // refuses it.
    // `version` stands before `notice`, because MariaDB assigns from left to right.
    ACKNOWLEDGED: Indexed =
        "UPDATE hosts SET acked_ipv4 = ?, acked_ipv6 = ?, acked_ttl = ?,
             unpublished_since = ?, attempts = 0, last_error = NULL,
             version = version + (notice IS NOT NULL), notice = NULL,
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
    pub async fn settle(
        &self,
        result: PublishResult,
        when: Store,
    ) -> Result<Option<Arc<Host>>, DbError> {
        let settle = Settle::new(result, when, self.ended_lease());
        let (host, settled, at) =
            (Arc::clone(settle.host()), Arc::clone(&settle.settled), settle.at());
        let now = if settle.queues_mail() {
            let now = self.0.writer.run(SettleWithMail(settle)).await?;
            self.0.mail_queued.notify_one();
            now
        } else {
            self.0.writer.run_jointly(settle).await?
        };
        if now.is_none() {
            // an unanswered message may still be applied, after the change that came first
            self.0
                .writer
                .run(MarkOvertaken { host, lease: settled.lease.as_deref().cloned(), at })
                .await?;
        }
        Ok(now)
    }
}

struct Settle {
    result: PublishResult,
    when: Store,
    /// The host once the result is stored.
    settled: Arc<Host>,
}

impl Settle {
    /// `lease` is that of this daemon, which has ended.
    fn new(result: PublishResult, when: Store, lease: Option<Lease>) -> Self {
        let settled = match &result {
            PublishResult::Acknowledged { host, ttl, is_final, .. } => {
                host.acknowledged(*ttl, *is_final, lease)
            }
            PublishResult::Failed { host, .. } | PublishResult::NotSent { host, .. } => {
                Host { lease: lease.map(Box::new), ..Host::clone(host) }
            }
        };
        Self { result, when, settled: Arc::new(settled) }
    }

    /// The host as it was sent.
    fn host(&self) -> &Arc<Host> {
        let (PublishResult::Acknowledged { host, .. }
        | PublishResult::Failed { host, .. }
        | PublishResult::NotSent { host, .. }) = &self.result;
        host
    }

    fn at(&self) -> Millis {
        let (PublishResult::Acknowledged { at, .. }
        | PublishResult::Failed { at, .. }
        | PublishResult::NotSent { at, .. }) = &self.result;
        *at
    }

    fn queues_mail(&self) -> bool {
        matches!(&self.result, PublishResult::Acknowledged { host, .. } if host.notices.is_some())
    }

    /// Stores the result, if the row is as it was sent.
    fn statement(&self) -> BoundStatement {
        let Host { acked: Acked { addresses, ttl }, unpublished_since, lease, .. } = &*self.settled;
        let (by, until) = leases::columns(lease.as_deref());
        let (id, version) = (self.host().id.0, self.host().version);
        match &self.result {
            PublishResult::Acknowledged { .. } => {
                let args = args![
                    addresses.v4.map(|address| address.to_string()),
                    addresses.v6.map(|address| address.to_string()),
                    *ttl,
                    unpublished_since.map(|since| since.0),
                    by,
                    until,
                    id,
                    version,
                ];
                BoundStatement { sql: &ACKNOWLEDGED, args: args.into() }
            }
            PublishResult::Failed { error, .. } => {
                let args = args![error.as_str(), by, until, id, version];
                BoundStatement { sql: &FAILED, args: args.into() }
            }
            PublishResult::NotSent { .. } => {
                BoundStatement { sql: &GIVE_BACK, args: args![by, until, id, version].into() }
            }
        }
    }
}

impl JointWrite for Settle {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = false;

    fn statements(&self) -> Vec<BoundStatement> {
        vec![self.statement()]
    }

    fn can_wait(&self) -> bool {
        self.when == Store::Soon
    }

    fn output(&self, matched: &[u64]) -> Self::Output {
        let is_stored = matched.first().is_some_and(|rows| *rows > 0);
        is_stored.then(|| Arc::clone(&self.settled))
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host().fqdn, now.as_ref());
    }
}

/// An acknowledgement that mails report.
struct SettleWithMail(Settle);

impl Write for SettleWithMail {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = Settle::DURABLE;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        // queue the mails before ACKNOWLEDGED clears `notice`; a repeated settle queues none again
        outbox::queue(self.0.host(), self.0.at(), conn).await?;
        let BoundStatement { sql, args } = self.0.statement();
        Ok(self.0.output(&[conn.run(sql, args).await?]))
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        self.0.update_caches(now, caches);
    }
}

/// A result for an older version of the row.
struct MarkOvertaken {
    host: Arc<Host>,
    /// That of this daemon, which has ended.
    lease: Option<Lease>,
    at: Millis,
}

impl Write for MarkOvertaken {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let (by, until) = leases::columns(self.lease.as_ref());
        let args = args![self.at.0, by, until, self.host.id.0];
        conn.run(&MARK_OVERTAKEN, args).await.map(drop)
    }

    fn update_caches(&self, _output: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host.fqdn, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_statement_without_values_changes_nothing() {
        for statement in [&WANT, &ACKNOWLEDGED, &FAILED, &GIVE_BACK] {
            let text = statement.sqlite;
            assert!(text.ends_with("WHERE id = ? AND version = ?"), "{text}");
        }
    }
}
