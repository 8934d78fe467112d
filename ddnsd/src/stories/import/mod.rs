//! Export and import. An import is staged line by line, in memory and within bounds, then stored in one
//! transaction, or not at all. In: lines as they were in the file. Out: what was stored, or every problem.

mod staging;

use super::error::{AdminError, AdminErrorKind, database};
use crate::clock::Clock;
use crate::db::{self, Conflict, Db};
use crate::model::time::Now;
use crate::model::user::UserRecord;
pub use db::Existing;
pub use staging::StagedLine;
use staging::{Problems, Staged};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Imports at a time.
const STAGES: usize = 4;
/// An import that hears nothing for this long is forgotten.
const ABANDONED: Duration = Duration::from_mins(10);
/// For a newer import, one that heard nothing for this long makes room: its client was likely killed.
const IDLE: Duration = Duration::from_secs(3);
/// Bytes of an exported hash; none that can be verified is as long, and a page of them must fit a frame.
const LONGEST_HASH: usize = 512;

/// The handles these stories use; clones share the imports that are under way.
#[derive(Clone)]
pub struct Transfer {
    db: Db,
    clock: Clock,
    stages: Arc<Mutex<HashMap<String, Staging>>>,
}

/// An import that is under way.
#[derive(Clone)]
struct Staging {
    stage: Arc<Mutex<Staged>>,
    last_heard: Instant,
}

/// What an import did. With problems, it stored nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Users stored.
    pub users: u64,
    /// Hosts stored.
    pub hosts: u64,
    /// Users left alone, because they are there already.
    pub existing_users: u64,
    /// Hosts left alone, because they are there already.
    pub existing_hosts: u64,
    /// The first problems, by line.
    pub problems: Vec<(u64, String)>,
    /// How many there are.
    pub problems_total: u64,
}

impl Transfer {
    /// Transfers over this database.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock, stages: Arc::default() }
    }

    /// Up to `limit` users after a name, with their password hashes.
    ///
    /// # Errors
    /// A hash that cannot be one, or the database failed.
    pub async fn users(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, AdminError> {
        let users = self.db.user_records(after.unwrap_or_default(), limit).await;
        let users = users.map_err(|problem| database(&problem))?;
        if let Some(user) = users.iter().find(|user| user.hash.0.len() > LONGEST_HASH) {
            let message = format!(
                "the stored password hash of user {} is no hash; set a new password with `ddnsctl user passwd`",
                user.name
            );
            return Err(AdminError::new(AdminErrorKind::Invalid, message));
        }
        Ok(users)
    }

    /// Begins an import and gives its token.
    ///
    /// # Errors
    /// Too many are under way.
    pub fn begin(&self, existing: Existing) -> Result<String, AdminError> {
        let now = self.clock.now();
        let mut stages = self.stages();
        forget(&mut stages, now, ABANDONED);
        if stages.len() >= STAGES {
            forget(&mut stages, now, IDLE);
        }
        if stages.len() >= STAGES {
            let message = "other imports are under way; wait until they are done and try again";
            return Err(AdminError::new(AdminErrorKind::Busy, message));
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let stage = Arc::new(Mutex::new(Staged::new(existing)));
        stages.insert(token.clone(), Staging { stage, last_heard: now.mono });
        Ok(token)
    }

    /// Takes some lines of an import.
    ///
    /// # Errors
    /// No such import, or it has become too large; then it is forgotten.
    pub fn stage(&self, token: &str, lines: Vec<StagedLine>) -> Result<(), AdminError> {
        let now = self.clock.now();
        let staging = {
            let mut stages = self.stages();
            let staging = stages.get_mut(token).ok_or_else(unknown)?;
            staging.last_heard = now.mono;
            staging.clone()
        };
        let mut stage = staging.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.take(lines).inspect_err(|_| self.abandon(token))
    }

    /// Stores all that was staged, or nothing; the import ends either way.
    ///
    /// # Errors
    /// No such import, or the database failed.
    pub async fn commit(&self, token: &str) -> Result<ImportReport, AdminError> {
        let staging = self.stages().remove(token).ok_or_else(unknown)?;
        let stage = {
            let mut stage = staging.stage.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stage, Staged::new(Existing::Refuse))
        };
        let now = self.clock.now();
        let (import, mut problems) = stage.into_import(now.wall, self.db.uptime(now));
        let done = self.db.import(Arc::new(import)).await;
        let done = done.map_err(|problem| database(&problem))?;
        for (line, conflict) in &done.conflicts {
            problems.add(*line, sentence(conflict));
        }
        let imported = report(&done, problems);
        if imported.problems_total == 0 {
            let db::ImportOutcome { users, hosts, existing_users, existing_hosts, .. } = done;
            tracing::info!(users, hosts, existing_users, existing_hosts, "imported");
        }
        Ok(imported)
    }

    /// Forgets an import.
    pub fn abandon(&self, token: &str) {
        self.stages().remove(token);
    }

    /// Forgets imports that nobody goes on with.
    pub fn forget_abandoned(&self) {
        forget(&mut self.stages(), self.clock.now(), ABANDONED);
    }

    fn stages(&self) -> MutexGuard<'_, HashMap<String, Staging>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(stages: &mut HashMap<String, Staging>, now: Now, idle: Duration) {
    stages.retain(|_, staging| now.mono.saturating_duration_since(staging.last_heard) < idle);
}

fn unknown() -> AdminError {
    let message = "this import is not known any more (it was idle for too long, or ddnsd was started again); nothing is stored, begin it again";
    AdminError::new(AdminErrorKind::NotFound, message)
}

fn sentence(conflict: &Conflict) -> String {
    let skip = "--skip-existing leaves it alone";
    match conflict {
        Conflict::UserExists(name) => format!("user {name} exists already ({skip})"),
        Conflict::HostExists(fqdn) => format!("hostname {fqdn} exists already ({skip})"),
        Conflict::NoSuchUser(fqdn, user) => {
            format!(
                "hostname {fqdn} belongs to user {user}, who is neither in the file nor known (add the user's line, or the user with `ddnsctl user add`)"
            )
        }
    }
}

fn report(done: &db::ImportOutcome, problems: Problems) -> ImportReport {
    let (problems, problems_total) = problems.into_first();
    let stored = |count| if problems_total == 0 { count } else { 0 };
    ImportReport {
        users: stored(done.users),
        hosts: stored(done.hosts),
        existing_users: done.existing_users,
        existing_hosts: done.existing_hosts,
        problems,
        problems_total,
    }
}
