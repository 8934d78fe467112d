//! How daemons on one MariaDB server know of each other: each holds a lock by the database's name, which ends
//! with the session that took it.

use crate::db::connection::{Conn, STATEMENT_TIMEOUT};
use crate::db::error::{DbError, OpenError, reason};
use sqlx::mysql::MySqlConnection;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Before a lock that another session holds is asked for again.
const PAUSE: Duration = Duration::from_secs(5);

/// Says so if another daemon seems to use the database: this version is made for one at a time. A lock that
/// cannot be asked for is no reason not to start.
pub(in crate::db) async fn warn_if_used(database: &str, conn: &mut MySqlConnection) {
    if let Ok(Some(0)) = take_lock(conn).await {
        tracing::warn!("another ddnsd uses the database {database}; it should be the only one");
    }
}

/// Nobody changes the tables under a daemon that runs.
pub(in crate::db) async fn refuse_if_used(
    database: &str,
    conn: &mut MySqlConnection,
) -> Result<(), OpenError> {
    let holder = "SELECT IS_USED_LOCK(CONCAT('ddnsd daemon ', LEFT(DATABASE(), 40)))";
    let holder: Result<Option<i64>, _> = sqlx::query_scalar(holder).fetch_one(conn).await;
    let database = database.to_owned();
    match holder {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(OpenError::Used { database }),
        Err(error) => Err(OpenError::Database { database, reason: reason(&error) }),
    }
}

/// Whether the daemon's own session shows the others that it is there. After a network cut the server keeps
/// the lock for the session of before until it finds that one dead, so one that is missing is asked for again.
pub(in crate::db) enum DaemonLock {
    /// Of a session that is new.
    Unknown,
    /// By this session.
    Held,
    /// Another session held it then.
    Missing(Instant),
}

impl DaemonLock {
    /// Takes the lock if it is missing. Without it the daemon works as well.
    ///
    /// # Errors
    /// The connection is lost.
    pub(in crate::db) async fn show(
        &mut self,
        conn: &mut Conn,
        now: Instant,
    ) -> Result<(), DbError> {
        let Conn::Mariadb(conn) = conn else { return Ok(()) };
        match self {
            Self::Held => return Ok(()),
            Self::Missing(asked) if now.saturating_duration_since(*asked) < PAUSE => return Ok(()),
            Self::Unknown | Self::Missing(_) => {}
        }
        let taken =
            timeout(STATEMENT_TIMEOUT, take_lock(conn)).await.map_err(|_| DbError::NoAnswer)?;
        *self = match taken {
            Ok(Some(1)) => Self::Held,
            Err(error) if error.as_database_error().is_none() => return Err(error.into()),
            _ => Self::Missing(now),
        };
        Ok(())
    }
}

/// Again by the session that holds it does no harm.
async fn take_lock(conn: &mut MySqlConnection) -> sqlx::Result<Option<i64>> {
    let lock = "SELECT GET_LOCK(CONCAT('ddnsd daemon ', LEFT(DATABASE(), 40)), 0)";
    sqlx::query_scalar(lock).fetch_one(conn).await
}
