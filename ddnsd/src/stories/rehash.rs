//! Makes imported password hashes again with the configured cost. In: an authentication whose
//! password was right, and the end of its request. Out: the user's new hash, unless it was changed
//! meanwhile. The verdict stays cached, so that the next request costs no Argon2.

use crate::clock::Clock;
use crate::db::Db;
use crate::log_budget::log_repeated;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::user::{Account, UserId};
use crate::passwords::Passwords;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

/// The story; clones share everything.
#[derive(Clone)]
pub struct Rehash(Arc<RehashHandles>);

struct RehashHandles {
    db: Db,
    passwords: Passwords,
    clock: Clock,
    tasks: TaskTracker,
    /// One at a time, so that a thousand imported users at once do not delay authentications.
    semaphore: Semaphore,
    in_progress: Mutex<HashSet<UserId>>,
}

/// A right password, and the hash that it was checked against.
pub(super) struct DueRehash {
    pub(super) user: UserName,
    pub(super) account: Account,
    pub(super) password: Secret,
}

impl Rehash {
    pub fn new(db: Db, passwords: Passwords, clock: Clock, tasks: TaskTracker) -> Self {
        let semaphore = Semaphore::new(1);
        let in_progress = Mutex::default();
        Self(Arc::new(RehashHandles { db, passwords, clock, tasks, semaphore, in_progress }))
    }

    /// Makes the hash again once the returned guard is dropped, with the end of the request. `None`
    /// if it is in progress already.
    pub(super) fn after_request(&self, due: DueRehash) -> Option<DropGuard> {
        let id = due.account.id;
        if !self.in_progress().insert(id) {
            return None;
        }
        let handles = Arc::clone(&self.0);
        let answered = CancellationToken::new();
        let request_ended = answered.clone();
        self.0.tasks.spawn(async move {
            request_ended.cancelled().await;
            handles.remake(&due).await;
            Self(handles).in_progress().remove(&id);
        });
        Some(answered.drop_guard())
    }

    fn in_progress(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RehashHandles {
    async fn remake(&self, due: &DueRehash) {
        let Ok(_permit) = self.semaphore.acquire().await else { return };
        // at a stop nothing waits for this: the next authentication does it
        if self.tasks.is_closed() {
            return;
        }
        let DueRehash { user, account, password } = due;
        let now = self.clock.now();
        let stored = match self.passwords.rehash(user, &account.hash, password, now).await {
            Ok(hash) => {
                let stored = self.db.replace_hash(user.clone(), &account.hash, hash, now.wall);
                stored.await.map_err(|problem| problem.to_string())
            }
            Err(problem) => Err(problem.to_string()),
        };
        let user = user.as_str();
        match stored {
            Ok(true) => info!(user, "an imported password hash was remade"),
            Ok(false) => debug!(user, "a password hash was changed before it could be remade"),
            Err(problem) => {
                // so that the next authentication hashes and tries again
                self.passwords.forget(&due.user, &account.hash, password);
                log_repeated!(warn, user, "cannot remake an imported password hash yet: {problem}");
            }
        }
    }
}
