//! What DNS is no longer known to hold, its wanted records unchanged: before a deletion, and when the name
//! server is another one.

use super::cache::Caches;
use super::driver::Conn;
use super::error::DbError;
use super::job::Work;
use super::publishing::remember_host;
use super::sql::{args, statements};
use super::{Db, SET_META};
use crate::model::host::Host;
use crate::model::time::Millis;
use std::sync::Arc;

statements! {
    DOUBT: Keyed =
        "UPDATE hosts SET unpublished_since = COALESCE(unpublished_since, ?), version = version + 1
         WHERE id = ? AND version = ?";
    // as many rows as wait: all, perhaps, after a long outage
    WAITING_NO_LATER: Whole =
        "UPDATE hosts SET unpublished_since = ? WHERE unpublished_since > ?";
    // what is down, too: another server may still hold what the one of before was told to remove
    DOUBT_ALL: Whole =
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
    pub async fn doubt(&self, host: Arc<Host>, at: Millis) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(Doubt { host, at }).await
    }

    /// Brings hosts that are unpublished since later than this back to it: the clock was set back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unpublished_no_later_than(&self, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(WaitingNoLater(at)).await
    }

    /// Marks every host that ever had a record as unpublished, because the name server is another one, and
    /// notes that one's name, all in one transaction.
    ///
    /// # Errors
    /// The database failed; with [`DbError::Unknown`] it may be done all the same.
    pub async fn doubt_all(&self, target: String, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(DoubtAll { target, at }).await
    }
}

struct Doubt {
    host: Arc<Host>,
    at: Millis,
}

impl Work for Doubt {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let rows = conn.run(&DOUBT, args![self.at.0, self.host.id.0, self.host.version]).await?;
        Ok((rows > 0).then(|| Arc::new(self.host.doubted(self.at))))
    }

    fn remember(&self, host: &Self::Output, caches: &Caches) {
        remember_host(host.as_ref(), &self.host.fqdn, caches);
    }
}

struct WaitingNoLater(Millis);

impl Work for WaitingNoLater {
    type Output = ();
    const DURABLE: bool = true;
    const ALONE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&WAITING_NO_LATER, args![self.0.0, self.0.0]).await?;
        Ok(())
    }

    fn remember(&self, (): &(), caches: &Caches) {
        caches.hosts.forget_all();
    }
}

struct DoubtAll {
    target: String,
    at: Millis,
}

impl Work for DoubtAll {
    type Output = ();
    const DURABLE: bool = true;
    const ALONE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&DOUBT_ALL, args![self.at.0]).await?;
        conn.run(&SET_META, args!["target", self.target.as_str()]).await?;
        Ok(())
    }

    fn remember(&self, (): &(), caches: &Caches) {
        caches.hosts.forget_all();
    }
}
