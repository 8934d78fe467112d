//! Hosts: requests of `ddnsctl` into the model, and hosts into replies.

use super::bounds::{cut, page_size};
use super::invalid;
use super::names::{self, host_name};
use crate::config::Defaults;
use crate::model::host::{Host, HostDetails};
use crate::model::name::Fqdn;
use crate::model::prefix::Ipv6Suffix;
use crate::model::text::cannot_take;
use crate::model::ttl;
use crate::stories::hosts::modify::{Modified, Modify, NewValue};
use crate::stories::hosts::{Added, Deleted, HostInput, HostPage, Shown};
use ddnsd_proto::error::Refusal;
use ddnsd_proto::host::{
    self as proto, AddHost, AddedHost, HostState, HostView, LastRequestView, LeftRecord, ListHosts,
    ModifyHost, StoredHost,
};
use ddnsd_proto::status::HostName;
use std::net::IpAddr;

pub(in crate::admin) fn new_host(host: &AddHost) -> Result<HostInput, Refusal> {
    Ok(HostInput {
        user: names::user(&host.user)?,
        names: names::host(&host.hostname, &host.zone)?,
        dns_ttl: checked_ttl("--dns-ttl", host.dns_ttl)?,
        expiry_ttl: checked_ttl("--expiry-ttl", host.expiry_ttl)?,
        suffix: host.ipv6_suffix.as_deref().map(suffix).transpose()?,
        leader: host.follows.as_deref().map(leader).transpose()?,
    })
}

pub(in crate::admin) fn added(
    host: &Added,
    warnings: Vec<String>,
    defaults: Defaults,
) -> AddedHost {
    let name = host_name(&host.fqdn);
    let ttls = EffectiveTtls::new(host.dns_ttl, host.expiry_ttl, defaults);
    let stored = ttls.stored(name, host.label.as_str(), host.zone.as_str());
    let warnings = warnings.into_iter().map(cut).collect();
    AddedHost { host: stored, user: host.user.as_str().to_owned(), warnings }
}

pub(in crate::admin) fn page(query: ListHosts) -> Result<HostPage, Refusal> {
    Ok(HostPage {
        user: query.user.as_deref().map(names::user).transpose()?,
        zone: query.zone.as_deref().map(names::zone).transpose()?,
        after: query.after.unwrap_or_default(),
        limit: page_size(query.limit),
    })
}

pub(in crate::admin) fn modify(host: &ModifyHost) -> Result<Modify, Refusal> {
    Ok(Modify {
        dns_ttl: new_ttl("--dns-ttl", host.dns_ttl)?,
        expiry_ttl: new_ttl("--expiry-ttl", host.expiry_ttl)?,
        suffix: new_text(host.ipv6_suffix.as_ref(), suffix)?,
        leader: new_text(host.follows.as_ref(), leader)?,
        names: names::host(&host.hostname, &host.zone)?,
    })
}

fn new_ttl(option: &str, ttl: Option<proto::NewTtl>) -> Result<NewValue<u32>, Refusal> {
    ttl.map_or(Ok(NewValue::Keep), |ttl| checked_ttl(option, ttl.seconds).map(NewValue::Set))
}

fn new_text<T>(
    text: Option<&proto::NewText>,
    read: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<NewValue<T>, Refusal> {
    let read = |new: &proto::NewText| new.text.as_deref().map(&read).transpose();
    text.map_or(Ok(NewValue::Keep), |new| read(new).map(NewValue::Set))
}

fn suffix(text: &str) -> Result<Ipv6Suffix, Refusal> {
    Ipv6Suffix::parse(text).map_err(|why| invalid(cannot_take("--ipv6-suffix", text, &why)))
}

fn leader(text: &str) -> Result<Fqdn, Refusal> {
    Fqdn::parse(text).map_err(|why| invalid(cannot_take("--follows", text, &why)))
}

fn checked_ttl(option: &str, seconds: Option<u32>) -> Result<Option<u32>, Refusal> {
    let checked = seconds.map(|seconds| ttl::check(seconds.into())).transpose();
    checked.map_err(|why| invalid(format!("{option} {why}")))
}

pub(in crate::admin) fn modified(
    host: &Host,
    modified: Modified,
    defaults: Defaults,
) -> proto::Modified {
    let changed = modified != Modified::Nothing;
    let not_yet_published = match modified {
        Modified::NotYetPublished(why) => Some(cut(why)),
        Modified::Nothing | Modified::Done => None,
    };
    let ttls = EffectiveTtls::new(host.dns_ttl, host.expiry_ttl, defaults);
    let stored = ttls.stored(host_name(&host.fqdn), host.label().as_str(), host.zone().as_str());
    proto::Modified { changed, not_yet_published, host: stored }
}

pub(in crate::admin) fn host(details: &HostDetails, defaults: Defaults) -> HostView {
    let host = &details.host;
    let wanted = host.wanted.addresses();
    let ttls = EffectiveTtls::new(host.dns_ttl, host.expiry_ttl, defaults);
    HostView {
        fqdn: host.fqdn.as_str().to_owned(),
        unicode: host.fqdn.to_unicode(),
        hostname: host.label().as_str().to_owned(),
        zone: host.zone().as_str().to_owned(),
        user: details.owner.as_str().to_owned(),
        state: state(details),
        ipv4: wanted.v4,
        ipv6: wanted.v6,
        last_ipv4: details.last_addresses.v4,
        last_ipv6: details.last_addresses.v6,
        ipv4_updated_at: details.seen.v4.map(|at| at.0),
        ipv6_updated_at: details.seen.v6.map(|at| at.0),
        dns_ttl: ttls.dns_ttl,
        dns_ttl_is_default: ttls.dns_ttl_is_default,
        expiry_ttl: ttls.expiry_ttl,
        expiry_ttl_is_default: ttls.expiry_ttl_is_default,
        pending_since: host.unpublished_since.map(|at| at.0),
        attempts: details.attempts,
        last_error: details.last_error.clone().map(cut),
        unserved_since: host.unserved_since.map(|at| at.0),
        unserved: details.unserved.clone().map(cut),
        served_ttl: details.served_ttl,
        expired_at: details.expired_at.map(|at| at.0),
        suspended_at: host.suspended_at.map(|at| at.0),
        user_suspended_at: details.owner_suspended_at.map(|at| at.0),
        ipv6_suffix: host.lan.suffix.map(Ipv6Suffix::as_address),
        follows: details.leader.as_ref().map(|leader| leader.fqdn.as_str().to_owned()),
        ipv6_prefix: host.lan.prefix.map(|prefix| prefix.to_string()),
        no_ipv6: details.no_ipv6().map(|why| why.to_string()),
        created_at: details.created_at.0,
        last_request: None,
    }
}

/// A host with its last request.
pub(in crate::admin) fn shown(shown: Shown, defaults: Defaults) -> HostView {
    let last = shown.last_request.map(|last| LastRequestView {
        at: last.at.0,
        client: last.client.to_string(),
        user_agent: last.user_agent.map(|agent| agent.as_ref().to_owned()),
        word: last.return_code.into_owned(),
        reason: last.reason.map(|reason| cut(reason.into())),
    });
    HostView { last_request: last, ..host(&shown.details, defaults) }
}

pub(in crate::admin) fn deleted(deleted: &Deleted) -> proto::Deleted {
    let record = |address: &IpAddr| {
        let HostName { fqdn, unicode } = host_name(&deleted.fqdn);
        let record = if address.is_ipv4() { "A" } else { "AAAA" }.to_owned();
        LeftRecord { fqdn, unicode, record, address: address.to_string() }
    };
    proto::Deleted {
        host: host_name(&deleted.fqdn),
        left_in_dns: deleted.left_in_dns.iter().map(record).collect(),
        others_possible: deleted.others_possible,
    }
}

fn state(details: &HostDetails) -> HostState {
    let host = &details.host;
    if host.suspended_at.is_some() || details.owner_suspended_at.is_some() {
        HostState::Suspended
    } else if host.wanted.is_untouched() {
        HostState::NeverUpdated
    } else if host.unpublished_since.is_some() {
        HostState::Pending
    } else if host.unserved_since.is_some() {
        HostState::Unserved
    } else if host.wanted.addresses().is_empty() {
        details.expired_at.map_or(HostState::Absent, |_| HostState::Expired)
    } else {
        HostState::Published
    }
}

/// A host's TTLs in force.
struct EffectiveTtls {
    dns_ttl: u32,
    dns_ttl_is_default: bool,
    expiry_ttl: u32,
    expiry_ttl_is_default: bool,
}

impl EffectiveTtls {
    fn new(dns_ttl: Option<u32>, expiry_ttl: Option<u32>, defaults: Defaults) -> Self {
        Self {
            dns_ttl: dns_ttl.unwrap_or(defaults.dns_ttl),
            dns_ttl_is_default: dns_ttl.is_none(),
            expiry_ttl: expiry_ttl.unwrap_or(defaults.expiry_ttl),
            expiry_ttl_is_default: expiry_ttl.is_none(),
        }
    }

    fn stored(self, name: HostName, hostname: &str, zone: &str) -> StoredHost {
        StoredHost {
            fqdn: name.fqdn,
            unicode: name.unicode,
            hostname: hostname.to_owned(),
            zone: zone.to_owned(),
            dns_ttl: self.dns_ttl,
            dns_ttl_is_default: self.dns_ttl_is_default,
            expiry_ttl: self.expiry_ttl,
            expiry_ttl_is_default: self.expiry_ttl_is_default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::MAX_TEXT;
    use super::super::samples::{ADDRESS, DEFAULTS, details};
    use super::*;
    use crate::model::record::Wanted;
    use crate::model::time::Millis;

    #[test]
    fn a_host_shows_the_ttls_in_force_and_which_of_them_are_defaults() {
        let view = host(&details(|_| ()), DEFAULTS);
        assert_eq!((view.dns_ttl, view.dns_ttl_is_default), (60, true));
        assert_eq!((view.expiry_ttl, view.expiry_ttl_is_default), (0, false));
        assert_eq!((view.ipv4, view.last_ipv4), (None, Some(ADDRESS)));
        assert_eq!((view.ipv4_updated_at, view.ipv6_updated_at), (Some(7), None));
        assert_eq!(view.last_error.unwrap().len(), MAX_TEXT);
    }

    #[test]
    fn the_state_of_a_host_follows_what_is_wanted_and_what_is_known() {
        let state_of = |v4, unpublished_since| {
            let details = details(|host| {
                host.wanted.v4 = v4;
                host.unpublished_since = unpublished_since;
            });
            host(&details, DEFAULTS).state
        };
        assert_eq!(state_of(Wanted::Untouched, None), HostState::NeverUpdated);
        assert_eq!(state_of(Wanted::Present(ADDRESS), None), HostState::Published);
        assert_eq!(state_of(Wanted::Present(ADDRESS), Some(Millis(9))), HostState::Pending);
        let unserved = details(|host| {
            host.wanted.v4 = Wanted::Absent;
            host.unserved_since = Some(Millis(9));
        });
        assert_eq!(host(&unserved, DEFAULTS).state, HostState::Unserved);
        assert_eq!(state_of(Wanted::Absent, None), HostState::Absent);
        let mut expired = details(|host| host.wanted.v4 = Wanted::Absent);
        expired.expired_at = Some(Millis(9));
        assert_eq!(host(&expired, DEFAULTS).state, HostState::Expired);
        assert_eq!(state_of(Wanted::Absent, Some(Millis(9))), HostState::Pending);
    }

    #[test]
    fn suspended_goes_before_every_other_state() {
        let suspended = details(|host| {
            host.unpublished_since = Some(Millis(9));
            host.suspended_at = Some(Millis(8));
        });
        assert_eq!(host(&suspended, DEFAULTS).state, HostState::Suspended);
        let mut of_suspended_user = details(|host| host.wanted.v4 = Wanted::Present(ADDRESS));
        of_suspended_user.owner_suspended_at = Some(Millis(7));
        let view = host(&of_suspended_user, DEFAULTS);
        assert_eq!(view.state, HostState::Suspended);
        assert_eq!((view.suspended_at, view.user_suspended_at), (None, Some(7)));
    }

    #[test]
    fn a_ttl_that_is_not_given_stays_and_one_without_seconds_is_the_default() {
        let new = |seconds| Some(proto::NewTtl { seconds });
        let host = || {
            let (hostname, zone) = ("pc".to_owned(), "example.org".to_owned());
            ModifyHost { hostname, zone, ..ModifyHost::default() }
        };
        let to_default = modify(&ModifyHost { dns_ttl: new(None), ..host() }).unwrap();
        assert_eq!(
            (to_default.dns_ttl, to_default.expiry_ttl),
            (NewValue::Set(None), NewValue::Keep)
        );
        let never = modify(&ModifyHost { expiry_ttl: new(Some(0)), ..host() }).unwrap();
        assert_eq!(never.expiry_ttl, NewValue::Set(Some(0)));
        let modified = |what| modified(&details(|_| ()).host, what, DEFAULTS);
        let late = modified(Modified::NotYetPublished("down".to_owned()));
        assert_eq!((late.changed, late.not_yet_published.as_deref()), (true, Some("down")));
        let nothing = modified(Modified::Nothing);
        assert_eq!((nothing.changed, nothing.not_yet_published), (false, None));
        let host = nothing.host;
        assert_eq!((host.dns_ttl, host.dns_ttl_is_default), (60, true));
        assert_eq!((host.expiry_ttl, host.expiry_ttl_is_default), (0, false));
    }
}
