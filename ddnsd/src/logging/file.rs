//! A log file. In: level and text. Out: a line at its end; past the size it becomes NAME.1, the former
//! NAME.1 becomes NAME.2, and so on up to the number kept. If a rotation fails the file grows on, and it is
//! tried again later; a file that somebody took away is made anew.

use super::LogError;
use super::stdout::{now, stamped};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::Level;

pub(super) struct LogFile {
    path: PathBuf,
    /// Before a rotation.
    max_bytes: AtomicU64,
    /// Rotated files kept.
    versions: AtomicU32,
    current: Mutex<Current>,
}

struct Current {
    file: File,
    /// A device or a pipe is not.
    is_regular: bool,
    bytes: u64,
}

impl Current {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let found = file.metadata()?;
        Ok(Self { file, is_regular: found.is_file(), bytes: found.len() })
    }
}

impl LogFile {
    pub(super) fn open(path: &Path, max_bytes: u64, versions: u32) -> Result<Self, LogError> {
        let failed = |source| LogError::File { path: path.to_owned(), source };
        let current = Mutex::new(Current::open(path).map_err(failed)?);
        let (max_bytes, versions) = (AtomicU64::new(max_bytes), AtomicU32::new(versions));
        Ok(Self { path: path.to_owned(), max_bytes, versions, current })
    }

    /// Rotates by these numbers from the next line on.
    pub(super) fn resize(&self, max_bytes: u64, versions: u32) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.versions.store(versions, Ordering::Relaxed);
    }

    /// Follows the path to the file that is there now, or makes it.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let failed = |source| LogError::File { path: self.path.clone(), source };
        let anew = Current::open(&self.path).map_err(failed)?;
        *self.lock() = anew;
        Ok(())
    }

    /// On a full disk the line is lost.
    pub(super) fn write(&self, level: Level, text: &str) {
        let line = stamped(&now(), level, text);
        let bytes = line.len() as u64;
        let max_bytes = self.max_bytes.load(Ordering::Relaxed);
        let mut current = self.lock();
        if current.is_regular && current.bytes > 0 && current.bytes + bytes > max_bytes {
            // a rotation that failed is tried again after as many bytes, not with every line
            current.bytes = 0;
            if let Ok(anew) = self.rotate() {
                *current = anew;
            }
        }
        if current.file.write_all(line.as_bytes()).is_ok() {
            current.bytes += bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rotate(&self) -> Result<Current, Error> {
        let versions = self.versions.load(Ordering::Relaxed);
        if versions == 0 {
            unless_gone(std::fs::remove_file(&self.path))?;
        } else {
            // up to the first gap, so that a large number of versions costs nothing
            let free = (1..versions).find(|version| !self.version(*version).exists());
            for version in (1..free.unwrap_or(versions)).rev() {
                unless_gone(std::fs::rename(self.version(version), self.version(version + 1)))?;
            }
            unless_gone(std::fs::rename(&self.path, self.version(1)))?;
        }
        Current::open(&self.path)
    }

    fn version(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Somebody else, or a rotation that broke off, was faster.
fn unless_gone(done: Result<(), Error>) -> Result<(), Error> {
    done.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("ddnsd.log")
        }

        /// The last word of each line of a file.
        fn words(&self, name: &str) -> Vec<String> {
            let text = std::fs::read_to_string(self.0.path().join(name)).unwrap();
            text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    /// Two lines of a word fit, three do not.
    const TWO_LINES: u64 = 100;

    fn write(file: &LogFile, words: &[&str]) {
        for word in words {
            file.write(Level::INFO, word);
        }
    }

    #[test]
    fn the_newest_rotated_file_is_1_and_the_oldest_goes() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 2).unwrap();
        write(&file, &["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(folder.names(), ["ddnsd.log", "ddnsd.log.1", "ddnsd.log.2"]);
        assert_eq!(folder.words("ddnsd.log"), ["g", "h"]);
        assert_eq!(folder.words("ddnsd.log.1"), ["e", "f"]);
        assert_eq!(folder.words("ddnsd.log.2"), ["c", "d"]);
    }

    #[test]
    fn no_versions_keep_nothing() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 0).unwrap();
        write(&file, &["a", "b", "c"]);
        assert_eq!(folder.names(), ["ddnsd.log"]);
        assert_eq!(folder.words("ddnsd.log"), ["c"]);
    }

    #[test]
    fn a_gap_is_filled_and_what_lies_beyond_is_left_alone() {
        let folder = Folder::new();
        std::fs::write(folder.0.path().join("ddnsd.log.3"), "x old\n").unwrap();
        let file = LogFile::open(&folder.path(), TWO_LINES, u32::MAX).unwrap();
        write(&file, &["a", "b", "c", "d", "e"]);
        assert_eq!(folder.words("ddnsd.log.2"), ["a", "b"]);
        assert_eq!(folder.words("ddnsd.log.3"), ["old"]);
    }

    #[test]
    fn a_file_that_is_there_is_continued_and_counted() {
        let folder = Folder::new();
        write(&LogFile::open(&folder.path(), TWO_LINES, 1).unwrap(), &["a", "b"]);
        write(&LogFile::open(&folder.path(), TWO_LINES, 1).unwrap(), &["c"]);
        assert_eq!(folder.words("ddnsd.log.1"), ["a", "b"]);
        assert_eq!(folder.words("ddnsd.log"), ["c"]);
    }

    #[test]
    fn a_file_that_somebody_took_away_is_made_anew_at_the_next_rotation() {
        for versions in [0, 1, 3] {
            let folder = Folder::new();
            let file = LogFile::open(&folder.path(), TWO_LINES, versions).unwrap();
            write(&file, &["a"]);
            std::fs::remove_file(folder.path()).unwrap();
            write(&file, &["b", "c"]);
            assert_eq!(
                (folder.names(), folder.words("ddnsd.log")),
                (vec!["ddnsd.log".to_owned()], vec!["c".to_owned()])
            );
        }
    }

    #[test]
    fn a_rotation_that_broke_off_is_done_the_next_time() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 2).unwrap();
        write(&file, &["a", "b"]);
        // moved, but no new file could be opened
        std::fs::rename(folder.path(), folder.0.path().join("ddnsd.log.1")).unwrap();
        std::fs::create_dir(folder.path()).unwrap();
        write(&file, &["c"]);
        std::fs::remove_dir(folder.path()).unwrap_or_default();
        write(&file, &["d", "e", "f"]);
        assert!(folder.path().is_file(), "{:?}", folder.names());
        write(&file, &["g"]);
        assert!(folder.words("ddnsd.log").contains(&"g".to_owned()));
    }

    #[test]
    fn other_numbers_count_from_the_next_line_on() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), u64::MAX, 5).unwrap();
        write(&file, &["a", "b"]);
        file.resize(TWO_LINES, 1);
        write(&file, &["c", "d", "e"]);
        assert_eq!(folder.names(), ["ddnsd.log", "ddnsd.log.1"]);
        assert_eq!(folder.words("ddnsd.log.1"), ["c", "d"]);
    }

    #[test]
    fn others_cannot_read_it() {
        let folder = Folder::new();
        let _file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn reopening_follows_what_logrotate_moved() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        write(&file, &["a"]);
        std::fs::rename(folder.path(), folder.0.path().join("moved")).unwrap();
        file.reopen().unwrap();
        write(&file, &["b"]);
        assert_eq!(
            (folder.words("moved"), folder.words("ddnsd.log")),
            (vec!["a".into()], vec!["b".into()])
        );
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let path = Path::new("/nonexistent/ddnsd.log");
        let error = LogFile::open(path, TWO_LINES, 1).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/ddnsd.log"), "{error}");
    }

    #[test]
    fn when_the_folder_is_gone_lines_are_still_taken() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        drop(folder);
        write(&file, &["a", "b", "c", "d", "e"]);
        assert!(file.reopen().is_err());
    }

    #[test]
    fn a_full_disk_loses_lines_and_nothing_else() {
        let file = LogFile::open(Path::new("/dev/full"), u64::MAX, 1).unwrap();
        write(&file, &["a", "b", "c", "d", "e"]);
        assert_eq!(file.lock().bytes, 0);
    }

    #[test]
    fn a_device_is_never_rotated() {
        let folder = Folder::new();
        std::os::unix::fs::symlink("/dev/null", folder.path()).unwrap();
        let file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        write(&file, &["a", "b", "c", "d", "e"]);
        assert_eq!(folder.names(), ["ddnsd.log"]);
    }
}
