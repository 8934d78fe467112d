//! The change that makes DNS hold what it should for a host.

use super::host::HostId;
use super::name::{Fqdn, Zone};
use super::record::WantedRecords;

/// One host's records as they are to be asserted in DNS: every family that was ever set, so that
/// what DNS holds afterwards does not depend on what was lost before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// Whose records.
    pub host: HostId,
    /// The owner name of the records.
    pub fqdn: Fqdn,
    /// The zone the message goes to.
    pub zone: Zone,
    /// TTL of the records, seconds, 0 to 2,147,483,647.
    pub ttl: u32,
    /// What to assert.
    pub records: WantedRecords,
}
