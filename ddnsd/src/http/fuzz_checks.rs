//! What must hold for everything that a request may contain, driven by fuzzers (`tests/fuzz`) and,
//! with made-up requests, by the property tests below.

use super::query::{MAX_PARAMETERS, Parameters};
use super::{client_address, credentials};
use crate::config::Params;
use crate::rules::request::{self, AddressParameters, Login, MAX_HOSTS, RequestOrigin};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads a query and a form: never too many hosts, never an address that cannot be reached.
///
/// # Panics
/// When it does not hold.
pub fn parameters(query: &str, form: &[u8]) {
    let Ok(given) = Parameters::read(query, form, &Params::default()) else {
        let count = |text: &[u8]| text.split(|byte| *byte == b'&').count();
        assert!(count(query.as_bytes()) + count(form) > MAX_PARAMETERS);
        return;
    };
    if let Ok(hosts) = request::hosts(given.hostname.as_deref()) {
        assert!((1..=MAX_HOSTS).contains(&hosts.len()));
        assert!(hosts.iter().all(|host| !host.sent.trim().is_empty()));
    }
    let client = RequestOrigin::Client(IpAddr::from([198, 51, 100, 7]));
    let parameters = AddressParameters {
        ipv4: given.ipv4.as_deref(),
        ipv6: given.ipv6.as_deref(),
        prefix6: given.prefix6.as_deref(),
    };
    if let Ok(asked) = request::addresses(parameters, client) {
        let addresses = asked.change.addresses();
        assert!(
            !addresses.v4.is_some_and(is_unreachable) && !addresses.v6.is_some_and(is_unreachable6)
        );
        assert!(!addresses.is_empty(), "the client's own counts when none is given");
    }
}

/// Unspecified, loopback, link-local, multicast or broadcast, by the numbers of RFC 6890 and RFC
/// 5771.
fn is_unreachable(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [0 | 127 | 224..=239, ..] | [169, 254, ..] | [255, 255, 255, 255])
}

/// The same by the numbers of RFC 4291; and IPv4, which is an address of the other family.
fn is_unreachable6(address: Ipv6Addr) -> bool {
    let is_small = matches!(address.segments(), [0, 0, 0, 0, 0, 0, 0, 0 | 1]);
    is_small
        || matches!(address.segments(), [0xfe80..=0xfebf | 0xff00..=0xffff, ..])
        || matches!(address.segments(), [0, 0, 0, 0, 0, 0xffff, ..])
}

/// Reads an Authorization header beside parameters: a name is one that a user can have.
///
/// # Panics
/// When it does not hold.
pub fn authorization(header: &[u8], user: Option<&str>) {
    match credentials::login(Some(header), user, None) {
        Login::Given { user: name, password } => {
            assert!(!name.as_str().contains(':'));
            assert!(
                !format!("{password:?}").contains(password.expose()) || password.expose().len() < 4
            );
        }
        Login::Unreadable { name } => assert!(name.chars().count() <= 64),
        Login::Missing => assert!(user.is_none()),
    }
}

/// Reads the lines of a proxy's header: without trust they change nothing; with it, whatever a
/// client sends, it is the one that the proxy has seen and added at the end.
///
/// # Panics
/// When it does not hold.
pub fn forwarded(header: &str, lines: &[Vec<u8>]) {
    let Ok(name) = header.parse::<HeaderName>() else { return };
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name.clone(), value);
        }
    }
    let peer = IpAddr::from([10, 0, 0, 1]);
    let untrusted = client_address::origin(peer, &headers, Some(&name), &[]);
    assert!(matches!(untrusted, RequestOrigin::Client(client) if client == peer), "{untrusted:?}");
    let trusted: IpNet = "10.0.0.0/8".parse().unwrap_or_default();
    match client_address::origin(peer, &headers, Some(&name), &[trusted]) {
        RequestOrigin::ProxyWithoutClient(proxy) => assert_eq!(proxy, peer),
        RequestOrigin::Client(client) => assert_eq!(client, client.to_canonical()),
    }
    let seen = IpAddr::from([192, 0, 2, 55]);
    let key = if name == "forwarded" { "for=" } else { "" };
    let last = headers.get_all(&name).iter().next_back().map_or(&b""[..], HeaderValue::as_bytes);
    // proxies add to the last line, or one of their own; empty elements behind it change nothing
    let added = [last, b", ", key.as_bytes(), b"192.0.2.55"].concat();
    let trailed = [&added[..], b" , ,"].concat();
    let own = format!("{key}192.0.2.55").into_bytes();
    let before = headers.get_all(&name).iter().count().saturating_sub(1);
    for (kept, line) in [(before, added), (before, trailed), (before + 1, own)] {
        let mut sent: HeaderMap = HeaderMap::new();
        for value in headers.get_all(&name).iter().take(kept) {
            sent.append(name.clone(), value.clone());
        }
        let Ok(line) = HeaderValue::from_bytes(&line) else { continue };
        sent.append(name.clone(), line);
        let origin = client_address::origin(peer, &sent, Some(&name), &[trusted]);
        assert_eq!(origin, RequestOrigin::Client(seen), "{sent:?}");
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    /// Texts that mean something to some parser.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "hostname",
                "host",
                "myip",
                "myip6",
                "=",
                "&",
                ",",
                "%2c",
                "%3a",
                "%zz",
                "+",
                " ",
                ";",
                "for=",
                "\"",
                "[",
                "]",
                "10.1.2.3",
                "192.0.2.1",
                "::ffff:1.2.3.4",
                "2001:db8::1",
                "[2001:db8::1]:80",
                "0.0.0.0",
                "::",
                "127.0.0.1",
                "a.example",
                "unknown",
                "_hidden",
                "proto=https",
                "\\",
                "a.example,".repeat(25).leak(),
            ])
            .prop_map(str::to_owned),
            ".{0,6}",
        ]
    }

    /// Lists of addresses, most of which cannot be reached.
    fn addresses() -> impl Strategy<Value = String> {
        let any = prop_oneof![
            any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from_bits(bits).to_string()),
            any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from_bits(bits).to_string()),
            any::<u32>().prop_map(|bits| format!("::ffff:{}", std::net::Ipv4Addr::from_bits(bits))),
            (0xfe00_u16.., any::<u16>()).prop_map(|(first, last)| format!("{first:x}::{last:x}")),
            (0_u8.., 0_u8..).prop_map(|(first, last)| format!("{first}.254.255.{last}")),
            prop::sample::select(vec![
                "0.0.0.0",
                "0.1.2.3",
                "127.9.9.9",
                "169.254.1.1",
                "224.0.0.1",
                "239.255.255.255",
                "255.255.255.255",
                "::",
                "::1",
                "ff02::1",
                "febf::1",
                "192.0.2.1",
                "2001:db8::1",
            ])
            .prop_map(str::to_owned),
        ];
        proptest::collection::vec(any, 0..3).prop_map(|all| all.join(","))
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_query_and_form_are_read_within_bounds(query in text(), form in proptest::collection::vec(any::<u8>(), 0..80)) {
            super::parameters(&query, &form);
            super::parameters("", query.as_bytes());
        }

        #[test]
        fn any_addresses_that_are_accepted_can_be_reached(ipv4 in addresses(), ipv6 in addresses()) {
            super::parameters(&format!("myip={ipv4}&myip6={ipv6}"), b"");
        }

        #[test]
        fn any_authorization_is_a_name_or_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            user in proptest::option::of(".{1,8}"),
        ) {
            super::authorization(&bytes, user.as_deref());
            let token = base64::engine::general_purpose::STANDARD.encode(&bytes);
            super::authorization(format!("Basic {token}").as_bytes(), user.as_deref());
        }

        #[test]
        fn any_forwarded_lines_forge_nothing(
            header in prop::sample::select(vec!["forwarded", "x-forwarded-for", "x-real-ip"]),
            lines in proptest::collection::vec(text(), 0..4),
        ) {
            let lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
            super::forwarded(header, &lines);
        }
    }
}
