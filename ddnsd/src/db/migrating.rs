//! Runs migrations. Of one that fails it says which statement failed, how that leaves the schema,
//! and what to do next.

use super::connection::Conn;
use super::error::reason;
use super::schema;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// Runs the migrations that have not run yet. The error is a text for the administrator.
pub(super) async fn run(conn: &mut Conn, migrations: &Migrator) -> Result<(), String> {
    let before = schema::applied_versions(conn).await;
    let done = match conn {
        Conn::Sqlite(conn) => migrations.run(conn).await,
        Conn::Mariadb(conn) => run_on_mariadb(conn, migrations).await,
    };
    match done {
        Ok(()) => Ok(()),
        Err(MigrateError::ExecuteMigration(error, version)) => {
            let of_this_run = |other: &&Migration| !before.contains(&other.version);
            let mut earlier = migrations.iter().filter(|it| it.version < version);
            let is_first = !earlier.any(|other| of_this_run(&other));
            let failed = migrations.iter().find(|migration| migration.version == version);
            Err(match failed {
                Some(failed) => explain(conn, failed, is_first, &error).await,
                None => reason(&error),
            })
        }
        Err(error @ (MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_))) => {
            let next =
                "nothing was changed: start the version that migrated it, or restore the backup";
            Err(format!("{error}; {next} ({README})"))
        }
        Err(error) => Err(error.to_string()),
    }
}

const README: &str = "README, \"Backup and restore\"";

/// Runs a migration that failed earlier again: its statements do nothing where their work is done.
async fn run_on_mariadb(
    conn: &mut MySqlConnection,
    migrations: &Migrator,
) -> Result<(), MigrateError> {
    match migrations.run(&mut *conn).await {
        Err(MigrateError::Dirty(version)) => {
            tracing::warn!(version, "a migration of the database failed earlier; it is run again");
            forget_failed(conn, version).await?;
            migrations.run(conn).await
        }
        done => done,
    }
}

/// Deletes the mark of a migration that failed. It makes former versions refuse the database.
async fn forget_failed(conn: &mut MySqlConnection, version: i64) -> sqlx::Result<()> {
    let delete = "DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE";
    sqlx::query(delete).bind(version).execute(conn).await.map(drop)
}

/// `is_first`: no other migration ran before it in this start.
async fn explain(
    conn: &mut Conn,
    migration: &Migration,
    is_first: bool,
    error: &sqlx::Error,
) -> String {
    let what = format!("migration {} (`{}`)", migration.version, migration.description);
    if error.as_database_error().is_none() {
        let next = "start ddnsd again, which goes on with it";
        return format!("{what} was interrupted: {}; {next}", reason(error));
    }
    let statements = statements(migration.sql.as_str());
    let failing = failing(conn, &statements).await;
    let at = failing.and_then(|at| statements.get(at)).map_or(String::new(), |statement| {
        let line = statement.lines().next().unwrap_or_default();
        format!(" at `{}`", line.trim_end_matches([' ', '(']))
    });
    let is_rolled_back = matches!(conn, Conn::Sqlite(_)) || failing == Some(0);
    let next = if is_first && is_rolled_back {
        if let Conn::Mariadb(conn) = conn {
            // at worst the former version refuses the database
            let _unmarked = forget_failed(conn, migration.version).await;
        }
        "the schema is as it was: start the former version, or fix the cause and start again"
    } else {
        "the statements before it are applied: fix the cause and start again, or restore the backup"
    };
    format!("{what} failed{at}: {}; {next} ({README})", reason(error))
}

/// The statements of a migration. Each ends with a semicolon at the end of a line, and comments are
/// whole lines.
fn statements(sql: &str) -> Vec<String> {
    let lines: Vec<_> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    let text = lines.join("\n") + "\n";
    let parts = text.split(";\n").map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Which statement of a migration fails; `None` if none fails now. SQLite rolls them back. On
/// MariaDB each does nothing where its work is done.
async fn failing(conn: &mut Conn, statements: &[String]) -> Option<usize> {
    if statements.len() == 1 {
        return Some(0);
    }
    match conn {
        Conn::Sqlite(conn) => {
            let mut transaction = conn.begin().await.ok()?;
            for (at, statement) in statements.iter().enumerate() {
                let text = AssertSqlSafe(statement.as_str());
                if sqlx::raw_sql(text).execute(&mut *transaction).await.is_err() {
                    return Some(at);
                }
            }
        }
        Conn::Mariadb(conn) => {
            for (at, statement) in statements.iter().enumerate() {
                let text = AssertSqlSafe(statement.as_str());
                if sqlx::raw_sql(text).execute(&mut *conn).await.is_err() {
                    return Some(at);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use ddnsd_tests::mariadb::Mariadb;
    use sqlx::ConnectOptions as _;
    use sqlx::mysql::MySqlConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    const FIRST: (&str, &str) = ("first", "CREATE TABLE users (id BIGINT PRIMARY KEY);");

    async fn sqlite() -> Conn {
        let options = SqliteConnectOptions::new().in_memory(true);
        Conn::Sqlite(options.connect().await.unwrap())
    }

    async fn mariadb() -> Conn {
        let account = Mariadb::shared().account();
        let options = MySqlConnectOptions::new().host("127.0.0.1").port(account.port);
        let options = options.username(&account.user).password(&account.password);
        Conn::Mariadb(options.database(&account.database).connect().await.unwrap())
    }

    /// Runs the first migration and then these too.
    async fn error_after_first(conn: &mut Conn, more: &[(&'static str, &'static str)]) -> String {
        run(conn, &schema::migrations(&[FIRST])).await.unwrap();
        let all: Vec<_> = [FIRST].iter().chain(more).copied().collect();
        run(conn, &schema::migrations(&all)).await.unwrap_err()
    }

    async fn former_version_starts(conn: &mut Conn) -> bool {
        let former = schema::migrations(&[FIRST]);
        schema::refuse_foreign("db", conn, &former).await.is_ok()
            && run(conn, &former).await.is_ok()
    }

    #[tokio::test]
    async fn a_migration_that_fails_on_sqlite_is_undone_and_the_former_version_starts() {
        let mut conn = sqlite().await;
        let two =
            "-- comment; of a line\nCREATE TABLE a (\n  id BIGINT\n);\nALTER TABLE none ADD x;\n";
        let error = error_after_first(&mut conn, &[("more", two)]).await;
        assert_eq!(
            error,
            "migration 2 (`more`) failed at `ALTER TABLE none ADD x`: no such table: none; the \
             schema is as it was: start the former version, or fix the cause and start again \
             (README, \"Backup and restore\")"
        );
        assert!(former_version_starts(&mut conn).await);
        // nothing of it is left
        run(&mut conn, &schema::migrations(&[FIRST, ("a", "CREATE TABLE a (id BIGINT);")]))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_former_version_starts_after_the_statement_of_a_migration_failed_on_mariadb() {
        let mut conn = mariadb().await;
        let more = ("more", "ALTER TABLE none\n  ADD COLUMN IF NOT EXISTS x BIGINT;");
        let error = error_after_first(&mut conn, &[more]).await;
        assert!(
            error.starts_with("migration 2 (`more`) failed at `ALTER TABLE none`: "),
            "{error}"
        );
        assert!(error.contains("the schema is as it was: start the former version"), "{error}");
        assert!(former_version_starts(&mut conn).await);
    }

    #[tokio::test]
    async fn a_migration_that_fails_after_another_one_says_to_restore_the_backup() {
        for mut conn in [sqlite().await, mariadb().await] {
            let good = ("good", "CREATE TABLE b (id BIGINT);");
            let bad = ("bad", "ALTER TABLE none ADD x BIGINT;");
            let error = error_after_first(&mut conn, &[good, bad]).await;
            assert!(error.starts_with("migration 3 (`bad`) failed at `ALTER"), "{error}");
            let next = "the statements before it are applied: fix the cause and start again, or \
                        restore the backup";
            assert!(error.contains(next), "{error}");
            assert!(!former_version_starts(&mut conn).await);
        }
    }
}
