//! A user, who may change their hosts and gets mail about them.

use super::name::{Email, UserName};
use super::time::Millis;

/// A user's key in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A user as administrators see one.
#[derive(Clone, Debug)]
pub struct User {
    pub name: UserName,
    pub email: Email,
    pub hosts: u32,
    pub created_at: Millis,
    pub suspended_at: Option<Millis>,
}

/// What a login needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub hash: PasswordHash,
    /// No password is right for a suspended user.
    pub is_suspended: bool,
}

/// An Argon2 PHC string. Debug does not print it: it allows offline guessing.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Box<str>);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A user as it is exported.
#[derive(Clone, Debug)]
pub struct UserRecord {
    pub name: UserName,
    pub email: Email,
    pub hash: PasswordHash,
    pub created_at: Millis,
    pub suspended_at: Option<Millis>,
}

/// A user of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedUser {
    pub name: UserName,
    pub email: Email,
    pub hash: PasswordHash,
    /// When they were added; `None` is now.
    pub created_at: Option<Millis>,
    pub suspended_at: Option<Millis>,
}
