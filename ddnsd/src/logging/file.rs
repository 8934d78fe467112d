//! A log file. Past its size it becomes NAME.1, the old NAME.1 becomes NAME.2, and so on up to the
//! number of versions. If a rotation fails, the file grows on and the rotation is retried later. A
//! file that was removed is created again.

use super::error::LogError;
use super::format::stamped;
use super::queue::{LineQueue, LogLine, LogOutput};
use super::stream::LineStream;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time limit for the lines that still belong to the old file, or to the old limits.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

pub(super) struct LogFile {
    path: PathBuf,
    control: Arc<Mutex<FileControl>>,
    lines: LineQueue,
}

/// What the daemon changes and the log's thread reads.
struct FileControl {
    limits: RotationLimits,
    /// Replaces the file in use before the next line.
    reopened: Option<OpenFile>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct RotationLimits {
    max_bytes: u64,
    /// Number of rotated files to keep.
    versions: u32,
}

impl LogFile {
    pub(super) fn open(path: &Path, max_bytes: u64, versions: u32) -> Result<Self, LogError> {
        let file = open(path)?;
        let limits = RotationLimits { max_bytes, versions };
        let control = Arc::new(Mutex::new(FileControl { limits, reopened: None }));
        let path = path.to_owned();
        let output = RotatingFile { path: path.clone(), control: Arc::clone(&control), file };
        Ok(Self { path, control, lines: LineQueue::start(output)? })
    }

    /// Rotates by new limits from the next line on.
    pub(super) fn resize(&self, max_bytes: u64, versions: u32) {
        let limits = RotationLimits { max_bytes, versions };
        // nearly every reload keeps the limits, and must not wait for the disk then
        if lock(&self.control).limits == limits {
            return;
        }
        self.lines.flush(FLUSH_LIMIT);
        lock(&self.control).limits = limits;
    }

    /// Opens the file at the path again, or creates it.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let file = open(&self.path)?;
        self.lines.flush(FLUSH_LIMIT);
        lock(&self.control).reopened = Some(file);
        Ok(())
    }

    pub(super) fn lines(&self) -> &LineQueue {
        &self.lines
    }
}

fn lock(control: &Mutex<FileControl>) -> MutexGuard<'_, FileControl> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

struct OpenFile {
    stream: LineStream<File>,
    /// Devices and pipes are never rotated.
    is_regular: bool,
    bytes: u64,
}

fn open(path: &Path) -> Result<OpenFile, LogError> {
    OpenFile::open(path).map_err(|source| LogError::File { path: path.to_owned(), source })
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        // opening a pipe without a reader fails then, instead of waiting for one
        options.custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        let found = file.metadata()?;
        let stream = LineStream::new(file);
        Ok(Self { stream, is_regular: found.is_file(), bytes: found.len() })
    }
}

/// The file as the log's thread uses it.
struct RotatingFile {
    path: PathBuf,
    control: Arc<Mutex<FileControl>>,
    file: OpenFile,
}

impl LogOutput for RotatingFile {
    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        let line = stamped(line);
        let bytes = line.len() as u64;
        let limits = self.apply_control();
        let OpenFile { is_regular, bytes: before, .. } = self.file;
        if is_regular && before > 0 && before + bytes > limits.max_bytes {
            // a failed rotation is retried after as many bytes, not with every line
            self.file.bytes = 0;
            if let Ok(file) = rotate(&self.path, limits.versions) {
                self.file = file;
            }
        }
        self.file.bytes += bytes;
        self.file.stream.write_line(&line)
    }
}

impl RotatingFile {
    fn apply_control(&mut self) -> RotationLimits {
        let mut control = lock(&self.control);
        if let Some(file) = control.reopened.take() {
            self.file = file;
        }
        control.limits
    }
}

fn rotate(path: &Path, versions: u32) -> Result<OpenFile, Error> {
    let version = |number: u32| {
        let mut name = path.to_owned().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if versions == 0 {
        ignore_missing(std::fs::remove_file(path))?;
    } else {
        // only up to the first gap, so that a large number of versions costs nothing
        let free = (1..versions).find(|number| !version(*number).exists());
        for number in (1..free.unwrap_or(versions)).rev() {
            ignore_missing(std::fs::rename(version(number), version(number + 1)))?;
        }
        ignore_missing(std::fs::rename(path, version(1)))?;
    }
    OpenFile::open(path)
}

/// Another process, or a rotation that failed halfway, may have moved the file already.
fn ignore_missing(done: Result<(), Error>) -> Result<(), Error> {
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

    /// Two lines of one word fit, three do not.
    const TWO_LINES: u64 = 100;

    fn write(file: &LogFile, words: &[&str]) {
        for word in words {
            file.lines().push(Level::INFO, (*word).to_owned());
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
    fn a_gap_is_filled_and_versions_beyond_it_are_kept() {
        let folder = Folder::new();
        std::fs::write(folder.0.path().join("ddnsd.log.3"), "x old\n").unwrap();
        let file = LogFile::open(&folder.path(), TWO_LINES, u32::MAX).unwrap();
        write(&file, &["a", "b", "c", "d", "e"]);
        assert_eq!(folder.words("ddnsd.log.2"), ["a", "b"]);
        assert_eq!(folder.words("ddnsd.log.3"), ["old"]);
    }

    #[test]
    fn an_existing_file_is_continued_and_its_size_counts() {
        let folder = Folder::new();
        write(&LogFile::open(&folder.path(), TWO_LINES, 1).unwrap(), &["a", "b"]);
        write(&LogFile::open(&folder.path(), TWO_LINES, 1).unwrap(), &["c"]);
        assert_eq!(folder.words("ddnsd.log.1"), ["a", "b"]);
        assert_eq!(folder.words("ddnsd.log"), ["c"]);
    }

    #[test]
    fn a_file_that_was_removed_is_created_again_at_the_next_rotation() {
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
    fn a_rotation_that_failed_is_retried() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 2).unwrap();
        write(&file, &["a", "b"]);
        // moved, but the new file could not be opened
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
    fn new_limits_apply_from_the_next_line_on() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), u64::MAX, 5).unwrap();
        write(&file, &["a", "b"]);
        file.resize(TWO_LINES, 1);
        write(&file, &["c", "d", "e"]);
        assert_eq!(folder.names(), ["ddnsd.log", "ddnsd.log.1"]);
        assert_eq!(folder.words("ddnsd.log.1"), ["c", "d"]);
    }

    #[test]
    fn unchanged_limits_do_not_wait_for_a_blocked_reader() {
        let folder = Folder::new();
        let path = folder.path();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path, TWO_LINES, 1).unwrap();
        for _ in 0..1_000 {
            file.lines().push(Level::INFO, "x".repeat(1000));
        }
        let (resized, is_resized) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..60 {
                file.resize(TWO_LINES, 1);
            }
            resized.send(()).unwrap();
        });
        // each flush would take half a second
        assert!(is_resized.recv_timeout(FLUSH_LIMIT * 30).is_ok());
        drop(reader);
    }

    #[test]
    fn other_users_cannot_read_the_file() {
        let folder = Folder::new();
        let _file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn reopening_creates_the_file_that_logrotate_moved() {
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
    fn the_error_of_a_missing_folder_names_the_file() {
        let path = Path::new("/nonexistent/ddnsd.log");
        let error = LogFile::open(path, TWO_LINES, 1).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/ddnsd.log"), "{error}");
    }

    #[test]
    fn after_the_folder_was_removed_lines_are_still_accepted() {
        let folder = Folder::new();
        let file = LogFile::open(&folder.path(), TWO_LINES, 1).unwrap();
        drop(folder);
        write(&file, &["a", "b", "c", "d", "e"]);
        assert!(file.reopen().is_err());
    }

    #[test]
    fn a_full_disk_only_loses_lines() {
        let file = LogFile::open(Path::new("/dev/full"), u64::MAX, 1).unwrap();
        write(&file, &["a", "b", "c", "d", "e"]);
        assert!(file.reopen().is_ok());
        write(&file, &["f"]);
    }

    #[test]
    fn a_pipe_without_a_reader_fails_at_the_start_and_blocks_nothing_later() {
        let folder = Folder::new();
        let path = folder.path();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(LogFile::open(&path, TWO_LINES, 1).is_err());
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path, TWO_LINES, 1).unwrap();
        for _ in 0..10_000 {
            file.lines().push(Level::INFO, "x".repeat(1000));
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
