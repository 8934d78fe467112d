//! Other TTLs for a host, and what follows from them, in one statement.

use super::Db;
use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::publishing::cache_host;
use super::statement::{args, statements};
use super::write::Write;
use crate::model::host::Host;
use crate::model::time::Millis;
use std::sync::Arc;

statements! {
    SET: Indexed =
        "UPDATE hosts SET dns_ttl = ?, expiry_ttl = ?,
             unpublished_since = COALESCE(unpublished_since, ?), check_at = COALESCE(?, check_at),
             version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
}

/// Other TTLs, to be committed.
#[derive(Clone, Debug)]
pub struct SetTtls {
    /// The host as it was read.
    pub host: Arc<Host>,
    /// Seconds, or the default.
    pub dns_ttl: Option<u32>,
    /// Seconds, or the default.
    pub expiry_ttl: Option<u32>,
    /// Whether DNS must hear of it: the host becomes unpublished.
    pub publish: bool,
    /// Whether the next sweep must look at it.
    pub look: bool,
    /// Now.
    pub at: Millis,
}

impl Db {
    /// Commits other TTLs; durable when it returns. The host as it is now, or `None` if the row had
    /// changed since it was read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_ttls(&self, ttls: SetTtls) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(ttls).await
    }
}

impl Write for SetTtls {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let unpublished = self.publish.then_some(self.at);
        let (since, check_at) = (unpublished.map(|at| at.0), self.look.then_some(0_i64));
        let (at, id, version) = (self.at.0, self.host.id.0, self.host.version);
        let args = args![self.dns_ttl, self.expiry_ttl, since, check_at, at, id, version];
        let rows = conn.run(&SET, args).await?;
        let host = self.host.with_ttls(self.dns_ttl, self.expiry_ttl, unpublished);
        Ok((rows > 0).then(|| Arc::new(host)))
    }

    fn update_caches(&self, host: &Self::Output, caches: &Caches) {
        cache_host(host.as_ref(), &self.host.fqdn, caches);
    }
}
