//! Binds the addresses of `dns_service.builtin.listen`, each for UDP and TCP, and answers there.

use super::BuiltinServer;
use super::notify;
use super::tcp::TcpServer;
use super::udp;
use super::udp_port::UdpPort;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1_024;
/// Attempts to find a port that is free for UDP and TCP.
const TRIES: usize = 20;
/// What the kernel keeps of a burst, if its limit allows; the default holds some 250 queries.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Tasks that read one UDP socket: more processors would only wait for it.
const MAX_READERS: usize = 4;

#[derive(Debug, thiserror::Error)]
#[error(
    "dns_service.builtin.listen: cannot listen on {address} ({protocol}): {source}{}",
    hint(.source)
)]
pub struct DnsListenError {
    address: SocketAddr,
    protocol: &'static str,
    source: Error,
}

fn hint(source: &Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => {
            " (stop the name server or resolver that has the port, or set another address)"
        }
        ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE; under systemd add the drop-in \
             port-below-1024.conf)"
        }
        ErrorKind::AddrNotAvailable => " (this machine does not have the address)",
        _ => "",
    }
}

/// Bound addresses; nothing is answered yet.
pub struct Listeners(Vec<Listener>);

struct Listener {
    address: SocketAddr,
    udp: UdpPort,
    tcp: TcpListener,
}

/// Binds every address for UDP and TCP. Port 0 picks a free one.
///
/// # Errors
/// One cannot be bound.
pub fn bind(addresses: &[SocketAddr]) -> Result<Listeners, DnsListenError> {
    let bound = addresses.iter().map(|address| {
        // "[::]" is IPv4 too, unless that has an address of its own
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        let is_dual = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !addresses.contains(&v4);
        bind_both(*address, is_dual)
    });
    bound.collect::<Result<_, _>>().map(Listeners)
}

fn bind_both(address: SocketAddr, is_dual: bool) -> Result<Listener, DnsListenError> {
    let mut tries = TRIES;
    loop {
        let failed = |protocol| move |source| DnsListenError { address, protocol, source };
        let udp = udp_socket(address, is_dual).map_err(failed("UDP"))?;
        let bound = udp.local_addr().map_err(failed("UDP"))?;
        let udp = UdpPort::new(udp).map_err(failed("UDP"))?;
        match tcp_listener(bound, is_dual) {
            Ok(tcp) => return Ok(Listener { address: bound, udp, tcp }),
            Err(source)
                if address.port() == 0 && source.kind() == ErrorKind::AddrInUse && tries > 0 =>
            {
                tries -= 1;
            }
            Err(source) => return Err(failed("TCP")(source)),
        }
    }
}

fn udp_socket(address: SocketAddr, is_dual: bool) -> Result<UdpSocket, Error> {
    let socket = socket(address, is_dual, SocketType::DGRAM)?;
    // the kernel's limit may be lower
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    rustix::net::bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

fn tcp_listener(address: SocketAddr, is_dual: bool) -> Result<TcpListener, Error> {
    let socket = socket(address, is_dual, SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(
    address: SocketAddr,
    is_dual: bool,
    kind: SocketType,
) -> Result<std::os::fd::OwnedFd, Error> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !is_dual)?;
    }
    Ok(socket)
}

impl Listeners {
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|listener| listener.address).collect()
    }

    /// Answers, and notifies secondaries, until `stop`. `work` tracks the connections.
    pub async fn serve(self, server: BuiltinServer, stop: CancellationToken, work: TaskTracker) {
        let readers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(notify::run(server.clone(), stop.clone()));
        let tcp = TcpServer::new(server.clone(), stop.clone(), work);
        for listener in self.0 {
            let port = Arc::new(listener.udp);
            for _ in 0..readers {
                tasks.spawn(udp::serve(Arc::clone(&port), server.clone(), stop.clone()));
            }
            tasks.spawn(tcp.clone().serve(listener.tcp));
        }
        // a task that panics ends this service, and with it the daemon
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                return;
            }
        }
    }
}
