//! Users in the database.

use super::Db;
use super::cache::Caches;
use super::error::DbError;
use super::rows::UserRow;
use super::writer::{Conn, Work};
use crate::model::name::{Email, UserName};
use crate::model::time::Millis;
use crate::model::user::{Account, PasswordHash, User, UserId};

/// A user to add.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Name, unique.
    pub name: UserName,
    /// Mail address.
    pub email: Email,
    /// Hash of the password.
    pub hash: PasswordHash,
    /// When.
    pub at: Millis,
}

impl Db {
    /// What a login needs to know of a user; `None` if there is no such user.
    ///
    /// # Errors
    /// The database failed.
    pub async fn account(&self, name: &UserName) -> Result<Option<Account>, DbError> {
        let ticket = match self.0.caches.accounts.get(name) {
            Ok(account) => return Ok(Some(account)),
            Err(ticket) => ticket,
        };
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT id, password_hash FROM users WHERE name = ?1")
                .bind(name.as_str())
                .fetch_optional(&self.0.readers)
                .await?;
        let account = row.map(|(id, hash)| Account {
            id: UserId(id),
            hash: PasswordHash(hash.into_boxed_str()),
        });
        if let Some(account) = &account {
            self.0.caches.accounts.fill(name, account.clone(), &ticket);
        }
        Ok(account)
    }

    /// Some users with their password hashes, for what hashes here cost.
    ///
    /// # Errors
    /// The database failed.
    pub async fn some_hashes(&self, limit: u32) -> Result<Vec<(UserName, PasswordHash)>, DbError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT name, password_hash FROM users ORDER BY id LIMIT ?1")
                .bind(i64::from(limit))
                .fetch_all(&self.0.readers)
                .await?;
        let named = |(name, hash): (String, String)| {
            Some((UserName::parse(&name).ok()?, PasswordHash(hash.into_boxed_str())))
        };
        Ok(rows.into_iter().filter_map(named).collect())
    }

    /// Up to `limit` users after a name, in byte order.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<User>, DbError> {
        let rows: Vec<UserRow> = sqlx::query_as(
            "SELECT u.id, u.name, u.email, u.created_at,
                    (SELECT COUNT(*) FROM hosts h WHERE h.user_id = u.id) AS hosts
             FROM users u WHERE u.name > ?1 ORDER BY u.name LIMIT ?2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.0.readers)
        .await?;
        rows.into_iter().map(UserRow::user).collect()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`DbError::Exists`], or the database failed.
    pub async fn add_user(&self, user: NewUser) -> Result<(), DbError> {
        self.0.writer.run(user).await
    }

    /// Stores another password's hash; `false` if there is no such user.
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

    /// Deletes a user; `false` if there is none of that name.
    ///
    /// # Errors
    /// [`DbError::Referenced`] while hosts are left, or the database failed.
    pub async fn delete_user(&self, name: UserName) -> Result<bool, DbError> {
        self.0.writer.run(DeleteUser(name)).await
    }
}

impl Work for NewUser {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO users (name, email, password_hash, created_at, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?4)",
        )
        .bind(self.name.as_str())
        .bind(self.email.as_str())
        .bind(&*self.hash.0)
        .bind(self.at.0)
        .execute(conn)
        .await?;
        Ok(())
    }

    fn remember(&self, (): &(), caches: &Caches) {
        caches.accounts.forget(&self.name);
    }
}

struct SetHash {
    name: UserName,
    hash: PasswordHash,
    at: Millis,
}

impl Work for SetHash {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let done = sqlx::query(
            "UPDATE users SET password_hash = ?, changed_at = ?, version = version + 1
             WHERE name = ?",
        )
        .bind(&*self.hash.0)
        .bind(self.at.0)
        .bind(self.name.as_str())
        .execute(conn)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    fn remember(&self, _: &bool, caches: &Caches) {
        caches.accounts.forget(&self.name);
    }
}

struct SetEmail {
    name: UserName,
    email: Email,
    at: Millis,
}

impl Work for SetEmail {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let done = sqlx::query(
            "UPDATE users SET email = ?, changed_at = ?, version = version + 1 WHERE name = ?",
        )
        .bind(self.email.as_str())
        .bind(self.at.0)
        .bind(self.name.as_str())
        .execute(conn)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

struct DeleteUser(UserName);

impl Work for DeleteUser {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let done = sqlx::query("DELETE FROM users WHERE name = ?1")
            .bind(self.0.as_str())
            .execute(conn)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    fn remember(&self, _: &bool, caches: &Caches) {
        caches.accounts.forget(&self.0);
    }
}
