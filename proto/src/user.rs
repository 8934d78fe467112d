//! Calls about users.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A password in transit. `Debug` prints `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text to its single consumer.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user to add, as typed; the daemon checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddUser {
    /// The login name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The password in plain text; the daemon stores only its hash.
    pub password: Password,
}

/// A new password for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetPassword {
    /// The user's name.
    pub name: String,
    /// The password in plain text; the daemon stores only its hash.
    pub password: Password,
}

/// A new mail address for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetEmail {
    /// The user's name.
    pub name: String,
    /// The new mail address.
    pub email: String,
}

/// A user to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteUser {
    /// The user's name.
    pub name: String,
}

/// Identifies a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindUser {
    /// The user's name.
    pub name: String,
}

/// The outcome of suspending or resuming a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserChange {
    /// Whether the user was not like this before.
    pub changed: bool,
}

/// Which users to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListUsers {
    /// Lists only names after this one, in byte order.
    pub after: Option<String>,
    /// Maximum rows; 0 and numbers above [`crate::MAX_PAGE`] mean [`crate::MAX_PAGE`].
    pub limit: u32,
}

/// A user without the password hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserView {
    /// The login name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Number of the user's hosts.
    pub hostnames: u32,
    /// When the user was added, milliseconds UTC.
    pub created_at: i64,
    /// Since when the user is suspended, milliseconds UTC.
    pub suspended_at: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_but_not_printed() {
        let user = AddUser { password: Password::new("hunter2".into()), ..AddUser::default() };
        assert!(!format!("{user:?}").contains("hunter2"));
        let wire = serde_json::to_string(&user).unwrap();
        assert_eq!(serde_json::from_str::<AddUser>(&wire).unwrap(), user);
    }
}
