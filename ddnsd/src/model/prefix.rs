//! The two parts of an IPv6 address of a host behind a router: the prefix, which the provider
//! changes, and the suffix, which stays.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An IPv6 prefix that a router may pass on: 1 to 64 bits, the other bits are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Prefix {
    address: Ipv6Addr,
    length: u8,
}

/// Why a prefix cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// It is not shown: if a router's template has its parameters swapped, it is the password.
    #[error("its {0} characters are no prefix like 2001:db8:1::/56")]
    NotAPrefix(usize),
    #[error("{0}/{1}: the length of a prefix is 1 to 64")]
    Length(Ipv6Addr, u8),
    #[error("{0} is outside 2000::/3 and fc00::/7, so no host can be reached there")]
    Unusable(Ipv6Prefix),
    #[error("there are two different ones, {0} and {1}")]
    Two(Ipv6Prefix, Ipv6Prefix),
}

impl Ipv6Prefix {
    /// Longest prefix, bits: the rest is for the subnet's hosts (RFC 4291, 2.5.1).
    pub const MAX_LENGTH: u8 = 64;

    /// The first bits of an address; those behind are dropped.
    ///
    /// # Errors
    /// The length is not 1 to 64, or no host can be reached at such an address.
    pub fn new(address: Ipv6Addr, length: u8) -> Result<Self, BadPrefix> {
        if length == 0 || length > Self::MAX_LENGTH {
            return Err(BadPrefix::Length(address, length));
        }
        let address = Ipv6Addr::from_bits(address.to_bits() & mask(length));
        let prefix = Self { address, length };
        if prefix.is_usable() { Ok(prefix) } else { Err(BadPrefix::Unusable(prefix)) }
    }

    /// Reads `ADDRESS/LENGTH`.
    ///
    /// # Errors
    /// It is not written like that, or [`Self::new`] fails.
    pub fn parse(text: &str) -> Result<Self, BadPrefix> {
        let not_a_prefix = || BadPrefix::NotAPrefix(text.chars().count());
        let (address, length) = split(text).ok_or_else(not_a_prefix)?;
        Self::new(address, length)
    }

    pub fn length(self) -> u8 {
        self.length
    }

    /// The address of a host with this suffix.
    ///
    /// # Errors
    /// The suffix has bits where the prefix has its own.
    pub fn address(self, suffix: Ipv6Suffix) -> Result<Ipv6Addr, NoFit> {
        let Ipv6Suffix(suffix) = suffix;
        if suffix.to_bits() & mask(self.length) != 0 {
            return Err(NoFit { prefix: self, suffix: Ipv6Suffix(suffix) });
        }
        Ok(Ipv6Addr::from_bits(self.address.to_bits() | suffix.to_bits()))
    }

    /// Global unicast (RFC 4291, 2.4) or unique local (RFC 4193): the whole prefix lies in it.
    fn is_usable(self) -> bool {
        let lies_in = |bits: u16, length: u8| {
            let network = u128::from(bits) << 112;
            self.length >= length && self.address.to_bits() & mask(length) == network
        };
        lies_in(0x2000, 3) || lies_in(0xfc00, 7)
    }
}

impl fmt::Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Ipv6Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        Self::parse(text)
    }
}

/// What `ADDRESS/LENGTH` means where an address is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressOrPrefix {
    /// It has bits behind the length, or the length is above 64.
    Address(Ipv6Addr),
    Prefix(Result<Ipv6Prefix, BadPrefix>),
}

impl AddressOrPrefix {
    /// `None` if it is not written like that.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = split(text)?;
        let has_bits_behind = address.to_bits() & !mask(length) != 0;
        Some(if length > Ipv6Prefix::MAX_LENGTH || has_bits_behind {
            Self::Address(address)
        } else {
            Self::Prefix(Ipv6Prefix::new(address, length))
        })
    }
}

/// Reads an IPv6 address with a length of 0 to 128 bits.
fn split(text: &str) -> Option<(Ipv6Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse().ok().filter(|length| is_number && *length <= 128)?;
    Some((address.parse().ok()?, length))
}

/// The first `length` bits.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// Why a host has no address in a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the suffix {suffix} has bits inside the prefix {prefix}")]
pub struct NoFit {
    /// The prefix that the router has now.
    pub prefix: Ipv6Prefix,
    /// Of the host.
    pub suffix: Ipv6Suffix,
}

/// The part of a host's IPv6 address that stays when the prefix changes. The first 16 bits are 0,
/// because no provider gives a shorter prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Suffix(Ipv6Addr);

/// Why a text is no suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSuffix {
    #[error("it is no IPv6 address like ::211:22ff:fe33:4455, and no mac:00:11:22:33:44:55")]
    NotAnAddress,
    #[error("it is an IPv4 address; a suffix is an IPv6 address like ::211:22ff:fe33:4455")]
    Ipv4,
    #[error("it has a zone index; leave out what begins with %")]
    ZoneIndex,
    #[error("it begins with the prefix; give only what stays, like ::211:22ff:fe33:4455")]
    HasPrefix,
    #[error("it is zero, so the host's address would be the network's")]
    Zero,
    #[error("a MAC address has six bytes, like mac:00:11:22:33:44:55")]
    NotAMac,
}

impl Ipv6Suffix {
    /// Reads an IPv6 address without its prefix, or `mac:` and a MAC address.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadSuffix> {
        let mac = text.get(..4).filter(|start| start.eq_ignore_ascii_case("mac:"));
        if mac.is_some() {
            let mac = text.get(4..).and_then(parse_mac).ok_or(BadSuffix::NotAMac)?;
            return Ok(Self::of_mac(mac));
        }
        if text.contains('%') {
            return Err(BadSuffix::ZoneIndex);
        }
        let address: Result<IpAddr, AddrParseError> = text.parse();
        match address.map_err(|_| BadSuffix::NotAnAddress)? {
            IpAddr::V4(_) => Err(BadSuffix::Ipv4),
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err(BadSuffix::Ipv4),
            IpAddr::V6(address) if address.is_unspecified() => Err(BadSuffix::Zero),
            IpAddr::V6(address) if address.to_bits() & mask(16) != 0 => Err(BadSuffix::HasPrefix),
            IpAddr::V6(address) => Ok(Self(address)),
        }
    }

    /// As an IPv6 address, whose prefix is 0.
    pub fn as_address(self) -> Ipv6Addr {
        self.0
    }

    /// The modified EUI-64 (RFC 4291, appendix A): `ff:fe` in the middle, the universal/local bit
    /// inverted.
    fn of_mac(mac: [u8; 6]) -> Self {
        let mac = mac.into_iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(byte));
        let (maker, device) = (mac >> 24, mac & 0xff_ffff);
        Self(Ipv6Addr::from_bits((maker ^ 0x02_0000) << 40 | 0xfffe << 24 | device))
    }
}

/// Six bytes in hexadecimal, between colons or hyphens.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = text.split([':', '-']).map(|byte| {
        let is_hex = byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
        u8::from_str_radix(byte, 16).ok().filter(|_| is_hex)
    });
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes.next()??;
    }
    bytes.next().is_none().then_some(mac)
}

impl fmt::Display for Ipv6Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ipv6Suffix {
    type Err = BadSuffix;

    fn from_str(text: &str) -> Result<Self, BadSuffix> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn suffix(text: &str) -> Ipv6Suffix {
        Ipv6Suffix::parse(text).unwrap()
    }

    fn address(prefix: &str, of: &str) -> String {
        let address = Ipv6Prefix::parse(prefix).unwrap().address(suffix(of));
        address.map_or_else(|no_fit| no_fit.to_string(), |address| address.to_string())
    }

    #[test]
    fn a_prefix_and_a_suffix_are_an_address() {
        for (prefix, suffix, result) in [
            ("2001:db8:1:200::/56", "::1", "2001:db8:1:200::1"),
            ("2001:db8:1:220::/59", "::211:22ff:fe33:4455", "2001:db8:1:220:211:22ff:fe33:4455"),
            ("2001:db8:1:2::/64", "::1", "2001:db8:1:2::1"),
            // a subnet's bits stand above the last 64
            ("2001:db8:1:200::/56", "::5:0:0:0:1", "2001:db8:1:205::1"),
            ("fd00:1:2::/48", "::ffff:0:0:0:1", "fd00:1:2:ffff::1"),
        ] {
            assert_eq!(address(prefix, suffix), result, "{prefix} {suffix}");
        }
        assert_eq!(
            address("2001:db8:1:2::/64", "::5:0:0:0:1"),
            "the suffix ::5:0:0:0:1 has bits inside the prefix 2001:db8:1:2::/64"
        );
    }

    #[test]
    fn bits_behind_the_length_are_dropped() {
        let prefix = Ipv6Prefix::parse("2001:db8:1:2ff::5/56").unwrap();
        assert_eq!(prefix.to_string(), "2001:db8:1:200::/56");
        assert_eq!(Ipv6Prefix::parse(&prefix.to_string()), Ok(prefix));
    }

    #[test]
    fn a_bad_prefix_is_rejected_with_the_reason() {
        for (text, why) in [
            ("2001:db8::/0", "the length of a prefix is 1 to 64"),
            ("2001:db8::/65", "the length of a prefix is 1 to 64"),
            ("2001:db8::/129", "are no prefix like"),
            ("2001:db8::/+56", "are no prefix like"),
            ("2001:db8::/-1", "are no prefix like"),
            ("2001:db8::/", "are no prefix like"),
            ("2001:db8::", "are no prefix like"),
            ("192.0.2.0/24", "are no prefix like"),
            ("hunter2", "are no prefix like"),
            ("::/64", "::/64 is outside"),
            ("fe80::/64", "is outside"),
            ("ff02::/64", "is outside"),
            ("2000::/2", "is outside"),
            ("fc00::/6", "is outside"),
            ("4000::/64", "is outside"),
        ] {
            let problem = Ipv6Prefix::parse(text).unwrap_err().to_string();
            assert!(problem.contains(why) && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_mac_address_becomes_its_modified_eui_64() {
        // the example of RFC 4291, appendix A, in numbers
        assert_eq!(suffix("mac:34-56-78-9A-BC-DE").to_string(), "::3656:78ff:fe9a:bcde");
        assert_eq!(suffix("MAC:00:11:22:33:44:55").to_string(), "::211:22ff:fe33:4455");
        for text in [
            "mac:",
            "mac:00:11:22:33:44",
            "mac:00:11:22:33:44:55:66",
            "mac:0:11:22:33:44:55",
            "mac:00:11:22:33:44:5g",
            "mac:+0:11:22:33:44:55",
        ] {
            assert_eq!(Ipv6Suffix::parse(text), Err(BadSuffix::NotAMac), "{text}");
        }
    }

    #[test]
    fn a_bad_suffix_is_rejected_with_the_reason() {
        for (text, why) in [
            ("", BadSuffix::NotAnAddress),
            ("pc", BadSuffix::NotAnAddress),
            ("00:11:22:33:44:55", BadSuffix::NotAnAddress),
            ("192.0.2.1", BadSuffix::Ipv4),
            ("::ffff:192.0.2.1", BadSuffix::Ipv4),
            ("fe80::1%eth0", BadSuffix::ZoneIndex),
            ("::1%1", BadSuffix::ZoneIndex),
            ("fe80::1", BadSuffix::HasPrefix),
            ("2001:db8::1", BadSuffix::HasPrefix),
            ("::", BadSuffix::Zero),
        ] {
            assert_eq!(Ipv6Suffix::parse(text), Err(why), "{text}");
        }
        assert_eq!(suffix("0:1:2:3::4").to_string(), "0:1:2:3::4");
    }

    /// By bits as text, without masks or shifts: the first `length` of the prefix, then the rest of
    /// the suffix, whose first bits are zeros.
    fn reference(prefix: Ipv6Addr, length: usize, suffix: Ipv6Addr) -> Option<Ipv6Addr> {
        let bits = |address: Ipv6Addr| -> String {
            address.octets().map(|byte| format!("{byte:08b}")).concat()
        };
        let (prefix, suffix) = (bits(prefix), bits(suffix));
        if suffix[..length].contains('1') {
            return None;
        }
        let whole = format!("{}{}", &prefix[..length], &suffix[length..]);
        let segments = whole.as_bytes().chunks(16);
        let segment = |bits| u16::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap();
        let segments: Vec<u16> = segments.map(segment).collect();
        Some(Ipv6Addr::from(<[u16; 8]>::try_from(segments).unwrap()))
    }

    proptest! {
        #[test]
        fn an_address_is_that_of_an_independent_reference(
            bits in any::<u128>(), length in 7_u8..=64, suffix in any::<u128>(), kept in 1_u32..=112
        ) {
            // the first three bits are those of 2000::/3
            let address = Ipv6Addr::from_bits(bits >> 3 | 1 << 125);
            let suffix = Ipv6Addr::from_bits((suffix >> (128 - kept)).max(1));
            prop_assume!(suffix.to_ipv4_mapped().is_none());
            let prefix = Ipv6Prefix::new(address, length).unwrap();
            let suffix = Ipv6Suffix::parse(&suffix.to_string()).unwrap();
            let expected = reference(address, length.into(), suffix.0);
            prop_assert_eq!(prefix.address(suffix).ok(), expected);
            prop_assert_eq!(Ipv6Prefix::parse(&prefix.to_string()), Ok(prefix));
            prop_assert_eq!(Ipv6Suffix::parse(&suffix.to_string()), Ok(suffix));
        }

        #[test]
        fn arbitrary_text_is_read_or_rejected(text in "[0-9a-f:/.%mac-]{0,50}") {
            if let Ok(prefix) = Ipv6Prefix::parse(&text) {
                prop_assert!((1..=64).contains(&prefix.length()) && prefix.is_usable());
            }
            if let Ok(suffix) = Ipv6Suffix::parse(&text) {
                prop_assert_eq!(Ipv6Suffix::parse(&suffix.to_string()), Ok(suffix));
            }
        }
    }
}
