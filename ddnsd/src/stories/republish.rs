//! What DNS is not known to hold is sent again, at start and on a timer, until it is acknowledged. Who
//! killed the daemon, or how long the name server was away, does not matter here.

use super::publishing::Publisher;
use super::turns::Turns;
use crate::db::{Db, DbError};
use crate::dns::Lane;
use crate::model::host::HostId;
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use futures::future::join_all;

/// One batch is out at a time, so that fresh updates never queue behind a backlog.
const BATCH: u32 = 200;

/// The handles this story uses.
#[derive(Clone)]
pub struct Republish {
    /// What is unpublished.
    pub db: Db,
    /// The way into DNS.
    pub publisher: Publisher,
    /// One change per host.
    pub turns: Turns,
}

impl Republish {
    /// Names the server that is published to from now on. Another one than before knows nothing yet, so
    /// every live record becomes unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn aim_at(&self, target: &str, now: Millis) -> Result<(), DbError> {
        let before = self.db.meta("target").await?;
        if before.as_deref() == Some(target) {
            return Ok(());
        }
        if let Some(before) = before {
            tracing::info!(%before, now = %target, "another name server: every record is sent to it");
            self.db.doubt_all(now).await?;
        }
        self.db.set_meta("target", target.to_owned()).await
    }

    /// Goes once through all that is unpublished. Returns how many are published now.
    ///
    /// # Errors
    /// The database failed; the next run begins anew.
    pub async fn run(&self) -> Result<usize, DbError> {
        let mut published = 0;
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.unpublished(after, BATCH).await?;
            let Some((since, id, _)) = page.last() else {
                return Ok(published);
            };
            after = (*since, *id);
            let sent = join_all(page.into_iter().map(|(_, id, fqdn)| self.one(id, fqdn))).await;
            for done in sent {
                published += usize::from(done?);
            }
        }
    }

    /// Sends one host again. One that is being changed is left to whoever changes it.
    async fn one(&self, id: HostId, fqdn: Fqdn) -> Result<bool, DbError> {
        if self.publisher.is_waiting(id) {
            return Ok(false);
        }
        let Some(_turn) = self.turns.try_one(id) else {
            return Ok(false);
        };
        match self.db.host(&fqdn).await? {
            Some(host) if host.id == id && host.unpublished_since.is_some() => {
                let published = self.publisher.publish(host, Lane::Background).await;
                if let Err(problem) = &published {
                    tracing::debug!(host = %fqdn, "still not published: {problem}");
                }
                Ok(published.is_ok())
            }
            _ => Ok(false),
        }
    }
}
