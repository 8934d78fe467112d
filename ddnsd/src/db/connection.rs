//! Both drivers behind one interface. In: a statement and its values. Out: rows as the structs of
//! `rows.rs`, or a number of rows. Every call to a MariaDB server has a timeout here; SQLite calls
//! have none.

use super::error::DbError;
use super::mariadb::pool::MariaDbPool;
use super::row::Row;
use super::statement::{self, Access, Arg, LONG_TIMEOUT, STATEMENT_TIMEOUT, Statement};
use crate::clock::Clock;
use crate::counters::DatabaseCounters;
use futures::{FutureExt as _, TryFutureExt as _};
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _};
use std::sync::Arc;
use std::time::Duration;

/// Most rows in one statement.
pub(super) const ROWS_PER_STATEMENT: usize = 256;
/// Rows in one statement of SQLite: enough to share the hop to its thread.
const SQLITE_ROWS: usize = 64;

/// Connections for reading.
pub(super) struct ReadPool {
    pool: Pool,
    counters: Arc<DatabaseCounters>,
}

pub(super) enum Pool {
    Sqlite(SqlitePool),
    Mariadb(MariaDbPool),
}

/// One connection.
pub(super) enum Conn {
    Sqlite(SqliteConnection),
    Mariadb(MySqlConnection),
}

/// Binds the values in their order.
macro_rules! bound {
    ($query:expr, $args:expr) => {
        $args.into_iter().fold($query, |query, arg| match arg {
            Arg::Number(number) => query.bind(number),
            Arg::Text(text) => query.bind(text),
        })
    };
}

impl ReadPool {
    pub(super) fn new(pool: Pool, counters: Arc<DatabaseCounters>) -> Self {
        Self { pool, counters }
    }

    /// All rows of a query.
    pub(super) async fn all<R: Row>(
        &self,
        sql: &'static Statement,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Vec<R>, DbError> {
        self.counted(self.pool.all(sql, args.into_iter().collect())).await
    }

    /// The row of a query that has one row at most.
    pub(super) async fn optional<R: Row>(
        &self,
        sql: &'static Statement,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Option<R>, DbError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// As [`Conn::all_of`].
    pub(super) async fn all_of<R: Row>(
        &self,
        sql: &'static Statement,
        items: Vec<Arg>,
        full: usize,
    ) -> Result<Vec<R>, DbError> {
        let Some(items) = padded(items, full) else { return Ok(Vec::new()) };
        self.counted(self.pool.all_of(sql, items)).await
    }

    async fn counted<T>(
        &self,
        query: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let start = Clock.now().mono;
        let rows = query.await;
        let DatabaseCounters { reads, failed_reads, queries, .. } = &*self.counters;
        queries.record(Clock.now().mono.saturating_duration_since(start));
        reads.add_one();
        if rows.is_err() {
            failed_reads.add_one();
        }
        rows
    }

    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Mariadb(pool) => pool.close().await,
        }
    }
}

impl Pool {
    async fn all<R: Row>(
        &self,
        sql: &'static Statement,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, DbError> {
        match self {
            Pool::Sqlite(pool) => {
                Ok(bound!(sqlx::query_as(sql.sqlite), args).fetch_all(pool).await?)
            }
            Pool::Mariadb(pool) => {
                let query = || bound!(sqlx::query_as(sql.mariadb), args.clone());
                pool.run(|conn| query().fetch_all(conn).boxed()).await
            }
        }
    }

    async fn all_of<R: Row>(
        &self,
        sql: &'static Statement,
        items: Vec<Arg>,
    ) -> Result<Vec<R>, DbError> {
        let count = items.len();
        match self {
            Pool::Sqlite(pool) => {
                let text = AssertSqlSafe(statement::with_items(sql.sqlite, count));
                Ok(bound!(sqlx::query_as(text), items).fetch_all(pool).await?)
            }
            Pool::Mariadb(pool) => {
                let text = statement::with_items(sql.mariadb, count);
                let text = || AssertSqlSafe(text.clone());
                let query = || bound!(sqlx::query_as(text()), items.clone());
                pool.run(|conn| query().fetch_all(conn).boxed()).await
            }
        }
    }
}

/// Items as often as `full` says at least, so that the text of a query about them is always the
/// same; `None` without any. An item that is given twice is found once.
fn padded(mut items: Vec<Arg>, full: usize) -> Option<Vec<Arg>> {
    let last = items.last().cloned()?;
    items.resize(full.max(items.len()), last);
    Some(items)
}

//----- One statement -----

impl Conn {
    /// Runs a statement that changes rows. Returns how many rows it matched.
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
                let done = bound!(sqlx::query(sql.mariadb), args).execute(conn);
                Ok(within(sql.access.timeout(), done).await?.rows_affected())
            }
        }
    }

    /// All rows of a query.
    pub(super) async fn all<R: Row>(&mut self, sql: &'static Statement) -> Result<Vec<R>, DbError> {
        match self {
            Conn::Sqlite(conn) => Ok(sqlx::query_as(sql.sqlite).fetch_all(conn).await?),
            Conn::Mariadb(conn) => {
                within(STATEMENT_TIMEOUT, sqlx::query_as(sql.mariadb).fetch_all(conn)).await
            }
        }
    }

    /// Parses a statement and finds its tables and columns, without running it.
    pub(super) async fn prepare(&mut self, sql: &'static Statement) -> Result<(), DbError> {
        match self {
            Conn::Sqlite(conn) => Ok(conn.prepare(sql.sqlite.into_sql_str()).await.map(drop)?),
            Conn::Mariadb(conn) => {
                let prepared = conn.prepare(sql.mariadb.into_sql_str()).map_ok(drop);
                within(STATEMENT_TIMEOUT, prepared).await
            }
        }
    }
}

//----- Many rows at once -----

impl Conn {
    /// Runs a statement for each of these rows. Many rows share one statement, because each is a
    /// round trip to a server, or a hop to SQLite's thread; its text has the values of a row after
    /// VALUES. On SQLite only an INSERT has them. The statement must allow that a row is given
    /// twice.
    pub(super) async fn run_each(
        &mut self,
        sql: &'static Statement,
        rows: Vec<Vec<Arg>>,
    ) -> Result<(), DbError> {
        if let Conn::Sqlite(_) = self {
            let mut rows = rows.into_iter();
            while sql.sqlite.starts_with("INSERT") && rows.len() >= SQLITE_ROWS {
                self.run_rows(sql, rows.by_ref().take(SQLITE_ROWS).collect()).await?;
            }
            for row in rows {
                self.run(sql, row).await?;
            }
            return Ok(());
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            // padded to a power of two, so that few different texts are prepared: see run_rows
            let last = rows.last().cloned().unwrap_or_default();
            let mut rows = rows.to_vec();
            rows.resize(rows.len().next_power_of_two(), last);
            self.run_rows(sql, rows).await?;
        }
        Ok(())
    }

    /// Runs an INSERT of one row for several rows at once. Call it with few different numbers of
    /// rows: the driver keeps each text prepared, and closing one costs 40 ms, because MariaDB does
    /// not answer and TCP delays the next packet.
    pub(super) async fn run_rows(
        &mut self,
        sql: &'static Statement,
        rows: Vec<Vec<Arg>>,
    ) -> Result<(), DbError> {
        let count = rows.len();
        let args = rows.into_iter().flatten();
        if count == 0 {
            return Ok(());
        }
        match self {
            Conn::Sqlite(conn) => {
                let text = statement::with_rows(sql.sqlite, count);
                Ok(bound!(sqlx::query(AssertSqlSafe(text)), args).execute(conn).await.map(drop)?)
            }
            Conn::Mariadb(conn) => {
                let text = statement::with_rows(sql.mariadb, count);
                let query = bound!(sqlx::query(AssertSqlSafe(text)), args);
                within(STATEMENT_TIMEOUT, query.execute(conn).map_ok(drop)).await
            }
        }
    }

    /// Runs a query about one item, `IN (?)`, for several items at once. The items are padded to
    /// `full`, so that the text is always the same: see [`Self::run_rows`].
    pub(super) async fn all_of<R: Row>(
        &mut self,
        sql: &'static Statement,
        items: Vec<Arg>,
        full: usize,
    ) -> Result<Vec<R>, DbError> {
        let Some(items) = padded(items, full) else { return Ok(Vec::new()) };
        let count = items.len();
        match self {
            Conn::Sqlite(conn) => {
                let text = statement::with_items(sql.sqlite, count);
                Ok(bound!(sqlx::query_as(AssertSqlSafe(text)), items).fetch_all(conn).await?)
            }
            Conn::Mariadb(conn) => {
                let text = statement::with_items(sql.mariadb, count);
                let query = bound!(sqlx::query_as(AssertSqlSafe(text)), items);
                within(STATEMENT_TIMEOUT, query.fetch_all(conn)).await
            }
        }
    }
}

//----- Transactions -----

impl Conn {
    /// Begins a transaction that may write.
    pub(super) async fn begin(&mut self) -> Result<(), DbError> {
        match self {
            // a deferred transaction fails at its first write if another connection wrote meanwhile
            Conn::Sqlite(conn) => {
                Ok(sqlx::raw_sql("BEGIN IMMEDIATE").execute(conn).await.map(drop)?)
            }
            Conn::Mariadb(conn) => {
                let begun = sqlx::raw_sql("BEGIN").execute(conn).map_ok(drop);
                within(STATEMENT_TIMEOUT, begun).await
            }
        }
    }

    /// # Errors
    /// [`DbError::Unconfirmed`] if a server did not answer, so that the transaction may be stored.
    pub(super) async fn commit(&mut self, access: Access) -> Result<(), DbError> {
        let commit = sqlx::raw_sql("COMMIT");
        match self {
            Conn::Sqlite(conn) => Ok(commit.execute(conn).await.map(drop)?),
            Conn::Mariadb(conn) => {
                match tokio::time::timeout(access.timeout(), commit.execute(conn)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) if error.as_database_error().is_some() => Err(error.into()),
                    Ok(Err(_)) | Err(_) => Err(DbError::Unconfirmed),
                }
            }
        }
    }

    pub(super) async fn roll_back(&mut self) -> Result<(), DbError> {
        let roll_back = sqlx::raw_sql("ROLLBACK");
        match self {
            Conn::Sqlite(conn) => Ok(roll_back.execute(conn).await.map(drop)?),
            Conn::Mariadb(conn) => {
                // undoing many rows takes as long as writing them
                within(LONG_TIMEOUT, roll_back.execute(conn).map_ok(drop)).await
            }
        }
    }

    /// Sets whether the next commits survive a power cut. A MariaDB server decides that itself.
    pub(super) async fn set_durable(&mut self, durable: bool) -> Result<(), DbError> {
        let Conn::Sqlite(conn) = self else { return Ok(()) };
        let pragma =
            if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        Ok(sqlx::raw_sql(pragma).execute(conn).await.map(drop)?)
    }

    /// Copies the write-ahead log into the database file, durably, and empties it.
    ///
    /// # Errors
    /// It failed, or a reader uses the log; the log stays.
    pub(super) async fn checkpoint(&mut self) -> Result<(), DbError> {
        let Conn::Sqlite(conn) = self else { return Ok(()) };
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(conn).await?;
        if busy == 0 { Ok(()) } else { Err(DbError::Failed("its log is in use".into())) }
    }

    pub(super) async fn close(self) -> Result<(), DbError> {
        match self {
            Conn::Sqlite(conn) => Ok(conn.close().await?),
            Conn::Mariadb(conn) => within(STATEMENT_TIMEOUT, conn.close()).await,
        }
    }
}

/// Bounds a call to a server: one that is stopped or cut off never answers.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(DbError::NoAnswer),
    }
}
