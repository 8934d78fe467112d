//! Hosts for the tests of this folder.

use crate::config::Defaults;
use crate::model::address::Addresses;
use crate::model::host::{Host, HostDetails, Seen};
use crate::model::name::UserName;
use crate::model::time::Millis;
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(super) const DEFAULTS: Defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

pub(super) fn details(change: impl FnOnce(&mut Host)) -> HostDetails {
    let mut host = Host { expiry_ttl: Some(0), ..Host::sample(1, "pc") };
    change(&mut host);
    HostDetails {
        seen: Seen { v4: Some(Millis(7)), v6: None },
        host: Arc::new(host),
        owner: UserName::parse("alice").unwrap(),
        owner_suspended_at: None,
        expired_at: None,
        created_at: Millis(1),
        last_addresses: Addresses { v4: Some(ADDRESS), v6: None },
        attempts: 3,
        last_error: Some("x".repeat(1000)),
        unserved: None,
        served_ttl: None,
        leader: None,
    }
}
