//! A log file. In: level and text. Out: a line at its end; past the size it becomes NAME.1, the former
//! NAME.1 becomes NAME.2, and so on up to the number kept. If a rotation fails the file grows on, and it is
//! tried again later; a file that somebody took away is made anew.

use super::LogError;
use super::queue::{LineOutput, LineQueue, LineStart};
use super::stdout::stamped_now;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For the lines of before, which belong to the file of before.
const REOPENING: Duration = Duration::from_millis(500);

pub(super) struct LogFile {
    place: Arc<FileSettings>,
    lines: LineQueue,
}

/// What both ends of the queue know.
struct FileSettings {
    path: PathBuf,
    /// Before a rotation.
    max_bytes: AtomicU64,
    /// Rotated files kept.
    versions: AtomicU32,
    /// Opened to be used from the next line on.
    reopened: Mutex<Option<Current>>,
}

struct Current {
    file: File,
    /// A device or a pipe is not.
    is_regular: bool,
    bytes: u64,
}

impl Current {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        // a pipe that nobody reads is an error, and nothing to wait for
        options.custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        let found = file.metadata()?;
        Ok(Self { file, is_regular: found.is_file(), bytes: found.len() })
    }
}

impl LogFile {
    pub(super) fn open(path: &Path, max_bytes: u64, versions: u32) -> Result<Self, LogError> {
        let failed = |source| LogError::File { path: path.to_owned(), source };
        let current = Current::open(path).map_err(failed)?;
        let (max_bytes, versions) = (AtomicU64::new(max_bytes), AtomicU32::new(versions));
        let reopened = Mutex::new(None);
        let place = Arc::new(FileSettings { path: path.to_owned(), max_bytes, versions, reopened });
        let output = Rotating { place: Arc::clone(&place), current };
        Ok(Self { place, lines: LineQueue::start(stamped_now, output)? })
    }

    /// Rotates by these numbers from the next line on.
    pub(super) fn resize(&self, max_bytes: u64, versions: u32) {
        let place = &self.place;
        let now = (&place.max_bytes, &place.versions);
        // as at nearly every reload, which must not wait for the disk then
        if (now.0.load(Ordering::Relaxed), now.1.load(Ordering::Relaxed)) == (max_bytes, versions) {
            return;
        }
        // lines of before count by the numbers of before
        self.lines.flush(REOPENING);
        now.0.store(max_bytes, Ordering::Relaxed);
        now.1.store(versions, Ordering::Relaxed);
    }

    /// Follows the path to the file that is there now, or makes it.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let path = &self.place.path;
        let failed = |source| LogError::File { path: path.clone(), source };
        let anew = Current::open(path).map_err(failed)?;
        self.lines.flush(REOPENING);
        *self.place.reopened() = Some(anew);
        Ok(())
    }

    /// On a full disk the line is lost.
    pub(super) fn lines(&self) -> &LineQueue {
        &self.lines
    }
}

/// The file as its writing thread has it.
struct Rotating {
    place: Arc<FileSettings>,
    current: Current,
}

impl LineOutput for Rotating {
    fn begin(&mut self, bytes: u64) -> LineStart {
        let mut place = LineStart::Same;
        if let Some(anew) = self.place.reopened().take() {
            self.current = anew;
            place = LineStart::Anew;
        }
        let max_bytes = self.place.max_bytes.load(Ordering::Relaxed);
        let Current { is_regular, bytes: before, .. } = self.current;
        if is_regular && before > 0 && before + bytes > max_bytes {
            // a rotation that failed is tried again after as many bytes, not with every line
            self.current.bytes = 0;
            if let Ok(anew) = self.place.rotate() {
                self.current = anew;
                place = LineStart::Anew;
            }
        }
        place
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let written = self.current.file.write(bytes)?;
        self.current.bytes += written as u64;
        Ok(written)
    }
}

impl FileSettings {
    fn reopened(&self) -> MutexGuard<'_, Option<Current>> {
        self.reopened.lock().unwrap_or_else(PoisonError::into_inner)
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
    use tracing::Level;

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
            file.lines().push(Level::INFO, word);
        }
        file.lines().flush(Duration::from_secs(20));
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
    fn the_same_numbers_again_wait_for_nobody_who_reads_the_log() {
        let folder = Folder::new();
        let path = folder.path();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path, TWO_LINES, 1).unwrap();
        for _ in 0..1_000 {
            file.lines().push(Level::INFO, &"x".repeat(1000));
        }
        let (resized, is_resized) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..60 {
                file.resize(TWO_LINES, 1);
            }
            resized.send(()).unwrap();
        });
        // each wait would be half a second
        assert!(is_resized.recv_timeout(REOPENING * 30).is_ok());
        drop(reader);
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
        assert!(file.reopen().is_ok());
        write(&file, &["f"]);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_at_the_start_and_holds_nobody_up_later() {
        let folder = Folder::new();
        let path = folder.path();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(LogFile::open(&path, TWO_LINES, 1).is_err());
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path, TWO_LINES, 1).unwrap();
        for _ in 0..10_000 {
            file.lines().push(Level::INFO, &"x".repeat(1000));
        }
        assert!(file.reopen().is_ok());
        drop(reader);
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
