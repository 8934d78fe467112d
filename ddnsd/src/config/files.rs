//! Files that the configuration names in, their bytes out: regular files only, of a bounded size, and the
//! private ones only if others cannot read them.

use super::error::Location;
use crate::model::name::Zone;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file that a key names.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) location: Location,
    pub(super) path: PathBuf,
}

/// The files that a configuration uses; what is switched off names none.
#[derive(Default)]
pub(super) struct NamedFiles {
    /// Where the file itself holds a secret, which makes it one of those to be kept private.
    pub(super) secret_inside: Option<Location>,
    /// Certificate chain and key.
    pub(super) tls: Option<(NamedFile, NamedFile)>,
    pub(super) database_password: Option<NamedFile>,
    pub(super) default_key: Option<NamedFile>,
    pub(super) zone_keys: Vec<(Zone, NamedFile)>,
    /// The user name, and where its password is.
    pub(super) smtp_login: Option<(String, NamedFile)>,
    /// Certificates of authorities.
    pub(super) authorities: Vec<NamedFile>,
    pub(super) templates: Vec<NamedFile>,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Anyone.
    Public,
    /// Owner and group.
    Private,
}

/// A file's bytes and its mode at that time.
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Content {
    /// Checks that the mode gives nothing to others than owner and group.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the file's name, with the chmod that mends it.
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

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// The rest of a sentence that begins with the file's name.
pub(super) fn read(path: &Path, most: u64, privacy: Privacy) -> Result<Content, String> {
    let failed = |error| format!("cannot be read: {error}");
    // without O_NONBLOCK a FIFO would be waited for
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let opened = opened.map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let bytes = read_at_most(opened, most).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| format!("is larger than {most} bytes"))?;
    let content = Content { bytes, mode: metadata.permissions().mode() };
    if privacy == Privacy::Private {
        content.must_be_private(path)?;
    }
    Ok(content)
}

fn read_at_most(file: File, most: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
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
    fn a_private_file_that_others_can_reach_is_refused_with_the_chmod_that_mends_it() {
        for (mode, can) in [(0o644, "readable"), (0o642, "writable"), (0o641, "executable")] {
            let (_folder, path) = with_mode(mode);
            let refused = read(&path, 10, Privacy::Private).err();
            let mend = format!("is {can} by everyone; chmod 640 {}", path.display());
            assert_eq!(refused, Some(mend));
            assert!(read(&path, 10, Privacy::Public).is_ok());
        }
        for mode in [0o640, 0o600, 0o660, 0o400] {
            let (_folder, path) = with_mode(mode);
            assert_eq!(*read(&path, 5, Privacy::Private).unwrap().bytes, b"12345");
        }
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
