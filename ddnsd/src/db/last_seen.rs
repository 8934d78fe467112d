//! Keepalives that changed nothing: kept in memory, laid over what is read, written in batches, so an
//! unchanged update costs no SQL. At most one flush interval of them is lost by a crash.

use super::connection::Conn;
use super::error::DbError;
use super::statement::{args, statements};
use super::write::Write;
use super::{Db, hosts, rows};
use crate::model::host::{HostId, Seen};
use crate::model::time::{Millis, Uptime};
use dashmap::DashMap;
use std::sync::Arc;

statements! {
    SEEN: Indexed =
        "SELECT h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id WHERE h.id = ?";
    WRITE: Indexed =
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at, ipv4_uptime, ipv6_uptime)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (host_id) DO UPDATE SET
             ipv4_at = COALESCE(excluded.ipv4_at, ipv4_at),
             ipv6_at = COALESCE(excluded.ipv6_at, ipv6_at),
             ipv4_uptime = COALESCE(excluded.ipv4_uptime, ipv4_uptime),
             ipv6_uptime = COALESCE(excluded.ipv6_uptime, ipv6_uptime)",
        mariadb
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at, ipv4_uptime, ipv6_uptime)
         VALUES (?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE
             ipv4_at = COALESCE(VALUES(ipv4_at), ipv4_at),
             ipv6_at = COALESCE(VALUES(ipv6_at), ipv6_at),
             ipv4_uptime = COALESCE(VALUES(ipv4_uptime), ipv4_uptime),
             ipv6_uptime = COALESCE(VALUES(ipv6_uptime), ipv6_uptime)";
}

/// Touches in one statement batch, so that other writes are not held up for long.
const SLICE: usize = 1_000;

/// When each family of a host was last updated, by both clocks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) at: Seen,
    pub(super) uptime: Seen<Uptime>,
}

impl Touch {
    fn or(self, older: Self) -> Self {
        Self { at: self.at.or(older.at), uptime: self.uptime.or(older.uptime) }
    }
}

#[derive(Default)]
pub(super) struct UnwrittenTouches(DashMap<HostId, Touch>);

impl UnwrittenTouches {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What memory knows of a host. Ask before reading what is stored: a flush in between would
    /// otherwise hide a touch from both.
    pub(super) fn unwritten(&self, host: HostId) -> Touch {
        self.0.get(&host).map(|touch| *touch).unwrap_or_default()
    }
}

impl Db {
    /// Notes that these families of a host were updated at this time.
    pub fn touch(&self, host: HostId, at: Seen, uptime: Uptime) {
        let touch = Touch { at, uptime: at.on_service_clock(uptime) };
        let touches = &self.0.touches.0;
        touches.entry(host).and_modify(|older| *older = touch.or(*older)).or_insert(touch);
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// The database failed; the touches stay noted.
    pub async fn flush_touches(&self) -> Result<(), DbError> {
        let touches = &self.0.touches.0;
        let noted: Vec<_> = touches.iter().map(|entry| (*entry.key(), *entry.value())).collect();
        for slice in noted.chunks(SLICE) {
            let slice: Arc<[_]> = slice.into();
            self.0.writer.run(Flush(Arc::clone(&slice))).await?;
            for (host, written) in slice.iter() {
                touches.remove_if(host, |_, now| now == written);
            }
        }
        Ok(())
    }

    /// When each family of a host was last updated.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_seen(&self, host: HostId) -> Result<Seen, DbError> {
        let noted = self.0.touches.unwritten(host).at;
        let stored: Option<rows::SeenRow> = self.0.readers.optional(&SEEN, args![host.0]).await?;
        Ok(noted.or(stored.map(|row| row.seen()).unwrap_or_default()))
    }
}

struct Flush(Arc<[(HostId, Touch)]>);

impl Write for Flush {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let wall = |at: Option<Millis>| at.map(|at| at.0);
        let uptime = |at: Option<Uptime>| at.map(|at| at.0);
        let row = |(host, touch): &(HostId, Touch)| {
            let Touch { at, uptime: up } = touch;
            args![host.0, wall(at.v4), wall(at.v6), uptime(up.v4), uptime(up.v6)].into()
        };
        let there = hosts::there(self.0.iter().map(|(host, _)| *host), conn).await?;
        let rows = self.0.iter().filter(|(host, _)| there.contains(host)).map(row);
        conn.run_each(&WRITE, rows.collect()).await
    }
}
