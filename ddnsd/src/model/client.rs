//! What a client is counted by: its IPv4 address, or its IPv6 /64, because a subscriber has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client, for the limits and the cached verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for ClientKey {
    /// An IPv6 address that stands for an IPv4 address counts as that one.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| Self::V6(subnet(v6)), Self::V4),
        }
    }
}

/// IPv4-mapped (RFC 4291, 2.5.5.2), NAT64 (RFC 6052, 2.1) or 6to4 (RFC 3056, 2). All clients of a
/// NAT64 share a /64, and a client of 6to4 has 65,536 of them.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => address.to_ipv4_mapped(),
    }
}

fn subnet(address: Ipv6Addr) -> u64 {
    let [subnet @ .., _, _, _, _, _, _, _, _] = address.octets();
    u64::from_be_bytes(subnet)
}

/// The network of a client: an IPv4 /24, or an IPv6 /48, the least that an owner of addresses has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkKey {
    V4([u8; 3]),
    /// The upper 48 bits.
    V6(u64),
}

impl From<ClientKey> for NetworkKey {
    fn from(client: ClientKey) -> Self {
        match client {
            ClientKey::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            ClientKey::V6(prefix) => Self::V6(prefix >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ClientKey {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_v6_client_is_its_64_bit_prefix() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn a_network_is_an_ipv4_24_or_an_ipv6_48() {
        let network = |text: &str| NetworkKey::from(key(text));
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:f::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }

    #[test]
    fn an_address_that_stands_for_a_v4_address_is_the_v4_client() {
        for stands_for_it in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201:7::9"] {
            assert_eq!(key(stands_for_it), key("192.0.2.1"), "{stands_for_it}");
        }
        assert_ne!(key("64:ff9b:1::192.0.2.1"), key("192.0.2.1"), "another operator's prefix");
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
