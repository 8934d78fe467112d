//! The mails to the owners of hosts, and when they are dropped. In: a change that is about to be
//! wanted. Out: what is queued once DNS holds it, to be committed together with the change.

use crate::clock::Clock;
use crate::config::Defaults;
use crate::db::{Db, DbError};
use crate::model::family::Families;
use crate::model::host::{Host, Seen};
use crate::model::notice::{Mails, Notify, PendingNotices};
use crate::model::record::WantedRecords;
use crate::model::time::Millis;
use crate::rules::request::UpdateChange;
use crate::rules::{decide, notice};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// A mail that could not be sent for so long is dropped.
const MAX_AGE: Duration = Duration::from_hours(72);

/// The story of notices; clones share which mails are sent.
#[derive(Clone)]
pub struct Notices {
    pub db: Db,
    pub clock: Clock,
    /// Which mails are sent at all.
    pub mails: Arc<ArcSwap<Mails>>,
    /// The TTLs of hosts that set none.
    pub defaults: Arc<ArcSwap<Defaults>>,
}

impl Notices {
    /// The notices of a host once an update wants these records.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of_update(
        &self,
        host: &Host,
        update: UpdateChange,
        records: WantedRecords,
        at: Millis,
    ) -> Result<Option<PendingNotices>, DbError> {
        let is_mailed = update.notify == Notify::Yes && self.mails.load().change;
        if !is_mailed && host.notices.is_none() {
            return Ok(None);
        }
        let seen = if is_mailed {
            Some(decide::seen(update.change, at).or(self.db.last_seen(host.id).await?))
        } else {
            None
        };
        Ok(notice::of_update(host, update.change, records, seen, &self.defaults.load()).if_any())
    }

    /// The notices of a host once these families expire.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of_expiry(
        &self,
        host: &Host,
        expired: Families,
        seen: Seen,
    ) -> Result<Option<PendingNotices>, DbError> {
        let last = if self.mails.load().expiry {
            Some(self.db.last_addresses(host.id).await?)
        } else {
            None
        };
        Ok(notice::of_expiry(host, expired, seen, last, &self.defaults.load()).if_any())
    }

    /// Drops mails that were queued three days ago and never sent.
    ///
    /// # Errors
    /// The database failed; they stay.
    pub async fn give_up(&self) -> Result<(), DbError> {
        let age = i64::try_from(MAX_AGE.as_millis()).unwrap_or(i64::MAX);
        let dropped = self.db.give_up_mails(self.clock.now().wall.plus_millis(-age)).await?;
        if dropped > 0 {
            tracing::warn!(mails = dropped, "dropped mails that could not be sent for 3 days");
        }
        Ok(())
    }
}
