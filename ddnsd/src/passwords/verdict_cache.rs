//! Remembered verdicts. In: user, stored hash, password, client. Out: known to be right, known to be
//! wrong for this client, or not known. Kept under a keyed hash of all that decides, so that a new
//! password, a deleted user or another stored hash ends a verdict at once, and a memory dump shows
//! no password. Right ones and wrong ones are bounded apart: guesses evict no login.

use super::Match;
use crate::model::client::ClientKey;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::model::user::PasswordHash;
use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Right ones, at most.
const MAX_RIGHT: usize = 100_000;
/// Wrong ones, at most.
const MAX_WRONG: usize = 65_536;
/// Parts with a lock each.
const SHARDS: usize = 16;

/// Half of an HMAC-SHA-256 over user, stored hash and password.
pub(super) type Digest = [u8; 16];

/// Random, made anew by each process: one block of the hash, as HMAC takes it whole.
pub(super) type ProcessKey = [u8; 64];

/// An HMAC whose key is the process's one for a purpose, so that no value of one use fits another.
pub(super) fn keyed(key: &ProcessKey, purpose: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*key).into());
    mac.update(purpose);
    mac.update(&[0]);
    mac
}

/// All remembered verdicts.
pub(super) struct VerdictCache {
    key: Hmac<Sha256>,
    ttl: ArcSwap<Duration>,
    right: Shards<Digest>,
    wrong: Shards<(Digest, ClientKey)>,
}

impl VerdictCache {
    /// Nothing known yet; a verdict is kept for `ttl` since its last use, zero keeps none.
    pub(super) fn new(key: &ProcessKey, ttl: Duration) -> Self {
        Self {
            key: keyed(key, b"known"),
            ttl: ArcSwap::from_pointee(ttl),
            right: Shards::new(MAX_RIGHT),
            wrong: Shards::new(MAX_WRONG),
        }
    }

    /// Another time to keep verdicts, for those of before too.
    pub(super) fn keep_for(&self, ttl: Duration) {
        self.ttl.store(Arc::new(ttl));
    }

    /// What an attempt is known by.
    pub(super) fn digest(
        &self,
        user: &UserName,
        stored: Option<&PasswordHash>,
        password: &Secret,
    ) -> Digest {
        let mut mac = self.key.clone();
        let mut field = |bytes: &[u8]| {
            // the length in front, so that fields cannot trade bytes
            mac.update(&(bytes.len() as u64).to_be_bytes());
            mac.update(bytes);
        };
        field(user.as_str().as_bytes());
        match stored {
            Some(hash) => {
                field(b"hash");
                field(hash.0.as_bytes());
            }
            None => field(b"none"),
        }
        field(password.expose().as_bytes());
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let (half, _) = whole.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        *half
    }

    /// What is known of it: right whoever sends it, wrong for the client that sent it before.
    pub(super) fn recall(&self, digest: Digest, client: ClientKey, now: Now) -> Option<Match> {
        let ttl = **self.ttl.load();
        if ttl.is_zero() {
            return None;
        }
        let guess = (digest, client);
        if self.right.of(&digest).use_once(&digest, ttl, now.mono) {
            Some(Match::Right { rehash_due: false })
        } else if self.wrong.of(&guess).use_once(&guess, ttl, now.mono) {
            Some(Match::Wrong)
        } else {
            None
        }
    }

    /// Argon2 said so.
    pub(super) fn remember(&self, digest: Digest, client: ClientKey, finding: Match, now: Now) {
        let guess = (digest, client);
        match finding {
            _ if self.ttl.load().is_zero() => {}
            Match::Right { .. } => self.right.of(&digest).insert(digest, now.mono),
            Match::Wrong => self.wrong.of(&guess).insert(guess, now.mono),
        }
    }

    /// What is right under one digest is right under another: the same password, hashed anew.
    pub(super) fn carry_over(&self, from: Digest, to: Digest, now: Now) {
        if self.right.of(&from).use_once(&from, **self.ttl.load(), now.mono) {
            self.right.of(&to).insert(to, now.mono);
        }
    }

    /// It is not known to be right any more.
    pub(super) fn forget(&self, digest: Digest) {
        self.right.of(&digest).forget(&digest);
    }
}

/// A bounded set in parts, so that threads seldom wait for each other.
struct Shards<K> {
    hasher: RandomState,
    shards: [Mutex<Recent<K>>; SHARDS],
}

impl<K: Copy + Eq + Hash> Shards<K> {
    fn new(max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Recent::new(max / SHARDS)));
        Self { hasher: RandomState::new(), shards }
    }

    fn of(&self, key: &K) -> MutexGuard<'_, Recent<K>> {
        let [spot, ..] = self.hasher.hash_one(key).to_be_bytes();
        let [first, ..] = &self.shards;
        let shard = self.shards.get(usize::from(spot) % SHARDS).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bounded set that evicts by second chance: a hand goes round and takes the first entry that was
/// not used since the hand last passed it. Constant time, and close to the least recently used.
struct Recent<K> {
    max: usize,
    places: HashMap<K, usize>,
    ring: Vec<RememberedVerdict<K>>,
    hand: usize,
}

struct RememberedVerdict<K> {
    key: K,
    last_use: Instant,
    used: bool,
    forgotten: bool,
}

impl<K: Copy + Eq + Hash> Recent<K> {
    fn new(max: usize) -> Self {
        Self { max, places: HashMap::new(), ring: Vec::new(), hand: 0 }
    }

    /// Whether the key is here and was used within `ttl`. That is a use.
    fn use_once(&mut self, key: &K, ttl: Duration, now: Instant) -> bool {
        let entry = self.places.get(key).and_then(|place| self.ring.get_mut(*place));
        let Some(entry) = entry else { return false };
        if entry.forgotten || now.saturating_duration_since(entry.last_use) >= ttl {
            return false;
        }
        entry.last_use = now.max(entry.last_use);
        entry.used = true;
        true
    }

    fn insert(&mut self, key: K, now: Instant) {
        let new = RememberedVerdict { key, last_use: now, used: false, forgotten: false };
        let known = self.places.get(&key).copied();
        let place = if known.is_none() && self.ring.len() < self.max {
            self.ring.len()
        } else {
            known.unwrap_or_else(|| self.evict())
        };
        match self.ring.get_mut(place) {
            Some(old) => *old = new,
            None => self.ring.push(new),
        }
        self.places.insert(key, place);
    }

    /// Leaves the place to the next that needs one.
    fn forget(&mut self, key: &K) {
        let entry = self.places.get(key).and_then(|place| self.ring.get_mut(*place));
        if let Some(entry) = entry {
            entry.forgotten = true;
            entry.used = false;
        }
    }

    /// Frees a place. Ends within one round, which takes every entry's second chance away.
    fn evict(&mut self) -> usize {
        loop {
            let place = self.hand;
            self.hand = (place + 1) % self.ring.len().max(1);
            match self.ring.get_mut(place) {
                Some(entry) if entry.used => entry.used = false,
                Some(entry) => {
                    self.places.remove(&entry.key);
                    return place;
                }
                None => return place,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Millis;
    use std::net::IpAddr;

    const DAY: Duration = Duration::from_hours(24);

    #[expect(clippy::disallowed_methods, reason = "any start does, time is stepped from here")]
    fn now() -> Now {
        Now { wall: Millis(0), mono: Instant::now() }
    }

    fn later(now: Now, by: Duration) -> Now {
        Now { mono: now.mono + by, ..now }
    }

    fn known() -> VerdictCache {
        VerdictCache::new(&[7; 64], DAY)
    }

    fn digest(known: &VerdictCache, user: &str, stored: Option<&str>, password: &str) -> Digest {
        let stored = stored.map(|text| PasswordHash(text.into()));
        let user = UserName::parse(user).unwrap();
        known.digest(&user, stored.as_ref(), &Secret::new(password.to_owned()))
    }

    fn client(address: &str) -> ClientKey {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn whatever_differs_gives_another_digest() {
        let (known, other) = (known(), VerdictCache::new(&[8; 64], DAY));
        let all = [
            digest(&known, "ab", Some("h"), "p"),
            digest(&known, "a", Some("bh"), "p"),
            digest(&known, "ab", Some("hp"), "x"),
            digest(&known, "ab", Some("none"), "p"),
            digest(&known, "ab", None, "p"),
            digest(&known, "ab", Some("h"), "q"),
            digest(&other, "ab", Some("h"), "p"),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(digest(&known, "ab", Some("h"), "p"), all[0]);
    }

    const RIGHT: Match = Match::Right { rehash_due: false };

    #[test]
    fn a_right_password_is_forgotten_a_ttl_after_its_last_use() {
        let (known, start, client) = (known(), now(), client("192.0.2.1"));
        let digest = digest(&known, "alice", Some("h"), "p");
        assert_eq!(known.recall(digest, client, start), None);
        known.remember(digest, client, RIGHT, start);
        let almost = DAY.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(known.recall(digest, client, later(start, almost)), Some(RIGHT));
        assert_eq!(known.recall(digest, client, later(start, almost * 2)), Some(RIGHT));
        assert_eq!(known.recall(digest, client, later(start, almost * 2 + DAY)), None);
    }

    #[test]
    fn a_wrong_password_is_known_for_the_client_that_sent_it_only() {
        let (known, now) = (known(), now());
        let digest = digest(&known, "alice", None, "p");
        known.remember(digest, client("192.0.2.1"), Match::Wrong, now);
        assert_eq!(known.recall(digest, client("192.0.2.1"), now), Some(Match::Wrong));
        assert_eq!(known.recall(digest, client("192.0.2.2"), now), None);
    }

    #[test]
    fn a_ttl_of_zero_remembers_nothing() {
        let (known, now, client) =
            (VerdictCache::new(&[7; 64], Duration::ZERO), now(), client("192.0.2.1"));
        for finding in [RIGHT, Match::Wrong] {
            known.remember([1; 16], client, finding, now);
            assert_eq!(known.recall([1; 16], client, now), None);
        }
    }

    #[test]
    fn a_verdict_carries_over_to_a_new_hash_only_while_it_is_known() {
        let (known, now, client) = (known(), now(), client("192.0.2.1"));
        let [old, new] = ["h", "new"].map(|hash| digest(&known, "alice", Some(hash), "p"));
        known.carry_over(old, new, now);
        assert_eq!(known.recall(new, client, now), None);
        known.remember(old, client, RIGHT, now);
        known.carry_over(old, new, now);
        assert_eq!(known.recall(new, client, now), Some(RIGHT));
        known.forget(new);
        assert_eq!(known.recall(new, client, now), None);
        known.carry_over(old, new, now);
        assert_eq!(known.recall(new, client, now), Some(RIGHT), "it can be learnt again");
    }

    #[test]
    fn beyond_the_bound_what_was_not_used_goes_first() {
        let (mut recent, now) = (Recent::new(100), now().mono);
        for key in 0..100 {
            recent.insert(key, now);
        }
        for key in 0..50 {
            assert!(recent.use_once(&key, DAY, now));
        }
        for key in 1000..1050 {
            recent.insert(key, now);
        }
        assert_eq!((recent.ring.len(), recent.places.len()), (100, 100));
        assert!((0..50).all(|key| recent.use_once(&key, DAY, now)));
        assert!((50..100).all(|key| !recent.use_once(&key, DAY, now)));
    }

    #[test]
    fn a_key_that_is_there_takes_no_second_place() {
        let (mut recent, now) = (Recent::new(2), now().mono);
        for key in [1, 2, 1, 1, 1] {
            recent.insert(key, now);
        }
        assert!(recent.use_once(&1, DAY, now) && recent.use_once(&2, DAY, now));
        assert_eq!(recent.ring.len(), 2);
    }

    #[test]
    fn a_hundred_thousand_logins_are_remembered_and_no_more() {
        let (known, now) = (known(), now());
        for number in 0..150_000_u128 {
            known.remember(number.to_be_bytes(), client("192.0.2.1"), RIGHT, now);
        }
        let kept: usize = known.right.shards.iter().map(|s| s.lock().unwrap().ring.len()).sum();
        assert_eq!(kept, MAX_RIGHT);
    }
}
