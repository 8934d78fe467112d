//! Whether an acknowledgement is the last word on a host, or a message that was lost may still come after it.
//! In: what is known of the host's messages. Out: until when the row stays unpublished, if it must.

use crate::model::host::{Finality, Host};
use crate::model::name::Fqdn;
use crate::model::time::{Millis, Now};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Hosts of which an acknowledgement was not the last word, and from when on one is. Of one run: what is
/// still under way when it ends concerns what is unpublished then, and for so long all of it. By name: a
/// host that was deleted and added again has the record of before.
#[derive(Debug)]
pub struct Doubtful {
    started: Now,
    until: HashMap<Fqdn, Instant>,
}

impl Doubtful {
    /// None, at the start of a run.
    pub fn new(started: Now) -> Self {
        Self { started, until: HashMap::new() }
    }

    /// Whether asserting this host again is of no use yet.
    pub fn is_waiting(&self, host: &Fqdn, now: Instant) -> bool {
        self.until.get(host).is_some_and(|until| now < *until)
    }

    /// A host is acknowledged. An earlier message of this run may have ended without an answer, and nothing
    /// been acknowledged since; one is late by less than `lateness`.
    pub fn acknowledged(
        &mut self,
        host: &Host,
        doubtful_before: bool,
        lateness: Duration,
        now: Now,
    ) -> Finality {
        let until = not_before(Acknowledged {
            doubtful_before,
            waits_until: self.until.get(&host.fqdn).copied(),
            unpublished_since: host.unpublished_since,
            started: self.started,
            lateness,
            now,
        });
        if let Some(until) = until {
            self.until.insert(host.fqdn.clone(), until);
            Finality::NotYet
        } else {
            self.until.remove(&host.fqdn);
            Finality::Final
        }
    }
}

/// Longest time for taking records down for good: `ddnsctl` waits for two minutes.
const LONGEST: Duration = Duration::from_secs(90);

/// Whether there is time to wait until a lost message can come no longer, and to send once more, which may
/// have to wait for a message before it.
pub fn is_time_for_another(elapsed: Duration, lateness: Duration, timeout: Duration) -> bool {
    elapsed + lateness + timeout * 2 <= LONGEST
}

/// What is known when a host is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    /// An earlier message of this run ended without an answer, and nothing was acknowledged since.
    doubtful_before: bool,
    /// Until when an acknowledgement before this one was not final, if it was not.
    waits_until: Option<Instant>,
    /// Since when the host is unpublished. If that was before this run, a message of the run before may
    /// be under way.
    unpublished_since: Option<Millis>,
    /// When this run began.
    started: Now,
    /// How long a lost message can be late.
    lateness: Duration,
    /// Now.
    now: Now,
}

/// From when on an acknowledgement is final; `None`: this one is.
fn not_before(known: Acknowledged) -> Option<Instant> {
    let Acknowledged { waits_until, started, lateness, now, .. } = known;
    if known.doubtful_before {
        return Some(now.mono + lateness);
    }
    let before_us = |since| since < started.wall;
    let inherited = known.unpublished_since.is_some_and(before_us).then(|| started.mono + lateness);
    [inherited, waits_until].into_iter().flatten().max().filter(|until| now.mono < *until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn another_round_is_begun_only_if_ddnsctl_still_waits_for_its_end() {
        let is_time = |elapsed, timeout| {
            let timeout = Duration::from_secs(timeout);
            is_time_for_another(Duration::from_secs(elapsed), timeout * 2, timeout)
        };
        assert!(is_time(10, 5), "the second of three at the default");
        assert!(is_time(30, 5), "the third");
        assert!(is_time(10, 20));
        assert!(!is_time(11, 20));
        assert!(!is_time(0, 60));
    }

    #[test]
    fn without_doubt_the_first_acknowledgement_is_final() {
        let now = Now { wall: Millis(5_000), mono: Clock.now().mono };
        let known = Acknowledged {
            doubtful_before: false,
            waits_until: None,
            unpublished_since: Some(now.wall),
            started: now,
            lateness: Duration::from_secs(4),
            now,
        };
        assert_eq!(not_before(known), None);
        let later = now.mono + Duration::from_secs(4);
        let unpublished_since = Some(Millis(4_999));
        assert_eq!(not_before(Acknowledged { unpublished_since, ..known }), Some(later));
        assert_eq!(not_before(Acknowledged { doubtful_before: true, ..known }), Some(later));
        assert_eq!(not_before(Acknowledged { waits_until: Some(later), ..known }), Some(later));
        let now = Now { wall: Millis(9_000), mono: later };
        let then = Acknowledged { waits_until: Some(later), unpublished_since, now, ..known };
        assert_eq!(not_before(then), None);
    }
}
