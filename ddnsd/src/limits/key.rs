//! What is counted together: a client, or when too many are tracked, the network it comes from.

use crate::model::client::ClientKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LimitKey {
    /// One client on its own.
    Client(ClientKey),
    /// New clients of an IPv4 /16.
    V4([u8; 2]),
    /// New clients of an IPv6 /32.
    V6(u32),
    /// New clients of new networks, when networks are too many as well.
    Everyone,
}

impl LimitKey {
    /// The network that a client shares a counter with.
    pub(super) fn network(client: ClientKey) -> Self {
        match client {
            ClientKey::V4(address) => {
                let [a, b, ..] = address.octets();
                Self::V4([a, b])
            }
            ClientKey::V6(prefix) => {
                let [a, b, c, d, ..] = prefix.to_be_bytes();
                Self::V6(u32::from_be_bytes([a, b, c, d]))
            }
        }
    }
}
