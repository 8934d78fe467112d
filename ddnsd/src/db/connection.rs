//! Both drivers behind one interface. In: a statement and its values. Out: rows as the structs of
//! `rows.rs`, or a number of rows. Every call to a MariaDB server has a timeout here; SQLite calls
//! have none.

use super::driver::{
    Rows, mariadb_rows, mariadb_rows_of_pool, run_mariadb, run_sqlite, sqlite_rows, within,
};
use super::error::DbError;
use super::mariadb::pool::MariaDbPool;
use super::row::Row;
use super::statement::{self, Access, Arg, LONG_TIMEOUT, STATEMENT_TIMEOUT, Statement};
use crate::clock::Clock;
use crate::counters::DatabaseCounters;
use futures::TryFutureExt as _;
use futures::future::BoxFuture;
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, SqlStr};
use std::sync::Arc;

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
        self.rows(sql, args.into_iter().collect()).await?.decode()
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
        self.rows_of(sql, items).await?.decode()
    }

    fn rows(
        &self,
        sql: &'static Statement,
        args: Vec<Arg>,
    ) -> BoxFuture<'_, Result<Rows, DbError>> {
        self.counted(match &self.pool {
            Pool::Sqlite(pool) => sqlite_rows(pool, sql.sqlite.into_sql_str(), args),
            Pool::Mariadb(pool) => mariadb_rows_of_pool(pool, sql.mariadb.into_sql_str(), args),
        })
    }

    fn rows_of(
        &self,
        sql: &'static Statement,
        items: Vec<Arg>,
    ) -> BoxFuture<'_, Result<Rows, DbError>> {
        let count = items.len();
        self.counted(match &self.pool {
            Pool::Sqlite(pool) => sqlite_rows(pool, with_items(sql.sqlite, count), items),
            Pool::Mariadb(pool) => {
                mariadb_rows_of_pool(pool, with_items(sql.mariadb, count), items)
            }
        })
    }

    fn counted<'a>(
        &'a self,
        query: BoxFuture<'a, Result<Rows, DbError>>,
    ) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(async move {
            let start = Clock.now().mono;
            let rows = query.await;
            let DatabaseCounters { reads, failed_reads, queries, .. } = &*self.counters;
            queries.record(Clock.now().mono.saturating_duration_since(start));
            reads.add_one();
            if rows.is_err() {
                failed_reads.add_one();
            }
            rows
        })
    }

    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Mariadb(pool) => pool.close().await,
        }
    }
}

fn with_items(text: &str, count: usize) -> SqlStr {
    AssertSqlSafe(statement::with_items(text, count)).into_sql_str()
}

fn with_rows(text: &str, count: usize) -> SqlStr {
    AssertSqlSafe(statement::with_rows(text, count)).into_sql_str()
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
        let args = args.into_iter().collect();
        match self {
            Conn::Sqlite(conn) => run_sqlite(conn, sql.sqlite.into_sql_str(), args),
            Conn::Mariadb(conn) => {
                run_mariadb(conn, sql.mariadb.into_sql_str(), args, sql.access.timeout())
            }
        }
        .await
    }

    /// All rows of a query.
    pub(super) async fn all<R: Row>(&mut self, sql: &'static Statement) -> Result<Vec<R>, DbError> {
        let rows = match self {
            Conn::Sqlite(conn) => sqlite_rows(conn, sql.sqlite.into_sql_str(), Vec::new()),
            Conn::Mariadb(conn) => mariadb_rows(conn, sql.mariadb.into_sql_str(), Vec::new()),
        };
        rows.await?.decode()
    }

    /// Parses a statement and finds its tables and columns, without running it. For SQLite nothing
    /// is kept: all statements would take 1 MB. For a server it is, because closing one costs
    /// 40 ms: see [`Self::run_rows`].
    pub(super) async fn prepare(&mut self, sql: &'static Statement) -> Result<(), DbError> {
        match self {
            Conn::Sqlite(conn) => {
                conn.prepare(sql.sqlite.into_sql_str()).await?;
                Ok(conn.clear_cached_statements().await?)
            }
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
        let args = rows.into_iter().flatten().collect();
        if count == 0 {
            return Ok(());
        }
        match self {
            Conn::Sqlite(conn) => run_sqlite(conn, with_rows(sql.sqlite, count), args),
            Conn::Mariadb(conn) => {
                run_mariadb(conn, with_rows(sql.mariadb, count), args, STATEMENT_TIMEOUT)
            }
        }
        .await
        .map(drop)
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
        let rows = match self {
            Conn::Sqlite(conn) => sqlite_rows(conn, with_items(sql.sqlite, count), items),
            Conn::Mariadb(conn) => mariadb_rows(conn, with_items(sql.mariadb, count), items),
        };
        rows.await?.decode()
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

    /// Sets whether the next commits survive a power cut. A MariaDB server decides that itself. The
    /// statement must not stay prepared: SQLite carries it out when it prepares it.
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
