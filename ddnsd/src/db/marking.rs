//! Marks hosts as unpublished whose wanted records do not change. Each step names the row's
//! version, so that a step that lost against another change leaves no trace.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::leases;
use super::meta::SetMeta;
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::host::Host;
use crate::model::lease::Lease;
use crate::model::time::Millis;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[MARKING, MARKING_ALL, CLAMPING];

statements! { MARKING;
    MARK_UNPUBLISHED: Indexed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?),
             leased_by = ?, leased_until = ?, version = version + 1
         WHERE id = ? AND version = ?";
}

impl Db {
    /// Marks a host unpublished and leaves its wanted records as they are. Returns `None` if the
    /// row had changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_unpublished(
        &self,
        host: Arc<Host>,
        at: Millis,
    ) -> Result<Option<Arc<Host>>, DbError> {
        let lease = self.new_lease();
        self.0.writer.run(MarkUnpublished { host, at, lease }).await
    }
}

struct MarkUnpublished {
    host: Arc<Host>,
    at: Millis,
    lease: Option<Lease>,
}

impl Write for MarkUnpublished {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let (leased_by, leased_until) = leases::columns(self.lease.as_ref());
        let args = args![self.at.0, leased_by, leased_until, self.host.id.0, self.host.version];
        let rows = conn.run(&MARK_UNPUBLISHED, args).await?;
        Ok((rows > 0).then(|| Arc::new(self.host.marked_unpublished(self.at, self.lease.clone()))))
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host.fqdn, now.as_ref());
    }
}

statements! { MARKING_ALL;
    // hosts without an address, too: another server may still hold the records that were removed
    MARK_ALL_UNPUBLISHED: FullScan =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?),
             acked_ipv4 = NULL, acked_ipv6 = NULL, acked_ttl = NULL, last_error = NULL,
             unserved_since = NULL, unserved = NULL, served_ttl = NULL,
             version = version + 1
         WHERE state4 <> 0 OR state6 <> 0 OR unpublished_since IS NOT NULL";
}

impl Db {
    /// Marks every host that ever had a record unpublished, because the name server is another one,
    /// and stores that server's name.
    ///
    /// # Errors
    /// The database failed; with [`DbError::Unconfirmed`] it may be done nevertheless.
    pub async fn mark_all_unpublished(&self, target: String, at: Millis) -> Result<(), DbError> {
        let target = SetMeta { name: "target", value: target };
        self.0.writer.run(MarkAllUnpublished { target, at }).await
    }
}

struct MarkAllUnpublished {
    target: SetMeta,
    at: Millis,
}

impl Write for MarkAllUnpublished {
    type Output = ();
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&MARK_ALL_UNPUBLISHED, args![self.at.0]).await?;
        self.target.run(conn).await
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.hosts.clear();
    }
}

statements! { CLAMPING;
    // after a long outage it may concern every host
    CLAMP_UNPUBLISHED_SINCE: FullScan =
        "UPDATE hosts SET unpublished_since = ? WHERE unpublished_since > ?";
}

impl Db {
    /// Limits `unpublished_since` to this time, after the clock was set back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clamp_unpublished_since(&self, max: Millis) -> Result<(), DbError> {
        self.0.writer.run(ClampUnpublishedSince(max)).await
    }
}

struct ClampUnpublishedSince(Millis);

impl Write for ClampUnpublishedSince {
    type Output = ();
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&CLAMP_UNPUBLISHED_SINCE, args![self.0.0, self.0.0]).await?;
        Ok(())
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.hosts.clear();
    }
}
