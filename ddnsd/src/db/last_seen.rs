//! When each host was last updated. An update that changed nothing costs no SQL: it is recorded in
//! memory, and batches are written to table `touches`. A crash loses one flush interval at most.

use super::connection::Conn;
use super::error::DbError;
use super::existing::run_for_existing;
use super::handle::Db;
use super::rows::SeenRow;
use super::statement::{Statements, args, statements};
use super::unwritten::{Batch, Touch};
use super::write::Write;
use crate::model::host::{HostId, Seen};
use crate::model::time::{Millis, Uptime};

pub(super) const STATEMENTS: Statements = &[READING, WRITING];

statements! { READING;
    SEEN: Indexed =
        "SELECT h.set4_at, h.set6_at, t.ipv4_at, t.ipv6_at
         FROM hosts h LEFT JOIN touches t ON t.host_id = h.id WHERE h.id = ?";
}

impl Db {
    /// When each family of a host was last updated.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_seen(&self, host: HostId) -> Result<Seen, DbError> {
        // memory is read first: a flush between the two reads would hide the update from both
        let unwritten = self.unwritten_touch(host).at;
        let stored: Option<SeenRow> = self.0.readers.optional(&SEEN, args![host.0]).await?;
        Ok(unwritten.or(stored.map(|row| row.seen()).unwrap_or_default()))
    }

    /// What is recorded and not written yet.
    pub(super) fn unwritten_touch(&self, host: HostId) -> Touch {
        self.0.touches.get(host).unwrap_or_default()
    }

    /// Records that these families of a host were updated at this time.
    pub fn touch(&self, host: HostId, at: Seen, uptime: Uptime) {
        let touch = Touch { at, uptime: at.on_service_clock(uptime) };
        self.0.touches.record(host, touch, |older, touch| *older = touch.or(*older));
    }
}

statements! { WRITING;
    WRITE: Indexed =
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at, ipv4_uptime, ipv6_uptime)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (host_id) DO UPDATE SET
             ipv4_at = COALESCE(excluded.ipv4_at, ipv4_at),
             ipv6_at = COALESCE(excluded.ipv6_at, ipv6_at),
             ipv4_uptime = COALESCE(excluded.ipv4_uptime, ipv4_uptime),
             ipv6_uptime = COALESCE(excluded.ipv6_uptime, ipv6_uptime)",
        mariadb
        // another daemon may have written a later one
        "INSERT INTO touches (host_id, ipv4_at, ipv6_at, ipv4_uptime, ipv6_uptime)
         VALUES (?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE
             ipv4_at = COALESCE(VALUES(ipv4_at), ipv4_at),
             ipv6_at = COALESCE(VALUES(ipv6_at), ipv6_at),
             ipv4_uptime = COALESCE(
                 GREATEST(ipv4_uptime, VALUES(ipv4_uptime)), VALUES(ipv4_uptime), ipv4_uptime),
             ipv6_uptime = COALESCE(
                 GREATEST(ipv6_uptime, VALUES(ipv6_uptime)), VALUES(ipv6_uptime), ipv6_uptime)";
}

impl Db {
    /// Writes the recorded touches.
    ///
    /// # Errors
    /// The database failed; the touches stay recorded.
    pub async fn flush_touches(&self) -> Result<(), DbError> {
        self.0.touches.flush(|batch| self.0.writer.run(WriteTouches(batch))).await
    }
}

struct WriteTouches(Batch<Touch>);

impl Write for WriteTouches {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let wall = |at: Option<Millis>| at.map(|at| at.0);
        let uptime = |at: Option<Uptime>| at.map(|at| at.0);
        let row = |(host, touch): &(HostId, Touch)| {
            let Touch { at, uptime: up } = touch;
            args![host.0, wall(at.v4), wall(at.v6), uptime(up.v4), uptime(up.v6)].into()
        };
        run_for_existing(&WRITE, &self.0, row, conn).await
    }
}
