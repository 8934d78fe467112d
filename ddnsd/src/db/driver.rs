//! One statement by either driver. In: a text and its values. Out: rows as the driver reads them.
//! Nothing here depends on the type of a row, because the drivers' code is large and would be
//! compiled for each.

use super::error::DbError;
use super::mariadb::pool::MariaDbPool;
use super::row::Row;
use super::statement::{Arg, STATEMENT_TIMEOUT};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::SqlStr;
use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteExecutor, SqliteRow};
use std::time::Duration;

/// The rows of a query.
pub(super) enum Rows {
    Sqlite(Vec<SqliteRow>),
    Mariadb(Vec<MySqlRow>),
}

impl Rows {
    pub(super) fn decode<R: Row>(self) -> Result<Vec<R>, DbError> {
        let rows: sqlx::Result<_> = match self {
            Rows::Sqlite(rows) => rows.into_iter().map(|row| R::from_row(&row)).collect(),
            Rows::Mariadb(rows) => rows.into_iter().map(|row| R::from_row(&row)).collect(),
        };
        Ok(rows?)
    }
}

pub(super) fn sqlite_rows<'a>(
    on: impl SqliteExecutor<'a> + 'a,
    text: SqlStr,
    args: Vec<Arg>,
) -> BoxFuture<'a, Result<Rows, DbError>> {
    Box::pin(async move { Ok(Rows::Sqlite(sqlite(text, args).fetch_all(on).await?)) })
}

pub(super) fn mariadb_rows(
    on: &mut MySqlConnection,
    text: SqlStr,
    args: Vec<Arg>,
) -> BoxFuture<'_, Result<Rows, DbError>> {
    Box::pin(async move {
        let rows = within(STATEMENT_TIMEOUT, mariadb(text, args).fetch_all(on)).await?;
        Ok(Rows::Mariadb(rows))
    })
}

pub(super) fn mariadb_rows_of_pool(
    pool: &MariaDbPool,
    text: SqlStr,
    args: Vec<Arg>,
) -> BoxFuture<'_, Result<Rows, DbError>> {
    Box::pin(async move {
        let query = || mariadb(text.clone(), args.clone());
        Ok(Rows::Mariadb(pool.run(|conn| query().fetch_all(conn).boxed()).await?))
    })
}

/// Runs a statement that changes rows. Returns how many rows it matched.
pub(super) fn run_sqlite<'a>(
    on: impl SqliteExecutor<'a> + 'a,
    text: SqlStr,
    args: Vec<Arg>,
) -> BoxFuture<'a, Result<u64, DbError>> {
    Box::pin(async move { Ok(sqlite(text, args).execute(on).await?.rows_affected()) })
}

/// As [`run_sqlite`].
pub(super) fn run_mariadb(
    on: &mut MySqlConnection,
    text: SqlStr,
    args: Vec<Arg>,
    timeout: Duration,
) -> BoxFuture<'_, Result<u64, DbError>> {
    Box::pin(async move {
        let done = within(timeout, mariadb(text, args).execute(on)).await?;
        Ok(done.rows_affected())
    })
}

/// Bounds a call to a server: one that is stopped or cut off never answers.
pub(super) async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(DbError::NoAnswer),
    }
}

/// A query with its values.
pub(super) fn sqlite(text: SqlStr, args: Vec<Arg>) -> Query<'static, Sqlite, SqliteArguments> {
    args.into_iter().fold(sqlx::query(text), |query, arg| match arg {
        Arg::Number(number) => query.bind(number),
        Arg::Text(text) => query.bind(text),
    })
}

fn mariadb(text: SqlStr, args: Vec<Arg>) -> Query<'static, MySql, MySqlArguments> {
    args.into_iter().fold(sqlx::query(text), |query, arg| match arg {
        Arg::Number(number) => query.bind(number),
        Arg::Text(text) => query.bind(text),
    })
}
