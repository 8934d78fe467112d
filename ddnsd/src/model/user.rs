//! A user: who may change which hosts, and who gets the mail.

use super::name::{Email, UserName};
use super::time::Millis;

/// A user's key in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A user as administrators see one.
#[derive(Clone, Debug)]
pub struct User {
    /// The name they log in with.
    pub name: UserName,
    /// Where their mail goes.
    pub email: Email,
    /// How many hosts they own.
    pub hosts: u32,
    /// When they were added.
    pub created_at: Millis,
}

/// What checking a password needs to know of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Key of the user.
    pub id: UserId,
    /// The password's hash.
    pub hash: PasswordHash,
}

/// An Argon2 PHC string. Not printed by Debug: who has it can guess offline.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Box<str>);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A user with all that is needed to make them again.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// The name they log in with.
    pub name: UserName,
    /// Where their mail goes.
    pub email: Email,
    /// Their password's hash.
    pub hash: PasswordHash,
    /// When they were added.
    pub created_at: Millis,
}

/// A user of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedUser {
    /// The name they log in with.
    pub name: UserName,
    /// Where their mail goes.
    pub email: Email,
    /// Their password's hash.
    pub hash: PasswordHash,
    /// When they were added; `None` is now.
    pub created_at: Option<Millis>,
}
