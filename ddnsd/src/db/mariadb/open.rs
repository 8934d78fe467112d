//! Opens a database of a MariaDB server and migrates its schema. MariaDB does not roll a failed
//! migration back, so it is run again from its start.

use super::daemon_lock::{DaemonLock, refuse_if_used};
use super::server::{MariaDbServer, advice};
use crate::config::MariaDb;
use crate::db::connection::Conn;
use crate::db::error::{OpenError, reason};
use crate::db::statement::STATEMENT_TIMEOUT;
use crate::db::{migrating, schema};
use sqlx::migrate::Migrator;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor as _};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::timeout;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    schema::migrations(&[("first", include_str!("../../../../migrations/mariadb/0001_first.sql"))])
});

/// As the migrator makes it, but whatever engine and character set are the server's defaults.
const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
        version        BIGINT    NOT NULL PRIMARY KEY,
        description    TEXT      NOT NULL,
        installed_on   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        success        BOOLEAN   NOT NULL,
        checksum       BLOB      NOT NULL,
        execution_time BIGINT    NOT NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";

/// Longest wait for another daemon that migrates.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);

/// What a database is opened for.
pub(in crate::db) enum OpenFor {
    /// To run on it, under this name.
    Daemon(Arc<str>),
    /// Only to create or migrate the schema.
    Schema,
}

impl OpenFor {
    pub(in crate::db) fn daemon(self) -> Arc<str> {
        match self {
            OpenFor::Daemon(name) => name,
            OpenFor::Schema => Arc::default(),
        }
    }
}

/// An open database.
pub(in crate::db) struct MariaDbOpened {
    pub(in crate::db) server: Arc<MariaDbServer>,
    pub(in crate::db) writer: Conn,
    pub(in crate::db) lock: DaemonLock,
}

/// Connects, and creates or migrates the schema as needed.
pub(in crate::db) async fn open(
    config: &MariaDb,
    open_for: &OpenFor,
) -> Result<MariaDbOpened, OpenError> {
    let database = name_of(config);
    let server = MariaDbServer::new(config);
    let mut conn = connect(&database, &server, config).await?;
    if matches!(open_for, OpenFor::Schema) {
        refuse_if_used(&database, &mut conn).await?;
    }
    let mut writer = Conn::Mariadb(conn);
    schema::refuse_foreign(&database, &mut writer, &MIGRATIONS).await?;
    // the wait for another daemon that migrates, and as long for our own migration
    let migrated = timeout(MIGRATION_TIMEOUT * 2, migrate(&mut writer)).await;
    let no_answer = "the server does not answer any more; start ddnsd again, which goes on with it";
    let migrated = migrated.unwrap_or_else(|_| Err(no_answer.to_owned()));
    migrated.map_err(|reason| OpenError::Migrate { database, reason })?;
    let mut lock = DaemonLock::default();
    if let (OpenFor::Daemon(_), Conn::Mariadb(conn)) = (open_for, &mut writer) {
        // another daemon may hold the lock; and one that cannot be asked for is no reason not to
        // start
        let _is_first = lock.take(conn).await;
    }
    Ok(MariaDbOpened { server: Arc::new(server), writer, lock })
}

/// The database and its server, for messages.
pub(in crate::db) fn name_of(config: &MariaDb) -> String {
    let MariaDb { name, host, port, user, socket, .. } = config;
    let place = socket.as_ref().map_or(format!("{host}:{port}"), |path| path.display().to_string());
    format!("`{name}` at {place} (user `{user}`)")
}

async fn connect(
    database: &str,
    server: &MariaDbServer,
    config: &MariaDb,
) -> Result<MySqlConnection, OpenError> {
    let failed = |reason: String| OpenError::Database { database: database.to_owned(), reason };
    let connected = timeout(STATEMENT_TIMEOUT, server.connect_without_timeout()).await;
    let no_answer = |_| failed(format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs()));
    connected.map_err(no_answer)?.map_err(|error| failed(advice(&error, config)))
}

/// Whether every migration has run as it is now: then the account needs no right to change tables.
async fn is_current(conn: &mut MySqlConnection) -> bool {
    let applied = "SELECT version, checksum FROM _sqlx_migrations WHERE success = TRUE
                   ORDER BY version";
    // without the table, nothing has run
    let applied: sqlx::Result<Vec<(i64, Vec<u8>)>> = sqlx::query_as(applied).fetch_all(conn).await;
    let Ok(applied) = applied else { return false };
    let known = MIGRATIONS.iter().map(|migration| (migration.version, &*migration.checksum));
    known.eq(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())))
}

/// Runs the migrations that have not run yet, one daemon at a time. The migrator's own lock does
/// not work on MariaDB, which reads its endless timeout as none.
async fn migrate(writer: &mut Conn) -> Result<(), String> {
    let failed = |error| reason(&error);
    let conn = session(writer)?;
    let lock = format!(
        "SELECT GET_LOCK(CONCAT('ddnsd schema ', LEFT(DATABASE(), 40)), {})",
        MIGRATION_TIMEOUT.as_secs()
    );
    let locked = sqlx::query_scalar(AssertSqlSafe(lock)).fetch_one(&mut *conn).await;
    let locked: Option<i64> = locked.map_err(failed)?;
    if locked != Some(1) {
        return Err("another daemon is still migrating it; try again in a moment".to_owned());
    }
    let done = if is_current(conn).await { Ok(()) } else { change_schema(writer).await };
    // this session becomes the writer's, and must not keep other daemons from starting
    session(writer)?.execute("DO RELEASE_ALL_LOCKS()").await.map_err(failed)?;
    done
}

async fn change_schema(writer: &mut Conn) -> Result<(), String> {
    let failed = |error| reason(&error);
    let conn = session(writer)?;
    // DDL waits for running reads of the table
    conn.execute("SET SESSION lock_wait_timeout = 60").await.map_err(failed)?;
    conn.execute(MIGRATIONS_TABLE).await.map_err(failed)?;
    let done = migrating::run(writer, &MIGRATIONS).await;
    session(writer)?.execute("SET SESSION lock_wait_timeout = 5").await.map_err(failed)?;
    done
}

fn session(writer: &mut Conn) -> Result<&mut MySqlConnection, String> {
    match writer {
        Conn::Mariadb(conn) => Ok(conn),
        Conn::Sqlite(_) => Err("not a server".to_owned()),
    }
}
