//! Whether an update changes a host. In: what becomes of it, and the host as stored. Out: keep,
//! store or change.

use super::prefix::Effect;
use crate::model::change::{RecordChange, RecordCheck};
use crate::model::host::{Defaults, Host};
use crate::model::record::WantedRecords;

/// What to do with one host.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// DNS is known to hold this already. Only the expiry time restarts.
    Keep,
    /// As [`Self::Keep`], but its place in a router's network is stored.
    Store,
    /// Other records are wanted from now on, or the same ones are sent again.
    Change,
}

pub fn decide(effect: &Effect, host: &Host, defaults: &Defaults) -> Verdict {
    let wanted = effect.records;
    let ttl_holds = ttl_holds(wanted, host, dns_ttl(host, defaults));
    let is_known_to_hold = host.unpublished_since.is_none() && host.unserved_since.is_none();
    if wanted != host.wanted || !is_known_to_hold || !ttl_holds {
        Verdict::Change
    } else if effect.lan != *host.lan {
        Verdict::Store
    } else {
        Verdict::Keep
    }
}

/// Whether new TTLs of a host must be published: it has a record, and DNS is not known to hold the
/// TTL.
pub fn must_publish_ttl(new: Option<u32>, host: &Host, defaults: &Defaults) -> bool {
    let ttl = new.unwrap_or(defaults.dns_ttl);
    new != host.dns_ttl
        && !host.wanted.addresses().is_empty()
        && (host.unpublished_since.is_some() || !ttl_holds(host.wanted, host, ttl))
}

/// Without a record no TTL is visible in DNS.
fn ttl_holds(wanted: WantedRecords, host: &Host, ttl: u32) -> bool {
    wanted.addresses().is_empty() || host.acked.ttl == Some(ttl)
}

/// The TTL in force for a host, seconds.
pub fn dns_ttl(host: &Host, defaults: &Defaults) -> u32 {
    host.dns_ttl.unwrap_or(defaults.dns_ttl)
}

/// What DNS should hold of the host as stored.
pub fn check(host: &Host) -> RecordCheck {
    RecordCheck { fqdn: host.fqdn.clone(), zone: host.zone(), records: host.wanted }
}

/// What to send to DNS for the host as stored.
pub fn change(host: &Host, defaults: &Defaults) -> RecordChange {
    RecordChange {
        fqdn: host.fqdn.clone(),
        zone: host.zone(),
        ttl: dns_ttl(host, defaults),
        records: host.wanted,
        unpublished_since: host.unpublished_since,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::prefix::{Asked, effect};
    use super::super::request::Change;
    use super::*;
    use crate::model::address::Addresses;
    use crate::model::host::Acked;
    use crate::model::record::Wanted;
    use crate::model::time::Millis;

    pub(in crate::rules) const DEFAULTS: Defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };

    /// A host that was just added.
    pub(in crate::rules) fn fresh_host() -> Host {
        Host::sample(1, "pc")
    }

    fn verdict(change: Change, host: &Host) -> Verdict {
        decide(&asked(change, host), host, &DEFAULTS)
    }

    fn asked(change: Change, host: &Host) -> Effect {
        effect(host, &Asked { named: Some(change), ..Asked::default() })
    }

    fn set(text: &str) -> Change {
        Change::Set(addresses(text))
    }

    fn addresses(text: &str) -> Addresses {
        text.split(',').fold(Addresses::default(), |found, item| {
            let one = Addresses::only(item.parse().unwrap());
            Addresses { v4: found.v4.or(one.v4), v6: found.v6.or(one.v6) }
        })
    }

    /// A host whose records DNS acknowledged.
    fn published(text: &str) -> Host {
        let addresses = addresses(text);
        let mut host = fresh_host();
        host.wanted.v4 = addresses.v4.map_or(Wanted::Untouched, Wanted::Present);
        host.wanted.v6 = addresses.v6.map_or(Wanted::Untouched, Wanted::Present);
        host.acked = Acked { addresses, ttl: Some(60) };
        host
    }

    fn changed(change: Change, host: &Host) -> WantedRecords {
        assert_eq!(verdict(change, host), Verdict::Change);
        asked(change, host).records
    }

    #[test]
    fn a_first_address_is_a_change_and_leaves_the_other_family_untouched() {
        let records = changed(set("192.0.2.1"), &fresh_host());
        assert_eq!(records.v4, Wanted::Present("192.0.2.1".parse().unwrap()));
        assert_eq!(records.v6, Wanted::Untouched);
    }

    #[test]
    fn the_address_that_dns_holds_is_kept() {
        let host = published("192.0.2.1,2001:db8::1");
        for same in ["192.0.2.1", "2001:db8::1", "192.0.2.1,2001:db8::1"] {
            assert_eq!(verdict(set(same), &host), Verdict::Keep, "{same}");
        }
    }

    #[test]
    fn an_unpublished_host_is_never_kept() {
        let mut host = published("192.0.2.1");
        host.unpublished_since = Some(Millis(1));
        assert_eq!(changed(set("192.0.2.1"), &host), host.wanted);
    }

    #[test]
    fn an_unserved_host_is_never_kept() {
        let mut host = published("192.0.2.1");
        host.unserved_since = Some(Millis(1));
        assert_eq!(changed(set("192.0.2.1"), &host), host.wanted);
    }

    #[test]
    fn a_family_that_is_not_given_stays_as_it_is() {
        let records = changed(set("192.0.2.2"), &published("192.0.2.1,2001:db8::1"));
        assert_eq!(records.addresses().to_string(), "192.0.2.2 2001:db8::1");
    }

    #[test]
    fn another_ttl_is_a_change_but_not_for_a_host_without_records() {
        let mut host = published("192.0.2.1");
        host.dns_ttl = Some(120);
        assert_eq!(changed(set("192.0.2.1"), &host), host.wanted);
        host.wanted.v4 = Wanted::Absent;
        assert_eq!(verdict(Change::Offline, &host), Verdict::Keep);
    }

    #[test]
    fn a_new_ttl_is_published_unless_dns_holds_it_or_no_record_shows_it() {
        let mut host = published("192.0.2.1");
        host.dns_ttl = Some(60);
        for (new, goes) in [(Some(60), false), (None, false), (Some(61), true)] {
            assert_eq!(must_publish_ttl(new, &host, &DEFAULTS), goes, "{new:?}");
        }
        host.unpublished_since = Some(Millis(1));
        assert!(must_publish_ttl(None, &host, &DEFAULTS));
        host.wanted.v4 = Wanted::Absent;
        assert!(!must_publish_ttl(Some(61), &host, &DEFAULTS));
    }

    #[test]
    fn offline_removes_what_was_set_and_touches_nothing_else() {
        let records = changed(Change::Offline, &published("192.0.2.1"));
        assert_eq!((records.v4, records.v6), (Wanted::Absent, Wanted::Untouched));
        assert_eq!(verdict(Change::Offline, &fresh_host()), Verdict::Keep);
    }
}
