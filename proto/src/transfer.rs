//! Export and import as they travel. Hosts are exported as the list has them, users with their hashes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest line of an import, bytes.
pub const MAX_LINE: usize = 64 << 10;

/// Text that holds password hashes. Prints as `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidential(pub String);

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user with all that is needed to make them again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRecord {
    /// The name they log in with.
    pub name: String,
    /// Where their mail goes.
    pub email: String,
    /// Their password's Argon2 PHC string.
    pub password_hash: Confidential,
    /// When they were added, milliseconds UTC.
    pub created_at: i64,
}

/// How to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BeginImport {
    /// Leave users and hosts alone that are there already; else they are a problem.
    pub skip_existing: bool,
}

/// Names an import that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportToken {
    /// Meaningless to the client.
    pub token: String,
}

/// Some lines of an import, in their order. All of them must fit a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageLines {
    /// The import.
    pub token: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The line, at most [`MAX_LINE`] bytes.
    pub text: Confidential,
    /// Why the client could not send it.
    pub fault: Option<String>,
}

/// What an import did. With problems, it stored nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// Users stored.
    pub users: u64,
    /// Hosts stored.
    pub hosts: u64,
    /// Users left alone, because they are there already.
    pub existing_users: u64,
    /// Hosts left alone, because they are there already.
    pub existing_hosts: u64,
    /// The first problems, by line.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problems_total: u64,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The line's number in the file, from 1.
    pub line: u64,
    /// What is wrong, and the next step.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_travels_but_is_not_printed() {
        let text = Confidential("$argon2id$v=19$".into());
        let user = UserRecord { password_hash: text.clone(), ..UserRecord::default() };
        let line = Line { text, ..Line::default() };
        assert!(!format!("{user:?} {line:?}").contains("argon2"));
        let wire = serde_json::to_string(&user).unwrap();
        assert!(wire.contains(r#""password_hash":"$argon2id$v=19$""#));
        assert_eq!(serde_json::from_str::<UserRecord>(&wire).unwrap(), user);
    }
}
