//! The client's address. In: the connection's peer and, from trusted proxies only, a header. Out:
//! whose request it is.

use crate::rules::request::RequestOrigin;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Goes through the header's elements from the right to the first address that is not a trusted
/// proxy's. If all are, the leftmost counts. An element that is no address ends the search at the
/// last good one.
pub(super) fn origin(
    peer: IpAddr,
    headers: &HeaderMap,
    proxy_header: Option<&HeaderName>,
    trusted: &[IpNet],
) -> RequestOrigin {
    let is_trusted = |address: &IpAddr| is_trusted(*address, trusted);
    if !is_trusted(&peer) {
        return RequestOrigin::Client(peer);
    }
    let Some(name) = proxy_header else { return RequestOrigin::ProxyWithoutClient(peer) };
    let mut last_good = None;
    // several lines are one list (RFC 9110, 5.3)
    for line in headers.get_all(name).iter().rev() {
        // lossy: what the client put on the left must not spoil what the proxy wrote on the right
        let text = String::from_utf8_lossy(line.as_bytes());
        // RFC 9110, 5.6.1.2: empty elements of a list are ignored
        for element in parts(&text, b',').into_iter().filter(|element| !element.is_empty()) {
            let address = if name.as_str() == "forwarded" {
                forwarded_for(element).map(without_hidden_port).and_then(address)
            } else {
                address(element)
            };
            match address {
                Some(address) if is_trusted(&address) => last_good = Some(address),
                Some(address) => return RequestOrigin::Client(address),
                None => {
                    return last_good
                        .map_or(RequestOrigin::ProxyWithoutClient(peer), RequestOrigin::Client);
                }
            }
        }
    }
    last_good.map_or(RequestOrigin::ProxyWithoutClient(peer), RequestOrigin::Client)
}

/// Whether it is a trusted proxy's.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Headers in which proxies pass the client's address on.
static PROXY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    http::header::FORWARDED,
];

/// The header of a proxy that is not trusted, if the peer seems to be one. Strangers can send the
/// header too, but not from the machine itself or its own network.
pub(super) fn header_of_untrusted_proxy(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<&'static HeaderName> {
    let is_near = match peer {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    };
    let found = PROXY_HEADERS.iter().find(|name| headers.contains_key(*name))?;
    (is_near && !is_trusted(peer, trusted)).then_some(found)
}

/// Splits at separators outside quotes (RFC 7239, 4). Reads from the right, so that a quote which
/// the client opened on the left and never closed cannot hide what the proxy wrote on the right.
fn parts(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut end, mut quoted) = (Vec::new(), text.len(), false);
    for (at, byte) in text.bytes().enumerate().rev() {
        if byte == b'"' {
            let before = text.bytes().take(at).rev();
            let is_escaped = before.take_while(|byte| *byte == b'\\').count() % 2 == 1;
            quoted ^= !is_escaped;
        } else if byte == separator && !quoted {
            parts.extend(text.get(at + 1..end));
            end = at;
        }
    }
    parts.extend(text.get(..end));
    parts.into_iter().map(str::trim).collect()
}

/// The `for=` of one element of `Forwarded` (RFC 7239, 5.2), unquoted.
fn forwarded_for(element: &str) -> Option<&str> {
    parts(element, b';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

/// A node without its obfuscated port (RFC 7239, 6.3).
fn without_hidden_port(node: &str) -> &str {
    let is_hidden = |port: &str| {
        let name = port.strip_prefix('_').unwrap_or_default();
        let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(is_named)
    };
    node.rsplit_once(':').filter(|(_, port)| is_hidden(port)).map_or(node, |(address, _)| address)
}

/// An address alone, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare
        .unwrap_or(text)
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn seen(peer: &str, header: &'static str, lines: &[&str]) -> RequestOrigin {
        let name = HeaderName::from_static(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        origin(peer.parse().unwrap(), &headers, Some(&name), &trusted)
    }

    fn client(address: &str) -> RequestOrigin {
        RequestOrigin::Client(address.parse().unwrap())
    }

    #[test]
    fn a_header_from_an_untrusted_peer_is_ignored() {
        assert_eq!(seen("192.0.2.9", "x-forwarded-for", &["1.2.3.4"]), client("192.0.2.9"));
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        let x = "x-forwarded-for";
        assert_eq!(seen("10.0.0.1", x, &["6.6.6.6, 192.0.2.1, 10.0.0.2"]), client("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", x, &["6.6.6.6", "192.0.2.1"]), client("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", x, &["10.0.0.3, 10.0.0.2"]), client("10.0.0.3"));
        assert_eq!(seen("10.0.0.1", x, &["192.0.2.1:4711"]), client("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", x, &["[2001:db8::1]:80"]), client("2001:db8::1"));
        assert_eq!(seen("10.0.0.1", x, &["::ffff:192.0.2.1"]), client("192.0.2.1"));
    }

    #[test]
    fn an_element_that_is_no_address_ends_the_search_at_the_last_good_one() {
        let x = "x-forwarded-for";
        assert_eq!(seen("10.0.0.1", x, &["192.0.2.1, junk, 10.0.0.2"]), client("10.0.0.2"));
        assert_eq!(seen("10.0.0.1", x, &["ä, 192.0.2.1"]), client("192.0.2.1"));
        let without_client = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        assert_eq!(seen("10.0.0.1", x, &["192.0.2.1, unknown"]), without_client);
        assert_eq!(seen("10.0.0.1", x, &[]), without_client);
        assert_eq!(seen("10.0.0.1", x, &[""]), without_client);
    }

    #[test]
    fn empty_elements_and_lines_are_ignored() {
        let x = "x-forwarded-for";
        for lines in [
            &["192.0.2.1,"][..],
            &["192.0.2.1 , ,\t, "],
            &["6.6.6.6, 192.0.2.1,, 10.0.0.2"],
            &["192.0.2.1", ""],
            &["192.0.2.1", ",", "10.0.0.2"],
        ] {
            assert_eq!(seen("10.0.0.1", x, lines), client("192.0.2.1"), "{lines:?}");
        }
        assert_eq!(seen("10.0.0.1", "forwarded", &["for=192.0.2.1, "]), client("192.0.2.1"));
        let without_client = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        for (header, line) in [(x, " , ,"), (x, "192.0.2.1, \"\""), ("forwarded", "for=\"\"")] {
            assert_eq!(seen("10.0.0.1", header, &[line]), without_client, "{line}");
        }
    }

    #[test]
    fn an_address_with_an_obfuscated_port_is_read() {
        let f = "forwarded";
        assert_eq!(seen("10.0.0.1", f, &["for=\"192.0.2.1:_x\""]), client("192.0.2.1"));
        let walked = "for=\"[2001:db8::7]:_a.B-_9\", for=\"10.0.0.2:_x\"";
        assert_eq!(seen("10.0.0.1", f, &[walked]), client("2001:db8::7"));
        let without_client = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        for junk in ["192.0.2.1:_", "192.0.2.1:x", "192.0.2.1:_x y", "_hidden:_x"] {
            assert_eq!(
                seen("10.0.0.1", f, &[&format!("for=\"{junk}\"")]),
                without_client,
                "{junk}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_with_its_quotes_and_parameters() {
        let f = "forwarded";
        let line = "for=6.6.6.6, For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1";
        assert_eq!(seen("10.0.0.1", f, &[line]), client("2001:db8::7"));
        assert_eq!(seen("10.0.0.1", f, &["for=192.0.2.1;host=\"a,b\""]), client("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", f, &["for=::1"]), client("::1"));
        // what the client may choose is within the proxy's quotes
        let line = r#"host="x;for=6.6.6.6, for=\"6.6.6.6\"";for=192.0.2.1"#;
        assert_eq!(seen("10.0.0.1", f, &[line]), client("192.0.2.1"));
        for line in [r#"for=", for=192.0.2.1"#, r#"x="\", for=192.0.2.1"#] {
            assert_eq!(seen("10.0.0.1", f, &[line]), client("192.0.2.1"), "{line}");
        }
        let without_client = RequestOrigin::ProxyWithoutClient("10.0.0.1".parse().unwrap());
        assert_eq!(seen("10.0.0.1", f, &["for=_hidden"]), without_client);
        assert_eq!(seen("10.0.0.1", f, &["proto=https"]), without_client);
    }
}
