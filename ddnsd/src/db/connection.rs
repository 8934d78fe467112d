//! The two drivers behind one face. In: a statement and its values. Out: rows as the structs of `rows.rs`,
//! or how many rows there were. Dispatch is here and nowhere else, and so is the bound on a server's time.

use super::error::DbError;
use super::mariadb::pool::{After, MariaDbPool};
use super::statement::{self, Access, Arg, Statement};
use futures::TryFutureExt;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, FromRow};
use std::time::Duration;

/// For one statement of a MariaDB server, lock waits included. SQLite answers from this machine's disk.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// For one that changes every row of a table.
const FULL_SCAN_TIMEOUT: Duration = Duration::from_mins(5);

/// Rows in one statement where there may be many.
pub(super) const ROWS_PER_STATEMENT: usize = 256;

/// A row that both drivers can fill.
pub(super) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin
{
}

impl<R> Row for R where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin
{
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    RollBack,
}

/// Connections for reading.
pub(super) enum ReadPool {
    Sqlite(SqlitePool),
    Mariadb(MariaDbPool),
}

/// One connection, for writing.
pub(super) enum Conn {
    Sqlite(SqliteConnection),
    Mariadb(MySqlConnection),
}

/// Binds the values one after the other.
macro_rules! bound {
    ($query:expr, $args:expr) => {
        $args.into_iter().fold($query, |query, arg| match arg {
            Arg::Number(number) => query.bind(number),
            Arg::Text(text) => query.bind(text),
        })
    };
}

/// Puts a question to a server: once more where the connection had died since it was last used.
macro_rules! asked {
    ($readers:expr, $conn:ident, $question:expr) => {{
        let mut lease = $readers.lease().await?;
        loop {
            let $conn = lease.conn();
            match tokio::time::timeout(STATEMENT_TIMEOUT, $question).await {
                Ok(Ok(rows)) => {
                    lease.give_back();
                    return Ok(rows);
                }
                Ok(Err(error)) => {
                    if let After::GiveUp(error) = lease.after(error).await {
                        return Err(error);
                    }
                }
                Err(_) => return Err(DbError::NoAnswer),
            }
        }
    }};
}

impl ReadPool {
    /// All rows of a question.
    pub(super) async fn all<R: Row>(
        &self,
        sql: &'static Statement,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Vec<R>, DbError> {
        match self {
            ReadPool::Sqlite(pool) => {
                Ok(bound!(sqlx::query_as(sql.sqlite), args).fetch_all(pool).await?)
            }
            ReadPool::Mariadb(readers) => {
                let args: Vec<_> = args.into_iter().collect();
                let question = || bound!(sqlx::query_as(sql.mariadb), args.clone());
                asked!(readers, conn, question().fetch_all(conn))
            }
        }
    }

    /// The row of a question that has one at most.
    pub(super) async fn optional<R: Row>(
        &self,
        sql: &'static Statement,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Option<R>, DbError> {
        match self {
            ReadPool::Sqlite(pool) => {
                Ok(bound!(sqlx::query_as(sql.sqlite), args).fetch_optional(pool).await?)
            }
            ReadPool::Mariadb(readers) => {
                let args: Vec<_> = args.into_iter().collect();
                let question = || bound!(sqlx::query_as(sql.mariadb), args.clone());
                asked!(readers, conn, question().fetch_optional(conn))
            }
        }
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        match self {
            ReadPool::Sqlite(pool) => pool.close().await,
            ReadPool::Mariadb(readers) => readers.close().await,
        }
    }
}

impl Conn {
    /// Runs a statement that changes something; says how many rows it found.
    pub(super) async fn run(
        &mut self,
        sql: &'static Statement,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<u64, DbError> {
        match self {
            Conn::Sqlite(conn) => {
                Ok(bound!(sqlx::query(sql.sqlite), args).execute(conn).await?.rows_affected())
            }
            Conn::Mariadb(conn) => {
                let patience = match sql.access {
                    Access::Indexed => STATEMENT_TIMEOUT,
                    Access::FullScan => FULL_SCAN_TIMEOUT,
                };
                let done = bound!(sqlx::query(sql.mariadb), args).execute(conn);
                let done = tokio::time::timeout(patience, done).await;
                Ok(done.map_err(|_| DbError::NoAnswer)??.rows_affected())
            }
        }
    }

    /// Runs a statement for each of these rows, whose values follow VALUES in its text for a server: there each
    /// statement is a way there and back, during which nobody else writes. A row may be taken twice.
    pub(super) async fn run_each(
        &mut self,
        sql: &'static Statement,
        rows: Vec<Vec<Arg>>,
    ) -> Result<(), DbError> {
        if let Conn::Sqlite(_) = self {
            for row in rows {
                self.run(sql, row).await?;
            }
            return Ok(());
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            // of few numbers of rows, so that few texts are prepared: see [`Self::run_rows`]
            let last = rows.last().cloned().unwrap_or_default();
            let mut rows = rows.to_vec();
            rows.resize(rows.len().next_power_of_two(), last);
            self.run_rows(sql, rows).await?;
        }
        Ok(())
    }

    /// Runs an INSERT of one row's values for several rows at once. The text stays prepared: closing a
    /// statement has no answer, and TCP would hold the next one back for 40 ms. So ask with the same number
    /// of rows again and again.
    pub(super) async fn run_rows(
        &mut self,
        sql: &'static Statement,
        rows: Vec<Vec<Arg>>,
    ) -> Result<(), DbError> {
        let (count, args) = (rows.len(), rows.into_iter().flatten());
        if count == 0 {
            return Ok(());
        }
        match self {
            Conn::Sqlite(conn) => {
                let text = statement::with_rows(sql.sqlite, count);
                bound!(sqlx::query(AssertSqlSafe(text)), args).execute(conn).await?;
                Ok(())
            }
            Conn::Mariadb(conn) => {
                let text = statement::with_rows(sql.mariadb, count);
                let query = bound!(sqlx::query(AssertSqlSafe(text)), args);
                in_time(query.execute(conn).map_ok(drop)).await
            }
        }
    }

    /// Asks a question about one item, `IN (?)`, for several at once, as many as `full` or fewer: always
    /// with the same text, see [`Self::run_rows`].
    pub(super) async fn all_of<R: Row>(
        &mut self,
        sql: &'static Statement,
        mut items: Vec<Arg>,
        full: usize,
    ) -> Result<Vec<R>, DbError> {
        let Some(last) = items.last().cloned() else { return Ok(Vec::new()) };
        // an item that stands there twice is found once
        items.resize(full.max(items.len()), last);
        let count = items.len();
        match self {
            Conn::Sqlite(conn) => {
                let text = statement::with_items(sql.sqlite, count);
                let query = sqlx::query_as(AssertSqlSafe(text));
                Ok(bound!(query, items).fetch_all(conn).await?)
            }
            Conn::Mariadb(conn) => {
                let text = statement::with_items(sql.mariadb, count);
                let query = sqlx::query_as(AssertSqlSafe(text));
                in_time(bound!(query, items).fetch_all(conn)).await
            }
        }
    }

    /// Begins a transaction that may write.
    pub(super) async fn begin(&mut self) -> Result<(), DbError> {
        match self {
            // a deferred transaction fails at its first write if another connection wrote meanwhile
            Conn::Sqlite(conn) => {
                Ok(sqlx::raw_sql("BEGIN IMMEDIATE").execute(conn).await.map(drop)?)
            }
            Conn::Mariadb(conn) => in_time(sqlx::raw_sql("BEGIN").execute(conn).map_ok(drop)).await,
        }
    }

    /// Makes it last, or undoes it: a large one takes longer than a statement.
    ///
    /// # Errors
    /// [`DbError::Unconfirmed`] if a server that was to commit did not say that it has.
    pub(super) async fn end(&mut self, end: End, patience: Duration) -> Result<(), DbError> {
        let text = match end {
            End::Commit => "COMMIT",
            End::RollBack => "ROLLBACK",
        };
        match self {
            Conn::Sqlite(conn) => Ok(sqlx::raw_sql(text).execute(conn).await.map(drop)?),
            Conn::Mariadb(conn) => {
                let ended = tokio::time::timeout(patience, sqlx::raw_sql(text).execute(conn)).await;
                match (ended, end) {
                    (Ok(Ok(_)), _) => Ok(()),
                    (Ok(Err(error)), _) if error.as_database_error().is_some() => Err(error.into()),
                    (_, End::Commit) => Err(DbError::Unconfirmed),
                    (Ok(Err(error)), End::RollBack) => Err(error.into()),
                    (Err(_), End::RollBack) => Err(DbError::NoAnswer),
                }
            }
        }
    }

    /// Whether commits from now on outlive a power cut. A MariaDB server decides that for itself.
    pub(super) async fn set_durable(&mut self, durable: bool) -> Result<(), DbError> {
        let pragma =
            if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        match self {
            Conn::Sqlite(conn) => {
                sqlx::raw_sql(pragma).execute(conn).await?;
                Ok(())
            }
            Conn::Mariadb(_) => Ok(()),
        }
    }

    /// Writes all that a file's log holds into the file itself, durably, and begins the log anew.
    ///
    /// # Errors
    /// It is not; the log stays.
    pub(super) async fn empty_log(&mut self) -> Result<(), DbError> {
        let Conn::Sqlite(conn) = self else { return Ok(()) };
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(conn).await?;
        if busy == 0 { Ok(()) } else { Err(DbError::Failed("its log is being read".into())) }
    }

    /// Says goodbye, if the other end still listens.
    pub(super) async fn close(self) -> Result<(), DbError> {
        match self {
            Conn::Sqlite(conn) => Ok(conn.close().await?),
            Conn::Mariadb(conn) => in_time(conn.close()).await,
        }
    }
}

/// A server that is stopped or cut off says nothing, for ever.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, DbError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(DbError::NoAnswer),
    }
}
