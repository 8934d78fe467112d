//! Errors of the database, as far as callers must tell them apart.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::mysql::MySqlDatabaseError;
use std::path::PathBuf;

/// Why a query or a change failed. It is cloned for every write of a failed transaction, so it
/// holds the driver's message and not the driver's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// The unique name is in use.
    #[error("it exists already")]
    Exists,
    /// A foreign key: the row is referenced, or the row it refers to is missing.
    #[error("another row refers to it")]
    Referenced,
    /// A row does not convert into a model type.
    #[error("table `{table}`, column `{column}`, row {row}: {problem}")]
    Row {
        table: &'static str,
        column: &'static str,
        /// The row's key.
        row: i64,
        problem: &'static str,
    },
    /// The writer's queue is full.
    #[error("too many changes wait for the database")]
    Busy,
    /// The database is closed, or its writer ended.
    #[error("the database is closed")]
    Closed,
    /// The server accepts no further connection, and none of ours is free in time.
    #[error(
        "the database server allows no more connections: {0} (lower database.pool_size, or raise the account's MAX_USER_CONNECTIONS or the server's max_connections)"
    )]
    NoConnection(String),
    /// The server did not answer in time, or no connection was free in time.
    #[error("the database does not answer")]
    NoAnswer,
    /// The server did not answer the COMMIT: the change may be stored.
    #[error("the database did not confirm the change; check whether it is stored before you retry")]
    Unconfirmed,
    /// A node of a Galera cluster that is not part of it at the moment; another node may work.
    #[error("the database failed: {0}")]
    NotReady(String),
    /// Another session holds a row lock for too long.
    #[error("another session of the database has locked a row that is needed")]
    Locked,
    /// Lost a race against another transaction (a deadlock, say); a retry may succeed.
    #[error("the database failed: {0}")]
    Conflict(String),
    /// A value does not fit its column.
    #[error("the database failed: {0}")]
    Unfit(String),
    /// A table or a column is missing.
    #[error("the database failed: {0}")]
    Missing(String),
    /// The SQLite file is not where it was.
    #[error(
        "the database file {0} or its log was moved away, replaced or deleted while ddnsd runs; move it back, or stop ddnsd and restore a backup"
    )]
    Moved(PathBuf),
    /// Everything else: I/O, disk full, connection lost.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().map(DatabaseError::kind) {
            Some(ErrorKind::UniqueViolation) => DbError::Exists,
            Some(ErrorKind::ForeignKeyViolation) => DbError::Referenced,
            Some(ErrorKind::NotNullViolation | ErrorKind::CheckViolation) => {
                DbError::Unfit(reason(&error))
            }
            _ => by_number(error),
        }
    }
}

fn by_number(error: sqlx::Error) -> DbError {
    match mariadb_number(&error) {
        // out of range, truncated, wrong type, too long
        Some(1264 | 1265 | 1366 | 1406) => DbError::Unfit(reason(&error)),
        Some(1205) => DbError::Locked,
        // "WSREP has not yet prepared node for application use"
        Some(1047) => DbError::NotReady(reason(&error)),
        _ if is_limit_of_connections(&error) => DbError::NoConnection(reason(&error)),
        // deadlock; row changed since this transaction's snapshot
        Some(1213 | 1020) => DbError::Conflict(reason(&error)),
        // no such table; no such column
        Some(1146 | 1054) => DbError::Missing(reason(&error)),
        _ if is_missing_in_sqlite(&error) => DbError::Missing(reason(&error)),
        _ => match error {
            sqlx::Error::PoolClosed => DbError::Closed,
            sqlx::Error::PoolTimedOut => DbError::NoAnswer,
            error => DbError::Failed(reason(&error)),
        },
    }
}

fn is_missing_in_sqlite(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().starts_with("no such "))
}

/// Whether the server refuses a connection because there are too many: of all, or of the account.
pub(super) fn is_limit_of_connections(error: &sqlx::Error) -> bool {
    match mariadb_number(error) {
        Some(1040 | 1203) => true,
        // also the limits of queries and updates an hour
        Some(1226) => reason(error).contains("connections"),
        _ => false,
    }
}

impl DbError {
    /// Whether only the write that met it fails, and its transaction goes on for the others.
    pub(super) fn fails_one_write(&self) -> bool {
        matches!(self, DbError::Exists | DbError::Referenced | DbError::Row { .. })
    }

    /// Whether it concerns the rows of this write, so that the database may well take others.
    pub(super) fn concerns_rows_only(&self) -> bool {
        self.fails_one_write()
            || matches!(self, DbError::Unfit(_) | DbError::Locked | DbError::Conflict(_))
    }

    /// Whether the connection cannot be used any more.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, DbError::NoAnswer | DbError::Unconfirmed | DbError::NotReady(_))
    }

    /// The message without "the database failed", for an error that says so itself.
    pub(super) fn reason(self) -> String {
        match self {
            DbError::NotReady(reason)
            | DbError::Conflict(reason)
            | DbError::Unfit(reason)
            | DbError::Missing(reason)
            | DbError::Failed(reason) => reason,
            other => other.to_string(),
        }
    }
}

/// The message of the database or the driver. The driver's own text would repeat it.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        other => other.to_string(),
    }
}

/// The error number of a MariaDB server.
pub(super) fn mariadb_number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be created or opened.
    #[error("cannot open the database file {path}")]
    File { path: PathBuf, source: std::io::Error },
    /// A folder or a device, say.
    #[error("the database {path} is not a regular file; set another database.path")]
    NoFile { path: PathBuf },
    #[error(
        "cannot create the database {path}: folder {folder} does not exist; create it, or set another database.path"
    )]
    NoFolder { path: PathBuf, folder: PathBuf },
    #[error(
        "the database {path} has {links} names (hard links), and each name would have its own journal; remove all but one"
    )]
    Linked { path: PathBuf, links: u64 },
    #[error(
        "the database {path} is in use by another ddnsd; stop that one first, or give this one its own database.path"
    )]
    Owned { path: PathBuf },
    #[error(
        "the database {database} is in use by a running ddnsd; stop it first (or just restart it: every start migrates the schema)"
    )]
    Used { database: String },
    #[error(
        "the database {database} was made by a newer ddnsd (schema version {found}, this one knows up to {known}); install that version again or restore a backup"
    )]
    Newer { database: String, found: i64, known: i64 },
    /// It has tables or views, but not ours.
    #[error(
        "the database {database} belongs to another program (it has a table `{table}` that ddnsd did not create); give ddnsd its own database"
    )]
    Foreign { database: String, table: String },
    /// The database or its server refused.
    #[error("cannot open the database {database}: {reason}")]
    Database { database: String, reason: String },
    /// One of our tables or columns is missing.
    #[error(
        "the database {database} is incomplete: {reason}; restore a backup, or export from a complete copy"
    )]
    Incomplete { database: String, reason: String },
    /// A migration failed, or was edited after it ran.
    #[error("cannot migrate the database {database} to the current schema: {reason}")]
    Migrate { database: String, reason: String },
}
