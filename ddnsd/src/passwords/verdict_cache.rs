//! Verdicts on passwords, so that a repeated login costs one HMAC and no Argon2. In: user, stored
//! hash, password, client. Out: right, wrong for this client, or unknown. An attempt that arrives
//! while an equal one is being hashed waits for its verdict, whatever the client.
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
use foldhash::fast::RandomState;
use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::{Cache, DefaultLifecycle, EntryAction, EntryResult, PlaceholderGuard};
use quick_cache::{OptionsBuilder, UnitWeighter};
use sha2::Sha256;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const MAX_RIGHT: usize = 100_000;
const MAX_WRONG: usize = 65_536;
/// Far more runs than can end between the end of one run and the last of its waiters.
const MAX_WRONG_RUNS: usize = 16_384;
/// Attempts that wait for an equal one, as many as logins wait for a thread.
const MAX_WAITERS: usize = 256;
/// Each has its own lock.
const SHARDS: usize = 16;

/// The first half of an HMAC-SHA-256 over user, stored hash and password.
pub(super) type Digest = [u8; 16];

/// One block of SHA-256, the length that HMAC uses unchanged. Random for each process.
pub(super) type ProcessKey = [u8; 64];

type KeyedCache<K, V> = Cache<K, V, UnitWeighter, RandomState>;

pub(super) struct VerdictCache {
    key: Hmac<Sha256>,
    ttl_seconds: AtomicU64,
    /// The time of the last use.
    right: KeyedCache<Digest, Instant>,
    /// The time of the first use.
    wrong: KeyedCache<(Digest, ClientKey), Instant>,
    /// Counts the runs of Argon2 that found a wrong password.
    wrong_runs: AtomicU64,
    /// The number of the last such run.
    last_wrong_run: KeyedCache<Digest, u64>,
    waiters: Semaphore,
}

/// What the cache holds for an attempt.
pub(super) enum CachedVerdict<'a> {
    Found(Match),
    Missing(Vacancy<'a>),
    /// Too many attempts wait for equal ones.
    Busy,
}

type RightGuard<'a> = PlaceholderGuard<
    'a,
    Digest,
    Instant,
    UnitWeighter,
    RandomState,
    DefaultLifecycle<Digest, Instant>,
>;

/// The right to hash one password. Equal attempts wait until the verdict is recorded and take it.
/// If this is dropped without a verdict, one of them gets the right.
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
            wrong_runs: AtomicU64::new(0),
            last_wrong_run: bounded(MAX_WRONG_RUNS),
            waiters: Semaphore::new(MAX_WAITERS),
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
    /// while an equal attempt is being hashed, and takes its verdict.
    #[expect(clippy::manual_async_fn, reason = "that would have room for each argument twice")]
    pub(super) fn look_up(
        &self,
        digest: Digest,
        client: ClientKey,
        now: Now,
    ) -> impl Future<Output = CachedVerdict<'_>> {
        async move {
            let vacancy =
                |guard| CachedVerdict::Missing(Vacancy { cache: self, guard, digest, client });
            if self.ttl_seconds.load(Ordering::Relaxed) == 0 {
                return vacancy(None);
            }
            // before the look-up: a wrong run that this one misses has a higher number
            let wrong_runs_before = self.wrong_runs.load(Ordering::Relaxed);
            if self.wrong.get(&(digest, client)).is_some_and(|used| self.is_fresh(used, now)) {
                return CachedVerdict::Found(Match::Wrong);
            }
            let use_fresh = |_: &Digest, last_use: &mut Instant| {
                if self.is_fresh(*last_use, now) {
                    *last_use = now.mono.max(*last_use);
                    EntryAction::Retain(())
                } else {
                    EntryAction::ReplaceWithGuard
                }
            };
            let entry = match self.right.entry(&digest, Some(Duration::ZERO), use_fresh) {
                // an equal attempt is being hashed
                EntryResult::Timeout => {
                    let Ok(_place) = self.waiters.try_acquire() else { return CachedVerdict::Busy };
                    // boxed: most passwords are known, and need no room for it
                    Box::pin(self.right.entry_async(&digest, use_fresh)).await
                }
                entry => entry,
            };
            let guard = match entry {
                EntryResult::Retained(()) => {
                    return CachedVerdict::Found(Match::Right { rehash_due: false });
                }
                EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
                // never returned: the closure removes nothing, and the async call has no time-out
                EntryResult::Removed(..) | EntryResult::Timeout => None,
            };
            if self.last_wrong_run.get(&digest).is_some_and(|run| run > wrong_runs_before) {
                self.wrong.insert((digest, client), now.mono);
                // dropping the guard lets the next waiter look
                return CachedVerdict::Found(Match::Wrong);
            }
            vacancy(guard)
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
    /// Gives the verdict to the equal attempts that wait.
    pub(super) fn record(self, found: Match, now: Now) {
        let Some(guard) = self.guard else { return };
        match found {
            // fails if the verdict was forgotten meanwhile, which is right
            Match::Right { .. } => drop(guard.insert(now.mono)),
            Match::Wrong => {
                let Self { cache, digest, client, .. } = self;
                cache.wrong.insert((digest, client), now.mono);
                let run = cache.wrong_runs.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                cache.last_wrong_run.insert(digest, run);
                // after the inserts, so that waiting attempts find them
                drop(guard);
            }
        }
    }
}

/// Up to `max` entries. Evicted keys are not tracked (`ghost_allocation`), which would take half as
/// much memory again.
fn bounded<K: Hash + Eq, V: Clone>(max: usize) -> KeyedCache<K, V> {
    let mut options = OptionsBuilder::new();
    options.shards(SHARDS).estimated_items_capacity(max).weight_capacity(max as u64);
    match options.ghost_allocation(0.0).build() {
        Ok(options) => Cache::with_options(
            options,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        ),
        // `build` fails only without a capacity
        Err(_) => Cache::with(
            max,
            max as u64,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        ),
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
            CachedVerdict::Busy => panic!("too many wait"),
        }
    }

    async fn record(cache: &VerdictCache, digest: Digest, found: Match, now: Now) {
        match cache.look_up(digest, client("192.0.2.1"), now).await {
            CachedVerdict::Missing(vacancy) => vacancy.record(found, now),
            CachedVerdict::Found(known) => panic!("{known:?} is there already"),
            CachedVerdict::Busy => panic!("too many wait"),
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
    async fn only_an_attempt_that_waited_takes_the_wrong_verdict_of_another_client() {
        let (cache, now) = (cache(), now());
        let [first, second, late] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(client);
        let CachedVerdict::Missing(vacancy) = cache.look_up([1; 16], first, now).await else {
            panic!("it is not known yet");
        };
        let mut waiting = Box::pin(look_up(&cache, [1; 16], second, now));
        assert!(futures::poll!(&mut waiting).is_pending());
        vacancy.record(Match::Wrong, now);
        assert_eq!(waiting.await, Some(Match::Wrong));
        assert_eq!(look_up(&cache, [1; 16], second, now).await, Some(Match::Wrong));
        assert_eq!(look_up(&cache, [1; 16], late, now).await, None);
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
        let bytes = cache.right.memory_used().total()
            + cache.wrong.memory_used().total()
            + cache.last_wrong_run.memory_used().total();
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
