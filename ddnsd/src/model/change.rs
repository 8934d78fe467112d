//! A change of a host's records: as it is stored first, and as it is sent.

use super::host::{Host, Lan, Seen};
use super::name::{Fqdn, Zone};
use super::notice::PendingNotices;
use super::record::WantedRecords;
use super::time::{Millis, Uptime};
use std::sync::Arc;

/// One host's records as they are sent: every family that was ever set, so that what DNS holds
/// afterwards does not depend on messages that were lost before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// The owner name of the records.
    pub fqdn: Fqdn,
    /// The zone the message goes to.
    pub zone: Zone,
    /// TTL of the records, seconds, 0 to 2,147,483,647.
    pub ttl: u32,
    pub records: WantedRecords,
    /// Since when DNS is not known to hold the host's wanted records; may be before this run.
    pub unpublished_since: Option<Millis>,
}

/// What DNS should hold at a name. A family that was never set may hold anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordCheck {
    pub fqdn: Fqdn,
    pub zone: Zone,
    pub records: WantedRecords,
}

/// A change to be committed as wanted and unpublished.
#[derive(Clone, Debug)]
pub struct Want {
    /// The host as it was read.
    pub host: Arc<Host>,
    pub records: WantedRecords,
    /// Which families this updates, and when; neither, for a removal.
    pub seen: Seen,
    /// When the sweep must check it; `None` for never. An earlier check stays due, because the
    /// other family may expire then.
    pub check_at: Option<Uptime>,
    /// Whether it removes what was not updated in time.
    pub is_expiry: bool,
    /// Mails to its owner, queued once DNS holds the records. They replace those of the previous
    /// change.
    pub notices: Option<PendingNotices>,
    /// Its place in a router's network from now on.
    pub lan: Lan,
    /// Whether it becomes unpublished. If not, the records are those that DNS holds.
    pub publish: bool,
    pub at: Millis,
    /// Now on the service clock.
    pub uptime: Uptime,
    /// Whether it is sent to DNS at once, so that other daemons wait for the result.
    pub is_sent: bool,
}
