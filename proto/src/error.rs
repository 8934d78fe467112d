//! The error reply of a call.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why the daemon refused or failed a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The kind, for programs.
    pub kind: RefusalKind,
    /// For people: one sentence in lower case without a full stop, with the next step.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The user or host does not exist.
    NotFound,
    /// The user or host exists already.
    Exists,
    /// The user still owns hosts.
    InUse,
    /// A name, address or number is not valid.
    Invalid,
    /// The name server refused or did not answer.
    Dns,
    /// The mail server refused or did not answer.
    Mail,
    /// The database failed.
    Database,
    /// Too many requests at the moment; retry later.
    Busy,
    /// A defect of the daemon, such as a panic.
    Internal,
    /// A kind of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_later_version_decodes_as_unknown() {
        let later = r#"{"kind":"moonphase","message":"not tonight","retry_after":7}"#;
        let refusal: Refusal = serde_json::from_str(later).unwrap();
        assert_eq!(refusal.kind, RefusalKind::Unknown);
        assert_eq!(refusal.to_string(), "not tonight");
        assert_eq!(serde_json::to_string(&RefusalKind::InUse).unwrap(), r#""in_use""#);
    }
}
