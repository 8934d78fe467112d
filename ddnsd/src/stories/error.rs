//! Why an administrator's request was not carried out. In: errors of the exits. Out: a kind and a
//! sentence that says what to do next.

/// What kind of refusal it is; decides nothing but how clients group it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminErrorKind {
    /// No such user or host.
    NotFound,
    /// It is there already.
    Exists,
    /// It cannot go while something else needs it.
    InUse,
    /// The given value is no legal name, address or number.
    Invalid,
    /// The name server refused or did not answer.
    Dns,
    /// The database failed.
    Database,
    /// Too much to do at the moment.
    Busy,
}

/// A refusal, ready to be shown.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// Its kind.
    pub kind: AdminErrorKind,
    /// One sentence, lower case, no full stop, with the next step.
    pub message: String,
}

impl AdminError {
    /// A refusal of a kind with its sentence.
    pub fn new(kind: AdminErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The refusal for a database that failed.
pub(super) fn database(problem: &crate::db::DbError) -> AdminError {
    let kind = match problem {
        crate::db::DbError::Busy => AdminErrorKind::Busy,
        _ => AdminErrorKind::Database,
    };
    tracing::error!("administration: {problem}");
    let message = match problem {
        // it may have been
        crate::db::DbError::Unconfirmed => problem.to_string(),
        _ => format!("it could not be carried out: {problem}; the daemon's log may say more"),
    };
    AdminError::new(kind, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::DbError;

    #[test]
    fn what_may_have_been_carried_out_is_not_said_to_have_not() {
        let unknown = database(&DbError::Unconfirmed).message;
        assert!(!unknown.contains("could not be carried out"), "{unknown}");
        assert!(unknown.contains("look before you try again"), "{unknown}");
        assert!(database(&DbError::NoAnswer).message.contains("could not be carried out"));
    }
}
