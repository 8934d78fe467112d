//! The one way of lines to an output that may stall: a terminal that is held, a pipe that nobody reads, a
//! server's folder that is gone, a log daemon that is busy. In: lines, from threads that must never wait. Out: a thread of its own
//! writes them in order. What does not fit the queue, or could not be written, is missing, and a line says
//! how many are as soon as lines get through again.

use super::LogError;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::Level;

/// Of waiting lines: seconds of a busy daemon.
const MOST_BYTES: usize = 4 << 20;
/// Before an output that takes nothing at the moment, but does not make us wait, is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The end that lines come to. When it is dropped, what waits is still written as long as the process lives.
pub(super) struct LineQueue(Arc<QueueShared>);

/// Where lines go.
pub(super) trait LineOutput: Send + 'static {
    /// Gets ready for a line of this length; whether it begins where the last one ended.
    fn begin(&mut self, bytes: u64) -> LineStart;
    /// Writes as much as it can.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error>;
}

/// Where a line begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LineStart {
    /// After the last one.
    Same,
    /// In another file, or message.
    Anew,
}

struct QueueShared {
    state: Mutex<QueueState>,
    /// The queue, or how much of it is written, is another.
    changed: Condvar,
    /// How a line looks.
    look: Look,
}

pub(super) type Look = Box<dyn Fn(Level, &str) -> String + Send + Sync>;

#[derive(Default)]
struct QueueState {
    lines: VecDeque<QueuedLine>,
    bytes: usize,
    /// Since the last line that fitted.
    missing: u64,
    /// All that ever came, also what did not fit.
    come: u64,
    /// Of those, the first so many are written or lost.
    done: u64,
    /// And the next so many are just being written.
    under_way: u64,
    is_closed: bool,
}

struct QueuedLine {
    line: String,
    /// How many did not fit right before it.
    missing: u64,
}

impl LineQueue {
    /// Starts the thread.
    pub(super) fn start(
        look: impl Fn(Level, &str) -> String + Send + Sync + 'static,
        output: impl LineOutput,
    ) -> Result<Self, LogError> {
        let look: Look = Box::new(look);
        let shared = QueueShared { state: Mutex::default(), changed: Condvar::new(), look };
        let shared = Arc::new(shared);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ddnsd-log".to_owned());
        thread.spawn(move || write_all(&theirs, output)).map_err(LogError::Thread)?;
        Ok(Self(shared))
    }

    /// Never waits for the output.
    pub(super) fn push(&self, level: Level, text: &str) {
        let mut state = self.0.lock();
        // made under the lock, so that times stand in order
        let line = (self.0.look)(level, text);
        state.come += 1;
        if state.bytes + line.len() > MOST_BYTES {
            state.missing += 1;
            return;
        }
        state.bytes += line.len();
        let missing = std::mem::take(&mut state.missing);
        state.lines.push_back(QueuedLine { line, missing });
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until all is written that has come so far, but no longer than this.
    pub(super) fn flush(&self, within: Duration) {
        let state = self.0.lock();
        // not until the queue is empty: under a steady stream it never is
        let last = state.come;
        let busy = |state: &mut QueueState| state.done < last;
        drop(self.0.changed.wait_timeout_while(state, within, busy));
    }
}

impl Drop for LineQueue {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl QueueShared {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line, or only how many are missing at the end; `None` when no more will come.
    fn next(&self) -> Option<(Option<String>, u64)> {
        let mut state = self.lock();
        state.done += std::mem::take(&mut state.under_way);
        self.changed.notify_all();
        let idle = |state: &mut QueueState| {
            state.lines.is_empty() && state.missing == 0 && !state.is_closed
        };
        let mut state =
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let next = match state.lines.pop_front() {
            Some(QueuedLine { line, missing }) => {
                state.bytes -= line.len();
                Some((Some(line), missing))
            }
            None => Some((None, std::mem::take(&mut state.missing))).filter(|(_, n)| *n > 0),
        };
        state.under_way =
            next.as_ref().map_or(0, |(line, missing)| u64::from(line.is_some()) + missing);
        next
    }
}

/// The thread's life.
fn write_all(shared: &QueueShared, output: impl LineOutput) {
    let mut lines = LineWriter { output, is_torn: false };
    let mut missing = 0;
    while let Some((line, more)) = shared.next() {
        missing += more;
        if missing > 0 && lines.put(&notice(&shared.look, missing)).is_ok() {
            missing = 0;
        }
        if let Some(line) = line
            && (missing > 0 || lines.put(&line).is_err())
        {
            missing += 1;
        }
    }
}

fn notice(look: &Look, missing: u64) -> String {
    look(Level::WARN, &format!("{missing} lines are missing here: the log did not take them"))
}

struct LineWriter<O> {
    output: O,
    /// Whether what was written last ends within a line.
    is_torn: bool,
}

impl<O: LineOutput> LineWriter<O> {
    /// Writes a whole line, or as much as can be.
    fn put(&mut self, line: &str) -> Result<(), Error> {
        if self.output.begin(line.len() as u64) == LineStart::Anew {
            self.is_torn = false;
        }
        // half a line must not swallow the next: who looks for an attack reads lines
        let whole = if self.is_torn { format!("\n{line}") } else { line.to_owned() };
        let mut rest = whole.as_bytes();
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, left) = rest.split_at(written.min(rest.len()));
                    self.is_torn = !done.ends_with(b"\n");
                    rest = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // the output was set so by somebody who shares it
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

    const SOON: Duration = Duration::from_secs(20);

    /// Takes as many bytes as it is allowed to, one permit a call, and waits for its permits.
    struct Slow {
        permits: Receiver<Result<usize, Error>>,
        written: Arc<Mutex<String>>,
    }

    impl LineOutput for Slow {
        fn begin(&mut self, _: u64) -> LineStart {
            LineStart::Same
        }

        fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
            // whoever has dropped his end lets everything through
            let most = self.permits.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.lock().unwrap().push_str(std::str::from_utf8(&bytes[..most]).unwrap());
            Ok(most)
        }
    }

    fn slow() -> (LineQueue, Sender<Result<usize, Error>>, Arc<Mutex<String>>) {
        let (permit, permits) = channel();
        let written = Arc::default();
        let output = Slow { permits, written: Arc::clone(&written) };
        let look = |level: Level, text: &str| format!("{level} {text}\n");
        (LineQueue::start(look, output).unwrap(), permit, written)
    }

    fn text_of(written: &Arc<Mutex<String>>) -> String {
        written.lock().unwrap().clone()
    }

    #[test]
    fn nobody_waits_for_a_reader_that_is_stuck_and_the_lines_that_are_missing_are_counted() {
        let (writer, permit, written) = slow();
        let long = "x".repeat(MOST_BYTES / 100);
        for _ in 0..250 {
            writer.push(Level::INFO, &long);
        }
        assert_eq!(text_of(&written), "");
        writer.flush(Duration::from_millis(10));
        drop(permit);
        writer.flush(SOON);
        writer.push(Level::INFO, "again");
        writer.flush(SOON);
        let text = text_of(&written);
        let whole = text.lines().filter(|line| line.len() > 1000).count();
        // the thread may have taken its first line only after some were missing
        let notices = text.lines().filter_map(|line| line.strip_prefix("WARN "));
        let missing: usize =
            notices.map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(whole + missing, 250);
        assert!((98..=101).contains(&whole), "{whole}");
        let end = "lines are missing here: the log did not take them\nINFO again\n";
        assert!(text.ends_with(end), "{}", &text[text.len() - 200..]);
    }

    /// Takes a while for each line.
    struct Steady;

    impl LineOutput for Steady {
        fn begin(&mut self, _: u64) -> LineStart {
            LineStart::Same
        }

        fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
            std::thread::sleep(Duration::from_millis(2));
            Ok(bytes.len())
        }
    }

    #[test]
    fn lines_that_come_later_are_not_waited_for() {
        let writer = LineQueue::start(|_, text| format!("{text}\n"), Steady).unwrap();
        let (over, is_over) = channel::<()>();
        let (flushed, is_flushed) = channel();
        std::thread::scope(|scope| {
            let writer = &writer;
            for _ in 0..20 {
                writer.push(Level::INFO, "before");
            }
            scope.spawn(move || {
                while is_over.try_recv() == Err(TryRecvError::Empty) {
                    writer.push(Level::INFO, "later");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            scope.spawn(move || {
                writer.flush(SOON);
                flushed.send(()).unwrap();
            });
            let is_flushed = is_flushed.recv_timeout(SOON / 2);
            drop(over);
            assert_eq!(is_flushed, Ok(()));
        });
    }

    #[test]
    fn half_a_line_swallows_no_other_and_what_was_lost_is_counted() {
        let (writer, permit, written) = slow();
        let full = || Err(ErrorKind::StorageFull.into());
        for answer in [Ok(7), full(), full(), Ok(99), Ok(99), Ok(99)] {
            permit.send(answer).unwrap();
        }
        for text in ["first", "second", "third", "fourth"] {
            writer.push(Level::INFO, text);
        }
        writer.flush(SOON);
        let expected = "INFO fi\nWARN 2 lines are missing here: the log did not take them\n\
                        INFO third\nINFO fourth\n";
        assert_eq!(text_of(&written), expected);
    }

    #[test]
    fn lines_that_wait_are_written_when_the_log_goes_elsewhere() {
        let (writer, permit, written) = slow();
        writer.push(Level::INFO, "one");
        writer.push(Level::INFO, "two");
        let shared = Arc::downgrade(&writer.0);
        drop(writer);
        drop(permit);
        for _ in 0..1000 {
            if shared.upgrade().is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(text_of(&written), "INFO one\nINFO two\n");
    }

    #[test]
    fn an_output_that_does_not_block_is_asked_again() {
        let (writer, permit, written) = slow();
        for answer in [Err(ErrorKind::WouldBlock.into()), Ok(3), Ok(99)] {
            permit.send(answer).unwrap();
        }
        writer.push(Level::INFO, "late");
        writer.flush(SOON);
        assert_eq!(text_of(&written), "INFO late\n");
    }
}
