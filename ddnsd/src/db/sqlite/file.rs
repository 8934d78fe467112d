//! Detects that the database file or its write-ahead log is no longer at its path. SQLite goes on
//! with files that were moved away or deleted, and the next start would find none of its changes.

use crate::db::error::DbError;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

pub(in crate::db) struct DatabaseFile {
    files: [(PathBuf, FileId); 2],
    moved: AtomicBool,
}

/// `None` if the path names nothing.
type FileId = Option<(u64, u64)>;

impl DatabaseFile {
    /// Of a database that is open and has its log.
    pub(super) fn new(path: &Path) -> Self {
        let files = [path.to_owned(), beside(path, "-wal")];
        let files = files.map(|path| {
            let id = id(&path);
            (path, id)
        });
        Self { files, moved: AtomicBool::new(false) }
    }

    /// Looks whether the files are where they were.
    pub(in crate::db) fn check(&self) -> Result<(), DbError> {
        let moved = self.files.iter().find(|(path, opened)| id(path) != *opened);
        self.moved.store(moved.is_some(), Ordering::Relaxed);
        self.last_check()
    }

    /// The result of the last check, without looking again.
    pub(in crate::db) fn last_check(&self) -> Result<(), DbError> {
        if !self.moved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let [(path, _), _] = &self.files;
        Err(DbError::Moved(path.clone()))
    }
}

fn id(path: &Path) -> FileId {
    let id = |file: Metadata| (file.dev(), file.ino());
    std::fs::metadata(path).ok().map(id)
}

/// A file that SQLite keeps beside the database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
