//! Checks of a database's schema: whose it is, how new it is, whether it is complete. Nothing is
//! written to a database of another program or of a newer ddnsd.

use super::connection::Conn;
use super::error::{DbError, OpenError};
use super::statement::{Access, Statement};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

static TABLES: Statement = Statement {
    name: "TABLES",
    access: Access::FullScan,
    sqlite: "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    mariadb: "SELECT table_name FROM information_schema.tables
              WHERE table_schema = DATABASE() ORDER BY table_name LIMIT 1000",
};

const APPLIED: &str = "SELECT version, description FROM _sqlx_migrations ORDER BY version";

static APPLIED_MIGRATIONS: Statement = Statement {
    name: "APPLIED_MIGRATIONS",
    access: Access::FullScan,
    sqlite: APPLIED,
    mariadb: APPLIED,
};

/// The migrations of one kind of database, from their SQL texts in order. Their versions count from
/// 1.
pub(super) fn migrations(texts: &[(&'static str, &'static str)]) -> Migrator {
    let migration = |(version, (description, sql)): (i64, &(&'static str, &'static str))| {
        let sql = sql.into_sql_str();
        Migration::new(version, (*description).into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations((1..).zip(texts).map(migration).collect())
}

/// Refuses a database with tables of another program, or with migrations that this program does not
/// know.
pub(super) async fn refuse_foreign(
    database: &str,
    conn: &mut Conn,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let foreign = |table| OpenError::Foreign { database: database.to_owned(), table };
    let tables: Vec<(String,)> = conn.all(&TABLES).await.map_err(failed(database))?;
    let migrations_table = "_sqlx_migrations".to_owned();
    if !tables.contains(&(migrations_table.clone(),)) {
        return tables.into_iter().next().map_or(Ok(()), |(table,)| Err(foreign(table)));
    }
    let applied: Vec<(i64, String)> = match conn.all(&APPLIED_MIGRATIONS).await {
        // a table of this name with other columns
        Err(DbError::Missing(_)) => return Err(foreign(migrations_table)),
        applied => applied.map_err(failed(database))?,
    };
    let ours = migrations.iter().next().map(|migration| &*migration.description);
    // no row at all: our first migration failed
    if applied.first().is_some_and(|(_, description)| Some(description.as_str()) != ours) {
        return Err(foreign(migrations_table));
    }
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    match applied.last() {
        Some((found, _)) if *found > known => {
            Err(OpenError::Newer { database: database.to_owned(), found: *found, known })
        }
        _ => Ok(()),
    }
}

/// The versions of the migrations that have run; none where there is no table of them.
pub(super) async fn applied_versions(conn: &mut Conn) -> Vec<i64> {
    let applied: Vec<(i64, String)> = conn.all(&APPLIED_MIGRATIONS).await.unwrap_or_default();
    applied.into_iter().map(|(version, _)| version).collect()
}

/// Every statement must find its tables and columns at start, and not at the first update.
pub(super) async fn refuse_incomplete(
    database: &str,
    conn: &mut Conn,
    statements: impl Iterator<Item = &'static Statement>,
) -> Result<(), OpenError> {
    for statement in statements {
        conn.prepare(statement).await.map_err(|error| match error {
            DbError::Missing(reason) => {
                OpenError::Incomplete { database: database.to_owned(), reason }
            }
            error => failed(database)(error),
        })?;
    }
    Ok(())
}

/// The error of a database that cannot be opened.
pub(super) fn failed(database: &str) -> impl Fn(DbError) -> OpenError {
    let database = database.to_owned();
    move |error| OpenError::Database { database: database.clone(), reason: error.reason() }
}
