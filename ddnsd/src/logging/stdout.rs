//! Standard output: lines with local time and level, or with the priority that journald reads at
//! the start of a line when it captures the output.

use super::error::LogError;
use super::format::{severity, stamped};
use super::queue::{LineQueue, LogLine, LogOutput};
use super::stream::LineStream;
use std::fs::File;
use std::io::{Error, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

pub(super) fn to_stdout() -> Result<LineQueue, LogError> {
    let journal_stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let found = output.and_then(|output| output.metadata());
    let is_journal = found.is_ok_and(|found| names(&journal_stream, found.dev(), found.ino()));
    LineQueue::start(StdoutOutput { stream: LineStream::new(RawStdout), is_journal })
}

/// Lines with the time of day.
pub(super) fn to_person() -> Result<LineQueue, LogError> {
    LineQueue::start(ToPerson(LineStream::new(RawStdout)))
}

struct ToPerson(LineStream<RawStdout>);

impl LogOutput for ToPerson {
    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        self.0.write_line(&format!("{} {}\n", line.at.strftime("%H:%M:%S"), line.text))
    }
}

/// systemd.exec(5): programs whose output goes elsewhere inherit the variable too, so it counts
/// only if it names the device and inode of this output.
fn names(journal_stream: &str, device: u64, inode: u64) -> bool {
    journal_stream == format!("{device}:{inode}")
}

struct StdoutOutput {
    stream: LineStream<RawStdout>,
    is_journal: bool,
}

impl LogOutput for StdoutOutput {
    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        self.stream.write_line(&if self.is_journal {
            // sd-daemon(3)
            format!("<{}>{}\n", severity(line.level), line.text)
        } else {
            stamped(line)
        })
    }
}

/// Bypasses the standard library's buffer, which would keep a part of a line after an error, and
/// its lock, which would block the end of the process.
struct RawStdout;

impl Write for RawStdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Ok(nix::unistd::write(std::io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_journal_stream_of_another_output_does_not_count() {
        assert!(names("8:4711", 8, 4711));
        for other in ["", "8:471", "9:4711", "8:47110", "x"] {
            assert!(!names(other, 8, 4711), "{other}");
        }
    }
}
