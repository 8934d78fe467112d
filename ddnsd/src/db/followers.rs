//! Hosts that follow another one, and their place in its network.

use super::cache::Caches;
use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::handle::Db;
use super::publishing::want_one;
use super::rows::{HostRow, host_columns};
use super::statement::{Arg, Statements, args, statements};
use super::write::Write;
use crate::model::change::Want;
use crate::model::host::{Host, HostId, Lan};
use crate::model::lease::Lease;
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[READING, LEADING, PLACING];

/// Hosts of one leader that are read: twice as many as may follow, because several daemons could
/// add one too many.
const MAX_READ: u32 = 128;

statements! { READING;
    FOLLOWERS: Indexed =
        concat!("SELECT ", host_columns!(), " FROM hosts h WHERE h.follows = ? ORDER BY h.id LIMIT ?");
    BY_ID: Indexed = concat!("SELECT ", host_columns!(), " FROM hosts h WHERE h.id = ?");
}

impl Db {
    /// The hosts that follow this one, by key.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn followers(&self, leader: HostId) -> Result<Vec<Arc<Host>>, DbError> {
        let rows: Vec<HostRow> = self.0.readers.all(&FOLLOWERS, args![leader.0, MAX_READ]).await?;
        rows.into_iter().map(|row| row.host().map(Arc::new)).collect()
    }

    /// The host with this key, read past the cache.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn host_by_id(&self, host: HostId) -> Result<Option<Arc<Host>>, DbError> {
        let row: Option<HostRow> = self.0.readers.optional(&BY_ID, args![host.0]).await?;
        row.map(|row| row.host().map(Arc::new)).transpose()
    }
}

//----- Leaders of an import -----

statements! { LEADING;
    LEADERS: Indexed =
        "SELECT h.fqdn, h.id, h.user_id, h.follows,
             (SELECT COUNT(*) FROM hosts f WHERE f.follows = h.id)
         FROM hosts h WHERE h.fqdn IN (?)";
}

/// A host that others may follow.
pub(super) struct LeaderRow {
    pub(super) id: i64,
    pub(super) user_id: i64,
    pub(super) follows: Option<i64>,
    /// How many hosts follow it.
    pub(super) followers: i64,
}

/// Those of these hosts that exist.
pub(super) async fn leaders(
    names: impl Iterator<Item = &Fqdn>,
    conn: &mut Conn,
) -> Result<HashMap<String, LeaderRow>, DbError> {
    let names: HashSet<&str> = names.map(Fqdn::as_str).collect();
    let names: Vec<_> = names.into_iter().map(Arg::from).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, i64, i64, Option<i64>, i64)> =
        conn.all_of(&LEADERS, names, ROWS_PER_STATEMENT).await?;
    let row = |(fqdn, id, user_id, follows, followers)| {
        (fqdn, LeaderRow { id, user_id, follows, followers })
    };
    Ok(rows.into_iter().map(row).collect())
}

//----- Placing -----

/// A new suffix, or another leader.
#[derive(Clone, Debug)]
pub struct LanChange {
    /// As it was read.
    pub host: Arc<Host>,
    pub lan: Lan,
    /// The previous leader and the next one. The caller holds their locks.
    pub leaders: Vec<Fqdn>,
    /// Its address there, of the host as it is then; published by the caller.
    pub address: Option<Want>,
    pub at: Millis,
}

statements! { PLACING;
    PLACE: Indexed =
        "UPDATE hosts SET ipv6_suffix = ?, follows = ?, ipv6_prefix = ?, is_offline = ?,
             version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
}

impl Db {
    /// Commits a host's place in a network and its address there together; they are durable when it
    /// returns. Returns the host as it is now, or `None` if the row had changed since it was read.
    ///
    /// # Errors
    /// The database failed, or the leader was deleted.
    pub async fn place(&self, place: LanChange) -> Result<Option<Arc<Host>>, DbError> {
        let lease = self.new_lease();
        self.0.writer.run(PlaceHost { place, lease }).await
    }
}

struct PlaceHost {
    place: LanChange,
    /// Of the address.
    lease: Option<Lease>,
}

impl Write for PlaceHost {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let LanChange { host, lan, address, at, .. } = &self.place;
        let Lan { suffix, follows, prefix, is_offline, is_followed: _ } = *lan;
        let args = args![
            suffix.map(|suffix| suffix.to_string()),
            follows.map(|leader| leader.0),
            prefix.map(|prefix| prefix.to_string()),
            i64::from(is_offline),
            at.0,
            host.id.0,
            host.version,
        ];
        if conn.run(&PLACE, args).await? == 0 {
            return Ok(None);
        }
        match address {
            Some(address) => want_one(address, self.lease.clone(), conn).await,
            None => Ok(Some(Arc::new(host.placed(*lan)))),
        }
    }

    fn update_caches(&self, host: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.place.host.fqdn, host.as_ref());
        for leader in &self.place.leaders {
            caches.hosts.update(leader, None);
        }
    }
}
