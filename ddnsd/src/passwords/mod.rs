//! Who is it? In: a user name, what is stored of that user, a password. Out: a [`Caller`] that only
//! this module makes, or wrong, or too busy to tell. Argon2 is the whole cost of a login, so verdicts
//! are remembered, equal attempts share one run, and runs happen on few threads of low priority.

mod argon2;
mod dummy_hash;
mod flights;
mod phc;
mod threads;
mod verdict_cache;

use crate::config;
use crate::counters::PasswordCounters;
use crate::model::client::ClientKey;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::model::user::{Account, PasswordHash, UserId};
pub use argon2::Unusable as UnusableHash;
use argon2::{HashMemory, StoredHash};
use dummy_hash::DummyHashes;
pub use dummy_hash::StandInKey;
use flights::{Flights, Ticket};
use std::sync::Arc;
use std::time::Duration;
use threads::{HashThreads, Priority, QueueFull, Resize};
use verdict_cache::{Digest, ProcessKey, VerdictCache};

/// Why a password could not be hashed, or hashing could not start.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// A thread could not be made.
    #[error(
        "cannot start a thread for password hashing (is the limit of tasks or memory too low?)"
    )]
    Thread(#[source] std::io::Error),
    /// The queue is full, or the run was cut off.
    #[error("too many passwords wait to be hashed (try again in a moment)")]
    Busy,
    /// Argon2 refused, which it does for absurd lengths only.
    #[error("the password cannot be hashed: {0}")]
    Unhashable(String),
}

/// Who logged in. Only a right password makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    user: UserId,
    rehash_due: bool,
}

impl Caller {
    /// The user's key.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The stored hash was made with other parameters than ours: make it anew with
    /// [`Passwords::remake`]. Said when the password was hashed, not when it was remembered.
    pub fn rehash_due(&self) -> bool {
        self.rehash_due
    }
}

/// Someone says who they are.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who they say they are.
    pub user: &'a UserName,
    /// What is stored of that user; `None` if there is none.
    pub account: Option<&'a Account>,
    /// What they prove it with.
    pub password: &'a Secret,
    /// Where they are.
    pub client: ClientKey,
}

/// What is said about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verification {
    /// It is this user's.
    Right(Caller),
    /// It is not, or there is no such user.
    Wrong,
    /// Too many others wait; nothing is known.
    Busy,
}

/// What a run of Argon2 found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Right { rehash_due: bool },
    Wrong,
}

impl Match {
    /// Nobody can be right who is not stored.
    fn verdict(self, account: Option<&Account>) -> Verification {
        match (self, account) {
            (Self::Right { rehash_due }, Some(account)) => {
                Verification::Right(Caller { user: account.id, rehash_due })
            }
            (Self::Right { .. }, None) | (Self::Wrong, _) => Verification::Wrong,
        }
    }
}

/// Verifies and makes password hashes. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Passwords(Arc<PasswordsInner>);

struct PasswordsInner {
    known: Arc<VerdictCache>,
    flights: Arc<Flights>,
    stand_ins: DummyHashes,
    pool: HashThreads,
    counters: Arc<PasswordCounters>,
}

/// Whether passwords can be verified against a hash: an Argon2 PHC string within our bounds.
///
/// # Errors
/// They cannot; says why, and nothing of the hash.
pub fn check(hash: &PasswordHash) -> Result<(), UnusableHash> {
    StoredHash::parse(hash).map(drop)
}

/// As many threads as configured, at most one a core.
fn threads(config: config::Auth) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.threads.clamp(1, cores)
}

/// Another section, ready to be used. Dropped, all stays as it was.
#[must_use = "it is used when it is committed"]
pub struct PreparedPasswords {
    known: Arc<VerdictCache>,
    cache_ttl: Duration,
    resize: Resize,
}

impl PreparedPasswords {
    /// Works by it from now on.
    pub fn commit(self) {
        self.known.keep_for(self.cache_ttl);
        self.resize.commit();
    }
}

impl Passwords {
    /// Gets ready to work by another section.
    ///
    /// # Errors
    /// The system refuses a thread; all stays as it was.
    pub fn prepare(&self, config: config::Auth) -> Result<PreparedPasswords, PasswordError> {
        let resize = self.0.pool.resize(threads(config)).map_err(PasswordError::Thread)?;
        Ok(PreparedPasswords {
            known: Arc::clone(&self.0.known),
            cache_ttl: config.cache_ttl,
            resize,
        })
    }

    /// Starts the hashing threads: as many as configured, at most one a core.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn new(
        config: config::Auth,
        stand_ins: &StandInKey,
        counters: Arc<PasswordCounters>,
    ) -> Result<Self, PasswordError> {
        let key: ProcessKey = rand::random();
        Ok(Self(Arc::new(PasswordsInner {
            known: Arc::new(VerdictCache::new(&key, config.cache_ttl)),
            flights: Arc::default(),
            stand_ins: DummyHashes::new(stand_ins),
            pool: HashThreads::start(threads(config)).map_err(PasswordError::Thread)?,
            counters,
        })))
    }

    /// Tells what stored hashes cost, so that unknown users cost as much. A few hundred are enough;
    /// every verified one adds to it.
    pub fn learn_costs<'a>(
        &self,
        stored: impl IntoIterator<Item = (&'a UserName, &'a PasswordHash)>,
    ) {
        for (user, hash) in stored {
            if let Ok(stored) = StoredHash::parse(hash) {
                self.0.stand_ins.note(user, stored.cost());
            }
        }
    }

    /// Whose password is it? A remembered verdict takes one HMAC, others one run of Argon2. An
    /// unknown user costs as much as a wrong password.
    pub async fn verify(&self, attempt: Attempt<'_>, now: Now) -> Verification {
        let PasswordsInner { known, counters, .. } = &*self.0;
        let stored = attempt.account.map(|account| &account.hash);
        let digest = known.digest(attempt.user, stored, attempt.password);
        if let Some(finding) = known.recall(digest, attempt.client, now) {
            match finding {
                Match::Right { .. } => counters.remembered_right.add_one(),
                Match::Wrong => counters.remembered_wrong.add_one(),
            }
            return finding.verdict(attempt.account);
        }
        let Some(finding) = self.0.find_out(digest, attempt, now).await else {
            counters.busy.add_one();
            return Verification::Busy;
        };
        known.remember(digest, attempt.client, finding, now);
        finding.verdict(attempt.account)
    }

    /// Makes a hash with a fresh salt and the OWASP minimum. Goes ahead of waiting logins.
    ///
    /// # Errors
    /// The queue is full, or Argon2 refuses the password.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHash, PasswordError> {
        let (answer, result) = tokio::sync::oneshot::channel();
        let counters = Arc::clone(&self.0.counters);
        let work = move |memory: &mut HashMemory| {
            counters.hashed.add_one();
            // nobody may be waiting any more
            drop(answer.send(argon2::make(&password, rand::random(), memory)));
        };
        let queued = self.0.pool.submit(Priority::Administration, argon2::OURS.kib(), work);
        queued.map_err(|_| PasswordError::Busy)?;
        result.await.map_err(|_| PasswordError::Busy)?
    }

    /// Makes a new hash of a password that was verified against `stored`. What is known of it is known
    /// under the new hash too, at once; should that one never be stored, nobody can ask for it.
    ///
    /// # Errors
    /// The queue is full, or Argon2 refuses the password.
    pub async fn remake(
        &self,
        user: &UserName,
        stored: &PasswordHash,
        password: &Secret,
        now: Now,
    ) -> Result<PasswordHash, PasswordError> {
        let hash = self.hash(password.clone()).await?;
        let known = &self.0.known;
        let under = |hash| known.digest(user, Some(hash), password);
        known.carry_over(under(stored), under(&hash), now);
        Ok(hash)
    }

    /// Forgets that a password is right, so that the next login is hashed.
    pub fn forget(&self, user: &UserName, stored: &PasswordHash, password: &Secret) {
        let known = &self.0.known;
        known.forget(known.digest(user, Some(stored), password));
    }
}

impl PasswordsInner {
    /// Joins the equal attempt that is under way, or starts one. `None`: no room, or cut off.
    async fn find_out(&self, digest: Digest, attempt: Attempt<'_>, now: Now) -> Option<Match> {
        let (mut finding, ticket) = self.flights.board(digest);
        if let Some(ticket) = ticket {
            match self.known.recall(digest, attempt.client, now) {
                // an equal run ended after we had asked and before we boarded
                Some(found) => ticket.settle(found),
                None => self.start(ticket, attempt, now).ok()?,
            }
        }
        finding.wait_for(Option::is_some).await.ok().and_then(|found| *found)
    }

    fn start(&self, mut ticket: Ticket, attempt: Attempt<'_>, now: Now) -> Result<(), QueueFull> {
        let (target, kept) = self.target(attempt.user, attempt.account);
        let (known, counters) = (Arc::clone(&self.known), Arc::clone(&self.counters));
        let (password, client) = (attempt.password.clone(), attempt.client);
        let kib = target.cost().kib();
        let work = move |memory: &mut HashMemory| {
            if ticket.is_abandoned() {
                return;
            }
            counters.hashed.add_one();
            let finding = if target.matches(&password, memory) && kept {
                Match::Right { rehash_due: target.is_outdated() }
            } else {
                Match::Wrong
            };
            // before the flight ends, so that an equal attempt finds either the flight or this
            known.remember(ticket.digest(), client, finding, now);
            ticket.settle(finding);
        };
        self.pool.submit(Priority::Login, kib, work)
    }

    /// What to hash against, and whether it is a hash that was stored for this user: an unknown
    /// user, or one whose hash is unusable, is checked against a stand-in that nothing matches.
    fn target(&self, user: &UserName, account: Option<&Account>) -> (StoredHash, bool) {
        match account.map(|account| StoredHash::parse(&account.hash)) {
            Some(Ok(stored)) => {
                self.stand_ins.note(user, stored.cost());
                (stored, true)
            }
            Some(Err(why)) => {
                tracing::error!(
                    user = user.as_str(),
                    %why,
                    "the stored password hash is unusable (set a new one with `ddnsctl user passwd`)"
                );
                (self.stand_ins.of(user), false)
            }
            None => (self.stand_ins.of(user), false),
        }
    }
}

#[cfg(test)]
mod tests;
