//! What DNS is no longer known to hold, its wanted records unchanged: before a deletion, and when the name
//! server is another one.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::publishing::cache_host;
use super::statement::{args, statements};
use super::write::Write;
use super::{Db, SET_META};
use crate::model::host::Host;
use crate::model::time::Millis;
use std::sync::Arc;

statements! {
    MARK_UNPUBLISHED: Indexed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?), version = version + 1
         WHERE id = ? AND version = ?";
    // as many rows as wait: all, perhaps, after a long outage
    CLAMP_UNPUBLISHED_SINCE: FullScan =
        "UPDATE hosts SET unpublished_since = ? WHERE unpublished_since > ?";
    // what is down, too: another server may still hold what the one of before was told to remove
    MARK_ALL_UNPUBLISHED: FullScan =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?),
             acked_ipv4 = NULL, acked_ipv6 = NULL, acked_ttl = NULL, last_error = NULL,
             version = version + 1
         WHERE state4 <> 0 OR state6 <> 0 OR unpublished_since IS NOT NULL";
}

impl Db {
    /// Marks a host as unpublished, its wanted records unchanged. `None` if the row had changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_unpublished(
        &self,
        host: Arc<Host>,
        at: Millis,
    ) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(MarkUnpublished { host, at }).await
    }

    /// Brings hosts that are unpublished since later than this back to it: the clock was set back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clamp_unpublished_since(&self, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(ClampUnpublishedSince(at)).await
    }

    /// Marks every host that ever had a record as unpublished, because the name server is another one, and
    /// notes that one's name, all in one transaction.
    ///
    /// # Errors
    /// The database failed; with [`DbError::Unconfirmed`] it may be done all the same.
    pub async fn mark_all_unpublished(&self, target: String, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(MarkAllUnpublished { target, at }).await
    }
}

struct MarkUnpublished {
    host: Arc<Host>,
    at: Millis,
}

impl Write for MarkUnpublished {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let rows = conn
            .run(&MARK_UNPUBLISHED, args![self.at.0, self.host.id.0, self.host.version])
            .await?;
        Ok((rows > 0).then(|| Arc::new(self.host.doubted(self.at))))
    }

    fn update_caches(&self, host: &Self::Output, caches: &Caches) {
        cache_host(host.as_ref(), &self.host.fqdn, caches);
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
        caches.hosts.forget_all();
    }
}

struct MarkAllUnpublished {
    target: String,
    at: Millis,
}

impl Write for MarkAllUnpublished {
    type Output = ();
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&MARK_ALL_UNPUBLISHED, args![self.at.0]).await?;
        conn.run(&SET_META, args!["target", self.target.as_str()]).await?;
        Ok(())
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.hosts.forget_all();
    }
}
