//! Opening an SQLite file: the owner lock, the file with its mode, the schema, the connections.

use crate::db::connection::{Conn, ReadPool};
use crate::db::error::{OpenError, reason};
use crate::db::open::{FIRST_MIGRATION, Opened, Origin, refuse_newer, refuse_other_migrations};
use nix::fcntl::{Flock, FlockArg};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, SqlSafeStr as _, SqliteConnection,
};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(in crate::db) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// For another program that has the file locked.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Holds `PATH.lock`. A lock on the database file itself would vanish with any descriptor of it that
/// SQLite closes.
pub(in crate::db) struct OwnerLock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

/// Opens the file, and makes or migrates it as needed.
pub(in crate::db) async fn open(path: &Path, pool_size: u32) -> Result<Opened, OpenError> {
    // one file has one lock, whatever symbolic links lead to it
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    must_be_a_file_of_one_name(path)?;
    let owner = lock(path)?;
    let failed = |error| failure(path, &error);
    let mut look = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(STATEMENT_TIMEOUT)
        .disable_statement_logging();
    if create(path)? == Existed::Yes {
        let mut look = look.connect().await.map_err(failed)?;
        refuse_foreign(path, &mut look).await?;
        // a reader that stays would keep the journal from being cleaned up
        look.close().await.map_err(failed)?;
    }
    // also of an empty file, which somebody else has made
    close_to_others(path)?;
    look = look.read_only(false).foreign_keys(true).create_if_missing(false);
    let options = look.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut writer = options.connect().await.map_err(failed)?;
    MIGRATIONS.run(&mut writer).await.map_err(|error| OpenError::Migrate {
        database: path.display().to_string(),
        reason: error.to_string(),
    })?;
    must_be_whole(path, &mut writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(pool_size)
        .acquire_timeout(STATEMENT_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(failed)?;
    let origin = Origin::File { _owner: owner };
    Ok(Opened { readers: ReadPool::Sqlite(readers), writer: Conn::Sqlite(writer), origin })
}

/// Nothing but a file is a database, and a second name of it would have a lock and a journal of its own.
fn must_be_a_file_of_one_name(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Ok(other) if !other.is_file() => Err(OpenError::NoFile { path: path.to_owned() }),
        Ok(file) if file.is_file() && file.nlink() > 1 => {
            Err(OpenError::Linked { path: path.to_owned(), links: file.nlink() })
        }
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<OwnerLock, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = file.map_err(|source| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            OpenError::NoFolder { path: path.to_owned(), folder: folder.to_owned() }
        }
        _ => OpenError::File { path: name.clone(), source },
    })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(OwnerLock(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(OpenError::Owned { path: path.to_owned() }),
        Err((_, errno)) => Err(OpenError::File { path: name, source: errno.into() }),
    }
}

#[derive(PartialEq, Eq)]
enum Existed {
    Yes,
    No,
}

/// Makes the file with its mode before SQLite would make it world-readable; it holds password hashes,
/// and its journals take its mode over.
fn create(path: &Path) -> Result<Existed, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok(if metadata.len() == 0 { Existed::No } else { Existed::Yes })
}

/// Takes from everyone what they could do with a database of ours, and its journals.
fn close_to_others(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let name = PathBuf::from(name);
        let Ok(metadata) = std::fs::metadata(&name) else { continue };
        let mode = metadata.permissions().mode();
        if mode & 0o007 != 0 {
            let closed = std::fs::set_permissions(&name, PermissionsExt::from_mode(mode & 0o7770));
            closed.map_err(|source| OpenError::File { path: name.clone(), source })?;
            tracing::warn!("{}: it was open to everyone, and is no more", name.display());
        }
    }
    Ok(())
}

/// Looks whose database it is before anything is written, the journal mode included.
async fn refuse_foreign(path: &Path, look: &mut SqliteConnection) -> Result<(), OpenError> {
    let failed = |error| failure(path, &error);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    )
    .fetch_all(&mut *look)
    .await
    .map_err(failed)?;
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return match tables.into_iter().next() {
            Some(table) => Err(OpenError::Foreign { database: path.display().to_string(), table }),
            None => Ok(()),
        };
    }
    let database = path.display().to_string();
    // where even that column is another one, it is no table of ours
    let first = sqlx::query_scalar(FIRST_MIGRATION).fetch_optional(&mut *look).await;
    let first: Option<String> = match first {
        Err(sqlx::Error::Database(error)) if error.message().contains("no such column") => {
            Some(String::new())
        }
        first => first.map_err(failed)?,
    };
    refuse_other_migrations(&database, first.as_deref(), &MIGRATIONS)?;
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut *look)
        .await
        .map_err(failed)?;
    refuse_newer(&database, found, &MIGRATIONS)
}

/// Every statement must find its tables and columns, now and not at the first update.
async fn must_be_whole(path: &Path, conn: &mut SqliteConnection) -> Result<(), OpenError> {
    for sql in crate::db::all_statements() {
        let prepared = conn.prepare(sql.sqlite.into_sql_str()).await;
        prepared.map_err(|error| match error {
            sqlx::Error::Database(error) if error.message().starts_with("no such") => {
                OpenError::Incomplete {
                    database: path.display().to_string(),
                    reason: error.message().to_owned(),
                }
            }
            error => failure(path, &error),
        })?;
    }
    Ok(())
}

fn failure(path: &Path, error: &sqlx::Error) -> OpenError {
    OpenError::Database { database: path.display().to_string(), reason: reason(error) }
}
