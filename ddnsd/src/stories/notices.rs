//! What owners of hosts are told, and when it is dropped. In: a change as it is about to be wanted. Out:
//! what is owed once DNS holds it, to be committed together with the change.

use crate::clock::Clock;
use crate::config::Defaults;
use crate::db::{Db, DbError};
use crate::model::host::{Host, Seen};
use crate::model::notice::{Mails, Notify, PendingNotices};
use crate::model::record::WantedRecords;
use crate::model::time::Now;
use crate::rules::decide;
use crate::rules::notice;
use crate::rules::request::Change;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// A mail that could not be sent for so long is dropped.
const LIFE: Duration = Duration::from_hours(72);

/// The story of notices; clones share which mails are sent.
#[derive(Clone)]
pub struct Notices {
    /// What is stored of the hosts.
    pub db: Db,
    /// The clock.
    pub clock: Clock,
    /// Which mails are sent at all.
    pub mails: Arc<ArcSwap<Mails>>,
    /// The TTLs of hosts that set none.
    pub defaults: Arc<ArcSwap<Defaults>>,
}

impl Notices {
    /// What is owed when an update wants these records.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of_update(
        &self,
        host: &Host,
        (change, notify): (Change, Notify),
        records: WantedRecords,
        now: Now,
    ) -> Result<Option<PendingNotices>, DbError> {
        let is_sent = notify == Notify::Yes && self.mails.load().change;
        if !is_sent && host.notices.is_none() {
            return Ok(None);
        }
        let seen = if is_sent {
            Some(decide::seen(change, now.wall).or(self.db.last_seen(host.id).await?))
        } else {
            None
        };
        Ok(notice::of_update(host, change, records, seen, &self.defaults.load()).if_any())
    }

    /// What is owed when these families of a host expire.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of_expiry(
        &self,
        host: &Host,
        expired: (bool, bool),
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
        let life = i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX);
        let dropped = self.db.give_up_mails(self.clock.now().wall.plus_millis(-life)).await?;
        if dropped > 0 {
            tracing::warn!(mails = dropped, "dropped mails that could not be sent for 3 days");
        }
        Ok(())
    }
}
