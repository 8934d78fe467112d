//! What the daemon answers when it does not carry a request out.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A refusal, ready to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// Its kind.
    pub kind: RefusalKind,
    /// One sentence, lower case, no full stop, with the next step.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No such user or host.
    NotFound,
    /// It is there already.
    Exists,
    /// Something else still needs it.
    InUse,
    /// Not a legal name, address or number.
    Invalid,
    /// The name server refused or did not answer.
    Dns,
    /// The database failed.
    Database,
    /// Too much to do at the moment.
    Busy,
    /// The daemon failed in a way that it should not.
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
