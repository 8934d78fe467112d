//! Bounds the lines about hosts, because a server that drops everything concerns every host.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(10);
/// Lines in a window.
const MAX_LINES: u32 = 20;

#[derive(Default)]
pub(super) struct LogBudget(Mutex<Option<LogWindow>>);

struct LogWindow {
    began: Instant,
    lines: u32,
}

impl LogBudget {
    /// Whether one more line may be logged. Returns the number of lines left out before, too.
    pub(super) fn take(&self, now: Instant) -> Option<u32> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = window.get_or_insert(LogWindow { began: now, lines: 0 });
        let left_out = if now < current.began + WINDOW {
            0
        } else {
            let left_out = current.lines.saturating_sub(MAX_LINES);
            *current = LogWindow { began: now, lines: 0 };
            left_out
        };
        current.lines = current.lines.saturating_add(1);
        (current.lines <= MAX_LINES).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn twenty_lines_in_ten_seconds_are_logged_and_the_next_one_counts_the_others() {
        let (budget, now) = (LogBudget::default(), Clock.now().mono);
        let logged = (0..50).filter(|_| budget.take(now).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(budget.take(now + WINDOW), Some(30));
        assert_eq!(budget.take(now + WINDOW), Some(0));
    }
}
