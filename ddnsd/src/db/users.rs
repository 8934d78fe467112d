//! Users: reading, adding, changing, deleting.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::statement::{Statements, args, statements};
use super::user_rows::{AccountRow, RecordRow, UserRow};
use super::write::Write;
use crate::model::name::{Email, UserName};
use crate::model::time::Millis;
use crate::model::user::{Account, PasswordHash, User, UserRecord};

pub(super) const STATEMENTS: Statements = &[
    READING,
    PAGING,
    EXPORTING,
    COSTS,
    ADDING,
    SETTING_HASH,
    REPLACING_HASH,
    SETTING_EMAIL,
    DELETING,
];

statements! { READING;
    ACCOUNT: Indexed = "SELECT id, password_hash, suspended_at FROM users WHERE name = ?";
}

impl Db {
    /// What a login needs to know of a user.
    ///
    /// # Errors
    /// The database failed.
    pub async fn account(&self, name: &UserName) -> Result<Option<Account>, DbError> {
        // what is cached must not be believed either
        self.0.last_file_check()?;
        let load = || async {
            let row: Option<AccountRow> =
                self.0.readers.optional(&ACCOUNT, args![name.as_str()]).await?;
            Ok(row.map(AccountRow::account))
        };
        self.0.caches.accounts.get_or_load(name, load).await
    }
}

statements! { PAGING;
    PAGE: Indexed =
        "SELECT u.id, u.name, u.email, u.created_at, u.suspended_at,
                (SELECT COUNT(*) FROM hosts h WHERE h.user_id = u.id) AS hosts
         FROM users u WHERE u.name > ? ORDER BY u.name LIMIT ?",
        mariadb
        "SELECT u.id, u.name, u.email, u.created_at, u.suspended_at,
                (SELECT COUNT(*) FROM hosts h WHERE h.user_id = u.id) AS hosts
         FROM users u FORCE INDEX (users_by_name) WHERE u.name > ? ORDER BY u.name LIMIT ?";
}

impl Db {
    /// Up to `limit` users after a name, in byte order.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<User>, DbError> {
        let rows: Vec<UserRow> = self.0.readers.all(&PAGE, args![after, limit]).await?;
        rows.into_iter().map(UserRow::user).collect()
    }
}

statements! { EXPORTING;
    USERS: Indexed =
        "SELECT id, name, email, password_hash, created_at, suspended_at
         FROM users WHERE name > ? ORDER BY name LIMIT ?",
        mariadb
        "SELECT id, name, email, password_hash, created_at, suspended_at
         FROM users FORCE INDEX (users_by_name) WHERE name > ? ORDER BY name LIMIT ?";
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
}

//----- Costs -----

statements! { COSTS;
    LARGE: FullScan =
        "SELECT name FROM users
         WHERE CAST(substr(password_hash, instr(password_hash, 'm=') + 2) AS INTEGER) > ?
         ORDER BY name LIMIT ?",
        mariadb
        "SELECT name FROM users
         WHERE CAST(substr(password_hash, instr(password_hash, 'm=') + 2) AS UNSIGNED) > ?
         ORDER BY name LIMIT ?";
}

impl Db {
    /// Up to `limit` users whose password hash needs more memory than this, KiB.
    ///
    /// # Errors
    /// The database failed.
    pub async fn users_with_large_hashes(
        &self,
        kib: u32,
        limit: u32,
    ) -> Result<Vec<String>, DbError> {
        let rows: Vec<(String,)> = self.0.readers.all(&LARGE, args![kib, limit]).await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

//----- Add -----

/// A user to add.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: UserName,
    pub email: Email,
    pub hash: PasswordHash,
    pub at: Millis,
}

statements! { ADDING;
    ADD: Indexed =
        "INSERT INTO users (name, email, password_hash, created_at, changed_at)
         VALUES (?, ?, ?, ?, ?)";
}

impl Db {
    /// # Errors
    /// [`DbError::Exists`], or the database failed.
    pub async fn add_user(&self, user: NewUser) -> Result<(), DbError> {
        self.0.writer.run(user).await
    }
}

impl Write for NewUser {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let NewUser { name, email, hash, at } = self;
        conn.run(&ADD, args![name.as_str(), email.as_str(), &*hash.0, at.0, at.0]).await?;
        Ok(())
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.accounts.update(&self.name, None);
    }
}

//----- Change -----

statements! { SETTING_HASH;
    SET_HASH: Indexed =
        "UPDATE users SET password_hash = ?, changed_at = ?, version = version + 1 WHERE name = ?";
}

impl Db {
    /// Stores the hash of a new password; `false` if there is no such user.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_hash(
        &self,
        name: UserName,
        hash: PasswordHash,
        at: Millis,
    ) -> Result<bool, DbError> {
        self.0.writer.run(SetHash { name, hash, at }).await
    }
}

struct SetHash {
    name: UserName,
    hash: PasswordHash,
    at: Millis,
}

impl Write for SetHash {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let args = args![&*self.hash.0, self.at.0, self.name.as_str()];
        Ok(conn.run(&SET_HASH, args).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.accounts.update(&self.name, None);
    }
}

statements! { REPLACING_HASH;
    REPLACE_HASH: Indexed =
        "UPDATE users SET password_hash = ?, changed_at = ?, version = version + 1
         WHERE name = ? AND password_hash = ?";
}

impl Db {
    /// Stores another hash of the same password, if `old` is still stored; `false` if not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replace_hash(
        &self,
        name: UserName,
        old: &PasswordHash,
        hash: PasswordHash,
        at: Millis,
    ) -> Result<bool, DbError> {
        self.0.writer.run(ReplaceHash { old: old.clone(), new: SetHash { name, hash, at } }).await
    }
}

struct ReplaceHash {
    old: PasswordHash,
    new: SetHash,
}

impl Write for ReplaceHash {
    type Output = bool;
    // lost in a power cut, it is done again at the next login
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let SetHash { name, hash, at } = &self.new;
        let args = args![&*hash.0, at.0, name.as_str(), &*self.old.0];
        Ok(conn.run(&REPLACE_HASH, args).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.accounts.update(&self.new.name, None);
    }
}

statements! { SETTING_EMAIL;
    SET_EMAIL: Indexed =
        "UPDATE users SET email = ?, changed_at = ?, version = version + 1 WHERE name = ?";
}

impl Db {
    /// Stores another mail address; `false` if there is no such user.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_email(
        &self,
        name: UserName,
        email: Email,
        at: Millis,
    ) -> Result<bool, DbError> {
        self.0.writer.run(SetEmail { name, email, at }).await
    }
}

struct SetEmail {
    name: UserName,
    email: Email,
    at: Millis,
}

impl Write for SetEmail {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let args = args![self.email.as_str(), self.at.0, self.name.as_str()];
        Ok(conn.run(&SET_EMAIL, args).await? > 0)
    }
}

//----- Delete -----

statements! { DELETING;
    DELETE: Indexed = "DELETE FROM users WHERE name = ?";
}

impl Db {
    /// Deletes a user; `false` if there is none of that name.
    ///
    /// # Errors
    /// [`DbError::Referenced`] if the user still has hosts, or the database failed.
    pub async fn delete_user(&self, name: UserName) -> Result<bool, DbError> {
        self.0.writer.run(DeleteUser(name)).await
    }
}

struct DeleteUser(UserName);

impl Write for DeleteUser {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        Ok(conn.run(&DELETE, args![self.0.as_str()]).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.accounts.update(&self.0, None);
    }
}
