//! What can go wrong with the database, as the stories need to tell it apart.

use std::path::PathBuf;
use std::sync::Arc;

/// Why a question or a change failed. Cloneable: a failed commit is everybody's who was in it.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// Everything else: I/O, disk full, no answer.
    #[error("the database failed: {0}")]
    Failed(Arc<sqlx::Error>),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
            Some(sqlx::error::ErrorKind::UniqueViolation) => DbError::Exists,
            Some(sqlx::error::ErrorKind::ForeignKeyViolation) => DbError::Referenced,
            _ if matches!(error, sqlx::Error::PoolClosed) => DbError::Closed,
            _ => DbError::Failed(Arc::new(error)),
        }
    }
}

impl DbError {
    /// Whether only the job that met it failed, so that its transaction may go on for the others.
    pub(super) fn is_jobs_own(&self) -> bool {
        matches!(self, DbError::Exists | DbError::Referenced | DbError::Row { .. })
    }
}

/// Why the database could not be opened; each a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not built yet.
    #[error("database.backend: MariaDB is not supported by this version; use \"sqlite\"")]
    MariaDb,
    /// A folder or file cannot be made or opened.
    #[error("cannot open the database {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The lock is held.
    #[error(
        "the database {path} is in use by another ddnsd; stop that one first, or give this one its own database.path"
    )]
    Owned {
        /// Which.
        path: PathBuf,
    },
    /// Its schema is unknown to this program.
    #[error(
        "the database {path} was made by a newer ddnsd (schema version {found}, this one knows up to {known}); install that version again or restore a backup"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// SQLite or a migration failed.
    #[error("cannot open the database {path}: {source}")]
    Sql {
        /// Which.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A migration failed, or was edited after it had run.
    #[error("cannot bring the database {path} to the current schema: {source}")]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
}
