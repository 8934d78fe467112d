//! The service clock: milliseconds that ddnsd ran on a database that took writes. Expiry counts by
//! it alone, so that downtime, a stopped process, an outage of the database and a jump of the wall
//! clock age no host.
//!
//! A daemon counts by its monotonic clock. At each tick it adds the time since its last tick to the
//! value it had then, and keeps the larger of this sum and the stored value. So several daemons
//! count no faster than real time.

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

/// Stores the value once it is this many milliseconds ahead of the stored one. A crash loses no
/// more than that.
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

    /// Stops the service clock until the next tick, because clients cannot update now.
    pub fn stop_service_clock(&self) {
        self.0.uptime.stop();
    }

    /// As [`Self::tick`]; stores a value that is this far ahead of the stored one, in milliseconds.
    pub(super) async fn tick_and_store(&self, now: Now, ahead: i64) -> Result<Uptime, DbError> {
        let ticked = self.advance(self.0.uptime.value_at_tick(now), ahead).await;
        match ticked {
            Ok(value) => self.0.uptime.set(value, now),
            Err(_) => self.0.uptime.stop(),
        }
        ticked
    }

    async fn advance(&self, counted: Uptime, ahead: i64) -> Result<Uptime, DbError> {
        let was_moved = self.0.last_file_check().is_err();
        if self.0.check_file().is_err() || was_moved {
            // the writer looks, too, and logs it and shows it in the status
            self.0.writer.run(StoreUptime(counted)).await?;
        }
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
