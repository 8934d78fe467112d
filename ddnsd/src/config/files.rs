//! In: a file that the configuration names. Out: its bytes. Reads regular files of a bounded size
//! only, and private ones only if others cannot read them.

use super::error::Location;
use crate::model::name::Zone;
use crate::model::notice::NoticeKind;
use crate::model::secret::SecretBytes;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most that any of the files may have.
const MAX_BYTES: u64 = 1 << 20;

/// A file that a key names.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) location: Location,
    pub(super) path: PathBuf,
}

/// The files that a configuration uses; a disabled feature names none.
#[derive(Default)]
pub(super) struct NamedFiles {
    /// The key with a secret in the configuration file itself, which must be private then.
    pub(super) secret_inside: Option<Location>,
    /// Certificate chain and key.
    pub(super) tls: Option<(NamedFile, NamedFile)>,
    pub(super) database_password: Option<NamedFile>,
    pub(super) keys: KeyFiles,
    /// The user name and the file of its password.
    pub(super) smtp_login: Option<(String, NamedFile)>,
    /// CA certificates of the mail server.
    pub(super) smtp_authorities: Option<NamedFile>,
    /// CA certificates of the database server.
    pub(super) authorities: Vec<NamedFile>,
    pub(super) templates: Vec<(NoticeKind, NamedFile)>,
}

/// The files of TSIG keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyFiles {
    pub(super) default: Option<NamedFile>,
    pub(super) zones: Vec<(Zone, NamedFile)>,
}

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct ReadFile {
    /// The dotted key that names it.
    pub key: String,
    pub path: PathBuf,
    stamp: Stamp,
    /// SHA-256 of the content.
    digest: SecretBytes,
}

/// What the file system knows of a file without reading it. It differs after every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

/// What became of a file since it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// It cannot be read any more: the rest of a sentence that begins with its name.
    Unreadable(String),
    /// It holds something else, with this digest.
    Content(SecretBytes),
}

impl ReadFile {
    pub(super) fn new(file: &NamedFile, content: &Content) -> Self {
        let (key, path) = (file.location.key.clone(), file.path.clone());
        Self { key, path, stamp: content.stamp, digest: digest(&content.bytes) }
    }

    /// Whether it holds a TSIG key.
    pub fn is_tsig_key(&self) -> bool {
        self.key == "dns_service.ddns_default_key_file"
            || self.key.starts_with("dns_service.zone_keys.")
    }

    /// Compares it with what is on disk now; `None` if that is the same. Blocks.
    pub fn change(&self) -> Option<FileChange> {
        if std::fs::metadata(&self.path).is_ok_and(|found| Stamp::of(&found) == self.stamp) {
            return None;
        }
        match read(&self.path, MAX_BYTES, Privacy::Public) {
            Ok(content) => {
                let found = digest(&content.bytes);
                (found != self.digest).then_some(FileChange::Content(found))
            }
            Err(why) => Some(FileChange::Unreadable(why)),
        }
    }
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), size: file.size(), changed }
    }
}

fn digest(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(Sha256::digest(bytes).to_vec())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Anyone.
    Public,
    /// Owner and group.
    Private,
}

/// The bytes of a file and its mode.
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
    stamp: Stamp,
}

impl Content {
    /// Checks that the mode gives others than owner and group no access.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the file's name, with the chmod that fixes it.
    pub(super) fn must_be_private(&self, path: &Path) -> Result<(), String> {
        let can = match self.mode & 0o7 {
            0 => return Ok(()),
            others if others & 0o4 != 0 => "readable",
            others if others & 0o2 != 0 => "writable",
            _ => "executable",
        };
        Err(format!("is {can} by everyone; chmod 640 {}", path.display()))
    }
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// The rest of a sentence that begins with the file's name.
pub(super) fn read(path: &Path, max_bytes: u64, privacy: Privacy) -> Result<Content, String> {
    let failed = |error| format!("cannot be read: {error}");
    // without O_NONBLOCK, opening a FIFO blocks until it has a writer
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let opened = opened.map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let bytes = read_at_most(opened, max_bytes).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| format!("is larger than {max_bytes} bytes"))?;
    let mode = metadata.permissions().mode();
    let content = Content { bytes, mode, stamp: Stamp::of(&metadata) };
    if privacy == Privacy::Private {
        content.must_be_private(path)?;
    }
    Ok(content)
}

fn read_at_most(file: File, max_bytes: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn with_mode(mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ddns.key");
        fs::write(&path, "12345").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_private_file_that_others_can_reach_is_refused_with_the_chmod_that_fixes_it() {
        for (mode, can) in [(0o644, "readable"), (0o642, "writable"), (0o641, "executable")] {
            let (_folder, path) = with_mode(mode);
            let refused = read(&path, 10, Privacy::Private).err();
            let expected = format!("is {can} by everyone; chmod 640 {}", path.display());
            assert_eq!(refused, Some(expected));
            assert!(read(&path, 10, Privacy::Public).is_ok());
        }
        for mode in [0o640, 0o600, 0o660, 0o400] {
            let (_folder, path) = with_mode(mode);
            assert_eq!(*read(&path, 5, Privacy::Private).unwrap().bytes, b"12345");
        }
    }

    #[test]
    fn a_file_that_was_read_is_compared_by_its_content() {
        let (_folder, path) = with_mode(0o640);
        let file = NamedFile { location: Location::default(), path: path.clone() };
        let read_file = ReadFile::new(&file, &read(&path, 10, Privacy::Public).unwrap());
        assert_eq!(read_file.change(), None);
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_file.change(), None, "the same content");
        fs::write(&path, "1234 ").unwrap();
        assert_eq!(read_file.change(), Some(FileChange::Content(digest(b"1234 "))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read_file.change(), Some(FileChange::Unreadable(_))));
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let (folder, path) = with_mode(0o600);
        let refused = |path: &Path| read(path, 4, Privacy::Public).err().unwrap();
        assert_eq!(refused(&path), "is larger than 4 bytes");
        assert_eq!(refused(folder.path()), "is not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "is not a regular file");
        let missing = "cannot be read: No such file or directory (os error 2)";
        assert_eq!(refused(&folder.path().join("none")), missing);
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(refused(&fifo), "is not a regular file");
    }
}
