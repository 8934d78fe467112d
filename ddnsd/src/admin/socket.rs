//! Creates the admin socket. In: `[admin]`. Out: a listener that had its mode and group before any
//! client could connect: it is bound in a private folder, then renamed into place. A lock on the
//! folder keeps two daemons that start at the same time from replacing each other's socket.

use super::peer::Policy;
use crate::config::AdminConfig;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::{Gid, Group, chown, getegid, geteuid, getgroups};
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;

/// Why the admin socket cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "cannot create the admin socket {}: folder {} does not exist (create it, or set `admin.socket` elsewhere)",
        socket.display(), folder.display()
    )]
    NoFolder { socket: PathBuf, folder: PathBuf },
    #[error(
        "cannot give the admin socket {} to `admin.group`: {source} (under systemd add the drop-in \
         admin-group.conf)",
        path.display()
    )]
    Chown { path: PathBuf, source: Errno },
    #[error(
        "cannot create the admin socket {}: the path is longer than 107 bytes (set a shorter `admin.socket`)",
        .0.display()
    )]
    TooLong(PathBuf),
    #[error(
        "cannot create the admin socket {}: the path exists and is not a socket (move it away, or set `admin.socket` elsewhere)",
        .0.display()
    )]
    NotASocket(PathBuf),
    #[error(
        "cannot create the admin socket {}: another daemon listens on it (stop that daemon, or set `admin.socket` elsewhere)",
        .0.display()
    )]
    InUse(PathBuf),
    #[error("`admin.group`: no group `{0}` (create it, or set \"\" for the daemon's own group)")]
    NoGroup(String),
    #[error(
        "`admin.group`: the daemon is not a member of group `{0}` (add the daemon's user to it, or set \"\")"
    )]
    ForeignGroup(String),
    #[error("cannot {doing} {}", path.display())]
    System {
        /// The verb after "cannot".
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// The bound socket at its path. Dropping it removes the file, unless another file took its place.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    policy: Policy,
    _file: SocketFile,
}

impl BoundSocket {
    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }
}

/// Binds the socket; needs a tokio runtime. Replaces a stale socket, but neither a socket in use
/// nor another file.
///
/// # Errors
/// A [`SocketError`]; the path is unchanged then.
pub fn bind(config: &AdminConfig) -> Result<BoundSocket, SocketError> {
    let path = config.socket.as_path();
    // bind() below gets the private folder's path, which may be shorter than the final path
    UnixAddr::new(path).map_err(|_| SocketError::TooLong(path.to_owned()))?;
    let group = admin_group(config.group.as_deref())?;
    let folder = SocketFolder::lock(path)?;
    refuse_if_taken(path)?;
    let private = PrivateFolder::make_in(&folder.path)?;
    let fresh = private.socket();
    let listener = StdListener::bind(&fresh).map_err(failed("bind", &fresh))?;
    // most often it has the group already, and a sandbox may forbid chown
    if fs::metadata(&fresh).map_err(failed("look at", &fresh))?.gid() != group.as_raw() {
        chown(&fresh, None, Some(group))
            .map_err(|source| SocketError::Chown { path: path.to_owned(), source })?;
    }
    fs::set_permissions(&fresh, Permissions::from_mode(config.mode & 0o777))
        .map_err(failed("set the mode of", &fresh))?;
    listener.set_nonblocking(true).map_err(failed("listen on", path))?;
    let listener = UnixListener::from_std(listener).map_err(failed("listen on", path))?;
    let file = SocketFile::identify(&fresh, path)?;
    fs::rename(&fresh, path).map_err(failed("create the admin socket", path))?;
    let policy = Policy { own_uid: geteuid().as_raw(), group: group.as_raw() };
    Ok(BoundSocket { listener, policy, _file: file })
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::System { doing, path, source }
}

//----- The group -----

/// The named group, if it is one of the daemon's own; without a name, its primary one.
fn admin_group(name: Option<&str>) -> Result<Gid, SocketError> {
    let Some(name) = name else {
        return Ok(getegid());
    };
    let group = Group::from_name(name).ok().flatten();
    let gid = group.ok_or_else(|| SocketError::NoGroup(name.to_owned()))?.gid;
    let own = getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid));
    if own { Ok(gid) } else { Err(SocketError::ForeignGroup(name.to_owned())) }
}

//----- What is at the path -----

/// Fails unless the path is free or holds a stale socket.
fn refuse_if_taken(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match try_connect(path) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(()),
        // EAGAIN: a listener's backlog is full
        Ok(()) | Err(Errno::EAGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(error) => Err(failed("check whether another daemon listens on", path)(error.into())),
    }
}

fn try_connect(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let end = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(end.as_raw_fd(), &UnixAddr::new(path)?)
}

//----- Folders -----

/// The socket's folder, locked against other daemons by flock, which leaves no file behind.
struct SocketFolder {
    path: PathBuf,
    /// Unlocked if another process kept the lock, see [`SocketFolder::lock`].
    _lock: File,
}

impl SocketFolder {
    /// Waits up to a second for the lock; a daemon holds it only while it binds. A process that may
    /// read the folder could hold it for ever, which must not keep ddnsd from starting, so it
    /// starts without the lock then. A socket in use is still detected; only two daemons that start
    /// at the same moment could replace each other's socket.
    fn lock(socket: &Path) -> Result<Self, SocketError> {
        let parent = socket.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = parent.unwrap_or(Path::new(".")).to_owned();
        let lock = match File::open(&path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SocketError::NoFolder { socket: socket.to_owned(), folder: path });
            }
            Err(error) => return Err(failed("open the admin socket's folder", &path)(error)),
        };
        for _ in 0..100 {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
                Err(TryLockError::Error(error)) => {
                    return Err(failed("lock the admin socket's folder", &path)(error));
                }
            }
        }
        tracing::warn!(
            "another process holds a lock on the admin socket's folder {}; creating the socket without the lock",
            path.display()
        );
        Ok(Self { path, _lock: lock })
    }
}

/// A folder beside the socket that only this user can enter. Removed when dropped.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn make_in(folder: &Path) -> Result<Self, SocketError> {
        // short, because a socket's path is limited to 107 bytes
        let path = folder.join(format!(".{:08x}", rand::random::<u32>()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(failed("create the admin socket in folder", folder))?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

/// Removes the socket's file when dropped, unless another file took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Reads the identity of the file at `now_at`, which will be moved to `path`.
    fn identify(now_at: &Path, path: &Path) -> Result<Self, SocketError> {
        let found = fs::symlink_metadata(now_at).map_err(failed("look at", now_at))?;
        Ok(Self { path: path.to_owned(), identity: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream as StdStream;

    fn config(socket: PathBuf) -> AdminConfig {
        AdminConfig { socket, mode: 0o660, group: None }
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn the_socket_has_its_mode_and_group_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let bound = bind(&config(path.clone())).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o660);
        assert_eq!(found.gid(), getegid().as_raw());
        assert_eq!(names_in(dir.path()), ["admin.sock"]);
        StdStream::connect(&path).unwrap();
        drop(bound);
        assert_eq!(names_in(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(StdListener::bind(&path).unwrap());
        let _bound = bind(&config(path.clone())).unwrap();
        StdStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = bind(&config(path.clone())).unwrap();
        let inode = fs::symlink_metadata(&path).unwrap().ino();
        let second = bind(&config(path.clone()));
        assert!(matches!(second, Err(SocketError::InUse(taken)) if taken == path));
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), inode);
        assert_eq!(names_in(dir.path()), ["admin.sock"]);
        drop(first);
    }

    #[tokio::test]
    async fn a_folder_that_another_process_keeps_locked_does_not_prevent_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::open(dir.path()).unwrap();
        lock.lock().unwrap();
        let path = dir.path().join("admin.sock");
        let _first = bind(&config(path.clone())).unwrap();
        StdStream::connect(&path).unwrap();
        // without the lock, a socket in use is still detected
        assert!(matches!(bind(&config(path)), Err(SocketError::InUse(_))));
    }

    #[tokio::test]
    async fn a_socket_with_a_full_backlog_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let flags = SockFlag::SOCK_CLOEXEC;
        let end = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        nix::sys::socket::bind(end.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&end, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _waiting = StdStream::connect(&path).unwrap();
        assert_eq!(try_connect(&path), Err(Errno::EAGAIN));
        assert!(matches!(bind(&config(path)), Err(SocketError::InUse(_))));
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for path in [&file, &link] {
            let refused = bind(&config(path.clone()));
            assert!(matches!(&refused, Err(SocketError::NotASocket(there)) if there == path));
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[tokio::test]
    async fn a_missing_folder_and_foreign_groups_are_named() {
        let missing = bind(&config("/nonexistent/ddnsd/admin.sock".into())).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot create the admin socket /nonexistent/ddnsd/admin.sock: folder /nonexistent/ddnsd \
             does not exist (create it, or set `admin.socket` elsewhere)"
        );
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path().join("admin.sock"));
        config.group = Some("no-such-group".into());
        assert!(
            matches!(bind(&config), Err(SocketError::NoGroup(name)) if name == "no-such-group")
        );
        assert_eq!(names_in(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_clients_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = bind(&config(dir.path().join("x".repeat(108))));
        assert!(matches!(refused, Err(SocketError::TooLong(_))));
        assert_eq!(names_in(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn at_the_stop_a_socket_that_replaced_ours_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let bound = bind(&config(path.clone())).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        drop(bound);
        StdStream::connect(&path).unwrap();
    }
}
