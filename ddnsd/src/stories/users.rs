//! Users: add, list, delete.

use super::error::Refused;
use crate::model::secret::Secret;
use crate::model::user::User;

/// The handles these stories use.
#[derive(Clone)]
pub struct Users {}

impl Users {
    /// Adds a user.
    ///
    /// # Errors
    /// The name or address is not legal, the name is taken, or the database failed.
    pub async fn add(&self, name: &str, email: &str, password: Secret) -> Result<(), Refused> {
        unimplemented(name, email, password).await
    }

    /// Up to `limit` users after a name, in byte order of their names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, Refused> {
        let _ = (after, limit);
        Ok(Vec::new())
    }

    /// Deletes a user who owns no host.
    ///
    /// # Errors
    /// No such user, hosts are left, or the database failed.
    pub async fn delete(&self, name: &str) -> Result<(), Refused> {
        let _ = name;
        Ok(())
    }
}

async fn unimplemented(_: &str, _: &str, _: Secret) -> Result<(), Refused> {
    Ok(())
}
