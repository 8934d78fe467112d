//! A disk that is full, or that fails when data is to be made durable: `911`, no crash, nothing
//! that was acknowledged is lost, and updates work again once the disk does. About the SQLite file;
//! needs root, to mount and to trace.

use crate::{RECOVERY, Scene};
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::load::{Counting, in_database, in_dns};
use ddnsd_tests::process::{Running, program, run};
use ddnsd_tests::setup::Setup;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Whether this can be done here; says so if not.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("left out: only root can fill a disk of its own, or trace another process");
    }
    root
}

/// A small file system of its own.
struct SmallDisk(TempDir);

impl SmallDisk {
    #[track_caller]
    fn new(size: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ddnsd-disk-").tempdir().unwrap();
        let mut mount = Command::new(program("mount"));
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        run(mount.arg(folder.path()), "").ok();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Until nothing more can be written.
    fn fill(&self) {
        let mut dd = Command::new(program("dd"));
        dd.args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", self.ballast().display()));
        run(&mut dd, "").exits(1).prints(&["no space left"]);
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: the daemon may still have its file open
        let _ = Command::new(program("umount")).arg("-l").arg(self.path()).status();
    }
}

/// Updates that must fail, each, by the daemon's own fault.
#[track_caller]
fn fails(scene: &Scene, clients: &mut [Counting]) {
    for client in clients {
        assert_eq!(client.update(scene.daemon.address()).as_deref(), Some("911"), "{client:?}");
    }
}

/// Updates that succeed, at last.
#[track_caller]
fn recovers(scene: &Scene, clients: &mut [Counting]) {
    for client in clients {
        eventually(RECOVERY, "updates to be good again", || {
            let code = client.update(scene.daemon.address());
            if code.as_deref() == Some("good") { Ok(()) } else { Err(format!("{code:?}")) }
        });
    }
}

/// What DNS and the database hold is one, and nothing acknowledged is gone.
#[track_caller]
fn is_whole(scene: &Scene, clients: &[Counting]) {
    let wanted = in_database(&scene.ctl(), clients);
    eventually_equals(RECOVERY, "DNS to be equal to the database", &wanted, || {
        in_dns(&scene.named, clients)
    });
    for client in clients {
        client.judge(wanted[&client.fqdn()]).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

fn clients(scene: &Scene) -> Vec<Counting> {
    let clients: Vec<_> = (0..4).map(|i| Counting::new(&format!("h{i}"))).collect();
    scene.add_hosts(&clients.iter().map(Counting::label).collect::<Vec<_>>());
    clients
}

#[test]
fn a_full_disk_is_911_and_loses_nothing() {
    if !is_root() {
        return;
    }
    let disk = SmallDisk::new("1m");
    let file = disk.path().join("ddnsd.sqlite");
    let mut scene =
        Scene::with(|setup: Setup| setup.on_sqlite().set("database.path", file.to_str().unwrap()));
    let mut clients = clients(&scene);
    recovers(&scene, &mut clients);
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    disk.fill();
    // the log of the database may have room for a few more
    eventually(RECOVERY, "the disk to be full", || {
        let codes: Vec<_> =
            clients.iter_mut().map(|client| client.update(scene.daemon.address())).collect();
        let full = codes.iter().all(|code| code.as_deref() == Some("911"));
        if full { Ok(()) } else { Err(format!("{codes:?}")) }
    });
    for _ in 0..5 {
        fails(&scene, &mut clients);
    }
    assert!(scene.daemon.log().contains("full"), "the log says why: {}", scene.daemon.log());
    // with a keepalive that waits to be written
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    for reading in ["status", "hostname list", "hostname show pc dyn.example", "export"] {
        scene.ctl().run(&reading.split(' ').collect::<Vec<_>>()).ok();
    }
    scene.ctl().run(&["sync", "--check"]).prints(&["compared"]);
    disk.empty();
    recovers(&scene, &mut clients);
    is_whole(&scene, &clients);
    disk.fill();
    scene.daemon.kill9();
    disk.empty();
    scene.daemon.start_again();
    is_whole(&scene, &clients);
    recovers(&scene, &mut clients);
    drop(scene); // before its disk
}

/// Makes every fsync of the daemon fail, until dropped.
#[track_caller]
fn failing_fsync(scene: &Scene) -> Running {
    trace(scene, Path::new("/dev/null"), "inject=fsync,fdatasync:error=EIO")
}

/// Records the calls that make data durable, and injects faults into them, until dropped.
#[track_caller]
fn trace(scene: &Scene, to: &Path, inject: &str) -> Running {
    let pid = scene.daemon.pid().to_string();
    let mut strace = Command::new(program("strace"));
    strace.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,ftruncate", "-p", &pid]);
    strace.args(["-e", inject, "-o"]).arg(to);
    let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(child.unwrap())
}

#[test]
fn fsync_that_fails_is_911_and_loses_nothing() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::with(Setup::on_sqlite);
    let mut clients = clients(&scene);
    recovers(&scene, &mut clients);
    for round in 0..3 {
        let mut strace = failing_fsync(&scene);
        eventually(RECOVERY, "fsync to fail", || {
            let code = clients[0].update(scene.daemon.address());
            if code.as_deref() == Some("911") { Ok(()) } else { Err(format!("{code:?}")) }
        });
        for _ in 0..5 {
            fails(&scene, &mut clients);
        }
        if round == 1 {
            scene.daemon.kill9(); // amid it
        }
        // detaches
        strace.signal(Signal::SIGINT);
        strace.wait(Duration::from_secs(10), "strace");
        if round == 1 {
            scene.daemon.start_again();
        }
        recovers(&scene, &mut clients);
        is_whole(&scene, &clients);
    }
    assert!(scene.daemon.log().contains("changes are not written"), "{}", scene.daemon.log());
}

#[test]
fn after_a_failed_fsync_the_database_file_is_synced_before_the_wal_is_reset() {
    if !is_root() {
        return;
    }
    let scene = Scene::with(Setup::on_sqlite);
    let mut clients = clients(&scene);
    recovers(&scene, &mut clients);
    let folder = TempDir::new().unwrap();
    let calls = folder.path().join("calls");
    // per thread; and the next one succeeds, though the kernel may have dropped what it was to
    // write
    let mut strace = trace(&scene, &calls, "inject=fsync,fdatasync:error=EIO:when=1");
    eventually(RECOVERY, "fsync to fail", || {
        let code = clients[0].update(scene.daemon.address());
        if code.as_deref() == Some("911") { Ok(()) } else { Err(format!("{code:?}")) }
    });
    recovers(&scene, &mut clients);
    strace.signal(Signal::SIGINT);
    strace.wait(Duration::from_secs(10), "strace");
    let calls = std::fs::read_to_string(&calls).unwrap();
    let after = calls.split_once("INJECTED").unwrap().1;
    let next = |call: &str, file: &str| {
        after.lines().position(|line| line.contains(call) && line.contains(file))
    };
    let emptied = next("ftruncate(", "-wal>, 0)").expect("the WAL is reset");
    let stored = next("sync(", "ddnsd.sqlite>)").expect("the database file is synced");
    assert!(stored < emptied, "{calls}");
    is_whole(&scene, &clients);
}
