//! Opens an SQLite file: the owner lock, the file with its mode, the schema, the connections.

use super::file::{DatabaseFile, beside};
use crate::db::connection::Conn;
use crate::db::error::{OpenError, reason};
use crate::db::{migrating, schema};
use nix::fcntl::{Flock, FlockArg};
use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    schema::migrations(&[("first", include_str!("../../../../migrations/sqlite/0001_first.sql"))])
});

/// Rows that a query reads ahead of its reader, as many as a page has. With fewer, the reader and
/// SQLite's thread wake each other often.
const ROWS_AHEAD: usize = 512;
/// Longest wait for another program that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A lock on `PATH.lock`. A lock on the database file itself would end as soon as SQLite closes any
/// descriptor of that file.
pub(in crate::db) struct OwnerLock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

/// An open database.
pub(in crate::db) struct SqliteOpened {
    pub(in crate::db) readers: SqlitePool,
    pub(in crate::db) writer: Conn,
    pub(in crate::db) file: DatabaseFile,
    pub(in crate::db) owner: OwnerLock,
}

/// Opens the file, and creates or migrates it as needed.
pub(in crate::db) async fn open(path: &Path, pool_size: u32) -> Result<SqliteOpened, OpenError> {
    // one file has one lock, whatever symbolic links lead to it
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    must_be_a_file_of_one_name(path)?;
    let owner = lock(path)?;
    let database = path.display().to_string();
    let failed = |error| failure(&database, &error);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging();
    if create(path)? == Existed::Yes {
        // read-only, because closing the last connection may write to another program's database;
        // but what a start that was killed left half-written must be rolled back
        let look = options.clone().read_only(!has_rollback_journal(path));
        let mut conn = Conn::Sqlite(look.connect().await.map_err(failed)?);
        schema::refuse_foreign(&database, &mut conn, &MIGRATIONS).await?;
        // a reader that stays would keep the journal from being cleaned up
        conn.close().await.map_err(schema::failed(&database))?;
    }
    // an empty file, too, which someone else has created
    close_to_others(path)?;
    let options = options
        .foreign_keys(true)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut writer = Conn::Sqlite(options.connect().await.map_err(failed)?);
    let migrated = migrating::run(&mut writer, &MIGRATIONS).await;
    migrated.map_err(|reason| OpenError::Migrate { database: database.clone(), reason })?;
    let readers = SqlitePoolOptions::new()
        .max_connections(pool_size.saturating_sub(1).max(1)) // one is the writer's
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(failed)?;
    let file = DatabaseFile::new(path);
    Ok(SqliteOpened { readers, writer, file, owner })
}

/// A second name of the file would have its own lock and journal.
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
    let name = beside(path, ".lock");
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

/// Creates the file with its mode, because SQLite would make it world-readable. It holds password
/// hashes. Its journals get the same mode.
fn create(path: &Path) -> Result<Existed, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok(if metadata.len() == 0 { Existed::No } else { Existed::Yes })
}

/// Whether a transaction may have been interrupted, before the file got its write-ahead log.
fn has_rollback_journal(path: &Path) -> bool {
    beside(path, "-journal").exists()
}

/// Removes the permissions of others from the database and its journals.
fn close_to_others(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let name = beside(path, suffix);
        let Ok(metadata) = std::fs::metadata(&name) else { continue };
        let mode = metadata.permissions().mode();
        if mode & 0o007 != 0 {
            let closed = std::fs::set_permissions(&name, PermissionsExt::from_mode(mode & 0o7770));
            closed.map_err(|source| OpenError::File { path: name.clone(), source })?;
            tracing::warn!("{}: everyone had access to it; this is now removed", name.display());
        }
    }
    Ok(())
}

fn failure(database: &str, error: &sqlx::Error) -> OpenError {
    OpenError::Database { database: database.to_owned(), reason: reason(error) }
}
