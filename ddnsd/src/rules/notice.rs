//! What a host's owner is owed. In: what was owed before, and what is wanted now. Out: what is owed once
//! DNS holds that. Whatever is wanted anew supersedes what was owed of the same family.

use super::request::Change;
use crate::model::address::Addresses;
use crate::model::host::{Defaults, Host, Seen};
use crate::model::notice::{FamilyNotice, Notice, PendingNotices};
use crate::model::record::WantedRecords;

/// What is owed when an update wants these records. `seen`: the last updates including this one, if the
/// client asked for a mail and such mails are sent; else no change is owed any more.
///
/// A family that is updated owes no mail about its expiry: the update won. A mail about a change is
/// owed if an address differs from what DNS is known to hold, be it of this update or of one before it
/// that asked for a mail too and is not published yet.
pub fn of_update(
    host: &Host,
    change: Change,
    records: WantedRecords,
    seen: Option<Seen>,
    defaults: &Defaults,
) -> PendingNotices {
    let (given4, given6) = match change {
        Change::Set(addresses) => (addresses.v4.is_some(), addresses.v6.is_some()),
        Change::Offline => (true, true),
    };
    let before = host.notices.unwrap_or_default();
    let change = seen.map(|seen| {
        let (now, held) = (records.addresses(), held(host));
        let owed = before.change.as_ref();
        let told4 = given4 || owed.is_some_and(|owed| owed.v4.included);
        let told6 = given6 || owed.is_some_and(|owed| owed.v6.included);
        Notice {
            v4: FamilyNotice {
                included: told4 && now.v4 != held.v4,
                address: now.v4,
                updated_at: seen.v4,
            },
            v6: FamilyNotice {
                included: told6 && now.v6 != held.v6,
                address: now.v6,
                updated_at: seen.v6,
            },
            expiry_ttl: super::expiry::ttl(host, defaults),
        }
    });
    PendingNotices {
        change: change.filter(Notice::is_about_any),
        expiry: without(before.expiry, given4, given6),
    }
}

/// What is owed when these families of a host expire. `last`: the addresses it has or had, if such mails
/// are sent. Whose change DNS never held, and who fell silent since, hears of its expiry only.
pub fn of_expiry(
    host: &Host,
    (expired4, expired6): (bool, bool),
    seen: Seen,
    last: Option<Addresses>,
    defaults: &Defaults,
) -> PendingNotices {
    let before = host.notices.unwrap_or_default();
    let owed = before.expiry.as_ref();
    let expiry = last.map(|last| Notice {
        v4: FamilyNotice {
            included: expired4 || owed.is_some_and(|owed| owed.v4.included),
            address: last.v4,
            updated_at: seen.v4,
        },
        v6: FamilyNotice {
            included: expired6 || owed.is_some_and(|owed| owed.v6.included),
            address: last.v6,
            updated_at: seen.v6,
        },
        expiry_ttl: super::expiry::ttl(host, defaults),
    });
    PendingNotices {
        change: without(before.change, expired4, expired6),
        expiry: expiry.filter(Notice::is_about_any),
    }
}

/// What DNS is known to hold; of an unpublished host, what it last acknowledged.
fn held(host: &Host) -> Addresses {
    match host.unpublished_since {
        None => host.wanted.addresses(),
        Some(_) => host.acked.addresses,
    }
}

/// The notice without these families; nothing, if it is about no other.
fn without(notice: Option<Notice>, v4: bool, v6: bool) -> Option<Notice> {
    let mut notice = notice?;
    notice.v4.included &= !v4;
    notice.v6.included &= !v6;
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
        let wanted = WantedRecords {
            v4: to.v4.map_or(host.wanted.v4, Wanted::Present),
            v6: to.v6.map_or(host.wanted.v6, Wanted::Present),
        };
        let owed = of_update(host, Change::Set(to), wanted, seen, &DEFAULTS).if_any();
        Host { wanted, notices: owed, unpublished_since: Some(Millis(1)), ..host.clone() }
    }

    /// The host after these families expired, which is not yet published.
    fn expired(host: &Host, v4: bool, v6: bool) -> Host {
        let last = Some(addresses("192.0.2.1", "2001:db8::1"));
        let owed = of_expiry(host, (v4, v6), EARLIER, last, &DEFAULTS).if_any();
        let wanted = super::super::decide::down(host.wanted, v4, v6);
        Host { wanted, notices: owed, unpublished_since: Some(Millis(1)), ..host.clone() }
    }

    /// Which mails the host owes, and what about.
    fn owes(host: &Host) -> Vec<(&'static str, bool, bool)> {
        let owed = host.notices.unwrap_or_default();
        let mails = owed.mails();
        mails.map(|(kind, it)| (kind.as_str(), it.v4.included, it.v6.included)).collect()
    }

    #[test]
    fn a_change_is_owed_to_who_asked_and_says_what_is_new() {
        let host = updated(&held_host(), addresses("192.0.2.2", "2001:db8::1"), Some(EARLIER));
        assert_eq!(owes(&host), [("change", true, false)]);
        let notice = host.notices.and_then(|owed| owed.change).unwrap();
        let variables = notice.variables(NoticeKind::Change, &host);
        let expected = serde_json::json!({
            "hostname": "pc", "zone": "example.org", "fqdn": "pc.example.org",
            "ipv4_changed": true, "ipv4": "192.0.2.2", "last_ipv4_update": 1000,
            "ipv6_changed": false, "ipv6": "2001:db8::1", "last_ipv6_update": 2000,
            "expiry_ttl": 3600,
        });
        assert_eq!(variables, expected);
        assert_eq!(owes(&updated(&held_host(), addresses("192.0.2.2", ""), None)), []);
    }

    #[test]
    fn an_update_that_changes_no_address_owes_nothing() {
        let mut host = held_host();
        host.unpublished_since = Some(Millis(1)); // for another TTL
        assert_eq!(owes(&updated(&host, addresses("192.0.2.1", ""), Some(EARLIER))), []);
    }

    #[test]
    fn who_asks_again_for_what_dns_did_not_take_hears_of_it_once_it_does() {
        let quiet = updated(&held_host(), addresses("192.0.2.2", ""), None);
        let again = updated(&quiet, addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(owes(&again), [("change", true, false)]);
        // and of both, if the first time was about the other family
        let first = updated(&held_host(), addresses("", "2001:db8::2"), Some(EARLIER));
        let both = updated(&first, addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(owes(&both), [("change", true, true)]);
    }

    #[test]
    fn an_update_that_does_not_ask_supersedes_one_that_did() {
        let change = updated(&held_host(), addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(owes(&updated(&change, addresses("192.0.2.3", ""), None)), []);
    }

    #[test]
    fn an_expiry_is_owed_for_both_families_at_once_or_one_after_the_other() {
        assert_eq!(owes(&expired(&held_host(), true, true)), [("expiry", true, true)]);
        let first = expired(&held_host(), true, false);
        assert_eq!(owes(&first), [("expiry", true, false)]);
        assert_eq!(owes(&expired(&first, false, true)), [("expiry", true, true)]);
        let variables =
            first.notices.unwrap().expiry.unwrap().variables(NoticeKind::Expiry, &first);
        let expected = serde_json::json!({
            "hostname": "pc", "zone": "example.org", "fqdn": "pc.example.org",
            "ipv4_expired": true, "last_ipv4": "192.0.2.1", "last_ipv4_update": 1000,
            "ipv6_expired": false, "last_ipv6": "2001:db8::1", "last_ipv6_update": 2000,
            "expiry_ttl": 3600,
        });
        assert_eq!(variables, expected);
    }

    #[test]
    fn an_update_wins_over_an_expiry_that_dns_did_not_take_yet() {
        let silent = expired(&held_host(), true, true);
        let back = updated(&silent, addresses("192.0.2.1", ""), None);
        assert_eq!(owes(&back), [("expiry", false, true)], "the other family is still silent");
        assert_eq!(owes(&updated(&back, addresses("", "2001:db8::1"), None)), []);
        let change = updated(&silent, addresses("192.0.2.1", "2001:db8::1"), Some(EARLIER));
        assert_eq!(owes(&change), [], "DNS holds what it held");
    }

    #[test]
    fn going_offline_owes_no_mail_about_an_expiry() {
        let silent = expired(&held_host(), true, false);
        let down = records(Addresses::default());
        let owed = of_update(&silent, Change::Offline, down, Some(EARLIER), &DEFAULTS);
        assert_eq!(owed.expiry, None);
        assert!(owed.change.is_some_and(|it| it.v4.included && it.v6.included));
    }

    #[test]
    fn what_expired_before_dns_ever_held_it_is_no_change_any_more() {
        let change = updated(&held_host(), addresses("192.0.2.2", ""), Some(EARLIER));
        assert_eq!(owes(&expired(&change, true, false)), [("expiry", true, false)]);
        assert_eq!(
            owes(&expired(&change, false, true)),
            [("change", true, false), ("expiry", false, true)]
        );
    }
}
