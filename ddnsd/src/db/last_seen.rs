//! Keepalives that changed nothing: kept in memory, laid over what is read, written in batches, so an
//! unchanged update costs no SQL. At most one flush interval of them is lost by a crash.

use super::connection::Conn;
use super::error::DbError;
use super::statement::{args, statements};
use super::write::Write;
use super::{Db, hosts, rows};
use crate::model::host::{HostId, Seen};
use crate::model::time::Millis;
use dashmap::DashMap;
use std::sync::Arc;

statements! {
    SEEN: Indexed =
        "SELECT h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id WHERE h.id = ?";
    WRITE: Indexed =
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at) VALUES (?, ?, ?)
         ON CONFLICT (host_id) DO UPDATE SET
             ipv4_at = COALESCE(excluded.ipv4_at, ipv4_at),
             ipv6_at = COALESCE(excluded.ipv6_at, ipv6_at)",
        mariadb
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at) VALUES (?, ?, ?)
         ON DUPLICATE KEY UPDATE
             ipv4_at = COALESCE(VALUES(ipv4_at), ipv4_at),
             ipv6_at = COALESCE(VALUES(ipv6_at), ipv6_at)";
}

/// Touches in one statement batch, so that other writes are not held up for long.
const SLICE: usize = 1_000;

#[derive(Default)]
pub(super) struct UnwrittenTouches(DashMap<HostId, Seen>);

impl UnwrittenTouches {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What memory knows of a host. Ask before reading what is stored: a flush in between would
    /// otherwise hide a touch from both.
    pub(super) fn noted(&self, host: HostId) -> Seen {
        self.0.get(&host).map(|touch| *touch).unwrap_or_default()
    }
}

impl Db {
    /// Notes that these families of a host were updated at this time.
    pub fn touch(&self, host: HostId, at: Seen) {
        self.0.touches.0.entry(host).and_modify(|seen| *seen = at.or(*seen)).or_insert(at);
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
        let noted = self.0.touches.noted(host);
        let stored: Option<rows::SeenRow> = self.0.readers.optional(&SEEN, args![host.0]).await?;
        Ok(noted.or(stored.map(|row| row.seen()).unwrap_or_default()))
    }
}

struct Flush(Arc<[(HostId, Seen)]>);

impl Write for Flush {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let row = |(host, seen): &(HostId, Seen)| {
            let (v4, v6) = (seen.v4.map(|at: Millis| at.0), seen.v6.map(|at: Millis| at.0));
            args![host.0, v4, v6].into()
        };
        let there = hosts::there(self.0.iter().map(|(host, _)| *host), conn).await?;
        let rows = self.0.iter().filter(|(host, _)| there.contains(host)).map(row);
        conn.run_each(&WRITE, rows.collect()).await
    }
}
