//! Why an administrator's request was not carried out. In: errors of the exits. Out: a kind and a
//! sentence with the next step.

use crate::db::DbError;
use crate::log_budget::log_repeated;

/// How clients group errors; it decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminErrorKind {
    /// No such user or host.
    NotFound,
    Exists,
    /// It cannot be deleted while something else needs it.
    InUse,
    /// A value that is no legal name, address or number.
    Invalid,
    /// The name server refused or did not answer.
    Dns,
    /// The mail server refused or did not answer.
    Mail,
    Database,
    /// Try again later.
    Busy,
}

/// An error, ready to be shown.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    pub kind: AdminErrorKind,
    /// One sentence, lower case, no full stop, with the next step.
    pub message: String,
}

impl AdminError {
    pub fn new(kind: AdminErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<DbError> for AdminError {
    /// Logs it, too.
    fn from(problem: DbError) -> Self {
        log_repeated!(error, "administration: {problem}");
        let kind = match problem {
            DbError::Busy => AdminErrorKind::Busy,
            _ => AdminErrorKind::Database,
        };
        let message = match problem {
            // it may have been carried out
            DbError::Unconfirmed => problem.to_string(),
            _ => format!("cannot carry it out: {problem}; the daemon's log may say more"),
        };
        Self::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unconfirmed_write_is_not_reported_as_not_carried_out() {
        let unknown = AdminError::from(DbError::Unconfirmed).message;
        assert!(!unknown.contains("cannot carry it out"), "{unknown}");
        assert!(unknown.contains("check whether it is stored before you retry"), "{unknown}");
        let unanswered = AdminError::from(DbError::NoAnswer).message;
        assert!(unanswered.contains("cannot carry it out"), "{unanswered}");
    }
}
