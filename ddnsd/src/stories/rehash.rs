//! Remakes imported password hashes at our cost. In: a login whose password was right, and the end of its
//! request. Out: the user's hash is ours, unless it was changed meanwhile, and the password stays known,
//! so that the next request costs no Argon2.

use crate::clock::Clock;
use crate::db::Db;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::user::{Account, UserId};
use crate::passwords::Passwords;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// The story; clones share everything.
#[derive(Clone)]
pub struct Rehash(Arc<RehashHandles>);

struct RehashHandles {
    db: Db,
    passwords: Passwords,
    clock: Clock,
    tasks: TaskTracker,
    /// One at a time: a thousand imported users who come at once must not keep logins waiting.
    turn: Semaphore,
    under_way: Mutex<HashSet<UserId>>,
}

/// A right password, and the hash that it was checked against.
pub(super) struct DueRehash {
    pub(super) user: UserName,
    pub(super) account: Account,
    pub(super) password: Secret,
}

impl Rehash {
    /// The story with its handles.
    pub fn new(db: Db, passwords: Passwords, clock: Clock, tasks: TaskTracker) -> Self {
        let (turn, under_way) = (Semaphore::new(1), Mutex::default());
        Self(Arc::new(RehashHandles { db, passwords, clock, tasks, turn, under_way }))
    }

    /// Remakes the hash once what this returns is dropped, with the end of the request. `None` if it is
    /// under way already.
    pub(super) fn after_request(&self, due: DueRehash) -> Option<DropGuard> {
        let id = due.account.id;
        if !self.under_way().insert(id) {
            return None;
        }
        let (parts, answered) = (Arc::clone(&self.0), CancellationToken::new());
        let over = answered.clone();
        self.0.tasks.spawn(async move {
            over.cancelled().await;
            parts.remake(&due).await;
            Self(parts).under_way().remove(&id);
        });
        Some(answered.drop_guard())
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RehashHandles {
    async fn remake(&self, due: &DueRehash) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        // the stop waits for nothing that the next login does as well
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
                // so that the next login is hashed and tries again
                self.passwords.forget(&due.user, &account.hash, password);
                warn!(user, "an imported password hash could not be remade yet: {problem}");
            }
        }
    }
}
