//! What the kernel knows of this process.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use std::fs;
use std::time::Duration;

/// Of the whole process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessFacts {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_files: u64,
    pub(super) max_files: u64,
}

/// `None` if `/proc` cannot be read.
pub(super) async fn read() -> Option<ProcessFacts> {
    // counting thousands of open files takes too long for a thread of the runtime
    tokio::task::spawn_blocking(read_now).await.ok()?
}

fn read_now() -> Option<ProcessFacts> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds();
    let (max_files, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // the directory itself is open meanwhile
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(ProcessFacts {
        cpu_seconds: Duration::from_micros(cpu.unsigned_abs()).as_secs_f64(),
        resident_bytes: field(&status, "VmRSS:")? * 1024,
        virtual_bytes: field(&status, "VmSize:")? * 1024,
        threads: field(&status, "Threads:")?,
        open_files: open_files as u64,
        max_files,
    })
}

/// A number of `/proc/self/status`; sizes are in KiB.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_files() {
        let facts = read_now().unwrap();
        assert!(facts.resident_bytes > 1 << 20 && facts.virtual_bytes > facts.resident_bytes);
        assert!(facts.threads >= 1 && (3..=facts.max_files).contains(&facts.open_files));
        assert!(facts.cpu_seconds >= 0.0);
    }
}
