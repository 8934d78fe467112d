//! The mails to the owners of hosts. In: a change that is about to be
//! wanted. Out: what is queued once DNS holds it, to be committed together with the change.

use crate::config::Defaults;
use crate::db::{Db, DbError};
use crate::model::family::Families;
use crate::model::host::{Host, Seen};
use crate::model::notice::{Mails, Notify, PendingNotices};
use crate::model::time::Millis;
use crate::rules::notice;
use crate::rules::prefix::Effect;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The story of notices; clones share which mails are sent.
#[derive(Clone)]
pub struct Notices {
    pub db: Db,
    /// Which mails are sent at all.
    pub mails: Arc<ArcSwap<Mails>>,
    /// The TTLs of hosts that set none.
    pub defaults: Arc<ArcSwap<Defaults>>,
}

impl Notices {
    /// The notices of a host once this becomes of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of_update(
        &self,
        host: &Host,
        effect: &Effect,
        notify: Notify,
        at: Millis,
    ) -> Result<Option<PendingNotices>, DbError> {
        let is_mailed = notify == Notify::Yes && self.mails.load().change;
        if !is_mailed && host.notices.is_none() {
            return Ok(None);
        }
        let seen = if is_mailed {
            Some(effect.seen(at).or(self.db.last_seen(host.id).await?))
        } else {
            None
        };
        let (updated, records) = (effect.updated, effect.records);
        Ok(notice::of_update(host, updated, records, seen, &self.defaults.load()).if_any())
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
}
