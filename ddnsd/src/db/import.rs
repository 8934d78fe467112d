//! Import. It has a transaction of its own: all of it is stored, or nothing. The same transaction
//! looks for conflicts, so that nothing can change in between, and finds all of them.

use super::cache::Caches;
use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::followers::{LeaderRow, leaders};
use super::handle::Db;
use super::statement::{Arg, Statements, args, statements};
use super::write::Write;
use crate::model::host::{ImportedHost, MAX_FOLLOWERS};
use crate::model::name::{Fqdn, UserName};
use crate::model::time::{Millis, Uptime};
use crate::model::user::ImportedUser;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[IMPORTING];

/// What to do with users and hosts that exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Report them as conflicts.
    Refuse,
    /// Leave them as they are.
    Skip,
}

/// Users and hosts to import, each with its line number.
#[derive(Debug)]
pub struct Import {
    /// They are stored before the hosts.
    pub users: Vec<(u64, ImportedUser)>,
    pub hosts: Vec<(u64, ImportedHost)>,
    /// The names of all hosts of the file.
    pub names: HashSet<Fqdn>,
    /// Users whose own lines were rejected: a host of theirs is no further conflict.
    pub faulty_users: HashSet<UserName>,
    pub existing: Existing,
    /// Whether to store it if there are no conflicts, or only to look for conflicts.
    pub store: bool,
    pub at: Millis,
    /// Now on the service clock.
    pub uptime: Uptime,
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Stored.
    pub users: u64,
    /// Stored.
    pub hosts: u64,
    /// Skipped.
    pub existing_users: u64,
    /// Skipped.
    pub existing_hosts: u64,
    /// Lines that cannot be stored. If there is one, nothing is stored.
    pub conflicts: Vec<(u64, Conflict)>,
}

/// Why a line cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    UserExists(UserName),
    HostExists(Fqdn),
    /// The host's user is neither in the file nor in the database.
    NoSuchUser(Fqdn, UserName),
    /// The second is neither in the file nor in the database.
    NoSuchLeader(Fqdn, Fqdn),
    /// The second is another user's, or follows a host itself.
    UnfitLeader(Fqdn, Fqdn),
    /// As many hosts as may follow the second already.
    TooManyFollowers(Fqdn, Fqdn),
}

statements! { IMPORTING;
    USER_KEYS: Indexed = "SELECT name, id FROM users WHERE name IN (?)";
    HOST_NAMES: Indexed = "SELECT fqdn FROM hosts WHERE fqdn IN (?)";
    ADD_USER: Indexed =
        "INSERT INTO users (name, email, password_hash, suspended_at, created_at, changed_at)
         VALUES (?, ?, ?, ?, ?, ?)";
    ADD_HOST: Indexed =
        "INSERT INTO hosts (user_id, label, zone, fqdn, dns_ttl, expiry_ttl, ipv6_suffix, follows,
             ipv6_prefix, state4, ipv4,
             last_ipv4, set4_at, set4_uptime, state6, ipv6, last_ipv6, set6_at, set6_uptime,
             suspended_at, unpublished_since, check_at, created_at, changed_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
}

impl Db {
    /// Stores all of an import, or nothing; it is durable when it returns.
    ///
    /// # Errors
    /// The database failed; nothing is stored.
    pub async fn import(&self, import: Arc<Import>) -> Result<ImportOutcome, DbError> {
        self.0.writer.run(import).await
    }
}

impl Write for Arc<Import> {
    type Output = ImportOutcome;
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<ImportOutcome, DbError> {
        let mut imported = ImportOutcome::default();
        for users in self.users.chunks(ROWS_PER_STATEMENT) {
            self.users(users, &mut imported, conn).await?;
        }
        // those that follow others last, so that their leaders have keys
        let (leaders, followers): (Vec<_>, Vec<_>) =
            self.hosts.iter().partition(|(_, host)| host.leader.is_none());
        for hosts in [leaders, followers] {
            for hosts in hosts.chunks(ROWS_PER_STATEMENT) {
                self.hosts(hosts, &mut imported, conn).await?;
            }
        }
        Ok(imported)
    }

    // existing rows stay as they are
    fn update_caches(&self, _: &ImportOutcome, caches: &Caches) {
        caches.accounts.clear_absent();
        caches.hosts.clear_absent();
        // whether a host is followed may have changed
        for leader in self.hosts.iter().filter_map(|(_, host)| host.leader.as_ref()) {
            caches.hosts.update(leader, None);
        }
    }

    fn roll_back(&self, imported: &ImportOutcome) -> bool {
        !self.store || !imported.conflicts.is_empty()
    }
}

impl Import {
    async fn users(
        &self,
        users: &[(u64, ImportedUser)],
        imported: &mut ImportOutcome,
        conn: &mut Conn,
    ) -> Result<(), DbError> {
        let existing = ids(users.iter().map(|(_, user)| &user.name), conn).await?;
        let mut new = Vec::with_capacity(users.len());
        for (line, user) in users {
            if !existing.contains_key(user.name.as_str()) {
                new.push(user);
            } else if self.existing == Existing::Skip {
                imported.existing_users += 1;
            } else {
                imported.conflicts.push((*line, Conflict::UserExists(user.name.clone())));
            }
        }
        imported.users += new.len() as u64;
        let inserted = insert_users(&new, self.at, conn).await;
        inserted.map_err(raced)
    }

    async fn hosts(
        &self,
        hosts: &[&(u64, ImportedHost)],
        imported: &mut ImportOutcome,
        conn: &mut Conn,
    ) -> Result<(), DbError> {
        let mut leaders =
            leaders(hosts.iter().filter_map(|(_, host)| host.leader.as_ref()), conn).await?;
        let existing = existing(hosts.iter().map(|(_, host)| &host.fqdn), conn).await?;
        let owners = ids(hosts.iter().map(|(_, host)| &host.user), conn).await?;
        let mut new = Vec::with_capacity(hosts.len());
        for (line, host) in hosts {
            let (fqdn, user) = (&host.fqdn, &host.user);
            match owners.get(user.as_str()) {
                _ if existing.contains(fqdn.as_str()) => match self.existing {
                    Existing::Skip => imported.existing_hosts += 1,
                    Existing::Refuse => {
                        imported.conflicts.push((*line, Conflict::HostExists(fqdn.clone())));
                    }
                },
                Some(owner) => match self.leader(*owner, host, &mut leaders) {
                    Ok(leader) => new.push(NewRow { owner: *owner, leader, host }),
                    Err(conflict) => imported.conflicts.push((*line, conflict)),
                },
                None if self.faulty_users.contains(user) => {}
                None => {
                    let conflict = Conflict::NoSuchUser(fqdn.clone(), user.clone());
                    imported.conflicts.push((*line, conflict));
                }
            }
        }
        imported.hosts += new.len() as u64;
        // hosts are stored last, so an import that is rolled back need not store them
        if !self.store || !imported.conflicts.is_empty() {
            return Ok(());
        }
        let inserted = insert_hosts(&new, self, conn).await;
        inserted.map_err(raced)
    }

    /// The key of a host's leader; none if it follows none, or if nothing is stored anyway.
    fn leader(
        &self,
        owner: i64,
        host: &ImportedHost,
        leaders: &mut HashMap<String, LeaderRow>,
    ) -> Result<Option<i64>, Conflict> {
        let Some(leader) = &host.leader else { return Ok(None) };
        match leaders.get_mut(leader.as_str()) {
            Some(row) if row.user_id == owner && row.follows.is_none() => {
                row.followers += 1;
                if i64::try_from(MAX_FOLLOWERS).is_ok_and(|most| row.followers > most) {
                    return Err(Conflict::TooManyFollowers(host.fqdn.clone(), leader.clone()));
                }
                Ok(Some(row.id))
            }
            Some(_) => Err(Conflict::UnfitLeader(host.fqdn.clone(), leader.clone())),
            None if self.names.contains(leader) => Ok(None),
            None => Err(Conflict::NoSuchLeader(host.fqdn.clone(), leader.clone())),
        }
    }
}

/// Another session stored or deleted a row in between: a retry finds it.
fn raced(error: DbError) -> DbError {
    match error {
        DbError::Exists | DbError::Referenced => DbError::Conflict(error.to_string()),
        error => error,
    }
}

//----- Many rows at once -----

/// The keys of those users that exist.
async fn ids(
    names: impl Iterator<Item = &UserName>,
    conn: &mut Conn,
) -> Result<HashMap<String, i64>, DbError> {
    let names: HashSet<&str> = names.map(UserName::as_str).collect();
    let rows: Vec<(String, i64)> = conn
        .all_of(&USER_KEYS, names.into_iter().map(Arg::from).collect(), ROWS_PER_STATEMENT)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Those of these hosts that exist.
async fn existing(
    names: impl Iterator<Item = &Fqdn>,
    conn: &mut Conn,
) -> Result<HashSet<String>, DbError> {
    let names = names.map(|name| Arg::from(name.as_str())).collect();
    let rows: Vec<(String,)> = conn.all_of(&HOST_NAMES, names, ROWS_PER_STATEMENT).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

async fn insert_users(users: &[&ImportedUser], at: Millis, conn: &mut Conn) -> Result<(), DbError> {
    let row = |user: &&ImportedUser| {
        let created_at = user.created_at.unwrap_or(at).0;
        let (name, email, hash) = (user.name.as_str(), user.email.as_str(), &*user.hash.0);
        let suspended_at = user.suspended_at.map(|at| at.0);
        Vec::from(args![name, email, hash, suspended_at, created_at, at.0])
    };
    conn.run_rows(&ADD_USER, users.iter().map(row).collect()).await
}

/// A host to insert, with the keys of others.
struct NewRow<'a> {
    owner: i64,
    leader: Option<i64>,
    host: &'a ImportedHost,
}

async fn insert_hosts(
    hosts: &[NewRow<'_>],
    import: &Import,
    conn: &mut Conn,
) -> Result<(), DbError> {
    let rows = hosts.iter().map(|row| host_row(row, import)).collect();
    conn.run_rows(&ADD_HOST, rows).await
}

fn host_row(row: &NewRow<'_>, import: &Import) -> Vec<Arg> {
    let NewRow { owner, leader, host } = *row;
    let at = import.at;
    // as long ago on the service clock as by the wall clock
    let uptime = |set_at: Option<i64>| set_at.map(|set_at| import.uptime.0 - (at.0 - set_at));
    let now = host.addresses;
    let last = host.last_addresses;
    let v4 = FamilyColumns::of(now.v4, last.v4, host.seen.v4, at);
    let v6 = FamilyColumns::of(now.v6, last.v6, host.seen.v6, at);
    let has_record = v4.address.is_some() || v6.address.is_some();
    let unpublished_since = has_record.then_some(at.0);
    let check_at = has_record.then_some(0_i64);
    Vec::from(args![
        owner,
        host.label.as_str(),
        host.zone.as_str(),
        host.fqdn.as_str(),
        host.dns_ttl,
        host.expiry_ttl,
        host.suffix.map(|suffix| suffix.to_string()),
        leader,
        host.prefix.map(|prefix| prefix.to_string()),
        v4.state,
        v4.address,
        v4.last,
        v4.set_at,
        uptime(v4.set_at),
        v6.state,
        v6.address,
        v6.last,
        v6.set_at,
        uptime(v6.set_at),
        host.suspended_at.map(|at| at.0),
        unpublished_since,
        check_at,
        host.created_at.unwrap_or(at).0,
        at.0,
    ])
}

/// The columns of one address family.
struct FamilyColumns {
    state: i64,
    address: Option<String>,
    last: Option<String>,
    set_at: Option<i64>,
}

impl FamilyColumns {
    /// With an address: present, and updated now if the time of its update is unknown or in the
    /// future. With only a last address: absent. With neither: never set.
    fn of<A: ToString + Copy>(
        address: Option<A>,
        last: Option<A>,
        updated: Option<Millis>,
        now: Millis,
    ) -> Self {
        let text = |address: A| address.to_string();
        let (state, set_at) = match (address, last) {
            (Some(_), _) => (1, Some(updated.unwrap_or(now).min(now).0)),
            (None, Some(_)) => (2, updated.map(|at| at.min(now).0)),
            (None, None) => (0, None),
        };
        Self { state, address: address.map(text), last: address.or(last).map(text), set_at }
    }
}
