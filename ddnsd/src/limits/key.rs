//! What is counted together: a client or, when too many are tracked, its network.

use crate::model::client::ClientKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LimitKey {
    /// A client that is tracked.
    Client(ClientKey),
    /// Untracked clients of an IPv6 /48 that has many tracked ones.
    Site(u64),
    /// Untracked clients of an IPv4 /16.
    V4([u8; 2]),
    /// Untracked clients of an IPv6 /32.
    V6(u32),
    /// Untracked clients of untracked networks.
    Everyone,
}

impl LimitKey {
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

    /// Whether clients that do not know each other share the counters.
    pub(super) fn is_shared(self) -> bool {
        !matches!(self, Self::Client(_))
    }
}

/// The upper 48 bits of an IPv6 /64.
pub(super) fn site(prefix: u64) -> u64 {
    prefix >> 16
}
