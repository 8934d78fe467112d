//! What an update does to one host, with the prefix of a router. In: what the request says of it,
//! and the host as stored. Out: the records that are wanted, and what is stored beside them.

use super::request::{Change, RequestedPrefix};
use crate::model::address::Addresses;
use crate::model::family::Families;
use crate::model::host::{Host, Lan, MAX_FOLLOWERS, Seen};
use crate::model::prefix::{Ipv6Prefix, Ipv6Suffix, NoFit};
use crate::model::record::WantedRecords;
use crate::model::time::Millis;
use crate::model::user::UserId;

const V6: Families = Families { v4: false, v6: true };

/// What a request says of one host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// If it is named.
    pub named: Option<Change>,
    pub prefix: Option<RequestedPrefix>,
    /// If its leader is named.
    pub leader: Option<LeaderChange>,
    /// The prefix that is stored of its leader, if it is needed.
    pub stored: Option<Ipv6Prefix>,
}

/// What a request does to the followers of a host that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderChange {
    Prefix(Ipv6Prefix),
    /// Their IPv6 records are removed.
    Offline,
}

impl LeaderChange {
    pub fn of(change: Change, prefix: Option<RequestedPrefix>) -> Option<Self> {
        match change {
            Change::Offline => Some(Self::Offline),
            Change::Set(_) => prefix.map(|given| Self::Prefix(given.prefix)),
        }
    }
}

/// What becomes of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What DNS should hold.
    pub records: WantedRecords,
    /// The families that the update is about.
    pub updated: Families,
    pub lan: Lan,
    /// What the reply shows.
    pub addresses: Addresses,
    /// Why it has no IPv6 address.
    pub no_fit: Option<NoFit>,
}

impl Effect {
    fn none(host: &Host) -> Self {
        let (records, lan) = (host.wanted, *host.lan);
        let (updated, addresses) = (Families::default(), Addresses::default());
        Self { records, updated, lan, addresses, no_fit: None }
    }

    /// The families whose time to expire starts again.
    pub fn seen(&self, at: Millis) -> Seen {
        Seen::at(self.updated.and(self.records.addresses().families()), at)
    }

    fn set(&mut self, addresses: Addresses) {
        self.records = self.records.with(addresses);
        self.updated = self.updated.or(addresses.families());
        let shown = self.addresses;
        self.addresses = Addresses { v4: addresses.v4.or(shown.v4), v6: addresses.v6.or(shown.v6) };
    }

    fn remove(&mut self, families: Families) {
        self.records = self.records.without(families);
        self.updated = self.updated.or(families);
    }

    /// With the address in this prefix. A suffix that does not fit takes the record down.
    fn set_prefix(&mut self, prefix: Ipv6Prefix) {
        let Some(suffix) = self.lan.suffix else { return };
        match prefix.address(suffix) {
            Ok(address) => self.set(Addresses { v4: None, v6: Some(address) }),
            Err(no_fit) => {
                self.remove(V6);
                self.addresses.v6 = None;
                self.no_fit = Some(no_fit);
            }
        }
    }
}

/// What a request does to a host.
pub fn effect(host: &Host, asked: &Asked) -> Effect {
    if host.lan.follows.is_some() {
        return of_follower(host, asked);
    }
    let mut effect = Effect::none(host);
    match asked.named {
        None => {}
        Some(Change::Offline) => {
            effect.remove(Families::BOTH);
            effect.lan.prefix = None;
        }
        Some(Change::Set(addresses)) => {
            effect.set(addresses);
            if let Some(RequestedPrefix { prefix, with_address }) = asked.prefix {
                effect.lan.prefix = Some(prefix);
                // an address that the request names comes first, then this, then the client's own
                if !with_address {
                    effect.set_prefix(prefix);
                }
            }
        }
    }
    effect
}

/// What a new suffix, a new leader, or the return to one does to a host.
pub fn placed(host: &Host, prefix: Ipv6Prefix) -> Effect {
    let mut effect = Effect::none(host);
    effect.set_prefix(prefix);
    effect
}

/// Why a host cannot have this suffix or follow that host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    #[error("a host cannot follow itself")]
    Itself,
    #[error("it belongs to another user; a host follows a host of its own user")]
    OtherUser,
    #[error("it follows a host itself; follow that one")]
    LeaderFollows,
    #[error("other hosts follow this one, so it can follow none (let them follow that host, too)")]
    IsFollowed,
    #[error("at most {MAX_FOLLOWERS} hosts can follow it")]
    TooMany,
    #[error("a host that follows another needs a suffix: give --ipv6-suffix, too")]
    NoSuffix,
}

/// Checks whether a new host, or one with a new suffix or leader, may be in this place. `others`:
/// how many other hosts follow the leader.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_place(
    host: Option<&Host>,
    user: UserId,
    suffix: Option<Ipv6Suffix>,
    leader: Option<&Host>,
    others: usize,
) -> Result<(), Misplaced> {
    let Some(leader) = leader else { return Ok(()) };
    if host.is_some_and(|host| host.id == leader.id) {
        Err(Misplaced::Itself)
    } else if leader.user != user {
        Err(Misplaced::OtherUser)
    } else if leader.lan.follows.is_some() {
        Err(Misplaced::LeaderFollows)
    } else if host.is_some_and(|host| host.lan.is_followed) {
        Err(Misplaced::IsFollowed)
    } else if others >= MAX_FOLLOWERS {
        Err(Misplaced::TooMany)
    } else if suffix.is_none() {
        Err(Misplaced::NoSuffix)
    } else {
        Ok(())
    }
}

/// Its own updates change its A record only; its leader's change its AAAA record, unless it went
/// offline by itself.
fn of_follower(host: &Host, asked: &Asked) -> Effect {
    let mut effect = Effect::none(host);
    let mut from_leader = asked.leader;
    match asked.named {
        None => {}
        Some(Change::Offline) => {
            effect.remove(Families::BOTH);
            effect.lan.is_offline = true;
        }
        Some(Change::Set(addresses)) => {
            effect.set(Addresses { v6: None, ..addresses });
            effect.addresses.v6 = addresses.v6.and(effect.records.v6.address());
            if host.lan.is_offline {
                effect.lan.is_offline = false;
                from_leader = from_leader.or(asked.stored.map(LeaderChange::Prefix));
            }
        }
    }
    match from_leader {
        _ if effect.lan.is_offline => {}
        None => {}
        Some(LeaderChange::Prefix(prefix)) => effect.set_prefix(prefix),
        Some(LeaderChange::Offline) => effect.remove(V6),
    }
    effect
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::fresh_host;
    use super::*;
    use crate::model::host::HostId;
    use crate::model::record::Wanted;

    fn prefix(text: &str) -> Ipv6Prefix {
        Ipv6Prefix::parse(text).unwrap()
    }

    fn addresses(v4: &str, v6: &str) -> Addresses {
        Addresses { v4: v4.parse().ok(), v6: v6.parse().ok() }
    }

    fn asked(v4: &str, v6: &str, given: &str, with_address: bool) -> Asked {
        let given = Ipv6Prefix::parse(given).ok();
        Asked {
            named: Some(Change::Set(addresses(v4, v6))),
            prefix: given.map(|prefix| RequestedPrefix { prefix, with_address }),
            ..Asked::default()
        }
    }

    fn router() -> Host {
        let mut host = fresh_host();
        let suffix = Some("::1".parse().unwrap());
        host.lan = Lan { suffix, is_followed: true, ..Lan::default() }.into();
        host
    }

    fn follower() -> Host {
        let mut host = fresh_host();
        let suffix = Some("::5".parse().unwrap());
        host.lan = Lan { suffix, follows: Some(HostId(9)), ..Lan::default() }.into();
        host.wanted.v4 = Wanted::Present("192.0.2.5".parse().unwrap());
        host.wanted.v6 = Wanted::Present("2001:db8:1::5".parse().unwrap());
        host
    }

    fn from_leader(change: LeaderChange) -> Asked {
        Asked { leader: Some(change), ..Asked::default() }
    }

    const NEW: &str = "2001:db8:2::/64";

    #[test]
    fn an_address_of_the_request_comes_before_the_suffix_and_this_before_the_clients_own() {
        for (with_address, v6) in [(true, "2001:db8::7"), (false, "2001:db8:2::1")] {
            let effect = effect(&router(), &asked("192.0.2.1", "2001:db8::7", NEW, with_address));
            assert_eq!(effect.addresses, addresses("192.0.2.1", v6));
            assert_eq!(effect.records.addresses(), effect.addresses);
            assert_eq!((effect.updated, effect.lan.prefix), (Families::BOTH, Some(prefix(NEW))));
        }
    }

    #[test]
    fn a_host_without_a_suffix_keeps_its_aaaa_and_stores_the_prefix() {
        let mut host = follower();
        host.lan = Lan::default().into();
        let effect = effect(&host, &asked("192.0.2.5", "", NEW, false));
        assert_eq!((effect.records, effect.lan.prefix), (host.wanted, Some(prefix(NEW))));
        assert_eq!(effect.updated, Families { v4: true, v6: false });
    }

    #[test]
    fn offline_forgets_the_prefix() {
        let mut host = router();
        host.lan = Lan { prefix: Some(prefix(NEW)), ..*host.lan }.into();
        let asked = Asked { named: Some(Change::Offline), ..Asked::default() };
        assert_eq!(effect(&host, &asked).lan.prefix, None);
    }

    #[test]
    fn a_follower_takes_the_leaders_prefix_and_goes_down_with_it() {
        let host = follower();
        let new = effect(&host, &from_leader(LeaderChange::Prefix(prefix(NEW))));
        assert_eq!(new.records.addresses(), addresses("192.0.2.5", "2001:db8:2::5"));
        assert_eq!((new.updated, new.seen(Millis(7)).v6), (V6, Some(Millis(7))));
        let down = effect(&host, &from_leader(LeaderChange::Offline));
        assert_eq!(down.records.addresses(), addresses("192.0.2.5", ""));
        assert_eq!((down.lan, down.seen(Millis(7))), (*host.lan, Seen::default()));
    }

    #[test]
    fn a_followers_own_update_changes_its_a_record_only() {
        let host = follower();
        let own = effect(&host, &asked("192.0.2.6", "2001:db8::7", NEW, true));
        assert_eq!(own.records.addresses(), addresses("192.0.2.6", "2001:db8:1::5"));
        assert_eq!(own.addresses, addresses("192.0.2.6", "2001:db8:1::5"));
        assert_eq!((own.lan, own.updated), (*host.lan, Families { v4: true, v6: false }));
        let only_v6 = effect(&host, &asked("", "2001:db8::7", "", true));
        assert_eq!((only_v6.records, only_v6.updated), (host.wanted, Families::default()));
    }

    #[test]
    fn a_follower_that_went_offline_by_itself_is_left_alone_until_its_next_update() {
        let offline = Asked { named: Some(Change::Offline), ..Asked::default() };
        let gone = effect(&follower(), &offline);
        assert!(gone.records.addresses().is_empty() && gone.lan.is_offline);
        let gone = Host { wanted: gone.records, lan: gone.lan.into(), ..follower() };
        let left = effect(&gone, &from_leader(LeaderChange::Prefix(prefix(NEW))));
        assert_eq!((left.records, left.lan), (gone.wanted, *gone.lan));
        let back = Asked { stored: Some(prefix(NEW)), ..asked("192.0.2.6", "", "", false) };
        let back = effect(&gone, &back);
        assert_eq!(back.records.addresses(), addresses("192.0.2.6", "2001:db8:2::5"));
        assert!(!back.lan.is_offline);
    }

    #[test]
    fn a_suffix_that_does_not_fit_takes_the_aaaa_down_and_nothing_else() {
        let mut host = follower();
        let suffix = Some("::5:0:0:0:5".parse().unwrap());
        host.lan = Lan { suffix, ..*host.lan }.into();
        let down = effect(&host, &from_leader(LeaderChange::Prefix(prefix(NEW))));
        assert_eq!(down.records.addresses(), addresses("192.0.2.5", ""));
        assert!(down.no_fit.is_some() && down.seen(Millis(7)) == Seen::default());
        let mut router = router();
        router.lan = Lan { suffix, ..*router.lan }.into();
        let named = effect(&router, &asked("192.0.2.1", "2001:db8::7", NEW, false));
        assert_eq!(named.addresses, addresses("192.0.2.1", ""));
        assert!(named.no_fit.is_some());
    }
}
