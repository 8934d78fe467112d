//! Export and import. An import has a transaction of its own: all of it is stored, or none. Every line is
//! tried, so that every problem is known at the end.

use super::Db;
use super::driver::Conn;
use super::error::DbError;
use super::rows::RecordRow;
use super::sql::{args, statements};
use super::writer::Work;
use crate::model::host::ImportedHost;
use crate::model::name::{Fqdn, UserName};
use crate::model::time::Millis;
use crate::model::user::{ImportedUser, UserRecord};
use std::collections::HashSet;
use std::sync::Arc;

statements! {
    USERS: Keyed =
        "SELECT id, name, email, password_hash, created_at
         FROM users WHERE name > ? ORDER BY name LIMIT ?",
        mariadb
        "SELECT id, name, email, password_hash, created_at
         FROM users FORCE INDEX (users_by_name) WHERE name > ? ORDER BY name LIMIT ?";
    ADD_USER: Keyed =
        "INSERT INTO users (name, email, password_hash, created_at, changed_at)
         VALUES (?, ?, ?, ?, ?)";
    ADD_HOST: Keyed =
        "INSERT INTO hosts (user_id, label, zone, fqdn, dns_ttl, expiry_ttl, state4, ipv4,
             last_ipv4, set4_at, state6, ipv6, last_ipv6, set6_at, unpublished_since, check_at,
             created_at, changed_at)
         SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM users WHERE name = ?";
}

/// What to do with users and hosts that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They are a problem.
    Refuse,
    /// They are left alone.
    Skip,
}

/// What to import, each with the number of its line.
#[derive(Debug)]
pub struct Import {
    /// Users, stored before hosts.
    pub users: Vec<(u64, ImportedUser)>,
    /// Hosts.
    pub hosts: Vec<(u64, ImportedHost)>,
    /// Users whose lines are at fault already: that they are not there is no news.
    pub faulty_users: HashSet<UserName>,
    /// What to do with what is there already.
    pub existing: Existing,
    /// Whether to store it if all goes well, or only to look for problems.
    pub store: bool,
    /// Now.
    pub at: Millis,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users stored.
    pub users: u64,
    /// Hosts stored.
    pub hosts: u64,
    /// Users left alone.
    pub existing_users: u64,
    /// Hosts left alone.
    pub existing_hosts: u64,
    /// Lines that could not be stored. If there is one, nothing is.
    pub conflicts: Vec<(u64, Conflict)>,
}

/// Why a line cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The user is there already.
    UserExists(UserName),
    /// The host is there already.
    HostExists(Fqdn),
    /// The host's user is neither in the file nor in the database.
    NoSuchUser(Fqdn, UserName),
}

impl Db {
    /// Up to `limit` users after a name with their hashes, in byte order.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn user_records(&self, after: &str, limit: u32) -> Result<Vec<UserRecord>, DbError> {
        let rows: Vec<RecordRow> = self.0.readers.all(&USERS, args![after, limit]).await?;
        rows.into_iter().map(RecordRow::record).collect()
    }

    /// Stores all of an import, or none of it; durable when it returns.
    ///
    /// # Errors
    /// The database failed; nothing is stored.
    pub async fn import(&self, import: Arc<Import>) -> Result<Imported, DbError> {
        self.0.writer.run(import).await
    }
}

// what is new is in no cache yet, and what is there already stays as it is: nothing to remember
impl Work for Arc<Import> {
    type Output = Imported;
    const DURABLE: bool = true;
    const ALONE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Imported, DbError> {
        let mut imported = Imported::default();
        let skip = self.existing == Existing::Skip;
        for (line, user) in &self.users {
            match insert_user(user, self.at, conn).await {
                Ok(()) => imported.users += 1,
                Err(DbError::Exists) if skip => imported.existing_users += 1,
                Err(DbError::Exists) => {
                    imported.conflicts.push((*line, Conflict::UserExists(user.name.clone())));
                }
                Err(other) => return Err(other),
            }
        }
        for (line, host) in &self.hosts {
            let fqdn = || host.fqdn.clone();
            match insert_host(host, self.at, conn).await {
                Ok(true) => imported.hosts += 1,
                Ok(false) if self.faulty_users.contains(&host.user) => {}
                Ok(false) => {
                    let conflict = Conflict::NoSuchUser(fqdn(), host.user.clone());
                    imported.conflicts.push((*line, conflict));
                }
                Err(DbError::Exists) if skip => imported.existing_hosts += 1,
                Err(DbError::Exists) => {
                    imported.conflicts.push((*line, Conflict::HostExists(fqdn())));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(imported)
    }

    fn undo(&self, imported: &Imported) -> bool {
        !self.store || !imported.conflicts.is_empty()
    }
}

async fn insert_user(user: &ImportedUser, at: Millis, conn: &mut Conn) -> Result<(), DbError> {
    let (name, email, hash) = (user.name.as_str(), user.email.as_str(), &*user.hash.0);
    let created_at = user.created_at.unwrap_or(at).0;
    conn.run(&ADD_USER, args![name, email, hash, created_at, at.0]).await?;
    Ok(())
}

/// `false` if its user is not there.
async fn insert_host(host: &ImportedHost, at: Millis, conn: &mut Conn) -> Result<bool, DbError> {
    let v4 = Family::of(host.ipv4, host.last_ipv4, host.ipv4_updated_at, at);
    let v6 = Family::of(host.ipv6, host.last_ipv6, host.ipv6_updated_at, at);
    let has_record = v4.address.is_some() || v6.address.is_some();
    let (unpublished_since, check_at) = (has_record.then_some(at.0), has_record.then_some(0_i64));
    let args = args![
        host.label.as_str(),
        host.zone.as_str(),
        host.fqdn.as_str(),
        host.dns_ttl,
        host.expiry_ttl,
        v4.state,
        v4.address,
        v4.last,
        v4.set_at,
        v6.state,
        v6.address,
        v6.last,
        v6.set_at,
        unpublished_since,
        check_at,
        host.created_at.unwrap_or(at).0,
        at.0,
        host.user.as_str(),
    ];
    Ok(conn.run(&ADD_HOST, args).await? > 0)
}

/// A family's columns.
struct Family {
    state: i64,
    address: Option<String>,
    last: Option<String>,
    set_at: Option<i64>,
}

impl Family {
    /// An address is wanted, and counts as updated now if nobody knows when it was; without one, the last
    /// address says that it was taken down; without either it was never set.
    fn of<A: ToString + Copy>(
        address: Option<A>,
        last: Option<A>,
        updated: Option<Millis>,
        now: Millis,
    ) -> Self {
        let text = |address: A| address.to_string();
        let (state, set_at) = match (address, last) {
            (Some(_), _) => (1, Some(updated.unwrap_or(now).0)),
            (None, Some(_)) => (2, updated.map(|at| at.0)),
            (None, None) => (0, None),
        };
        Self { state, address: address.map(text), last: address.or(last).map(text), set_at }
    }
}
