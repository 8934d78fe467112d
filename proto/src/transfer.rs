//! Export and import. Hosts are exported by [`host_list`](crate::Administration::host_list).

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Maximum number of lines in a call. A decoded line is far larger than `{}`.
pub const MAX_LINES: usize = 4096;
/// Maximum length of an import's line, bytes.
pub const MAX_LINE: usize = 64 << 10;

/// Text that holds password hashes. `Debug` prints `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidential(pub String);

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user with the password hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRecord {
    /// The login name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The password's Argon2 PHC string.
    pub password_hash: Confidential,
    /// When the user was added, milliseconds UTC.
    pub created_at: i64,
    /// Since when the user is suspended, milliseconds UTC.
    pub suspended_at: Option<i64>,
}

/// The options of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BeginImport {
    /// Whether to skip existing users and hosts; otherwise each is a problem.
    pub skip_existing: bool,
}

/// Identifies an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportToken {
    /// Opaque to the client.
    pub token: String,
}

/// Lines of an import in their order. All of them must fit a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageLines {
    /// The import's [`ImportToken`].
    pub token: String,
    /// The lines, at most [`MAX_LINES`].
    #[serde(deserialize_with = "bounded")]
    pub lines: Vec<Line>,
}

fn bounded<'de, D: Deserializer<'de>>(lines: D) -> Result<Vec<Line>, D::Error> {
    struct Lines;

    impl<'de> Visitor<'de> for Lines {
        type Value = Vec<Line>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_LINES} lines")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Vec<Line>, A::Error> {
            let mut taken = Vec::new();
            while let Some(line) = lines.next_element()? {
                if taken.len() == MAX_LINES {
                    return Err(A::Error::invalid_length(MAX_LINES + 1, &self));
                }
                taken.push(line);
            }
            Ok(taken)
        }
    }

    lines.deserialize_seq(Lines)
}

/// A line of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// The line's number in the file, from 1.
    pub number: u64,
    /// The text, at most [`MAX_LINE`] bytes.
    pub text: Confidential,
    /// Why the client could not send the text.
    pub fault: Option<String>,
}

/// The outcome of an import. With problems, it stored nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// Number of stored users.
    pub users: u64,
    /// Number of stored hosts.
    pub hosts: u64,
    /// Number of skipped users that exist already.
    pub existing_users: u64,
    /// Number of skipped hosts that exist already.
    pub existing_hosts: u64,
    /// The first problems, in order of their lines.
    pub problems: Vec<Problem>,
    /// Number of problems before truncation.
    pub problems_total: u64,
    /// What the administrator should know of what was stored.
    pub warning: Option<String>,
}

/// A problem of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The line's number in the file, from 1.
    pub line: u64,
    /// The problem and the next step.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_maximum_are_not_decoded() {
        let lines = |count| format!(r#"{{"lines":[{}]}}"#, vec!["{}"; count].join(","));
        let decoded = |count| serde_json::from_str::<StageLines>(&lines(count));
        assert_eq!(decoded(MAX_LINES).unwrap().lines.len(), MAX_LINES);
        assert!(decoded(MAX_LINES + 1).unwrap_err().to_string().contains("at most 4096 lines"));
    }

    #[test]
    fn a_hash_is_sent_but_not_printed() {
        let text = Confidential("$argon2id$v=19$".into());
        let user = UserRecord { password_hash: text.clone(), ..UserRecord::default() };
        let line = Line { text, ..Line::default() };
        assert!(!format!("{user:?} {line:?}").contains("argon2"));
        let wire = serde_json::to_string(&user).unwrap();
        assert!(wire.contains(r#""password_hash":"$argon2id$v=19$""#));
        assert_eq!(serde_json::from_str::<UserRecord>(&wire).unwrap(), user);
    }
}
