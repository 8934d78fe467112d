//! The addresses of a host, by family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6, the A or the AAAA record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// One thing per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily<A, B> {
    /// For A records.
    pub v4: A,
    /// For AAAA records.
    pub v6: B,
}

/// At most one address of each family.
pub type Addresses = PerFamily<Option<Ipv4Addr>, Option<Ipv6Addr>>;

impl Addresses {
    /// Neither family has one.
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Whether one of them is this machine itself.
    pub fn is_loopback(&self) -> bool {
        self.v4.is_some_and(|v4| v4.is_loopback()) || self.v6.is_some_and(|v6| v6.is_loopback())
    }

    /// Just this one. An IPv4-mapped IPv6 address counts as IPv4 (RFC 4291, 2.5.5.2).
    pub fn only(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self { v4: Some(v4), v6: None },
            IpAddr::V6(v6) => Self { v4: None, v6: Some(v6) },
        }
    }
}

impl fmt::Display for Addresses {
    /// `192.0.2.1 2001:db8::1`: v4 first, parted by a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4} {v6}"),
            (Some(v4), None) => write!(f, "{v4}"),
            (None, Some(v6)) => write!(f, "{v6}"),
            (None, None) => Ok(()),
        }
    }
}
