//! Bounds lines of the log that repeat: with each request while the disk is full, say.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(10);

/// Lines that may be logged in 10 s.
pub struct LogBudget {
    max_lines: u32,
    window: Mutex<Option<LogWindow>>,
}

struct LogWindow {
    began: Instant,
    lines: u32,
}

impl LogBudget {
    pub const fn new(max_lines: u32) -> Self {
        Self { max_lines, window: Mutex::new(None) }
    }

    /// Whether one more line may be logged. Returns the number of lines left out before, too.
    pub fn take(&self, now: Instant) -> Option<u32> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let current = window.get_or_insert(LogWindow { began: now, lines: 0 });
        let left_out = if now < current.began + WINDOW {
            0
        } else {
            let left_out = current.lines.saturating_sub(self.max_lines);
            *current = LogWindow { began: now, lines: 0 };
            left_out
        };
        current.lines = current.lines.saturating_add(1);
        (current.lines <= self.max_lines).then_some(left_out)
    }
}

/// Logs at most one line in 10 s from the place where this stands. Takes a level and what the macro
/// of that level takes. `unlogged` counts the lines left out since the last one.
macro_rules! log_repeated {
    ($level:ident, $($event:tt)+) => {{
        static BUDGET: $crate::log_budget::LogBudget = $crate::log_budget::LogBudget::new(1);
        if let Some(unlogged) = BUDGET.take($crate::clock::Clock.now().mono) {
            let unlogged = (unlogged > 0).then_some(unlogged);
            tracing::$level!(unlogged, $($event)+);
        }
    }};
}
pub(crate) use log_repeated;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn twenty_lines_in_ten_seconds_are_logged_and_the_next_one_counts_the_others() {
        let (budget, now) = (LogBudget::new(20), Clock.now().mono);
        let logged = (0..50).filter(|_| budget.take(now).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(budget.take(now + WINDOW), Some(30));
        assert_eq!(budget.take(now + WINDOW), Some(0));
    }

    #[test]
    fn a_line_every_ten_seconds_counts_the_lines_between() {
        let (budget, now) = (LogBudget::new(1), Clock.now().mono);
        let at = |seconds| now + Duration::from_secs(seconds);
        let lines = [0, 1, 9, 10, 11, 30].map(|seconds| budget.take(at(seconds)));
        assert_eq!(lines, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
