//! Verdicts on passwords, so that a repeated login costs one HMAC and no Argon2. In: user, stored
//! hash, password, client. Out: right, wrong for this client, or unknown.
//!
//! The key is an HMAC over user, stored hash and password. So a new password, a deleted user or
//! another hash ends a verdict at once, and a memory dump shows no password. Right and wrong
//! passwords have caches of their own, so that guesses evict no login.

use super::Match;
use crate::model::client::ClientKey;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::model::user::PasswordHash;
use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::{Cache, DefaultLifecycle, EntryAction, EntryResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};
use sha2::Sha256;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MAX_RIGHT: usize = 100_000;
const MAX_WRONG: usize = 65_536;
/// Each has its own lock.
const SHARDS: usize = 16;

/// The first half of an HMAC-SHA-256 over user, stored hash and password.
pub(super) type Digest = [u8; 16];

/// One block of SHA-256, the length that HMAC uses unchanged. Random for each process.
pub(super) type ProcessKey = [u8; 64];

pub(super) struct VerdictCache {
    key: Hmac<Sha256>,
    ttl_seconds: AtomicU64,
    /// The time of the last use.
    right: Cache<Digest, Instant>,
    /// The time of the first use.
    wrong: Cache<(Digest, ClientKey), Instant>,
}

/// What the cache holds for an attempt.
pub(super) enum CachedVerdict<'a> {
    Found(Match),
    Missing(Vacancy<'a>),
}

type RightGuard<'a> = PlaceholderGuard<
    'a,
    Digest,
    Instant,
    UnitWeighter,
    DefaultHashBuilder,
    DefaultLifecycle<Digest, Instant>,
>;

/// The right to hash one password. Equal attempts wait until this is dropped or filled, then look
/// again, so that they share one run of Argon2.
pub(super) struct Vacancy<'a> {
    cache: &'a VerdictCache,
    /// `None` while nothing is remembered.
    guard: Option<RightGuard<'a>>,
    digest: Digest,
    client: ClientKey,
}

impl VerdictCache {
    /// A verdict on a right password is kept for `ttl` since its last use; zero keeps none.
    pub(super) fn new(key: &ProcessKey, ttl: Duration) -> Self {
        Self {
            key: <Hmac<Sha256> as KeyInit>::new(&(*key).into()),
            ttl_seconds: AtomicU64::new(ttl.as_secs()),
            right: bounded(MAX_RIGHT),
            wrong: bounded(MAX_WRONG),
        }
    }

    /// Also holds for verdicts that are in the cache already.
    pub(super) fn set_ttl(&self, ttl: Duration) {
        self.ttl_seconds.store(ttl.as_secs(), Ordering::Relaxed);
    }

    fn is_fresh(&self, used: Instant, now: Now) -> bool {
        let ttl = Duration::from_secs(self.ttl_seconds.load(Ordering::Relaxed));
        now.mono.saturating_duration_since(used) < ttl
    }

    pub(super) fn digest(
        &self,
        user: &UserName,
        stored: Option<&PasswordHash>,
        password: &Secret,
    ) -> Digest {
        let mut mac = self.key.clone();
        let mut field = |bytes: &[u8]| {
            // the length in front, so that bytes cannot move from one field to the next
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

    /// A right password is known for every client, a wrong one for the client that sent it. Waits
    /// while an equal attempt is being hashed.
    pub(super) async fn look_up(
        &self,
        digest: Digest,
        client: ClientKey,
        now: Now,
    ) -> CachedVerdict<'_> {
        let vacancy =
            |guard| CachedVerdict::Missing(Vacancy { cache: self, guard, digest, client });
        if self.ttl_seconds.load(Ordering::Relaxed) == 0 {
            return vacancy(None);
        }
        let entry = self.right.entry_async(&digest, |_, last_use| {
            if self.is_fresh(*last_use, now) {
                *last_use = now.mono.max(*last_use);
                EntryAction::Retain(())
            } else {
                EntryAction::ReplaceWithGuard
            }
        });
        let guard = match entry.await {
            EntryResult::Retained(()) => {
                return CachedVerdict::Found(Match::Right { rehash_due: false });
            }
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
            // never returned: the closure removes nothing, and the async call has no time-out
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        // only now: an equal attempt may have been refused while this one waited
        match self.wrong.get(&(digest, client)) {
            Some(used) if self.is_fresh(used, now) => CachedVerdict::Found(Match::Wrong),
            _ => vacancy(guard),
        }
    }

    /// The same password has another hash now. Does nothing if it is not known under the first.
    pub(super) fn copy_right(&self, from: Digest, to: Digest, now: Now) {
        if self.right.get(&from).is_some_and(|used| self.is_fresh(used, now)) {
            self.right.insert(to, now.mono);
        }
    }

    pub(super) fn forget_right(&self, digest: Digest) {
        self.right.remove(&digest);
    }
}

impl Vacancy<'_> {
    /// Lets equal attempts that wait go on.
    pub(super) fn record(self, found: Match, now: Now) {
        let Some(guard) = self.guard else { return };
        match found {
            // fails if the verdict was forgotten meanwhile, which is right
            Match::Right { .. } => drop(guard.insert(now.mono)),
            Match::Wrong => {
                self.cache.wrong.insert((self.digest, self.client), now.mono);
                // after the insert, so that waiting attempts find it
                drop(guard);
            }
        }
    }
}

/// Up to `max` entries. Evicted keys are not tracked (`ghost_allocation`), which would take half as
/// much memory again.
fn bounded<K: Hash + Eq>(max: usize) -> Cache<K, Instant> {
    let mut options = OptionsBuilder::new();
    options.shards(SHARDS).estimated_items_capacity(max).weight_capacity(max as u64);
    match options.ghost_allocation(0.0).build() {
        Ok(options) => Cache::with_options(
            options,
            UnitWeighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // `build` fails only without a capacity
        Err(_) => Cache::new(max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Millis;
    use std::net::IpAddr;

    const DAY: Duration = Duration::from_hours(24);
    const RIGHT: Match = Match::Right { rehash_due: false };

    #[expect(clippy::disallowed_methods, reason = "any start does, time is stepped from here")]
    fn now() -> Now {
        Now { wall: Millis(0), mono: Instant::now() }
    }

    fn later(now: Now, by: Duration) -> Now {
        Now { mono: now.mono + by, ..now }
    }

    fn cache() -> VerdictCache {
        VerdictCache::new(&[7; 64], DAY)
    }

    fn digest(cache: &VerdictCache, user: &str, stored: Option<&str>, password: &str) -> Digest {
        let stored = stored.map(|text| PasswordHash(text.into()));
        let user = UserName::parse(user).unwrap();
        cache.digest(&user, stored.as_ref(), &Secret::new(password.to_owned()))
    }

    fn client(address: &str) -> ClientKey {
        address.parse::<IpAddr>().unwrap().into()
    }

    async fn look_up(
        cache: &VerdictCache,
        digest: Digest,
        client: ClientKey,
        now: Now,
    ) -> Option<Match> {
        match cache.look_up(digest, client, now).await {
            CachedVerdict::Found(found) => Some(found),
            CachedVerdict::Missing(_) => None,
        }
    }

    async fn record(cache: &VerdictCache, digest: Digest, found: Match, now: Now) {
        match cache.look_up(digest, client("192.0.2.1"), now).await {
            CachedVerdict::Found(known) => panic!("{known:?} is there already"),
            CachedVerdict::Missing(vacancy) => vacancy.record(found, now),
        }
    }

    #[test]
    fn any_difference_gives_another_digest() {
        let (cache, other) = (cache(), VerdictCache::new(&[8; 64], DAY));
        let all = [
            digest(&cache, "ab", Some("h"), "p"),
            digest(&cache, "a", Some("bh"), "p"),
            digest(&cache, "ab", Some("hp"), "x"),
            digest(&cache, "ab", Some("none"), "p"),
            digest(&cache, "ab", None, "p"),
            digest(&cache, "ab", Some("h"), "q"),
            digest(&other, "ab", Some("h"), "p"),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(digest(&cache, "ab", Some("h"), "p"), all[0]);
    }

    #[tokio::test]
    async fn a_right_password_expires_a_ttl_after_its_last_use() {
        let (cache, start, client) = (cache(), now(), client("192.0.2.1"));
        let digest = digest(&cache, "alice", Some("h"), "p");
        assert_eq!(look_up(&cache, digest, client, start).await, None);
        record(&cache, digest, RIGHT, start).await;
        let almost = DAY.checked_sub(Duration::from_secs(1)).unwrap();
        for (after, found) in
            [(almost, Some(RIGHT)), (almost * 2, Some(RIGHT)), (almost * 2 + DAY, None)]
        {
            assert_eq!(look_up(&cache, digest, client, later(start, after)).await, found);
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_known_for_its_client_only_and_expires() {
        let (cache, now) = (cache(), now());
        let digest = digest(&cache, "alice", None, "p");
        record(&cache, digest, Match::Wrong, now).await;
        for (address, after, found) in [
            ("192.0.2.1", Duration::ZERO, Some(Match::Wrong)),
            ("192.0.2.2", Duration::ZERO, None),
            ("192.0.2.1", DAY, None),
        ] {
            let found_now = look_up(&cache, digest, client(address), later(now, after)).await;
            assert_eq!(found_now, found, "{address} after {after:?}");
        }
    }

    #[tokio::test]
    async fn a_ttl_of_zero_remembers_nothing() {
        let (cache, now) = (VerdictCache::new(&[7; 64], Duration::ZERO), now());
        for found in [RIGHT, Match::Wrong] {
            record(&cache, [1; 16], found, now).await;
            assert_eq!(look_up(&cache, [1; 16], client("192.0.2.1"), now).await, None);
        }
    }

    #[tokio::test]
    async fn an_equal_attempt_waits_for_the_verdict_of_the_first() {
        let (cache, now, client) = (cache(), now(), client("192.0.2.1"));
        for found in [RIGHT, Match::Wrong] {
            let digest = digest(&cache, "alice", Some("h"), &format!("{found:?}"));
            let CachedVerdict::Missing(vacancy) = cache.look_up(digest, client, now).await else {
                panic!("it is not known yet");
            };
            let mut second = Box::pin(look_up(&cache, digest, client, now));
            assert!(futures::poll!(&mut second).is_pending());
            vacancy.record(found, now);
            assert_eq!(second.await, Some(found));
        }
    }

    #[tokio::test]
    async fn an_attempt_that_is_given_up_lets_an_equal_one_hash() {
        let (cache, now, client) = (cache(), now(), client("192.0.2.1"));
        let vacancy = cache.look_up([1; 16], client, now).await;
        let mut second = Box::pin(look_up(&cache, [1; 16], client, now));
        assert!(futures::poll!(&mut second).is_pending());
        drop(vacancy);
        assert_eq!(second.await, None);
    }

    #[tokio::test]
    async fn a_verdict_is_copied_to_a_new_hash_only_while_it_is_known() {
        let (cache, now, client) = (cache(), now(), client("192.0.2.1"));
        let [old, new] = ["h", "new"].map(|hash| digest(&cache, "alice", Some(hash), "p"));
        cache.copy_right(old, new, now);
        assert_eq!(look_up(&cache, new, client, now).await, None);
        record(&cache, old, RIGHT, now).await;
        cache.copy_right(old, new, now);
        assert_eq!(look_up(&cache, new, client, now).await, Some(RIGHT));
        cache.forget_right(new);
        assert_eq!(look_up(&cache, new, client, now).await, None);
        cache.copy_right(old, new, now);
        assert_eq!(look_up(&cache, new, client, now).await, Some(RIGHT), "it can be learnt again");
    }

    #[tokio::test]
    async fn a_verdict_that_is_forgotten_while_it_is_hashed_is_not_recorded() {
        let (cache, now, client) = (cache(), now(), client("192.0.2.1"));
        let CachedVerdict::Missing(vacancy) = cache.look_up([1; 16], client, now).await else {
            panic!("it is not known yet");
        };
        cache.forget_right([1; 16]);
        vacancy.record(RIGHT, now);
        assert_eq!(look_up(&cache, [1; 16], client, now).await, None);
    }

    #[tokio::test]
    async fn at_most_100_000_logins_are_remembered_and_guesses_evict_none() {
        let (cache, now) = (cache(), now());
        for number in 0..150_000_u128 {
            record(&cache, number.to_be_bytes(), RIGHT, now).await;
        }
        assert_eq!(cache.right.len(), MAX_RIGHT);
        for number in 1_000_000..1_100_000_u128 {
            record(&cache, number.to_be_bytes(), Match::Wrong, now).await;
        }
        assert_eq!((cache.right.len(), cache.wrong.len()), (MAX_RIGHT, MAX_WRONG));
        let bytes = cache.right.memory_used().total() + cache.wrong.memory_used().total();
        // 17.5 MB is what the maps of the standard library took for as many
        assert!(bytes < 17_500_000, "{bytes} bytes");
    }

    #[tokio::test]
    async fn a_login_that_is_used_outlives_those_that_are_not() {
        let (cache, now, client) = (cache(), now(), client("192.0.2.1"));
        for number in 0..1000_u128 {
            record(&cache, number.to_be_bytes(), RIGHT, now).await;
            assert_eq!(look_up(&cache, number.to_be_bytes(), client, now).await, Some(RIGHT));
        }
        for number in 1000..200_000_u128 {
            record(&cache, number.to_be_bytes(), RIGHT, now).await;
        }
        for number in 0..1000_u128 {
            let found = look_up(&cache, number.to_be_bytes(), client, now).await;
            assert_eq!(found, Some(RIGHT), "{number}");
        }
    }
}
