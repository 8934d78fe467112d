//! Users as they travel.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A password on its way. Prints as `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Gives the text away, for the one place that needs it.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user to add, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddUser {
    /// The name to log in with.
    pub name: String,
    /// Where mail goes.
    pub email: String,
    /// The password in the clear; the daemon keeps its hash only.
    pub password: Password,
}

/// A user was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddedUser {
    /// The user; since 1.3.
    pub user: Option<UserView>,
}

/// Another password for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetPassword {
    /// The user's name.
    pub name: String,
    /// The password in the clear; the daemon keeps its hash only.
    pub password: Password,
}

/// Another mail address for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetEmail {
    /// The user's name.
    pub name: String,
    /// Where mail goes from now on.
    pub email: String,
}

/// A user to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteUser {
    /// The name.
    pub name: String,
}

/// Which users to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListUsers {
    /// Those after this name, in byte order.
    pub after: Option<String>,
    /// At most this many; 0 and what is beyond [`crate::MAX_PAGE`] mean that.
    pub limit: u32,
}

/// A user as administrators see one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserView {
    /// The name they log in with.
    pub name: String,
    /// Where their mail goes.
    pub email: String,
    /// How many hosts they own.
    pub hostnames: u32,
    /// When they were added, milliseconds UTC.
    pub created_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_travels_but_is_not_printed() {
        let user = AddUser { password: Password::new("hunter2".into()), ..AddUser::default() };
        assert!(!format!("{user:?}").contains("hunter2"));
        let wire = serde_json::to_string(&user).unwrap();
        assert_eq!(serde_json::from_str::<AddUser>(&wire).unwrap(), user);
    }
}
