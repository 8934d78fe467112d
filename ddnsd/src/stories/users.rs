//! Users: add, list, delete.

use super::error::{Kind, Refused, database};
use crate::clock::Clock;
use crate::db::{Db, DbError, NewUser};
use crate::model::name::{Email, NameError, UserName};
use crate::model::secret::Secret;
use crate::model::user::User;
use crate::passwords::Passwords;

/// The longest password taken, bytes; a request could not carry a much longer one.
const LONGEST_PASSWORD: usize = 1024;

/// The handles these stories use.
#[derive(Clone)]
pub struct Users {
    /// Where they are.
    pub db: Db,
    /// Hashes their passwords.
    pub passwords: Passwords,
    /// The clock.
    pub clock: Clock,
}

impl Users {
    /// Adds a user.
    ///
    /// # Errors
    /// The name or address is not legal, the name is taken, or the database failed.
    pub async fn add(&self, name: &str, email: &str, password: Secret) -> Result<(), Refused> {
        let name = user_name(name)?;
        let email = Email::parse(email).map_err(|why| {
            Refused::new(Kind::Invalid, format!("cannot take the mail address {email:?}: {why}"))
        })?;
        if password.expose().is_empty() || password.expose().len() > LONGEST_PASSWORD {
            let message =
                format!("a password has 1 to {LONGEST_PASSWORD} bytes; choose another one");
            return Err(Refused::new(Kind::Invalid, message));
        }
        // asked first, so that a name that is taken costs no hash; the insert decides
        if self.db.account(&name).await.map_err(|problem| database(&problem))?.is_some() {
            return Err(taken(&name));
        }
        let hash = self.passwords.hash(password).await.map_err(|problem| {
            Refused::new(Kind::Busy, format!("the password could not be hashed: {problem}"))
        })?;
        let user = NewUser { name: name.clone(), email, hash, at: self.clock.now().wall };
        self.db.add_user(user).await.map_err(|problem| match problem {
            DbError::Exists => taken(&name),
            other => database(&other),
        })
    }

    /// Up to `limit` users after a name, in byte order of their names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, Refused> {
        self.db.users(after.unwrap_or_default(), limit).await.map_err(|problem| database(&problem))
    }

    /// Deletes a user who owns no host.
    ///
    /// # Errors
    /// No such user, hosts are left, or the database failed.
    pub async fn delete(&self, name: &str) -> Result<(), Refused> {
        let name = user_name(name)?;
        match self.db.delete_user(name.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(no_such_user(&name)),
            Err(DbError::Referenced) => {
                let message = format!(
                    "user {name} still owns hostnames; delete them first (ddnsctl hostname list --user {name})"
                );
                Err(Refused::new(Kind::InUse, message))
            }
            Err(problem) => Err(database(&problem)),
        }
    }
}

/// A user name as typed, checked.
pub(super) fn user_name(text: &str) -> Result<UserName, Refused> {
    UserName::parse(text).map_err(|why: NameError| {
        Refused::new(Kind::Invalid, format!("cannot take the user name {text:?}: {why}"))
    })
}

/// The refusal for a user who is not there.
pub(super) fn no_such_user(name: &UserName) -> Refused {
    let message = format!("there is no user {name}; `ddnsctl user list` shows all");
    Refused::new(Kind::NotFound, message)
}

fn taken(name: &UserName) -> Refused {
    Refused::new(Kind::Exists, format!("user {name} exists already; choose another name"))
}
