//! The server's certificate, as far as it ages.

use super::time::Millis;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub file: PathBuf,
    pub validity: Validity,
}

/// RFC 5280, 4.1.2.5: both times belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Millis,
    pub until: Millis,
}
