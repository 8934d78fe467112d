//! Verifies passwords. In: a user name, what is stored of that user, a password. Out: a [`Caller`]
//! that only this module makes, or wrong, or busy. Argon2 is the whole cost of a login, so verdicts
//! are cached, and Argon2 runs on few threads of low priority. Equal attempts at the same time, of
//! any client, share one run; both they and the queue for a thread are bounded.

mod argon2;
mod dummy_hash;
mod login_queue;
mod threads;
mod verdict_cache;

use crate::clock::Clock;
use crate::config;
use crate::counters::PasswordCounters;
use crate::log_budget::log_repeated;
use crate::model::client::{ClientKey, NetworkKey};
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::model::user::{Account, PasswordHash, UserId};
use arc_swap::ArcSwap;
pub use argon2::UnusableHash;
use argon2::{HashMemory, NEW_HASH_COST, StoredHash};
use dummy_hash::dummy_hash;
use login_queue::QueueFull;
use std::sync::Arc;
use std::time::Duration;
pub use threads::LARGE_KIB;
use threads::{HashThreads, Priority};
use tokio::sync::oneshot;
use verdict_cache::{CachedVerdict, VerdictCache};

/// Why a password could not be hashed, or hashing could not start.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The system refuses a thread.
    #[error(
        "cannot start a thread for password hashing (is the limit of tasks or memory too low?)"
    )]
    Thread(#[source] std::io::Error),
    /// The queue is full, or the job was lost.
    #[error("too many passwords are waiting to be hashed (try again in a moment)")]
    Busy,
    /// Argon2 refuses absurd lengths only.
    #[error("cannot hash the password: {0}")]
    Argon2(::argon2::Error),
}

/// A user who is logged in. Only a right password makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    user: UserId,
    rehash_due: bool,
}

impl Caller {
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The stored hash has other parameters than new ones: replace it by [`Passwords::rehash`].
    /// Only true when the password was hashed, not when its verdict was cached.
    pub fn rehash_due(&self) -> bool {
        self.rehash_due
    }
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub user: &'a UserName,
    /// What is stored of that user; `None` if there is none.
    pub account: Option<&'a Account>,
    pub password: &'a Secret,
    pub client: ClientKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verification {
    Right(Caller),
    /// The password is wrong, or there is no such user.
    Wrong,
    /// Too many passwords are waiting to be hashed, or for an equal one; this one was not.
    Busy,
    /// The password would have to be hashed, and may not be.
    NotKnown,
}

/// Whether a password that is not known may be hashed, and when.
pub enum Hashing<I> {
    Refused,
    /// Before other logins if this says so. It is called only if others wait.
    Allowed(I),
}

/// The result of one run of Argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Right { rehash_due: bool },
    Wrong,
}

impl Match {
    /// Without an account the answer is always wrong.
    fn verification(self, account: Option<&Account>) -> Verification {
        match (self, account) {
            (Self::Right { rehash_due }, Some(account)) => {
                Verification::Right(Caller { user: account.id, rehash_due })
            }
            (Self::Right { .. }, None) | (Self::Wrong, _) => Verification::Wrong,
        }
    }
}

/// Verifies and makes password hashes. Clones share everything; the threads end with the last one.
#[derive(Clone)]
pub struct Passwords(Arc<PasswordsInner>);

struct PasswordsInner {
    verdicts: VerdictCache,
    threads: ArcSwap<HashThreads>,
    counters: Arc<PasswordCounters>,
}

/// Checks that a hash is an Argon2 PHC string within our bounds.
///
/// # Errors
/// It is not. The error contains nothing of the hash.
pub fn check(hash: &PasswordHash) -> Result<(), UnusableHash> {
    StoredHash::parse(hash).map(drop)
}

/// As many threads as configured, at most one a core.
fn thread_count(config: config::Auth) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.threads.clamp(1, cores)
}

/// A new configuration, ready to be committed. Dropped, nothing changes.
#[must_use = "it takes effect when it is committed"]
pub struct PreparedPasswords {
    passwords: Passwords,
    cache_ttl: Duration,
    /// `None` if the number of threads stays.
    threads: Option<HashThreads>,
}

impl PreparedPasswords {
    /// New threads replace the old ones, which end when their queue is empty.
    pub fn commit(self) {
        let inner = &self.passwords.0;
        inner.verdicts.set_ttl(self.cache_ttl);
        if let Some(threads) = self.threads {
            inner.threads.store(Arc::new(threads));
        }
    }
}

impl Passwords {
    /// # Errors
    /// The system refuses a thread; nothing changes.
    pub fn prepare(&self, config: config::Auth) -> Result<PreparedPasswords, PasswordError> {
        let count = thread_count(config);
        let differs = self.0.threads.load().count() != count;
        let threads = differs.then(|| HashThreads::start(count)).transpose();
        let threads = threads.map_err(PasswordError::Thread)?;
        Ok(PreparedPasswords { passwords: self.clone(), cache_ttl: config.cache_ttl, threads })
    }

    /// Starts the hashing threads.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn new(
        config: config::Auth,
        counters: Arc<PasswordCounters>,
    ) -> Result<Self, PasswordError> {
        let threads = HashThreads::start(thread_count(config)).map_err(PasswordError::Thread)?;
        Ok(Self(Arc::new(PasswordsInner {
            verdicts: VerdictCache::new(&rand::random(), config.cache_ttl),
            threads: ArcSwap::from_pointee(threads),
            counters,
        })))
    }

    /// A cached verdict costs one HMAC, any other one run of Argon2, for an unknown user too. An
    /// attempt that arrives while an equal one is being hashed waits for that verdict.
    pub async fn verify<F: Future<Output = bool>>(
        &self,
        attempt: Attempt<'_>,
        hashing: Hashing<impl FnOnce() -> F>,
        now: Now,
    ) -> Verification {
        let PasswordsInner { verdicts, counters, .. } = &*self.0;
        let stored = attempt.account.map(|account| &account.hash);
        let digest = verdicts.digest(attempt.user, stored, attempt.password);
        let vacancy = match verdicts.look_up(digest, attempt.client, now).await {
            CachedVerdict::Found(found) => {
                match found {
                    Match::Right { .. } => counters.cached_right.add_one(),
                    Match::Wrong => counters.cached_wrong.add_one(),
                }
                return found.verification(attempt.account);
            }
            CachedVerdict::Missing(vacancy) => vacancy,
            CachedVerdict::Busy => {
                counters.busy.add_one();
                return Verification::Busy;
            }
        };
        let Hashing::Allowed(is_familiar) = hashing else { return Verification::NotKnown };
        let network = NetworkKey::from(attempt.client);
        // boxed, as the hashing: most passwords are known, and need no room for it
        let goes_first = self.waiting() > 0 && Box::pin(is_familiar()).await;
        let priority = if goes_first { Priority::FamiliarLogin } else { Priority::Login };
        let hashed = Box::pin(self.0.run_argon2(attempt, priority(network))).await;
        let Some(found) = hashed else {
            counters.busy.add_one();
            return Verification::Busy;
        };
        vacancy.record(found, now);
        found.verification(attempt.account)
    }

    /// Makes a hash with a new salt at the OWASP minimum. Goes before waiting logins.
    ///
    /// # Errors
    /// The queue is full, or Argon2 refuses the password.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHash, PasswordError> {
        let (sender, hash) = oneshot::channel();
        let counters = Arc::clone(&self.0.counters);
        let work = move |memory: &mut HashMemory| {
            let hash = counters.run(|| argon2::make(&password, rand::random(), memory));
            // fails if the caller is gone
            drop(sender.send(hash));
        };
        let threads = self.0.threads.load();
        let queued = threads.submit(Priority::Administration, NEW_HASH_COST.kib(), work);
        drop(threads);
        queued.map_err(|QueueFull| PasswordError::Busy)?;
        hash.await.map_err(|_| PasswordError::Busy)?
    }

    /// Makes a new hash of a password that was verified against `stored`. The cached verdict is
    /// copied to the new hash at once; should that one never be stored, no attempt can look it up.
    ///
    /// # Errors
    /// The queue is full, or Argon2 refuses the password.
    pub async fn rehash(
        &self,
        user: &UserName,
        stored: &PasswordHash,
        password: &Secret,
        now: Now,
    ) -> Result<PasswordHash, PasswordError> {
        let hash = self.hash(password.clone()).await?;
        let verdicts = &self.0.verdicts;
        let digest = |hash| verdicts.digest(user, Some(hash), password);
        verdicts.copy_right(digest(stored), digest(&hash), now);
        Ok(hash)
    }

    /// Attempts and administration that wait for a hashing thread.
    pub fn waiting(&self) -> usize {
        self.0.threads.load().waiting()
    }

    /// The user's next login with this password is hashed.
    pub fn forget(&self, user: &UserName, stored: &PasswordHash, password: &Secret) {
        let verdicts = &self.0.verdicts;
        verdicts.forget_right(verdicts.digest(user, Some(stored), password));
    }
}

impl PasswordCounters {
    /// Counts and times a run of Argon2.
    fn run<T>(&self, argon2: impl FnOnce() -> T) -> T {
        let start = Clock.now().mono;
        let done = argon2();
        self.hashed.add_one();
        self.runs.record(Clock.now().mono.saturating_duration_since(start));
        done
    }
}

impl PasswordsInner {
    /// `None` if the queue is full, the job was dropped or lost, or there is no memory for it.
    async fn run_argon2(&self, attempt: Attempt<'_>, priority: Priority) -> Option<Match> {
        let stored = attempt.account.and_then(|account| usable_hash(attempt.user, account));
        let may_match = stored.is_some();
        let hash = stored.unwrap_or_else(dummy_hash);
        let (sender, found) = oneshot::channel();
        let counters = Arc::clone(&self.counters);
        let password = attempt.password.clone();
        let kib = hash.cost().kib();
        let work = move |memory: &mut HashMemory| {
            if sender.is_closed() {
                return;
            }
            let matches = match counters.run(|| hash.matches(&password, memory)) {
                Ok(matches) => matches,
                Err(out_of_memory) => return log_repeated!(error, "{out_of_memory}"),
            };
            let found = if matches && may_match {
                Match::Right { rehash_due: hash.is_outdated() }
            } else {
                Match::Wrong
            };
            // fails if the caller is gone
            let _ = sender.send(found);
        };
        self.threads.load().submit(priority, kib, work).ok()?;
        found.await.ok()
    }
}

fn usable_hash(user: &UserName, account: &Account) -> Option<StoredHash> {
    let stored = StoredHash::parse(&account.hash);
    let stored = stored.inspect_err(|why| {
        log_repeated!(error,
            user = user.as_str(),
            %why,
            "the stored password hash is unusable (set a new one with `ddnsctl user passwd`)"
        );
    });
    stored.ok()
}

#[cfg(test)]
mod tests;
