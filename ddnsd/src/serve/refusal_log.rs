//! The log lines of requests that are refused before they are understood. In: a client, a status
//! and a reason. Out: a line, if requests are logged.

use http::StatusCode;
use std::fmt::Display;
use std::net::IpAddr;
use tracing::info;

/// Logs requests of one client that are refused before they are understood.
#[derive(Clone, Copy)]
pub(super) struct RefusalLog {
    pub(super) client: IpAddr,
    /// `log_requests`.
    pub(super) is_on: bool,
}

impl RefusalLog {
    pub(super) fn refused(self, status: StatusCode, reason: &dyn Display) {
        if self.is_on {
            let (client, status) = (self.client, status.as_u16());
            info!(%client, status, %reason, "request");
        }
    }

    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self { client: std::net::Ipv4Addr::LOCALHOST.into(), is_on: false }
    }
}
