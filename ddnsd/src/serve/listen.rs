//! Binds what the configuration names. In: a host name or address and a port. Out: listeners on
//! every address it resolves to, all on one port. Or takes the sockets that systemd opened.

use listenfd::ListenFd;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Connections that the kernel keeps until they are accepted, as tokio and the standard library
/// choose.
const BACKLOG: u32 = 1024;
/// Pause before an address is tried again that the machine did not have.
const RETRY: Duration = Duration::from_secs(5);
/// Attempts to find a port that is free on every address.
const TRIES: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("daemon.host: cannot find an address for {host:?}: {source}")]
    Resolve { host: String, source: Error },
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Bind { address: SocketAddr, source: Error },
    #[error("{key}: cannot listen on {address}: {source}")]
    BindOne { key: &'static str, address: SocketAddr, source: Error },
    #[error(
        "cannot use socket {number} from systemd: {source} (ddnsd takes TCP ports only; \
         see `systemctl cat ddnsd.socket`)"
    )]
    Inherited { number: usize, source: Error },
}

fn hint(source: &Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => " (stop the program that has the port, or set another daemon.port)",
        ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE; under systemd use ddnsd.socket or the \
             drop-in port-below-1024.conf)"
        }
        ErrorKind::AddrNotAvailable => " (this machine does not have the address)",
        _ => "",
    }
}

/// Sockets that listen, all on one port.
#[derive(Debug, Default)]
pub struct Bound {
    pub listeners: Vec<TcpListener>,
    /// Addresses that this machine does not have, or not yet: IPv6 addresses are tentative at
    /// first.
    pub missing: Vec<SocketAddr>,
}

/// The sockets that systemd opened for this process, as by `ddnsd.socket`; none without it. Returns
/// them only once.
///
/// # Errors
/// One of them is not a TCP socket.
pub fn inherited() -> Result<Bound, ListenError> {
    let mut sockets = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..sockets.len() {
        let failed = |source| ListenError::Inherited { number: index + 1, source };
        if let Some(listener) = sockets.take_tcp_listener(index).map_err(failed)? {
            listener.set_nonblocking(true).map_err(failed)?;
            listeners.push(TcpListener::from_std(listener).map_err(failed)?);
        }
    }
    Ok(Bound { listeners, missing: Vec::new() })
}

/// Listens on every address that `host` resolves to. Port 0 picks a free one, the same for all.
///
/// # Errors
/// The name does not resolve, an address cannot be bound, or this machine has none of them.
pub async fn bind(host: &str, port: u16) -> Result<Bound, ListenError> {
    let mut addresses: Vec<SocketAddr> = match tokio::net::lookup_host((host, port)).await {
        Ok(resolved) => resolved.collect(),
        // RFC 6761, 6.3: it is known without a name service, as in a container without /etc/hosts
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        Err(source) => return Err(ListenError::Resolve { host: host.to_owned(), source }),
    };
    addresses.sort_unstable();
    addresses.dedup();
    let mut tries = TRIES;
    loop {
        match bind_all(&addresses, port).await {
            Err(ListenError::Bind { source, .. })
                if port == 0 && source.kind() == ErrorKind::AddrInUse && tries > 0 =>
            {
                tries -= 1;
            }
            done => return done,
        }
    }
}

/// Listens on the one address that a key names.
///
/// # Errors
/// It cannot be bound.
pub async fn bind_one(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen(address).await.map_err(|source| ListenError::BindOne { key, address, source })
}

/// Listens on an address as soon as this machine has it; `None` when stopped before.
pub async fn bind_later(address: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return None,
        }
        match listen(address).await {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::debug!("cannot listen on {address} yet: {error}"),
        }
    }
}

async fn bind_all(addresses: &[SocketAddr], port: u16) -> Result<Bound, ListenError> {
    let mut port = port;
    let mut bound = Bound::default();
    let mut first_missing = None;
    for address in addresses {
        let address = SocketAddr::new(address.ip(), port);
        match listen(address).await {
            Ok(listener) => {
                port = listener.local_addr().map_or(port, |bound| bound.port());
                bound.listeners.push(listener);
            }
            Err(source) if is_missing(&source) => {
                // ::1 in a system without IPv6 is not missed
                if !address.ip().is_loopback() {
                    bound.missing.push(address);
                }
                first_missing.get_or_insert(ListenError::Bind { address, source });
            }
            Err(source) => return Err(ListenError::Bind { address, source }),
        }
    }
    // port 0 may have been chosen by a later address
    bound.missing.iter_mut().for_each(|address| address.set_port(port));
    match first_missing {
        Some(error) if bound.listeners.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// Whether the machine does not have the address, or nothing of its family.
fn is_missing(error: &Error) -> bool {
    let no_family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(no_family)
}

async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(address).await;
    }
    let socket = TcpSocket::new_v6()?;
    // "::" is IPv4 too, whatever the system has in net.ipv6.bindv6only
    rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_zero_picks_one_port_for_every_address() {
        let bound = bind("localhost", 0).await.unwrap();
        let ports: Vec<u16> =
            bound.listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports[0] > 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[tokio::test]
    async fn addresses_that_the_machine_does_not_have_are_missing_unless_it_has_none() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        // RFC 5737: for documentation
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let bound = bind_all(&[elsewhere, here], 0).await.unwrap();
        let port = bound.listeners[0].local_addr().unwrap().port();
        assert_eq!(bound.missing, [SocketAddr::new(elsewhere.ip(), port)]);
        let refused = bind_all(&[elsewhere], 0).await.unwrap_err().to_string();
        assert!(refused.ends_with("(this machine does not have the address)"), "{refused}");
    }

    #[tokio::test]
    async fn a_busy_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let refused = bind("127.0.0.1", port).await.unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{refused}");
        assert!(refused.contains("daemon.port"), "{refused}");
    }
}
