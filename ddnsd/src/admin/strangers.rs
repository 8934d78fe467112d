//! Tells of who was refused at the admin socket, but not of each time: whoever may connect can do so in a
//! loop. In: the peer, the time. Out: a line in the log, at most one for a user in a while.

use super::peer::PeerCredentials;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about a user.
const EVERY: Duration = Duration::from_secs(10);
/// Users that are told apart.
const MOST: usize = 1_000;

/// Who was refused lately, by user id.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashMap<u32, Refused>>);

struct Refused {
    told: Instant,
    /// Since then.
    untold: u64,
}

impl Strangers {
    pub(super) fn log(&self, PeerCredentials { uid, pid, .. }: PeerCredentials, now: Instant) {
        let pid = pid.unwrap_or_default();
        match self.refused(uid, now) {
            Some(0) => {
                tracing::warn!(
                    uid,
                    pid,
                    "admin socket: refused, neither root, own user nor admin group"
                );
            }
            Some(not_logged) => {
                tracing::warn!(uid, pid, not_logged, "admin socket: refused again and again");
            }
            None => tracing::debug!(uid, pid, "admin socket: refused again"),
        }
    }

    /// How many were not told of since the last that was, if this one is to be told of.
    fn refused(&self, uid: u32, now: Instant) -> Option<u64> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= MOST && !lately.contains_key(&uid) {
            lately.retain(|_, refused| now.saturating_duration_since(refused.told) < EVERY);
            if lately.len() >= MOST {
                return None;
            }
        }
        match lately.get_mut(&uid) {
            Some(refused) if now.saturating_duration_since(refused.told) < EVERY => {
                refused.untold += 1;
                None
            }
            Some(refused) => {
                refused.told = now;
                Some(std::mem::take(&mut refused.untold))
            }
            None => {
                lately.insert(uid, Refused { told: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_user_who_knocks_in_a_loop_is_told_of_once_in_a_while_with_how_often() {
        let (strangers, start) = (Strangers::default(), Clock.now().mono);
        assert_eq!(strangers.refused(1000, start), Some(0));
        for _ in 0..44_000 {
            assert_eq!(strangers.refused(1000, start + EVERY / 2), None);
        }
        // nobody hides behind somebody else's noise
        assert_eq!(strangers.refused(1001, start + EVERY / 2), Some(0));
        assert_eq!(strangers.refused(1000, start + EVERY), Some(44_000));
        assert_eq!(strangers.refused(1000, start + EVERY * 2), Some(0));
    }

    #[test]
    fn what_is_known_of_users_is_bounded() {
        let (strangers, start) = (Strangers::default(), Clock.now().mono);
        for uid in 0..5_000 {
            strangers.refused(uid, start);
        }
        assert_eq!(strangers.0.lock().unwrap().len(), MOST);
        assert_eq!(strangers.refused(5_000, start + EVERY), Some(0));
    }
}
