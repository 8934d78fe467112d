//! The queue between the daemon and its log. In: lines, from threads that must never wait. Out: a
//! thread writes them in order to an output that may block: a stopped terminal, a pipe that is not
//! read, a busy log daemon. Lines that do not fit the queue are counted with every target, and the
//! count is logged as soon as lines can be written again. So are lines that the output fails to
//! write, if it reports that; journald does not.

use super::error::LogError;
use jiff::Zoned;
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tracing::Level;

/// Bytes of the lines that can wait: several seconds of a busy daemon. A channel that is bounded by
/// lines would allocate all of its places at the start.
const MAX_BYTES: usize = 4 << 20;

/// Poll interval of [`LineQueue::flush`].
const FLUSH_INTERVAL: Duration = Duration::from_millis(2);

/// Where the thread writes lines. It may block.
pub(super) trait LogOutput: Send + 'static {
    fn write(&mut self, line: &LogLine) -> Result<(), Error>;
}

pub(super) struct LogLine {
    pub(super) at: Zoned,
    pub(super) level: Level,
    /// Without a line feed.
    pub(super) text: String,
}

/// What a line takes in the queue, in bytes.
fn size_of_line(text: &str) -> usize {
    size_of::<LogLine>() + text.len()
}

/// The queue's end for the daemon. When it is dropped, the thread still writes what is queued, as
/// long as the process lives.
pub(super) struct LineQueue {
    lines: Sender<LogLine>,
    counts: Arc<LineCounts>,
}

#[derive(Default)]
struct LineCounts {
    /// All lines that entered the queue.
    queued: AtomicU64,
    /// Lines that left the queue, written or lost.
    done: AtomicU64,
    /// Lost lines that were not reported yet.
    lost: AtomicU64,
    /// Of the lines that are in the queue or being written.
    bytes: AtomicUsize,
}

impl LineQueue {
    /// Starts the thread.
    pub(super) fn start(output: impl LogOutput) -> Result<Self, LogError> {
        let (lines, receiver) = channel();
        let counts = Arc::new(LineCounts::default());
        let counts_of_thread = Arc::clone(&counts);
        let thread = std::thread::Builder::new().name("ddnsd-log".to_owned());
        thread
            .spawn(move || write_all(&receiver, output, &counts_of_thread))
            .map_err(LogError::Thread)?;
        Ok(Self { lines, counts })
    }

    /// Never blocks.
    pub(super) fn push(&self, level: Level, text: String) {
        let counts = &self.counts;
        let bytes = size_of_line(&text);
        // counted first, because `flush` must not miss a line that is in the queue
        counts.queued.fetch_add(1, Ordering::Relaxed);
        let fits = counts.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_BYTES;
        if !fits || self.lines.send(LogLine { at: now(), level, text }).is_err() {
            counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.queued.fetch_sub(1, Ordering::Relaxed);
            counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines that are queued now are written or lost, at most `time_limit`.
    pub(super) fn flush(&self, time_limit: Duration) {
        let last = self.counts.queued.load(Ordering::Relaxed);
        let mut waited = Duration::ZERO;
        while self.counts.done.load(Ordering::Acquire) < last && waited < time_limit {
            std::thread::sleep(FLUSH_INTERVAL);
            waited += FLUSH_INTERVAL;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of a line decides nothing, and no story passes one"
)]
fn now() -> Zoned {
    Zoned::now()
}

/// Runs until the queue is empty and its sender is dropped.
fn write_all(lines: &Receiver<LogLine>, mut output: impl LogOutput, counts: &LineCounts) {
    for line in lines {
        let lost = counts.lost.swap(0, Ordering::Relaxed);
        let reported = lost == 0 || output.write(&loss_report(lost, &line.at)).is_ok();
        let still_lost = if reported {
            u64::from(output.write(&line).is_err())
        } else {
            // the output fails, so this line would only follow a gap that is not reported
            lost + 1
        };
        counts.lost.fetch_add(still_lost, Ordering::Relaxed);
        counts.bytes.fetch_sub(size_of_line(&line.text), Ordering::Relaxed);
        counts.done.fetch_add(1, Ordering::Release);
    }
}

fn loss_report(lost: u64, at: &Zoned) -> LogLine {
    let text = format!("{lost} log lines were lost, because the log did not accept them in time");
    LogLine { at: at.clone(), level: Level::WARN, text }
}

#[cfg(test)]
mod tests {
    use super::super::stream::LineStream;
    use super::*;
    use std::io::{ErrorKind, Write};
    use std::sync::Mutex;
    use std::sync::mpsc::TryRecvError;

    const SOON: Duration = Duration::from_secs(20);

    /// Accepts as many bytes as each permit allows, and blocks until it has a permit. Accepts
    /// everything once the sender of permits is dropped.
    struct SlowStream {
        permits: Receiver<Result<usize, Error>>,
        written: Arc<Mutex<String>>,
    }

    impl Write for SlowStream {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
            let allowed = self.permits.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.lock().unwrap().push_str(std::str::from_utf8(&bytes[..allowed]).unwrap());
            Ok(allowed)
        }

        fn flush(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    struct SlowOutput(LineStream<SlowStream>);

    impl LogOutput for SlowOutput {
        fn write(&mut self, line: &LogLine) -> Result<(), Error> {
            self.0.write_line(&format!("{} {}\n", line.level, line.text))
        }
    }

    fn slow() -> (LineQueue, Sender<Result<usize, Error>>, Arc<Mutex<String>>) {
        let (permit, permits) = channel();
        let written = Arc::default();
        let stream = SlowStream { permits, written: Arc::clone(&written) };
        (LineQueue::start(SlowOutput(LineStream::new(stream))).unwrap(), permit, written)
    }

    fn text_of(written: &Arc<Mutex<String>>) -> String {
        written.lock().unwrap().clone()
    }

    fn info(queue: &LineQueue, text: &str) {
        queue.push(Level::INFO, text.to_owned());
    }

    /// Pushes lines to a blocked output, then lets it write. Returns how many lines were written,
    /// once it has checked that all others are reported as lost.
    fn written_of(pushed: usize, line: &str) -> usize {
        let (queue, permit, written) = slow();
        for _ in 0..pushed {
            info(&queue, line);
        }
        assert_eq!(text_of(&written), "");
        queue.flush(Duration::from_millis(10));
        drop(permit);
        queue.flush(SOON);
        info(&queue, "later");
        queue.flush(SOON);
        let text = text_of(&written);
        let complete = text.lines().filter(|it| it.strip_prefix("INFO ") == Some(line)).count();
        let reports = text.lines().filter_map(|line| line.strip_prefix("WARN "));
        let lost: usize =
            reports.map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(complete + lost, pushed);
        assert!(text.ends_with("INFO later\n"));
        complete
    }

    #[test]
    fn a_blocked_output_blocks_no_thread_and_lost_lines_are_counted() {
        let line = "line";
        let fitting = MAX_BYTES / size_of_line(line);
        assert_eq!(written_of(fitting + 1_000, line), fitting);
    }

    #[test]
    fn the_queue_holds_four_mebibytes_of_long_lines() {
        let line = "x".repeat(1_024);
        assert_eq!(written_of(5_000, &line), MAX_BYTES / size_of_line(&line));
    }

    /// Needs a while for each line.
    struct SteadyOutput;

    impl LogOutput for SteadyOutput {
        fn write(&mut self, _: &LogLine) -> Result<(), Error> {
            std::thread::sleep(Duration::from_millis(2));
            Ok(())
        }
    }

    #[test]
    fn flush_does_not_wait_for_later_lines() {
        let queue = LineQueue::start(SteadyOutput).unwrap();
        let (over, is_over) = channel::<()>();
        let (flushed, is_flushed) = channel();
        std::thread::scope(|scope| {
            let queue = &queue;
            for _ in 0..20 {
                info(queue, "before");
            }
            scope.spawn(move || {
                while is_over.try_recv() == Err(TryRecvError::Empty) {
                    info(queue, "later");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            scope.spawn(move || {
                queue.flush(SOON);
                flushed.send(()).unwrap();
            });
            let is_flushed = is_flushed.recv_timeout(SOON / 2);
            drop(over);
            assert_eq!(is_flushed, Ok(()));
        });
    }

    #[test]
    fn a_partly_written_line_damages_no_other_and_lost_lines_are_counted() {
        let (queue, permit, written) = slow();
        let full = || Err(ErrorKind::StorageFull.into());
        for answer in [Ok(7), full(), full(), Ok(99), Ok(99), Ok(99)] {
            permit.send(answer).unwrap();
        }
        for text in ["first", "second", "third", "fourth"] {
            info(&queue, text);
        }
        queue.flush(SOON);
        let expected = "INFO fi\n\
                        WARN 2 log lines were lost, because the log did not accept them in time\n\
                        INFO third\nINFO fourth\n";
        assert_eq!(text_of(&written), expected);
    }

    #[test]
    fn queued_lines_are_written_after_the_queue_is_dropped() {
        let (queue, permit, written) = slow();
        info(&queue, "one");
        info(&queue, "two");
        let counts = Arc::downgrade(&queue.counts);
        drop(queue);
        drop(permit);
        for _ in 0..1000 {
            if counts.upgrade().is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(text_of(&written), "INFO one\nINFO two\n");
    }

    #[test]
    fn an_output_that_would_block_is_retried() {
        let (queue, permit, written) = slow();
        for answer in [Err(ErrorKind::WouldBlock.into()), Ok(3), Ok(99)] {
            permit.send(answer).unwrap();
        }
        info(&queue, "late");
        queue.flush(SOON);
        assert_eq!(text_of(&written), "INFO late\n");
    }
}
