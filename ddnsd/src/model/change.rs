//! The change that makes DNS hold what it should for a host: as it is stored first, and as it is sent.

use super::host::{Host, HostId, Seen};
use super::name::{Fqdn, Zone};
use super::notice::PendingNotices;
use super::record::WantedRecords;
use super::time::{Millis, Uptime};
use std::sync::Arc;

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
    /// Since when DNS is not known to hold the host's wanted records; may be before this run.
    pub unpublished_since: Option<Millis>,
}

/// A change to be committed as wanted and unpublished.
#[derive(Clone, Debug)]
pub struct Want {
    /// The host as it was read.
    pub host: Arc<Host>,
    /// What DNS should hold from now on.
    pub records: WantedRecords,
    /// Which families this updates, and when; neither, for a removal.
    pub seen: Seen,
    /// When the sweep must check it; `None` for never. An earlier check stays due, because the other
    /// family may expire then.
    pub check_at: Option<Uptime>,
    /// Mails to its owner, queued once DNS holds the records. They replace those of the previous change.
    pub notices: Option<PendingNotices>,
    /// Now.
    pub at: Millis,
    /// Now on the service clock.
    pub uptime: Uptime,
}
