//! What the name server in ddnsd itself counts.

use super::Counter;

#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Messages received by UDP.
    pub udp: Counter,
    /// Messages received by TCP.
    pub tcp: Counter,
    /// Answers by RCODE; transfers are counted apart.
    pub noerror: Counter,
    pub nxdomain: Counter,
    pub refused: Counter,
    pub other_errors: Counter,
    /// Answers by UDP that were too long, so that the client asks by TCP.
    pub truncated: Counter,
    /// Answers by UDP that were withheld, because a network gets too many.
    pub limited: Counter,
    /// Messages without an answer: malformed, or not a query.
    pub dropped: Counter,
    /// TCP connections of clients that have too many.
    pub connections_refused: Counter,
    /// Zone transfers begun.
    pub transfers: Counter,
    /// NOTIFY messages sent, repeated ones included.
    pub notifies: Counter,
    /// Secondaries that acknowledged no NOTIFY about a change.
    pub notifies_failed: Counter,
}
