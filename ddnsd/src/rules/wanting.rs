//! What is stored when something is wanted of a host. In: the host, and what an update or an expiry makes of
//! it. Out: the records, and when the sweep must look at it again.

use super::decide;
use super::expiry::{self, Fate, Gaps};
use super::request::Asked;
use crate::model::change::Want;
use crate::model::host::{Defaults, Host, Seen};
use crate::model::notice::Owed;
use crate::model::record::WantedRecords;
use crate::model::time::Millis;
use std::sync::Arc;

/// An update wants these records.
pub fn by_update(
    host: Arc<Host>,
    asked: Asked,
    (records, owed): (WantedRecords, Option<Owed>),
    defaults: &Defaults,
    at: Millis,
) -> Want {
    let is_up = !records.addresses().is_empty();
    let check_at = if is_up { expiry::first_check(&host, defaults, at) } else { None };
    Want { host, records, seen: decide::seen(asked, at), check_at, owed, at }
}

/// These families have expired; the other one may be alive for longer.
pub fn by_expiry(
    host: Arc<Host>,
    ((v4, v6), owed): ((bool, bool), Option<Owed>),
    (seen, gaps): (Seen, &Gaps),
    defaults: &Defaults,
    at: Millis,
) -> Want {
    let records = decide::down(host.wanted, v4, v6);
    let left = Host { wanted: records, ..Host::clone(&host) };
    let check_at = match expiry::fate(&left, seen, gaps, defaults, at) {
        Fate::CheckAt(at) => Some(at),
        Fate::NeverCheck | Fate::Expire { .. } => None,
    };
    Want { host, records, seen: Seen::default(), check_at, owed, at }
}
