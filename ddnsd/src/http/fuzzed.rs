//! What must hold for everything that a request may say, driven by fuzzers (`tests/fuzz`) and, with made-up
//! requests, by the property tests below.

use super::query::Parameters;
use super::{client_address, credentials};
use crate::rules::request::{self, Login, MOST_HOSTS, Origin};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::IpAddr;

/// Reads a query and a form: never too many hosts, never an address that nobody can reach.
///
/// # Panics
/// When it does not hold.
pub fn parameters(query: &str, form: &[u8]) {
    let given = Parameters::read(query, form);
    let names = ["hostname".to_owned(), "host".to_owned()];
    if let Ok(hosts) = request::hosts(given.value(&names)) {
        assert!((1..=MOST_HOSTS).contains(&hosts.len()));
        assert!(hosts.iter().all(|host| !host.sent.trim().is_empty()));
    }
    let client = Origin::Client(IpAddr::from([198, 51, 100, 7]));
    let (ipv4, ipv6) = (given.named("myip"), given.named("myip6"));
    if let Ok(addresses) = request::addresses(ipv4, ipv6, client) {
        let bad4 = |ip: std::net::Ipv4Addr| ip.is_unspecified() || ip.is_loopback();
        let bad6 = |ip: std::net::Ipv6Addr| {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.to_ipv4_mapped().is_some()
        };
        assert!(!addresses.v4.is_some_and(bad4) && !addresses.v6.is_some_and(bad6));
        assert!(!addresses.is_empty(), "the client's own counts when none is given");
    }
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

/// Reads the lines of a proxy's header: without trust they change nothing, with it no trusted proxy is taken
/// for a client while another address stands there.
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
    let stranger = client_address::origin(peer, &headers, Some(&name), &[]);
    assert!(matches!(stranger, Origin::Client(client) if client == peer), "{stranger:?}");
    let trusted: IpNet = "10.0.0.0/8".parse().unwrap_or_default();
    match client_address::origin(peer, &headers, Some(&name), &[trusted]) {
        Origin::SilentProxy(proxy) => assert_eq!(proxy, peer),
        Origin::Client(client) => assert_eq!(client, client.to_canonical()),
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
