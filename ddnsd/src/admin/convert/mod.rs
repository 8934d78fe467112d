//! Converts between the protocol's types and the model; pure. No protocol type passes this edge.

pub(super) mod bounds;
pub(super) mod hosts;
pub(super) mod mail;
pub(super) mod names;
pub(super) mod status;
pub(super) mod transfer;
pub(super) mod users;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use crate::stories::error::{AdminError, AdminErrorKind};
use bounds::cut;
use ddnsd_proto::error::{Refusal, RefusalKind};

pub(super) fn refusal(error: AdminError) -> Refusal {
    let kind = match error.kind {
        AdminErrorKind::NotFound => RefusalKind::NotFound,
        AdminErrorKind::Exists => RefusalKind::Exists,
        AdminErrorKind::InUse => RefusalKind::InUse,
        AdminErrorKind::Invalid => RefusalKind::Invalid,
        AdminErrorKind::Dns => RefusalKind::Dns,
        AdminErrorKind::Mail => RefusalKind::Mail,
        AdminErrorKind::Database => RefusalKind::Database,
        AdminErrorKind::Busy => RefusalKind::Busy,
    };
    Refusal { kind, message: cut(error.message) }
}

fn invalid(message: String) -> Refusal {
    Refusal { kind: RefusalKind::Invalid, message: cut(message) }
}
