//! In: addresses, networks and sockets as text. Out: checked ones.

use crate::config::text::shown;
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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

/// An address and a port to listen on; port 0 picks a free one.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().or_else(|_| socket(text))
}

/// The address and port of another server.
pub(super) fn server(text: &str) -> Result<SocketAddr, String> {
    let server = socket(text)?;
    let address = server.ip().to_canonical();
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(format!("must be the address of one server, got {}", shown(text)));
    }
    Ok(SocketAddr::new(address, server.port()))
}

/// A network; a single address is a network of one. An IPv4-mapped one becomes IPv4, as the
/// addresses of its clients do (RFC 4291, 2.5.5.2).
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(net) = text.parse::<IpNet>() {
        return unmapped(net).ok_or_else(|| {
            let got = shown(text);
            format!("must be at least /96 if it is of IPv4-mapped addresses, got {got}")
        });
    }
    let wrong = |_| {
        let got = shown(text);
        format!(r#"must be an address or a network like "192.0.2.0/24", got {got}"#)
    };
    address(text).map(|address| IpNet::from(address.to_canonical())).map_err(wrong)
}

/// The network without its host bits; `None` if it holds mapped addresses and others.
fn unmapped(net: IpNet) -> Option<IpNet> {
    let IpAddr::V4(v4) = net.addr().to_canonical() else { return Some(net.trunc()) };
    let bits = if net.addr().is_ipv6() { 96 } else { 0 };
    let net = Ipv4Net::new(v4, net.prefix_len().checked_sub(bits)?).ok()?;
    Some(net.trunc().into())
}
