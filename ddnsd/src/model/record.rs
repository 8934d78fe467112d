//! What DNS should hold for a host.

use super::address::Addresses;
use super::family::{Families, PerFamily};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What DNS should hold of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wanted<A> {
    /// Never set by us: not touched in DNS, so that an administrator's static record survives.
    #[default]
    Untouched,
    /// No record: it was set once and has been removed.
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

    /// With another form of the address.
    pub fn map<B>(self, form: impl FnOnce(A) -> B) -> Wanted<B> {
        match self {
            Wanted::Untouched => Wanted::Untouched,
            Wanted::Absent => Wanted::Absent,
            Wanted::Present(address) => Wanted::Present(form(address)),
        }
    }

    fn set(self, address: Option<A>) -> Self {
        address.map_or(self, Wanted::Present)
    }

    fn removed(self, is_removed: bool) -> Self {
        match self {
            Wanted::Present(_) if is_removed => Wanted::Absent,
            other => other,
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

    /// With these addresses; a family without one stays as it is.
    #[must_use]
    pub fn with(self, addresses: Addresses) -> Self {
        Self { v4: self.v4.set(addresses.v4), v6: self.v6.set(addresses.v6) }
    }

    /// Without the records of these families; what was never set stays untouched.
    #[must_use]
    pub fn without(self, families: Families) -> Self {
        Self { v4: self.v4.removed(families.v4), v6: self.v6.removed(families.v6) }
    }
}
