//! Opening: the owner lock, the file with its mode, the schema, the connections. Nothing is written to
//! a database that another daemon owns or a newer one made.

use super::error::OpenError;
use crate::config::Database;
use nix::fcntl::{Flock, FlockArg};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// Holds `PATH.lock`. A lock on the database file itself would vanish with any descriptor of it that
/// SQLite closes.
pub(super) struct OwnerLock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

pub(super) struct Opened {
    pub(super) readers: SqlitePool,
    pub(super) writer: SqliteConnection,
    pub(super) owner: OwnerLock,
}

pub(super) async fn open(config: &Database) -> Result<Opened, OpenError> {
    let Database::Sqlite { path, pool_size } = config else {
        return Err(OpenError::MariaDb);
    };
    // one file has one lock, whatever links lead to it
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let owner = lock(path)?;
    create(path)?;
    let sql = |source| OpenError::Sql { path: path.clone(), source };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    refuse_newer(path, &options).await?;
    let mut writer = options.connect().await.map_err(sql)?;
    MIGRATIONS.run(&mut writer).await.map_err(|source| migrate_error(path, source))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(*pool_size)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .map_err(sql)?;
    Ok(Opened { readers, writer, owner })
}

fn lock(path: &Path) -> Result<OwnerLock, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .map_err(|source| OpenError::File { path: name.clone(), source })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(OwnerLock(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(OpenError::Owned { path: path.to_owned() }),
        Err((_, errno)) => Err(OpenError::File { path: name, source: errno.into() }),
    }
}

/// Makes the file with its mode before SQLite would make it world-readable; it holds password hashes,
/// and its journals take its mode over.
fn create(path: &Path) -> Result<(), OpenError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })
}

/// Looks at the schema version before anything is written, the journal mode included.
async fn refuse_newer(path: &Path, options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let sql = |source| OpenError::Sql { path: path.to_owned(), source };
    let mut look = SqliteConnectOptions::new()
        .filename(options.get_filename())
        .read_only(true)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(sql)?;
    let tables: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_one(&mut look)
    .await
    .map_err(sql)?;
    if tables == 0 {
        return Ok(());
    }
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut look)
        .await
        .map_err(sql)?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match found {
        Some(found) if found > known => {
            Err(OpenError::Newer { path: path.to_owned(), found, known })
        }
        _ => Ok(()),
    }
}

fn migrate_error(path: &Path, source: MigrateError) -> OpenError {
    OpenError::Migrate { path: path.to_owned(), source }
}
