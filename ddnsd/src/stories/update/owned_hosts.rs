//! The requested hosts that are the caller's. In: hosts that were looked up. Out: the reply, from
//! the result of each.

use crate::log_budget::log_repeated;
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::rules::reply::{HostLine, Reply, ReturnCode};
use crate::rules::request::{
    BadAddress, GivenAddresses, RequestedHost, UpdateChange, UpdateRequest,
};
use crate::stories::last_requests::{HostResult, HostResults};
use litemap::LiteMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tracing::debug;

pub(super) struct OwnedHosts {
    /// In the order of the request; `None` for a host that is not the caller's.
    requested: Vec<Option<HostId>>,
    by_id: LiteMap<HostId, Arc<Host>>,
    suspended: BTreeSet<HostId>,
}

/// The result of a suspended host.
pub(super) fn suspended() -> HostResult {
    HostResult::with_reason(ReturnCode::Nohost, "the hostname is suspended")
}

impl OwnedHosts {
    pub(super) fn with_capacity(hosts: usize) -> Self {
        let requested = Vec::with_capacity(hosts);
        Self { requested, by_id: LiteMap::with_capacity(hosts), suspended: BTreeSet::new() }
    }

    /// Adds the next host of the request; `None` for one that is not the caller's.
    pub(super) fn push(&mut self, host: Option<Arc<Host>>) {
        self.requested.push(host.as_ref().map(|host| host.id));
        match host {
            Some(host) if host.suspended_at.is_some() => {
                self.suspended.insert(host.id);
            }
            Some(host) => {
                self.by_id.insert(host.id, host);
            }
            None => {}
        }
    }

    /// The results of the suspended ones.
    pub(super) fn suspended(&self) -> HostResults {
        self.suspended.iter().map(|host| (*host, suspended())).collect()
    }

    /// Those that are not suspended.
    pub(super) fn ids(&self) -> impl Iterator<Item = HostId> {
        self.by_id.keys().copied()
    }

    pub(super) fn all_hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.by_id.values()
    }

    pub(super) fn get(&self, host: HostId) -> Option<&Arc<Host>> {
        self.by_id.get(&host)
    }

    /// The same result for each that is not suspended.
    pub(super) fn all(&self, result: &HostResult) -> HostResults {
        self.by_id.keys().map(|host| (*host, result.clone())).collect()
    }

    /// What the request does to its hosts, or the result of each if its addresses cannot be used.
    pub(super) fn usable_change(
        &self,
        request: &UpdateRequest,
        given: Result<GivenAddresses, BadAddress>,
    ) -> Result<UpdateChange, HostResult> {
        let given = given.map_err(|bad| {
            self.log_bad_address(request.client, &bad);
            HostResult::with_reason(ReturnCode::Badip, bad.to_string())
        })?;
        self.log_ignored(request, &given);
        let GivenAddresses { change, prefix, .. } = given;
        Ok(UpdateChange { change, prefix, notify: request.notify })
    }

    fn log_bad_address(&self, client: IpAddr, bad: &BadAddress) {
        let hosts = self.names();
        if hosts.is_empty() {
            // no host is the caller's: the reply is about the hosts, not about the addresses
            debug!(%client, "address rejected: {bad}");
        } else if matches!(bad, BadAddress::ProxyWithoutClient(_)) {
            log_repeated!(warn, %client, hosts, "address rejected: {bad}; check daemon.proxy_header");
        } else {
            log_repeated!(info, %client, hosts, "address rejected: {bad}");
        }
    }

    /// Warns of what the request holds and cannot mean.
    fn log_ignored(&self, request: &UpdateRequest, given: &GivenAddresses) {
        let client = request.client;
        if let Some(parameter) = &request.update.unfilled {
            let hosts = self.names();
            log_repeated!(
                warn, %client, hosts, %parameter,
                "a placeholder was ignored, because the client did not fill it in (does it know this address?)"
            );
        }
        if let Some(bad) = &given.bad_prefix {
            let hosts = self.names();
            log_repeated!(warn, %client, hosts, "the IPv6 prefix was ignored: {bad}");
        }
    }

    fn names(&self) -> String {
        let hosts: Vec<_> = self.by_id.values().map(|host| host.fqdn.as_str()).collect();
        hosts.join(",")
    }

    pub(super) fn contains(&self, host: HostId) -> bool {
        self.by_id.contains_key(&host)
    }

    /// A line for each host of the request; `addresses` are those of its change.
    pub(super) fn reply(
        &self,
        addresses: Addresses,
        requested: &[RequestedHost],
        results: &HostResults,
    ) -> Reply {
        let line = |(host, owned): (&RequestedHost, &Option<HostId>)| {
            let result = owned.and_then(|id| results.get(&id));
            let code = match (result, &host.name) {
                (Some(result), _) => result.code,
                (None, None) => ReturnCode::Notfqdn,
                // not the caller's, or deleted or given to another user before the lock
                (None, Some(_)) => ReturnCode::Nohost,
            };
            // the only result of this code is that of a suspended host
            let is_suspended = result.is_some() && code == ReturnCode::Nohost;
            let addresses = result.and_then(|result| result.addresses).unwrap_or(addresses);
            HostLine { hostname: host.sent.clone(), code, is_suspended, addresses }
        };
        let lines = requested.iter().zip(&self.requested).map(line).collect();
        Reply::Hosts { lines }
    }
}
