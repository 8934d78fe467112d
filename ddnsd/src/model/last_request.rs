//! The last request that named a host, as administrators see it.

use super::time::Millis;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRequest {
    pub at: Millis,
    pub client: IpAddr,
    /// The client of the last request whose password was right; `None` leaves it as it was.
    pub updated_from: Option<IpAddr>,
    /// The User-Agent header, cut, not escaped.
    pub user_agent: Option<Arc<str>>,
    pub return_code: Cow<'static, str>,
    /// For the codes that do not say it all.
    pub reason: Option<Box<str>>,
}
