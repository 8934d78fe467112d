//! Rows of users as the driver returns them, and their conversion into model types.

use super::error::DbError;
use super::row::row;
use super::rows::RowOf;
use crate::model::name::{Email, UserName};
use crate::model::time::Millis;
use crate::model::user::{Account, PasswordHash, User, UserId, UserRecord};

row! {
    pub(super) struct AccountRow {
        id: i64,
        password_hash: String,
        suspended_at: Option<i64>,
    }
}

impl AccountRow {
    pub(super) fn account(self) -> Account {
        Account {
            id: UserId(self.id),
            hash: PasswordHash(self.password_hash.into_boxed_str()),
            is_suspended: self.suspended_at.is_some(),
        }
    }
}

row! {
    pub(super) struct UserRow {
        id: i64,
        name: String,
        email: String,
        created_at: i64,
        suspended_at: Option<i64>,
        hosts: i64,
    }
}

impl UserRow {
    pub(super) fn user(self) -> Result<User, DbError> {
        let row = RowOf { table: "users", row: self.id };
        Ok(User {
            name: row.parsed("name", "not a user name", UserName::parse(&self.name))?,
            email: row.parsed("email", "not a mail address", Email::parse(&self.email))?,
            hosts: u32::try_from(self.hosts).unwrap_or(u32::MAX),
            created_at: Millis(self.created_at),
            suspended_at: self.suspended_at.map(Millis),
        })
    }
}

row! {
    pub(super) struct RecordRow {
        id: i64,
        name: String,
        email: String,
        password_hash: String,
        created_at: i64,
        suspended_at: Option<i64>,
    }
}

impl RecordRow {
    pub(super) fn record(self) -> Result<UserRecord, DbError> {
        let row = RowOf { table: "users", row: self.id };
        Ok(UserRecord {
            name: row.parsed("name", "not a user name", UserName::parse(&self.name))?,
            email: row.parsed("email", "not a mail address", Email::parse(&self.email))?,
            hash: PasswordHash(self.password_hash.into_boxed_str()),
            created_at: Millis(self.created_at),
            suspended_at: self.suspended_at.map(Millis),
        })
    }
}
