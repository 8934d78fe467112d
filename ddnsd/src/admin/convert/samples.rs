//! Hosts for the tests of this folder.

use crate::config::Defaults;
use crate::model::address::Addresses;
use crate::model::family::PerFamily;
use crate::model::host::{Acked, Host, HostDetails, HostId, HostLan, Seen};
use crate::model::name::{Fqdn, UserName, Zone};
use crate::model::time::Millis;
use crate::model::user::UserId;
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(super) const DEFAULTS: Defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

pub(super) fn details(change: impl FnOnce(&mut Host)) -> HostDetails {
    let mut host = Host {
        id: HostId(1),
        user: UserId(1),
        zone: Zone::parse("example.org").unwrap(),
        fqdn: Fqdn::parse("pc.example.org").unwrap(),
        dns_ttl: None,
        expiry_ttl: Some(0),
        wanted: PerFamily::default(),
        acked: Acked::default(),
        unpublished_since: None,
        unserved_since: None,
        suspended_at: None,
        notices: None,
        lan: HostLan::default(),
        lease: None,
        version: 1,
    };
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
