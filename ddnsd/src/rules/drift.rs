//! Whether a name server holds what it should. In: a host and what DNS holds. Out: whether it
//! differs.

use super::decide;
use crate::model::host::{Defaults, Host};
use crate::model::record::Wanted;
use std::net::IpAddr;

/// What DNS holds for a name and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDns {
    /// Addresses, or the CNAME in their place, as text.
    pub records: Vec<String>,
    pub is_alias: bool,
    /// Seconds; `None` without a record.
    pub ttl: Option<u32>,
}

/// What DNS should hold of a family; `None` if it was never set, so that everything is right.
pub fn should_be<A: Into<IpAddr> + Copy>(wanted: Wanted<A>) -> Option<Option<IpAddr>> {
    match wanted {
        Wanted::Untouched => None,
        Wanted::Absent => Some(None),
        Wanted::Present(address) => Some(Some(address.into())),
    }
}

/// Whether that differs. A CNAME is right where no address should be: it has none of its own. The
/// TTL may be the one in force or the one last acknowledged: another default reaches DNS with the
/// host's next update only.
pub fn differs(wanted: Option<IpAddr>, found: &InDns, host: &Host, defaults: &Defaults) -> bool {
    if found.is_alias {
        return wanted.is_some();
    }
    let wanted_ttl = decide::dns_ttl(host, defaults);
    let ttl_fits = found.ttl.is_none_or(|ttl| ttl == wanted_ttl || Some(ttl) == host.acked.ttl);
    !ttl_fits || !found.records.iter().eq(wanted.map(|address| address.to_string()).iter())
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::{DEFAULTS, fresh_host};
    use super::*;
    use crate::model::host::Acked;
    use std::net::Ipv4Addr;

    fn found(records: &[&str], ttl: Option<u32>) -> InDns {
        let is_alias = records.iter().any(|text| text.starts_with("CNAME"));
        InDns { records: records.iter().map(|text| (*text).to_owned()).collect(), is_alias, ttl }
    }

    fn judged(wanted: Option<&str>, found: &InDns) -> bool {
        let host = Host { acked: Acked { ttl: Some(30), ..Acked::default() }, ..fresh_host() };
        differs(wanted.map(|text| text.parse().unwrap()), found, &host, &DEFAULTS)
    }

    #[test]
    fn only_exactly_the_wanted_address_does_not_differ() {
        let wanted = Some("192.0.2.1");
        assert!(!judged(wanted, &found(&["192.0.2.1"], Some(60))));
        assert!(judged(wanted, &found(&[], None)));
        assert!(judged(wanted, &found(&["192.0.2.2"], Some(60))));
        assert!(judged(wanted, &found(&["192.0.2.1", "192.0.2.2"], Some(60))));
        assert!(judged(wanted, &found(&["CNAME nas.example.org"], None)));
        assert!(!judged(None, &found(&["CNAME nas.example.org"], None)), "no address is there");
        assert!(!judged(None, &found(&[], None)));
        assert!(judged(None, &found(&["192.0.2.1"], Some(60))));
        assert!(!judged(Some("2001:db8::1"), &found(&["2001:db8::1"], Some(60))));
    }

    #[test]
    fn a_ttl_may_be_the_one_in_force_or_the_one_that_was_acknowledged() {
        for (ttl, drift) in [(60, false), (30, false), (61, true)] {
            assert_eq!(judged(Some("192.0.2.1"), &found(&["192.0.2.1"], Some(ttl))), drift);
        }
    }

    #[test]
    fn a_family_that_was_never_set_is_not_compared() {
        assert_eq!(should_be(Wanted::<Ipv4Addr>::Untouched), None);
        assert_eq!(should_be(Wanted::<Ipv4Addr>::Absent), Some(None));
        let present = Wanted::Present(Ipv4Addr::LOCALHOST);
        assert_eq!(should_be(present), Some(Some(Ipv4Addr::LOCALHOST.into())));
    }
}
