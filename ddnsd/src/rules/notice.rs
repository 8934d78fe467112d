//! The mails to a host's owner. In: those that are pending, and what is wanted now. Out: those that
//! are queued once DNS holds that. What is wanted now supersedes pending mails about the same
//! family.

use crate::model::address::Addresses;
use crate::model::family::Families;
use crate::model::host::{Defaults, Host, Seen};
use crate::model::notice::{FamilyNotice, Notice, PendingNotices};
use crate::model::record::WantedRecords;

/// The mails once an update of these families wants these records. `seen`: the last updates
/// including this one, if the client asked for a mail and such mails are sent; else no change is
/// mailed.
///
/// No mail says that a family expired which is updated now. A mail says that an address changed if
/// it differs from what DNS is known to hold: by this update, or by an earlier one that asked for a
/// mail too and is not published yet.
pub fn of_update(
    host: &Host,
    updated: Families,
    records: WantedRecords,
    seen: Option<Seen>,
    defaults: &Defaults,
) -> PendingNotices {
    let pending = host.pending_notices();
    let new = records.addresses();
    let differs = new.ips().zip(in_dns(host).ips()).map(|(new, old)| new != old);
    let included = updated.or(included(pending.change)).and(differs);
    let ttl = super::expiry::expiry_ttl(host, defaults);
    PendingNotices {
        change: seen.and_then(|seen| notice(included, new, seen, ttl)),
        expiry: without(pending.expiry, updated),
    }
}

/// The mails once these families of a host expire. `last`: the addresses it has or had, if such
/// mails are sent. A change that DNS never held is not mailed any more, only its expiry.
pub fn of_expiry(
    host: &Host,
    expired: Families,
    seen: Seen,
    last: Option<Addresses>,
    defaults: &Defaults,
) -> PendingNotices {
    let pending = host.pending_notices();
    let included = expired.or(included(pending.expiry));
    let ttl = super::expiry::expiry_ttl(host, defaults);
    PendingNotices {
        change: without(pending.change, expired),
        expiry: last.and_then(|last| notice(included, last, seen, ttl)),
    }
}

/// What DNS is known to hold; of an unpublished host, what it last acknowledged.
fn in_dns(host: &Host) -> Addresses {
    match host.unpublished_since {
        None => host.wanted.addresses(),
        Some(_) => host.acked.addresses,
    }
}

fn included(notice: Option<Notice>) -> Families {
    notice.map(|notice| notice.included()).unwrap_or_default()
}

/// A notice about these families; `None` if there is none.
fn notice(included: Families, addresses: Addresses, seen: Seen, expiry_ttl: u32) -> Option<Notice> {
    let families = included
        .zip(addresses.ips().zip(seen))
        .map(|(included, (address, updated_at))| FamilyNotice { included, address, updated_at });
    Some(Notice { families, expiry_ttl }).filter(Notice::is_about_any)
}

/// The notice without these families; `None` if it is about no other.
fn without(notice: Option<Notice>, families: Families) -> Option<Notice> {
    let mut notice = notice?;
    let included = notice.included().without(families);
    notice.families.v4.included = included.v4;
    notice.families.v6.included = included.v6;
    Some(notice).filter(Notice::is_about_any)
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::{DEFAULTS, fresh_host};
    use super::*;
    use crate::model::host::Acked;
    use crate::model::notice::NoticeKind;
    use crate::model::record::Wanted;
    use crate::model::time::Millis;

    const EARLIER: Seen = Seen { v4: Some(Millis(1_000)), v6: Some(Millis(2_000)) };

    fn addresses(v4: &str, v6: &str) -> Addresses {
        Addresses { v4: v4.parse().ok(), v6: v6.parse().ok() }
    }

    fn records(addresses: Addresses) -> WantedRecords {
        WantedRecords {
            v4: addresses.v4.map_or(Wanted::Absent, Wanted::Present),
            v6: addresses.v6.map_or(Wanted::Absent, Wanted::Present),
        }
    }

    /// A host of which DNS holds both.
    fn held_host() -> Host {
        let addresses = addresses("192.0.2.1", "2001:db8::1");
        let acked = Acked { addresses, ttl: Some(60) };
        Host { wanted: records(addresses), acked, ..fresh_host() }
    }

    /// The host after an update whose change is not yet published.
    fn updated(host: &Host, to: Addresses, seen: Option<Seen>) -> Host {
        let wanted = host.wanted.with(to);
        let notices =
            of_update(host, to.families(), wanted, seen, &DEFAULTS).if_any().map(Box::new);
        Host { wanted, notices, unpublished_since: Some(Millis(1)), ..host.clone() }
    }

    /// The host after these families expired, which is not yet published.
    fn expired(host: &Host, v4: bool, v6: bool) -> Host {
        let last = Some(addresses("192.0.2.1", "2001:db8::1"));
        let families = Families { v4, v6 };
        let notices = of_expiry(host, families, EARLIER, last, &DEFAULTS).if_any().map(Box::new);
        let wanted = host.wanted.without(families);
        Host { wanted, notices, unpublished_since: Some(Millis(1)), ..host.clone() }
    }

    /// Which mails are pending, and about which families.
    fn mails(host: &Host) -> Vec<(&'static str, bool, bool)> {
        let pending = host.pending_notices();
        let row = |(kind, notice): (NoticeKind, &Notice)| {
            let Families { v4, v6 } = notice.included();
            (kind.as_str(), v4, v6)
        };
        pending.mails().map(row).collect()
    }

    #[test]
    fn a_change_is_mailed_if_its_client_asks_and_says_what_is_new() {
        let host = updated(&held_host(), addresses("192.0.2.2", "2001:db8::1"), Some(EARLIER));
        assert_eq!(mails(&host), [("change", true, false)]);
        let notice = host.pending_notices().change.unwrap();
        let variables = notice.variables(NoticeKind::Change, &host.names());
        let expected = serde_json::json!({
            "hostname": "pc", "zone": "example.org", "fqdn": "pc.example.org",
            "ipv4_changed": true, "ipv4": "192.0.2.2", "last_ipv4_update": 1000,
            "ipv6_changed": false, "ipv6": "2001:db8::1", "last_ipv6_update": 2000,
            "expiry_ttl": 3600,
        });
        assert_eq!(variables, expected);
        assert_eq!(mails(&updated(&held_host(), addresses("192.0.2.2", ""), None)), []);
    }

    #[test]
    fn an_update_that_changes_no_address_is_not_mailed() {
        let mut host = held_host();
        host.unpublished_since = Some(Millis(1)); // for another TTL
        assert_eq!(mails(&updated(&host, addresses("192.0.2.1", ""), Some(EARLIER))), []);
    }

    #[test]
    fn a_repeated_update_that_asks_is_mailed_though_the_first_did_not_ask() {
        let quiet = updated(&held_host(), addresses("192.0.2.2", ""), None);
        let again = updated(&quiet, addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(mails(&again), [("change", true, false)]);
        // and of both, if the first time was about the other family
        let first = updated(&held_host(), addresses("", "2001:db8::2"), Some(EARLIER));
        let both = updated(&first, addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(mails(&both), [("change", true, true)]);
    }

    #[test]
    fn an_update_that_does_not_ask_supersedes_one_that_did() {
        let change = updated(&held_host(), addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(mails(&updated(&change, addresses("192.0.2.3", ""), None)), []);
    }

    #[test]
    fn an_expiry_is_mailed_for_both_families_at_once_or_one_after_the_other() {
        assert_eq!(mails(&expired(&held_host(), true, true)), [("expiry", true, true)]);
        let first = expired(&held_host(), true, false);
        assert_eq!(mails(&first), [("expiry", true, false)]);
        assert_eq!(mails(&expired(&first, false, true)), [("expiry", true, true)]);
        let notice = first.pending_notices().expiry.unwrap();
        let variables = notice.variables(NoticeKind::Expiry, &first.names());
        let expected = serde_json::json!({
            "hostname": "pc", "zone": "example.org", "fqdn": "pc.example.org",
            "ipv4_expired": true, "last_ipv4": "192.0.2.1", "last_ipv4_update": 1000,
            "ipv6_expired": false, "last_ipv6": "2001:db8::1", "last_ipv6_update": 2000,
            "expiry_ttl": 3600,
        });
        assert_eq!(variables, expected);
    }

    #[test]
    fn an_update_ends_a_pending_mail_about_an_expiry() {
        let expired = expired(&held_host(), true, true);
        let back = updated(&expired, addresses("192.0.2.1", ""), None);
        assert_eq!(mails(&back), [("expiry", false, true)], "the other family has still expired");
        assert_eq!(mails(&updated(&back, addresses("", "2001:db8::1"), None)), []);
        let change = updated(&expired, addresses("192.0.2.1", "2001:db8::1"), Some(EARLIER));
        assert_eq!(mails(&change), [], "DNS holds what it held");
    }

    #[test]
    fn going_offline_ends_a_pending_mail_about_an_expiry() {
        let expired = expired(&held_host(), true, false);
        let down = records(Addresses::default());
        let pending = of_update(&expired, Families::BOTH, down, Some(EARLIER), &DEFAULTS);
        assert_eq!(pending.expiry, None);
        assert_eq!(pending.change.unwrap().included(), Families::BOTH);
    }

    #[test]
    fn an_expiry_ends_a_pending_mail_about_a_change_of_its_family() {
        let change = updated(&held_host(), addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(mails(&expired(&change, true, false)), [("expiry", true, false)]);
        assert_eq!(
            mails(&expired(&change, false, true)),
            [("change", true, false), ("expiry", false, true)]
        );
    }
}
