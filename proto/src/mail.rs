//! Calls about the mail queue.

use serde::{Deserialize, Serialize};

/// Which mails to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListMails {
    /// Lists only mails after this one.
    pub after: Option<String>,
    /// Maximum rows; 0 and numbers above [`crate::MAX_PAGE`] mean [`crate::MAX_PAGE`].
    pub limit: u32,
}

/// A mail of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailView {
    /// The number of the mail.
    pub id: i64,
    /// `change`, `expiry`, or a kind of another version.
    pub kind: String,
    /// The mail address of the host's owner.
    pub recipient: String,
    /// The host in U-labels.
    pub host: String,
    /// When it was queued, milliseconds UTC.
    pub created_at: i64,
    /// Number of failed attempts.
    pub attempts: u32,
    /// When it is tried next; `None` if it is not tried any more.
    pub next_at: Option<i64>,
    /// Since when it is not tried any more.
    pub failed_at: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A mail to retry or drop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindMail {
    /// The number of the mail.
    pub id: i64,
}

/// A test of the mail settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestMail {
    /// The recipient.
    pub address: String,
}

/// The outcome of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestedMail {
    /// The reply of the mail server that accepted the mail.
    pub reply: String,
}
