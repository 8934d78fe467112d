//! Imports users and hosts. An import is staged line by line, in memory and within limits, then
//! stored in one transaction, or not at all. In: the lines of the file. Out: what was stored, or
//! every problem.

mod staging;

use super::error::{AdminError, AdminErrorKind};
use super::large_hashes::warn_of_large_hashes;
use crate::clock::Clock;
use crate::db::{self, Conflict, Db};
use crate::dns::Dns;
use crate::model::host::{ImportedHost, MAX_FOLLOWERS};
use crate::model::time::Now;
pub use db::Existing;
pub use staging::StagedLine;
use staging::{Problems, Staged};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Imports at a time.
const MAX_IMPORTS: usize = 4;
/// An import without a request for this long is forgotten.
const MAX_IDLE: Duration = Duration::from_mins(10);
/// If all places are taken, an import idle for this long gives way: its client was likely killed.
const MAX_IDLE_IF_FULL: Duration = Duration::from_secs(3);

/// The story; clones share the imports in progress.
#[derive(Clone)]
pub struct Imports {
    db: Db,
    dns: Dns,
    clock: Clock,
    in_progress: Arc<Mutex<HashMap<String, StagedImport>>>,
}

/// An import in progress.
#[derive(Clone)]
struct StagedImport {
    staged: Arc<Mutex<Staged>>,
    last_request: Instant,
}

/// The result of an import. With problems, nothing is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    pub users: u64,
    pub hosts: u64,
    /// Users that exist already and stay as they are.
    pub existing_users: u64,
    /// Hosts that exist already and stay as they are.
    pub existing_hosts: u64,
    /// The first problems, by line.
    pub problems: Vec<(u64, String)>,
    pub problems_total: u64,
    /// What an administrator should know of what was stored.
    pub warning: Option<String>,
}

impl Imports {
    pub fn new(db: Db, dns: Dns, clock: Clock) -> Self {
        Self { db, dns, clock, in_progress: Arc::default() }
    }

    /// Begins an import and returns its token.
    ///
    /// # Errors
    /// Too many are in progress.
    pub fn begin(&self, existing: Existing) -> Result<String, AdminError> {
        let now = self.clock.now();
        let mut imports = self.in_progress();
        forget_idle(&mut imports, now, MAX_IDLE);
        if imports.len() >= MAX_IMPORTS {
            forget_idle(&mut imports, now, MAX_IDLE_IF_FULL);
        }
        if imports.len() >= MAX_IMPORTS {
            let message = "other imports are in progress; wait until they are done and try again";
            return Err(AdminError::new(AdminErrorKind::Busy, message));
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let staged = Arc::new(Mutex::new(Staged::new(existing)));
        imports.insert(token.clone(), StagedImport { staged, last_request: now.mono });
        Ok(token)
    }

    /// Takes some lines of an import.
    ///
    /// # Errors
    /// No such import, or it has become too large; then it is forgotten.
    pub fn stage(&self, token: &str, lines: Vec<StagedLine>) -> Result<(), AdminError> {
        let now = self.clock.now();
        let import = {
            let mut imports = self.in_progress();
            let import = imports.get_mut(token).ok_or_else(unknown)?;
            import.last_request = now.mono;
            import.clone()
        };
        let mut staged = import.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let check = |host: &ImportedHost| {
            self.dns.check(&host.fqdn, &host.zone).map_err(|why| why.to_string())
        };
        staged.take(lines, &check).inspect_err(|_| self.abandon(token))
    }

    /// Stores all that was staged, or nothing; the import ends either way.
    ///
    /// # Errors
    /// No such import, or the database failed.
    pub async fn commit(&self, token: &str) -> Result<ImportReport, AdminError> {
        let import = self.in_progress().remove(token).ok_or_else(unknown)?;
        let staged = {
            let mut staged = import.staged.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *staged, Staged::new(Existing::Refuse))
        };
        let now = self.clock.now();
        let (import, mut problems) = staged.into_import(now.wall, self.db.uptime(now));
        let done = self.db.import(Arc::new(import)).await?;
        for (line, conflict) in &done.conflicts {
            problems.add(*line, sentence(conflict));
        }
        let mut imported = report(&done, problems);
        if imported.problems_total == 0 {
            let db::ImportOutcome { users, hosts, existing_users, existing_hosts, .. } = done;
            tracing::info!(users, hosts, existing_users, existing_hosts, "imported");
            imported.warning = warn_of_large_hashes(&self.db).await;
        }
        Ok(imported)
    }

    /// Forgets an import.
    pub fn abandon(&self, token: &str) {
        self.in_progress().remove(token);
    }

    /// Forgets imports whose client is gone.
    pub fn forget_abandoned(&self) {
        forget_idle(&mut self.in_progress(), self.clock.now(), MAX_IDLE);
    }

    fn in_progress(&self) -> MutexGuard<'_, HashMap<String, StagedImport>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_idle(imports: &mut HashMap<String, StagedImport>, now: Now, max_idle: Duration) {
    let idle = |import: &StagedImport| now.mono.saturating_duration_since(import.last_request);
    imports.retain(|_, import| idle(import) < max_idle);
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
        Conflict::NoSuchLeader(fqdn, leader) => {
            format!(
                "hostname {fqdn} follows {leader}, which is neither before it in the file nor in the database"
            )
        }
        Conflict::UnfitLeader(fqdn, leader) => {
            format!(
                "hostname {fqdn} cannot follow {leader}, which belongs to another user or follows a host itself"
            )
        }
        Conflict::TooManyFollowers(fqdn, leader) => {
            format!("hostname {fqdn} cannot follow {leader}: at most {MAX_FOLLOWERS} hosts can")
        }
        Conflict::NoSuchUser(fqdn, user) => {
            format!(
                "hostname {fqdn} belongs to user {user}, who is neither in the file nor in the database (add the user's line, or the user with `ddnsctl user add`)"
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
        warning: None,
    }
}
