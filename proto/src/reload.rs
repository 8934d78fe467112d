//! What a reload of the configuration did, as it travels.

use serde::{Deserialize, Serialize};

/// What a reload did. With problems, it changed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloaded {
    /// What is in force now; cut where a frame would overflow.
    pub changed: Vec<ChangedKey>,
    /// How many there are.
    pub changed_total: u64,
    /// What takes effect when the daemon is started again; the value before stays in force.
    pub needs_restart: Vec<ChangedKey>,
    /// The first things that are in the way, each a sentence.
    pub problems: Vec<String>,
    /// How many there are.
    pub problems_total: u64,
}

/// A key of the configuration that has another value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangedKey {
    /// As `defaults.dns_ttl`.
    pub key: String,
    /// The value before; empty where it was not set, `None` where it is not shown.
    pub old: Option<String>,
    /// The value now; as above.
    pub new: Option<String>,
}
