//! What DNS should hold for a host.

use super::address::{Addresses, PerFamily};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What DNS should hold of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wanted<A> {
    /// Never set by us: not touched in DNS, so an administrator's static record survives.
    #[default]
    Untouched,
    /// No record: it was set once and has been taken down.
    Absent,
    /// One record with this address.
    Present(A),
}

impl<A: Copy> Wanted<A> {
    /// The address, if there should be one.
    pub fn address(self) -> Option<A> {
        match self {
            Wanted::Present(address) => Some(address),
            Wanted::Untouched | Wanted::Absent => None,
        }
    }
}

/// What DNS should hold of both families.
pub type WantedRecords = PerFamily<Wanted<Ipv4Addr>, Wanted<Ipv6Addr>>;

impl WantedRecords {
    /// The addresses that should be there.
    pub fn addresses(&self) -> Addresses {
        Addresses { v4: self.v4.address(), v6: self.v6.address() }
    }

    /// Neither family was ever set.
    pub fn is_untouched(&self) -> bool {
        matches!((self.v4, self.v6), (Wanted::Untouched, Wanted::Untouched))
    }
}
