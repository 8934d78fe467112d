//! What can go wrong with the database, as the stories need to tell it apart.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::mysql::MySqlDatabaseError;
use std::path::PathBuf;

/// Why a question or a change failed. Cloneable: a failed commit is everybody's who was in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// A row with this unique name is there already.
    #[error("it exists already")]
    Exists,
    /// Another row still refers to it, or the row it refers to is not there.
    #[error("another row needs it")]
    Referenced,
    /// A row does not convert into what it should be: somebody else wrote it.
    #[error("table `{table}`, column `{column}`, row {row}: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More changes wait than the writer will take.
    #[error("too many changes wait for the database")]
    Busy,
    /// The database is closed, or its writer ended.
    #[error("the database is closed")]
    Closed,
    /// The server did not answer in time, or let nobody in.
    #[error("the database does not answer")]
    NoAnswer,
    /// The server was told to commit and did not say that it has.
    #[error("the database did not say whether it was stored; look before you try again")]
    Unconfirmed,
    /// Another session holds a row for too long.
    #[error("another session of the database holds a row that this one needs")]
    Locked,
    /// It lost a race for a row against another transaction; the same again may succeed.
    #[error("the database failed: {0}")]
    Conflict(String),
    /// A value does not fit its column.
    #[error("the database failed: {0}")]
    Unfit(String),
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
            // out of range, cut short, not of this kind, too long
            _ if matches!(mariadb_number(&error), Some(1264 | 1265 | 1366 | 1406)) => {
                DbError::Unfit(reason(&error))
            }
            _ if mariadb_number(&error) == Some(1205) => DbError::Locked,
            // deadlock; row changed since this transaction's snapshot
            _ if matches!(mariadb_number(&error), Some(1213 | 1020)) => {
                DbError::Conflict(reason(&error))
            }
            _ => match error {
                sqlx::Error::PoolClosed => DbError::Closed,
                sqlx::Error::PoolTimedOut => DbError::NoAnswer,
                error => DbError::Failed(reason(&error)),
            },
        }
    }
}

impl DbError {
    /// Whether only the job that met it failed, so that its transaction may go on for the others.
    pub(super) fn fails_one_write(&self) -> bool {
        matches!(self, DbError::Exists | DbError::Referenced | DbError::Row { .. })
    }

    /// Whether a statement that failed so says nothing of whether the database can be written.
    pub(super) fn concerns_rows_only(&self) -> bool {
        self.fails_one_write()
            || matches!(self, DbError::Unfit(_) | DbError::Locked | DbError::Conflict(_))
    }
}

/// What the database or the driver says, once: the driver's own words repeat it.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        other => other.to_string(),
    }
}

/// The number of a MariaDB server's error.
pub(super) fn mariadb_number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// Why the database could not be opened; each a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be made or opened.
    #[error("cannot open the database file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something else than a file.
    #[error("the database {path} is no regular file; set another database.path")]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// The folder of the file is not there.
    #[error(
        "cannot make the database {path}: there is no folder {folder}; make it, or set another database.path"
    )]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// What is missing.
        folder: PathBuf,
    },
    /// The file has several names.
    #[error(
        "the database {path} has {links} names (hard links), and under each it would have a journal of its own; remove all but one"
    )]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many.
        links: u64,
    },
    /// The lock is held.
    #[error(
        "the database {path} is in use by another ddnsd; stop that one first, or give this one its own database.path"
    )]
    Owned {
        /// Which.
        path: PathBuf,
    },
    /// A daemon runs on it.
    #[error(
        "the database {database} is in use by a running ddnsd; stop that one first (or start it again: every start makes and migrates the tables, too)"
    )]
    Used {
        /// Which.
        database: String,
    },
    /// Its schema is unknown to this program.
    #[error(
        "the database {database} was made by a newer ddnsd (schema version {found}, this one knows up to {known}); install that version again or restore a backup"
    )]
    Newer {
        /// Which.
        database: String,
        /// Its schema version.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// It has tables or views, but not ours.
    #[error(
        "the database {database} belongs to another program (it has a table `{table}` that ddnsd did not make); give ddnsd one of its own"
    )]
    Foreign {
        /// Which.
        database: String,
        /// One of its tables.
        table: String,
    },
    /// The database or its server said no.
    #[error("cannot open the database {database}: {reason}")]
    Database {
        /// Which.
        database: String,
        /// Why.
        reason: String,
    },
    /// A table or column of ours is not there any more.
    #[error(
        "the database {database} lacks something that ddnsd made: {reason}; restore a backup, or export from a copy that is whole"
    )]
    Incomplete {
        /// Which.
        database: String,
        /// What.
        reason: String,
    },
    /// A migration failed, or was edited after it had run.
    #[error("cannot bring the database {database} to the current schema: {reason}")]
    Migrate {
        /// Which.
        database: String,
        /// Why.
        reason: String,
    },
}
