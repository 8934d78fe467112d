//! Whether the removal of a host's records is sent again, because an unanswered message could still
//! restore them. In: when a removal is final. Out: whether there is time for another one.

use std::time::{Duration, Instant};

/// The longest that a removal may take: `ddnsctl` waits for two minutes.
const MAX_TIME: Duration = Duration::from_secs(90);

/// Whether a removal that began at `start` can be sent again at `again_at` and still end in time.
/// It may have to wait for a message before it: each takes `timeout` at most.
pub fn is_time_for_another(start: Instant, again_at: Instant, timeout: Duration) -> bool {
    again_at + timeout * 2 <= start + MAX_TIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn another_removal_is_sent_only_if_ddnsctl_still_waits_for_its_end() {
        let start = Clock.now().mono;
        let is_time = |elapsed, timeout| {
            let timeout = Duration::from_secs(timeout);
            let again_at = start + Duration::from_secs(elapsed) + timeout * 2;
            is_time_for_another(start, again_at, timeout)
        };
        assert!(is_time(10, 5), "the second of three at the default");
        assert!(is_time(30, 5), "the third");
        assert!(is_time(10, 20));
        assert!(!is_time(11, 20));
        assert!(!is_time(0, 60));
    }
}
