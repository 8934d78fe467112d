//! Opening a MariaDB server: how it is reached, what every session is set to, the schema. A migration there
//! is not undone when it breaks off, so each file can be run again from its start.

use super::daemon_lock::{refuse_if_used, warn_if_used};
use super::pool::MariaDbPool;
use crate::config::{DatabaseTls, MariaDb};
use crate::db::connection::{Conn, ReadPool, STATEMENT_TIMEOUT};
use crate::db::error::{DbError, OpenError, mariadb_number, reason};
use crate::db::open::{
    FIRST_MIGRATION, OpenFor, Opened, Origin, refuse_newer, refuse_other_migrations,
};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqlSafeStr as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(in crate::db) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/mariadb");

/// For a new connection; what waits for one is answered after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For another daemon that migrates.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);

/// What each session is set to, whatever the server's defaults are: each statement is committed by itself,
/// reads see what has been committed, in full, no value is ever cut to fit, nobody waits long for a row.
/// For a table that somebody locks a statement waits longer than [`STATEMENT_TIMEOUT`], so that it is reported as a database
/// that cannot be written, and not much longer, so that those that were given up do not pile up.
const SESSION: &str = "SET SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', \
     SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,\
NO_ENGINE_SUBSTITUTION', \
     SESSION sql_select_limit = 18446744073709551615, SESSION sql_safe_updates = 0, \
     SESSION foreign_key_checks = 1, SESSION unique_checks = 1, \
     SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 5; \
     SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE";

/// Where the server is and how to log in.
pub(in crate::db) struct MariaDbServer {
    options: MySqlConnectOptions,
}

impl MariaDbServer {
    /// A new connection, ready for statements.
    pub(in crate::db) async fn session(&self) -> Result<MySqlConnection, DbError> {
        let made = timeout(CONNECT_TIMEOUT, session(&self.options)).await;
        Ok(made.map_err(|_| DbError::NoAnswer)??)
    }
}

/// Connects, and makes or migrates the schema as needed.
pub(in crate::db) async fn open(config: &MariaDb, purpose: OpenFor) -> Result<Opened, OpenError> {
    let database = name_of(config);
    let options = options(config);
    let failed = |reason: String| OpenError::Database { database: database.clone(), reason };
    let first = timeout(STATEMENT_TIMEOUT, session(&options)).await;
    let silent = |_| failed(format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs()));
    let mut writer = first.map_err(silent)?.map_err(|error| failed(advice(&error, config)))?;
    if purpose == OpenFor::Schema {
        refuse_if_used(&database, &mut writer).await?;
    }
    refuse_foreign(&database, &mut writer).await?;
    // the wait for another daemon that migrates, and as long for a migration of our own
    let migrated = timeout(MIGRATION_TIMEOUT * 2, migrate(&mut writer)).await;
    let migrated = migrated.map_err(|_| "the server does not answer any more".to_owned());
    let migrated = migrated.and_then(|done| done.map_err(|error| error.to_string()));
    migrated.map_err(|reason| OpenError::Migrate { database: database.clone(), reason })?;
    must_be_whole(&database, &mut writer).await?;
    if purpose == OpenFor::Daemon {
        warn_if_used(&database, &mut writer).await;
    }
    let server = Arc::new(MariaDbServer { options });
    let readers = MariaDbPool::new(Arc::clone(&server), config.pool_size);
    let origin = Origin::MariaDbServer(server);
    Ok(Opened { readers: ReadPool::Mariadb(readers), writer: Conn::Mariadb(writer), origin })
}

/// The database and its server, for sentences.
fn name_of(config: &MariaDb) -> String {
    let MariaDb { name, host, port, user, socket, .. } = config;
    let place = socket.as_ref().map_or(format!("{host}:{port}"), |path| path.display().to_string());
    format!("`{name}` at {place} (user `{user}`)")
}

fn options(config: &MariaDb) -> MySqlConnectOptions {
    let mode = match config.tls {
        DatabaseTls::Disabled => MySqlSslMode::Disabled,
        // nobody listens on a socket of this machine
        DatabaseTls::Preferred if config.socket.is_some() => MySqlSslMode::Disabled,
        DatabaseTls::Preferred => MySqlSslMode::Preferred,
        DatabaseTls::Required => MySqlSslMode::Required,
        DatabaseTls::Verify => MySqlSslMode::VerifyIdentity,
    };
    let mut options = MySqlConnectOptions::new()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .database(&config.name)
        .ssl_mode(mode)
        // the mode is set below, as a whole
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .disable_statement_logging();
    if !config.password.expose().is_empty() {
        options = options.password(config.password.expose());
    }
    if let Some(socket) = &config.socket {
        options = options.socket(socket);
    }
    match (&config.tls_ca_file, config.tls) {
        (Some(file), DatabaseTls::Verify) => options.ssl_ca(file),
        _ => options,
    }
}

async fn session(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    let mut conn = options.connect().await?;
    conn.execute(SESSION).await?;
    Ok(conn)
}

/// What the server said, and what to look at.
fn advice(error: &sqlx::Error, config: &MariaDb) -> String {
    let said = reason(error);
    let number = mariadb_number(error);
    let hint = match (error, number) {
        (_, Some(1045 | 1044 | 1698)) => "see database.user, password and its grants",
        (_, Some(1049)) => "make it first, or see database.name",
        (sqlx::Error::Protocol(said), _) if said.contains("authentication plugin") => {
            "make the account IDENTIFIED VIA mysql_native_password, or unix_socket beside database.socket"
        }
        (sqlx::Error::Tls(_), _) => "see database.tls and tls_ca_file",
        (sqlx::Error::Io(error), _) if is_tls(error) => "see database.tls and tls_ca_file",
        (sqlx::Error::Io(_), _) if config.socket.is_some() => {
            "is the server running? see database.socket"
        }
        (sqlx::Error::Io(_), _) => "is the server running? see database.host and port",
        _ => return said,
    };
    format!("{said} ({hint})")
}

/// Whether the server was reached, and the handshake failed.
fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// Looks whose tables are there before anything is written.
async fn refuse_foreign(database: &str, conn: &mut MySqlConnection) -> Result<(), OpenError> {
    let failed =
        |error| OpenError::Database { database: database.to_owned(), reason: reason(&error) };
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name FROM information_schema.tables
         WHERE table_schema = DATABASE() ORDER BY table_name LIMIT 1000",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(failed)?;
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return match tables.into_iter().next() {
            Some(table) => Err(OpenError::Foreign { database: database.to_owned(), table }),
            None => Ok(()),
        };
    }
    let first = sqlx::query_scalar(FIRST_MIGRATION).fetch_optional(&mut *conn).await;
    let first: Option<String> = match first {
        // no such column: no table of ours
        Err(error) if mariadb_number(&error) == Some(1054) => Some(String::new()),
        first => first.map_err(failed)?,
    };
    refuse_other_migrations(database, first.as_deref(), &MIGRATIONS)?;
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
    refuse_newer(database, found, &MIGRATIONS)
}

/// Every statement must find its tables and columns, now and not at the first update.
async fn must_be_whole(database: &str, conn: &mut MySqlConnection) -> Result<(), OpenError> {
    let database = || database.to_owned();
    for sql in crate::db::all_statements() {
        let prepared = timeout(STATEMENT_TIMEOUT, conn.prepare(sql.mariadb.into_sql_str())).await;
        let silent = |_| DbError::NoAnswer.to_string();
        match prepared.map_err(silent) {
            Ok(Ok(_)) => {}
            // no such table, no such column
            Ok(Err(error)) if matches!(mariadb_number(&error), Some(1146 | 1054)) => {
                return Err(OpenError::Incomplete { database: database(), reason: reason(&error) });
            }
            Ok(Err(error)) => {
                return Err(OpenError::Database { database: database(), reason: reason(&error) });
            }
            Err(reason) => return Err(OpenError::Database { database: database(), reason }),
        }
    }
    Ok(())
}

/// Runs what has not run yet, one daemon at a time. The migrator's own lock does not hold on MariaDB, which
/// takes its endless patience for none.
async fn migrate(conn: &mut MySqlConnection) -> Result<(), MigrateError> {
    let lock = format!(
        "SELECT GET_LOCK(CONCAT('ddnsd schema ', LEFT(DATABASE(), 40)), {})",
        MIGRATION_TIMEOUT.as_secs()
    );
    let locked: Option<i64> = sqlx::query_scalar(AssertSqlSafe(lock)).fetch_one(&mut *conn).await?;
    if locked != Some(1) {
        let busy = "another daemon is still at it; try again in a moment";
        return Err(sqlx::Error::Protocol(busy.to_owned()).into());
    }
    // a table that is being read may be changed a little later
    conn.execute("SET SESSION lock_wait_timeout = 60").await?;
    let done = run_all(conn).await;
    conn.execute("SET SESSION lock_wait_timeout = 5").await?;
    // this session lives as long as the daemon, and must not keep others from starting
    conn.execute("DO RELEASE_ALL_LOCKS()").await?;
    done
}

/// A migration that broke off is run again: every statement in those files does nothing where its work is
/// done.
async fn run_all(conn: &mut MySqlConnection) -> Result<(), MigrateError> {
    match MIGRATIONS.run(&mut *conn).await {
        Err(MigrateError::Dirty(version)) => {
            tracing::warn!(version, "a migration of the database broke off; it is run again");
            sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE")
                .bind(version)
                .execute(&mut *conn)
                .await?;
            MIGRATIONS.run(conn).await
        }
        done => done,
    }
}
