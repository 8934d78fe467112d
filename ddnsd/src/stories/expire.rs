//! The sweep: takes down the records of hosts that went too long without an update.

use super::error::Refused;

/// The handles this story uses.
#[derive(Clone)]
pub struct Expire {}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// FQDNs whose records were taken down.
    pub expired: Vec<String>,
    /// FQDNs whose records could not be taken down, and why.
    pub failed: Vec<(String, String)>,
}

impl Expire {
    /// Sweeps now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self) -> Result<Swept, Refused> {
        Ok(Swept::default())
    }
}
