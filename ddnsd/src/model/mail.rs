//! A mail in the outbox.

use super::notice::NoticeKind;
use super::time::Millis;

/// Key of a row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailId(pub i64);

/// A mail that waits, or that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMail {
    pub id: MailId,
    /// `None` for a kind that this version does not know.
    pub kind: Option<NoticeKind>,
    /// As the owner's address was when it was queued.
    pub recipient: String,
    /// The variables of its template, JSON.
    pub variables: String,
    /// The left part of its Message-ID; unique.
    pub message_id: String,
    pub created_at: Millis,
    pub next_at: Millis,
    /// Failed attempts.
    pub attempts: u32,
    pub last_error: Option<String>,
    /// Since when it is not tried any more.
    pub failed_at: Option<Millis>,
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// Try again then.
    Retry {
        at: Millis,
        error: String,
    },
    /// Never again.
    Failed {
        at: Millis,
        error: String,
    },
    /// It was not tried.
    Untried,
}
