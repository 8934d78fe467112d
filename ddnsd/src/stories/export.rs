//! Exports users. Their hosts are exported from the list of hosts.

use super::error::{AdminError, AdminErrorKind};
use crate::db::Db;
use crate::model::user::UserRecord;

/// Bytes of an exported hash. No hash that can be verified is as long, and a page of them must fit
/// a frame.
const MAX_HASH: usize = 512;

#[derive(Clone)]
pub struct Export {
    pub db: Db,
}

impl Export {
    /// Up to `limit` users after a name, with their password hashes.
    ///
    /// # Errors
    /// A stored hash that is too long, or the database failed.
    pub async fn users(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, AdminError> {
        let users = self.db.user_records(after.unwrap_or_default(), limit).await?;
        if let Some(user) = users.iter().find(|user| user.hash.0.len() > MAX_HASH) {
            let message = format!(
                "the stored password hash of user {} is no hash; set a new password with `ddnsctl user passwd`",
                user.name
            );
            return Err(AdminError::new(AdminErrorKind::Invalid, message));
        }
        Ok(users)
    }
}
