//! A lock on the server, named after the database, that shows that a daemon runs on it. It belongs
//! to the session of the writer and ends with it.

use crate::db::error::{OpenError, reason};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor as _};

/// The lock's name; the server allows 64 characters.
macro_rules! name {
    () => {
        "CONCAT('ddnsd daemon ', LEFT(DATABASE(), 40))"
    };
}

/// The session that holds the lock, if any.
const HOLDER: &str = concat!("SELECT IS_USED_LOCK(", name!(), ")");

#[derive(Default)]
pub(in crate::db) struct DaemonLock {
    /// The session of this daemon that asked for the lock last.
    session: Option<i64>,
}

impl DaemonLock {
    /// Takes the lock for this session; `false` if another daemon holds it. After a network cut the
    /// server may still hold it for our previous session: that one is ended.
    pub(in crate::db) async fn take(&mut self, conn: &mut MySqlConnection) -> sqlx::Result<bool> {
        let get = concat!("SELECT GET_LOCK(", name!(), ", 1), CAST(CONNECTION_ID() AS SIGNED)");
        let holder: Option<i64> = sqlx::query_scalar(HOLDER).fetch_one(&mut *conn).await?;
        if let Some(previous) = self.session.filter(|session| holder == Some(*session)) {
            let kill = AssertSqlSafe(format!("KILL {previous}"));
            // it fails if the session has just ended
            let _ = conn.execute(kill).await;
        }
        let (taken, session): (Option<i64>, i64) = sqlx::query_as(get).fetch_one(conn).await?;
        self.session = Some(session);
        Ok(taken == Some(1))
    }
}

/// The schema must not change under a running daemon.
pub(in crate::db) async fn refuse_if_used(
    database: &str,
    conn: &mut MySqlConnection,
) -> Result<(), OpenError> {
    let holder: sqlx::Result<Option<i64>> = sqlx::query_scalar(HOLDER).fetch_one(conn).await;
    let database = database.to_owned();
    match holder {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(OpenError::Used { database }),
        Err(error) => Err(OpenError::Database { database, reason: reason(&error) }),
    }
}
