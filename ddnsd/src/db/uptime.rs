//! The service clock: milliseconds that ddnsd ran on a database that took writes. Expiry counts by
//! it alone, so that downtime, a stopped process, an outage of the database and a jump of the wall
//! clock age no host.
//!
//! A daemon counts by its monotonic clock, and stores the value if it is larger than the stored
//! one. So several daemons on one database count no faster than real time: each adds only the time
//! since its previous tick to a value that was read by then.

use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::time::{Now, Uptime};

pub(super) const STATEMENTS: Statements = &[SERVICE_CLOCK];

statements! { SERVICE_CLOCK;
    STORED: Indexed = "SELECT value FROM meta WHERE name = 'uptime'";
    STORE: Indexed =
        "UPDATE meta SET value = ? WHERE name = ? AND CAST(value AS INTEGER) < ?",
        mariadb
        "UPDATE meta SET value = ? WHERE name = ? AND CAST(value AS SIGNED) < ?";
}

/// An idle daemon writes once in so many milliseconds. A crash loses no more.
const STORE_EVERY: i64 = 10_000;

impl Db {
    /// The service clock, now.
    pub fn uptime(&self, now: Now) -> Uptime {
        self.0.uptime.uptime(now)
    }

    /// Counts the time since the previous tick, if the database answers.
    ///
    /// # Errors
    /// The database failed; the clock stands still until the next tick that succeeds.
    pub async fn tick(&self, now: Now) -> Result<Uptime, DbError> {
        self.tick_and_store(now, STORE_EVERY).await
    }

    /// Stops the service clock until the next tick: something failed for which users cannot update.
    pub fn stop_uptime(&self) {
        self.0.uptime.stop();
    }

    /// As [`Self::tick`]; stores a value that is this far ahead of the stored one, in milliseconds.
    pub(super) async fn tick_and_store(&self, now: Now, ahead: i64) -> Result<Uptime, DbError> {
        let ticked = self.advance(self.0.uptime.count(now), ahead).await;
        match ticked {
            Ok(value) => self.0.uptime.set(value, now),
            Err(_) => self.0.uptime.stop(),
        }
        ticked
    }

    async fn advance(&self, counted: Uptime, ahead: i64) -> Result<Uptime, DbError> {
        let row: Option<(String,)> = self.0.readers.optional(&STORED, args![]).await?;
        let stored = row.and_then(|(value,)| value.parse().ok()).map_or(Uptime(0), Uptime);
        if counted.0.saturating_sub(stored.0) >= ahead {
            self.0.writer.run(StoreUptime(counted)).await?;
        }
        Ok(counted.max(stored))
    }
}

struct StoreUptime(Uptime);

impl Write for StoreUptime {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let Uptime(value) = self.0;
        conn.run(&STORE, args![value.to_string(), "uptime", value]).await?;
        Ok(())
    }
}
