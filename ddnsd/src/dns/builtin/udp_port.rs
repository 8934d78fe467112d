//! A UDP socket that answers from the address that was asked. A socket of one address does so by
//! itself; for one of every address (`0.0.0.0`, `[::]`), each answer names its source address.

use nix::cmsg_space;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

pub(super) struct UdpPort {
    socket: UdpSocket,
    /// Bound to every address.
    is_wildcard: bool,
}

/// Where a datagram came from, and which address it was sent to.
#[derive(Clone, Copy)]
pub(super) struct UdpPeer {
    pub(super) client: SocketAddr,
    /// `None` for a socket of one address.
    asked: Option<AskedAddress>,
}

#[derive(Clone, Copy)]
enum AskedAddress {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl UdpPort {
    /// # Errors
    /// The system does not tell which address a datagram was sent to.
    pub(super) fn new(socket: UdpSocket) -> Result<Self, Error> {
        let address = socket.local_addr()?.ip();
        let is_wildcard = address.is_unspecified();
        match address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            }
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
            _ => {}
        }
        Ok(Self { socket, is_wildcard })
    }

    pub(super) async fn readable(&self) -> Result<(), Error> {
        self.socket.readable().await
    }

    /// The next datagram, if there is one.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> Result<(usize, UdpPeer), Error> {
        if !self.is_wildcard {
            let (length, client) = self.socket.try_recv_from(buffer)?;
            return Ok((length, UdpPeer { client, asked: None }));
        }
        self.socket.try_io(Interest::READABLE, || self.receive_with_address(buffer))
    }

    fn receive_with_address(&self, buffer: &mut [u8]) -> Result<(usize, UdpPeer), Error> {
        let mut control = cmsg_space!(in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let (descriptor, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let received =
            recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), flags)?;
        let client = received.address.as_ref().and_then(socket_address);
        let client = client.ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        let asked = received.cmsgs()?.find_map(|message| match message {
            // the kernel chooses the interface, by the route to the client
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(AskedAddress::V4(in_pktinfo { ipi_ifindex: 0, ..info }))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(AskedAddress::V6(routed(info))),
            _ => None,
        });
        Ok((received.bytes, UdpPeer { client, asked }))
    }

    /// Sends to where a datagram came from, from the address that it was sent to.
    pub(super) fn try_send(&self, bytes: &[u8], peer: &UdpPeer) -> Result<(), Error> {
        let control = match &peer.asked {
            None => return self.socket.try_send_to(bytes, peer.client).map(|_| ()),
            Some(AskedAddress::V4(info)) => ControlMessage::Ipv4PacketInfo(info),
            Some(AskedAddress::V6(info)) => ControlMessage::Ipv6PacketInfo(info),
        };
        let client = SockaddrStorage::from(peer.client);
        let (parts, flags) = ([IoSlice::new(bytes)], MsgFlags::MSG_DONTWAIT);
        let descriptor = self.socket.as_raw_fd();
        self.socket.try_io(Interest::WRITABLE, || {
            Ok(sendmsg(descriptor, &parts, &[control], flags, Some(&client)).map(|_| ())?)
        })
    }
}

/// A link-local address needs its interface (RFC 4007, 6); for others, the route decides.
fn routed(info: in6_pktinfo) -> in6_pktinfo {
    let is_link_local = Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local();
    let index = if is_link_local { info.ipi6_ifindex } else { 0 };
    in6_pktinfo { ipi6_ifindex: index, ..info }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket as StdSocket;

    /// Every address of 127/8 is this machine's.
    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for (bound, asked) in [
            ("0.0.0.0:0", "127.0.0.7"),
            ("127.0.0.8:0", "127.0.0.8"),
            ("[::]:0", "127.0.0.9"),
            ("[::]:0", "::1"),
        ] {
            let Ok(socket) = UdpSocket::bind(bound).await else { continue };
            let port = UdpPort::new(socket).unwrap();
            let asked =
                SocketAddr::new(asked.parse().unwrap(), port.socket.local_addr().unwrap().port());
            let any = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let client = StdSocket::bind(any).unwrap();
            client.send_to(b"question", asked).unwrap();
            let mut buffer = [0; 64];
            let (length, peer) = loop {
                port.readable().await.unwrap();
                match port.try_receive(&mut buffer) {
                    Ok(received) => break received,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            };
            assert_eq!(&buffer[..length], b"question");
            port.socket.writable().await.unwrap();
            port.try_send(b"answer", &peer).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"answer"[..], asked), "{bound}");
        }
    }
}
