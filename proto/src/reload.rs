//! The outcome of a reload of the configuration.

use serde::{Deserialize, Serialize};

/// The outcome of a reload. With problems, it changed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloaded {
    /// Keys with a new value in force; truncated to what fits a frame.
    pub changed: Vec<ChangedKey>,
    /// Number of changed keys before truncation.
    pub changed_total: u64,
    /// Keys whose new value needs a restart; the old value stays in force.
    pub needs_restart: Vec<ChangedKey>,
    /// The first problems, one sentence each.
    pub problems: Vec<String>,
    /// Number of problems before truncation.
    pub problems_total: u64,
    /// Why the log file could not be opened again; the daemon still writes to the old one.
    pub log_problem: Option<String>,
}

/// A key of the configuration with a new value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangedKey {
    /// The key with its section, such as `defaults.dns_ttl`.
    pub key: String,
    /// The old value; empty if it was not set, `None` if it is secret.
    pub old: Option<String>,
    /// The new value; empty if it is not set, `None` if it is secret.
    pub new: Option<String>,
}
