//! Standard output. In: level and text. Out: a line with local time and level, or, when the journal
//! reads it, with the priority that the journal takes from the start of a line.

use super::LogError;
use super::queue::{LineOutput, LineQueue, LineStart};
use super::syslog::severity;
use jiff::Zoned;
use std::fs::File;
use std::io::Error;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use tracing::Level;

/// Lines for a reader that has gone are lost.
pub(super) fn to_stdout() -> Result<LineQueue, LogError> {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let found = output.and_then(|output| output.metadata());
    let is_journal = found.is_ok_and(|found| names(&stream, found.dev(), found.ino()));
    let look: fn(Level, &str) -> String = if is_journal { prioritized } else { stamped_now };
    LineQueue::start(look, Stdout)
}

struct Stdout;

impl LineOutput for Stdout {
    fn begin(&mut self, _: u64) -> LineStart {
        LineStart::Same
    }

    /// Past the standard library's buffer, which would hold back half a line after an error, and its lock,
    /// which the end of the process would meet.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Ok(nix::unistd::write(std::io::stdout(), bytes)?)
    }
}

/// sd-daemon(3): "<4>" and the text.
fn prioritized(level: Level, text: &str) -> String {
    format!("<{}>{text}\n", severity(level))
}

/// systemd.exec(5): the variable is inherited by programs whose output goes elsewhere, so it counts
/// only if it names the device and inode of this very output.
fn names(journal_stream: &str, device: u64, inode: u64) -> bool {
    journal_stream == format!("{device}:{inode}")
}

/// The local time, for the look of a line only.
#[expect(
    clippy::disallowed_methods,
    reason = "a line's time decides nothing, and no story has one"
)]
pub(super) fn now() -> Zoned {
    Zoned::now()
}

/// A line of this moment.
pub(super) fn stamped_now(level: Level, text: &str) -> String {
    stamped(&now(), level, text)
}

/// `2026-11-23T10:00:00.123+01:00 INFO  message`.
fn stamped(now: &Zoned, level: Level, text: &str) -> String {
    format!("{} {level:<5} {text}\n", now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_starts_with_local_time_to_the_millisecond_and_level() {
        let now: Zoned = "2026-11-23T10:00:00.1239+01:00[Europe/Berlin]".parse().unwrap();
        let line = stamped(&now, Level::INFO, "listening port=8443");
        assert_eq!(line, "2026-11-23T10:00:00.123+01:00 INFO  listening port=8443\n");
        let whole: Zoned = "2026-06-01T00:00:00-02:30[-02:30]".parse().unwrap();
        assert_eq!(stamped(&whole, Level::ERROR, "x"), "2026-06-01T00:00:00.000-02:30 ERROR x\n");
    }

    #[test]
    fn an_inherited_journal_stream_of_another_output_does_not_count() {
        assert!(names("8:4711", 8, 4711));
        for other in ["", "8:471", "9:4711", "8:47110", "x"] {
            assert!(!names(other, 8, 4711), "{other}");
        }
    }
}
