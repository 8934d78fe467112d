//! Processes as the kernel shows them: ending one with all its children, its memory, its CPU time.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Waits for the end of a process. `None`: it took too long and was ended with its children.
pub(crate) fn wait(mut child: Child, longest: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < longest {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = descendants(Pid::from_raw(child.id().cast_signed()));
    for pid in all {
        let _has_ended = kill(pid, Signal::SIGKILL);
    }
    let _ended = child.wait();
    None
}

/// A process and all that it started, while they live.
fn descendants(first: Pid) -> Vec<Pid> {
    let mut all = vec![first];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(children.split(' ').filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
        }
    }
    all
}

/// The memory of a process, MiB: its own, and its part of what it shares (PSS).
pub(crate) fn memory(pid: Pid) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// The CPU time of all threads of a process that live.
pub(crate) fn cpu(pid: Pid) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let nanos = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
