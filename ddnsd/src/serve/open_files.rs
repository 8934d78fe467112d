//! How many connections the limit of open files allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files for everything but connections.
const OTHER_FILES: u64 = 256;

/// At most `max`, after raising the limit as far as possible.
pub(super) fn connections(max: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return max / 8 };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let files = if raised { hard } else { soft };
    let free = files.saturating_sub(OTHER_FILES).max(16);
    usize::try_from(free).unwrap_or(max).min(max)
}
