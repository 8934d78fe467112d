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
            (Some(v4), Some(v6)) => {
                write_v4(v4, f)?;
                write!(f, " {v6}")
            }
            (Some(v4), None) => write_v4(v4, f),
            (None, Some(v6)) => write!(f, "{v6}"),
            (None, None) => Ok(()),
        }
    }
}

/// As the standard library writes it, in half the time: nearly every reply shows one.
fn write_v4(address: Ipv4Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = itoa::Buffer::new();
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            f.write_str(".")?;
        }
        f.write_str(digits.format(octet))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_the_standard_library_shows_each() {
        let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
        for v4 in [[0, 10, 200, 255], [192, 0, 2, 1], [9, 99, 100, 0]].map(Ipv4Addr::from) {
            let shown = |v6| Addresses { v4: Some(v4), v6 }.to_string();
            assert_eq!(shown(None), v4.to_string());
            assert_eq!(shown(Some(v6)), format!("{v4} {v6}"));
        }
        assert_eq!(Addresses { v4: None, v6: Some(v6) }.to_string(), "2001:db8::1");
        assert_eq!(Addresses::default().to_string(), "");
    }
}
