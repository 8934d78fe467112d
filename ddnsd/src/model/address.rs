//! The addresses of a host.

use super::family::{Families, PerFamily};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// At most one address of each family.
pub type Addresses = PerFamily<Option<Ipv4Addr>, Option<Ipv6Addr>>;

impl Addresses {
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

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

    /// Both as one type.
    pub fn ips(&self) -> PerFamily<Option<IpAddr>> {
        PerFamily { v4: self.v4.map(IpAddr::V4), v6: self.v6.map(IpAddr::V6) }
    }

    /// The families that have an address.
    pub fn families(&self) -> Families {
        self.ips().map(|address| address.is_some())
    }
}

impl fmt::Display for Addresses {
    /// `192.0.2.1 2001:db8::1`: v4 first, separated by a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4} {v6}"),
            (Some(v4), None) => write!(f, "{v4}"),
            (None, Some(v6)) => write!(f, "{v6}"),
            (None, None) => Ok(()),
        }
    }
}
