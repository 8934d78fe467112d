//! Lines into a byte stream: standard output or a file.

use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

/// Pause before a non-blocking stream is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct LineStream<W> {
    stream: W,
    /// Whether the last write ended within a line.
    is_torn: bool,
}

impl<W: Write> LineStream<W> {
    pub(super) fn new(stream: W) -> Self {
        Self { stream, is_torn: false }
    }

    /// Writes a line that ends with a line feed. After an error a part of it may be written.
    pub(super) fn write_line(&mut self, line: &str) -> Result<(), Error> {
        // fail2ban reads lines, so the rest of a torn one must not become the start of this one
        let torn_end = if self.is_torn { "\n" } else { "" };
        let bytes = format!("{torn_end}{line}");
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, left) = rest.split_at(written.min(rest.len()));
                    self.is_torn = !done.ends_with(b"\n");
                    rest = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // another process that shares the open file may have set O_NONBLOCK
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(RETRY_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
