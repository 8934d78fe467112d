//! When a mail that was not accepted is sent again, and when it is given up; when the mail server
//! is tried again; how often a failure is logged.

use crate::model::mail::{Delivery, QueuedMail};
use crate::model::time::Millis;
use std::time::{Duration, Instant};

/// After the first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
pub const MAX_PAUSE: Duration = Duration::from_hours(1);
/// How long a mail is tried.
pub const MAX_AGE: Duration = Duration::from_hours(72);
/// The least number of attempts, which take an hour and a half: on a machine without a battery a
/// mail that was queued before the clock was set looks old at once.
const MIN_ATTEMPTS: u32 = 10;

/// The pause after this many failures in a row.
pub fn pause(failures: u32, max: Duration) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
    doubled.and_then(|times| FIRST_PAUSE.checked_mul(times)).map_or(max, |pause| pause.min(max))
}

/// What becomes of a mail after a failure that may pass.
pub fn after_failure(mail: &QueuedMail, now: Millis, error: String) -> Delivery {
    let failures = mail.attempts.saturating_add(1);
    let is_old = mail.created_at.plus(MAX_AGE) <= now;
    if is_old && failures >= MIN_ATTEMPTS {
        Delivery::Failed { at: now, error }
    } else {
        Delivery::Retry { at: now.plus(pause(failures, MAX_PAUSE)), error }
    }
}

/// The longest time without a try of a mail server that fails.
const MAX_SERVER_PAUSE: Duration = Duration::from_mins(5);

/// Whether the mail server is tried.
#[derive(Debug, Default)]
pub struct ServerPause {
    failures: u32,
    until: Option<Instant>,
}

impl ServerPause {
    /// Records that the server takes no mail. Returns the pause.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = pause(self.failures, MAX_SERVER_PAUSE);
        self.until = Some(now + pause);
        pause
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::mail::MailId;
    use crate::model::notice::NoticeKind;

    fn mail(attempts: u32) -> QueuedMail {
        QueuedMail {
            id: MailId(1),
            kind: Some(NoticeKind::Change),
            recipient: "alice@example.org".to_owned(),
            variables: "{}".to_owned(),
            message_id: "change.1.1.1".to_owned(),
            created_at: Millis(1_000),
            next_at: Millis(1_000),
            attempts,
            last_error: None,
            failed_at: None,
        }
    }

    fn next(attempts: u32, now: Millis) -> Option<i64> {
        match after_failure(&mail(attempts), now, String::new()) {
            Delivery::Retry { at, .. } => Some(at.since(now)),
            _ => None,
        }
    }

    #[test]
    fn pauses_double_from_ten_seconds_to_an_hour() {
        let now = Millis(2_000);
        let pauses = [0, 1, 2, 8, 9, 40, u32::MAX].map(|attempts| next(attempts, now).unwrap());
        let seconds = [10, 20, 40, 2_560, 3_600, 3_600, 3_600];
        assert_eq!(pauses, seconds.map(|seconds| seconds * 1_000));
    }

    #[test]
    fn a_server_that_fails_is_tried_after_ten_seconds_and_at_last_every_five_minutes() {
        let (mut server, now) = (ServerPause::default(), Clock.now().mono);
        assert!(server.is_over(now));
        let pauses: Vec<_> = (0..7).map(|_| server.failed(now).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
        assert!(!server.is_over(now) && server.is_over(now + MAX_SERVER_PAUSE));
    }

    #[test]
    fn a_mail_is_given_up_after_three_days_of_attempts() {
        let three_days = Millis(1_000).plus(MAX_AGE);
        assert!(next(80, three_days.plus_millis(-1)).is_some());
        assert_eq!(next(80, three_days), None);
        assert!(next(8, three_days).is_some(), "the clock was wrong when it was queued");
    }
}
