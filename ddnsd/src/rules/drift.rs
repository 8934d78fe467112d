//! What a name server should hold. In: what is wanted of a family. Out: the address, no record, or
//! nothing in particular.

use crate::model::record::Wanted;
use std::net::IpAddr;

/// What DNS should hold of a family; `None` if it was never set, so that everything is right.
pub fn should_be<A: Into<IpAddr> + Copy>(wanted: Wanted<A>) -> Option<Option<IpAddr>> {
    match wanted {
        Wanted::Untouched => None,
        Wanted::Absent => Some(None),
        Wanted::Present(address) => Some(Some(address.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_family_that_was_never_set_is_not_compared() {
        assert_eq!(should_be(Wanted::<Ipv4Addr>::Untouched), None);
        assert_eq!(should_be(Wanted::<Ipv4Addr>::Absent), Some(None));
        let present = Wanted::Present(Ipv4Addr::LOCALHOST);
        assert_eq!(should_be(present), Some(Some(Ipv4Addr::LOCALHOST.into())));
    }
}
