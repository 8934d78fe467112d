//! Addresses, networks and sockets as people write them in, checked ones out.

use super::value::shown;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// An IP address; IPv6 with or without brackets.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("must be an IP address, got {}", shown(text)))
}

/// An address and a port that is not 0.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    let socket: Option<SocketAddr> = text.parse().ok();
    socket.filter(|socket| socket.port() != 0).ok_or_else(|| {
        let got = shown(text);
        format!(r#"must be an address and a port like "127.0.0.1:53" or "[::1]:53", got {got}"#)
    })
}

/// A network, or an address, which is a network of one. An IPv4-mapped address is taken as IPv4,
/// because that is how its clients are seen.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net.trunc());
    }
    let wrong = |_| {
        let got = shown(text);
        format!(r#"must be an address or a network like "192.0.2.0/24", got {got}"#)
    };
    address(text).map(|address| IpNet::from(address.to_canonical())).map_err(wrong)
}
