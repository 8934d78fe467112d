//! The last request that named a host, as administrators see it: who sent it, and what came of it.

use super::time::Millis;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Of the last request for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRequest {
    /// When it came.
    pub at: Millis,
    /// The client's address.
    pub client: IpAddr,
    /// What the client calls itself, as it was sent.
    pub user_agent: Option<Arc<str>>,
    /// The word that the host was answered with.
    pub return_code: Cow<'static, str>,
    /// Why, for the words that do not say it all.
    pub reason: Option<Box<str>>,
}
