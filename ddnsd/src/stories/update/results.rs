//! The results of hosts that are changed, or are not.

use crate::db::DbError;
use crate::dns::DnsError;
use crate::log_budget::log_repeated;
use crate::model::address::Addresses;
use crate::model::host::Host;
use crate::rules::reply::ReturnCode;
use crate::stories::last_requests::HostResult;
use tracing::info;

/// Why no host is changed.
pub(super) enum NotChanged {
    /// Each host of the caller has this result.
    Rejected(HostResult),
    Failed(DbError),
}

impl From<DbError> for NotChanged {
    fn from(problem: DbError) -> Self {
        Self::Failed(problem)
    }
}

pub(super) fn too_many_updates() -> HostResult {
    HostResult::with_reason(ReturnCode::ServerError, "too many updates of it at once")
}

pub(super) fn failed(problem: &DbError) -> HostResult {
    HostResult::with_reason(ReturnCode::ServerError, problem.to_string())
}

/// The result of publishing a host.
pub(super) fn published_result(host: &Host, result: &Result<(), DnsError>) -> HostResult {
    match result {
        Ok(()) if host.unserved_since.is_some() => {
            let reason = "the name server acknowledged it, and did not serve the last one";
            HostResult::with_reason(ReturnCode::Dnserr, reason)
        }
        Ok(()) => HostResult::new(ReturnCode::Good),
        Err(problem) => HostResult::with_reason(ReturnCode::Dnserr, problem.to_string()),
    }
}

/// Logs the result of publishing a host that had the `old` addresses.
pub(super) fn log_published(host: &Host, old: Addresses, result: Result<(), DnsError>) {
    let new = host.wanted.addresses();
    match result {
        // no log line if the same addresses were only sent again
        Ok(()) if old == new && host.acked.addresses == new => {}
        Ok(()) => info!(host = %host.fqdn, %old, %new, "address changed"),
        Err(problem) => {
            log_repeated!(warn, host = %host.fqdn, %old, %new, "address not yet published: {problem}");
        }
    }
}
