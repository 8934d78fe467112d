//! Adds, lists, changes and deletes users.

use super::error::{AdminError, AdminErrorKind};
use crate::clock::Clock;
use crate::db::{Db, DbError, NewUser};
use crate::model::name::{Email, UserName};
use crate::model::secret::Secret;
use crate::model::text::shell_word;
use crate::model::user::{PasswordHash, User};
use crate::passwords::Passwords;

/// Bytes; a request could not carry a much longer one.
const MAX_PASSWORD: usize = 1024;

/// The handles these stories use.
#[derive(Clone)]
pub struct Users {
    pub db: Db,
    pub passwords: Passwords,
    pub clock: Clock,
}

impl Users {
    /// Adds a user and returns what is stored.
    ///
    /// # Errors
    /// The name is taken, the password is empty or too long, or the database failed.
    pub async fn add(
        &self,
        name: UserName,
        email: Email,
        password: Secret,
    ) -> Result<User, AdminError> {
        check(&password)?;
        // looked up first, so that a name that is taken costs no hash; the insert decides
        if self.db.account(&name).await?.is_some() {
            return Err(taken(&name));
        }
        let hash = self.hash(password).await?;
        let created_at = self.clock.now().wall;
        let new = NewUser { name: name.clone(), email: email.clone(), hash, at: created_at };
        self.db.add_user(new).await.map_err(|problem| match problem {
            DbError::Exists => taken(&name),
            other => other.into(),
        })?;
        Ok(User { name, email, hosts: 0, created_at, suspended_at: None })
    }

    /// Up to `limit` users after a name, in byte order of their names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, AdminError> {
        Ok(self.db.users(after.unwrap_or_default(), limit).await?)
    }

    /// Gives a user another password. The old one ends at once, even if its verdict is cached: a
    /// verdict belongs to a hash.
    ///
    /// # Errors
    /// No such user, a password that is empty or too long, or the database failed.
    pub async fn passwd(&self, name: UserName, password: Secret) -> Result<(), AdminError> {
        check(&password)?;
        // looked up first, so that a mistyped name costs no hash; the update decides
        if self.db.account(&name).await?.is_none() {
            return Err(no_such_user(&name));
        }
        let hash = self.hash(password).await?;
        let at = self.clock.now().wall;
        let done = self.db.set_hash(name.clone(), hash, at).await;
        changed(&name, done)?;
        tracing::info!(user = name.as_str(), "password changed by an administrator");
        Ok(())
    }

    /// Gives a user another mail address.
    ///
    /// # Errors
    /// No such user, or the database failed.
    pub async fn email(&self, name: UserName, email: Email) -> Result<(), AdminError> {
        let done = self.db.set_email(name.clone(), email, self.clock.now().wall).await;
        changed(&name, done)
    }

    /// Suspends a user: every login is rejected from now on, and nothing of theirs expires. Returns
    /// whether they were not suspended before.
    ///
    /// # Errors
    /// No such user, or the database failed.
    pub async fn suspend(&self, name: UserName) -> Result<bool, AdminError> {
        let at = self.clock.now().wall;
        let is_new = self.db.suspend_user(name.clone(), at).await?;
        self.log_suspension(&name, is_new, "suspended by an administrator").await
    }

    /// Resumes a suspended user. The time to expire of their hosts starts again. Returns whether
    /// they were suspended.
    ///
    /// # Errors
    /// No such user, or the database failed.
    pub async fn resume(&self, name: UserName) -> Result<bool, AdminError> {
        let now = self.clock.now();
        let is_new = self.db.resume_user(name.clone(), now.wall, self.db.uptime(now)).await?;
        self.log_suspension(&name, is_new, "resumed by an administrator").await
    }

    async fn log_suspension(
        &self,
        name: &UserName,
        is_new: bool,
        what: &str,
    ) -> Result<bool, AdminError> {
        if is_new {
            tracing::info!(user = name.as_str(), "{what}");
        } else if self.db.account(name).await?.is_none() {
            return Err(no_such_user(name));
        }
        Ok(is_new)
    }

    async fn hash(&self, password: Secret) -> Result<PasswordHash, AdminError> {
        self.passwords.hash(password).await.map_err(|problem| {
            let message = format!(
                "cannot hash the password: {problem}; nothing was changed, try again in a moment"
            );
            AdminError::new(AdminErrorKind::Busy, message)
        })
    }

    /// Deletes a user who owns no host.
    ///
    /// # Errors
    /// No such user, hosts are left, or the database failed.
    pub async fn delete(&self, name: UserName) -> Result<(), AdminError> {
        match self.db.delete_user(name.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(no_such_user(&name)),
            Err(DbError::Referenced) => {
                let message = format!(
                    "user {name} still owns hostnames; delete them first (ddnsctl hostname list --user {})",
                    shell_word(name.as_str())
                );
                Err(AdminError::new(AdminErrorKind::InUse, message))
            }
            Err(problem) => Err(problem.into()),
        }
    }
}

fn check(password: &Secret) -> Result<(), AdminError> {
    if (1..=MAX_PASSWORD).contains(&password.expose().len()) {
        return Ok(());
    }
    let message = format!("a password has 1 to {MAX_PASSWORD} bytes; choose another one");
    Err(AdminError::new(AdminErrorKind::Invalid, message))
}

/// `done` is false if there is no such user.
fn changed(name: &UserName, done: Result<bool, DbError>) -> Result<(), AdminError> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(no_such_user(name)),
        Err(problem) => Err(problem.into()),
    }
}

pub(super) fn no_such_user(name: &UserName) -> AdminError {
    let message = format!("there is no user {name}; `ddnsctl user list` shows all");
    AdminError::new(AdminErrorKind::NotFound, message)
}

fn taken(name: &UserName) -> AdminError {
    AdminError::new(
        AdminErrorKind::Exists,
        format!("user {name} exists already; choose another name"),
    )
}
