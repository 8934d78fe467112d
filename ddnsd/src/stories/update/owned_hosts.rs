//! The requested hosts that are the caller's. In: hosts that were looked up. Out: the reply, from
//! the result of each.

use crate::model::host::{Host, HostId};
use crate::rules::reply::{self, Reply, ReturnCode};
use crate::rules::request::{BadAddress, RequestedHost, UpdateRequest};
use crate::stories::last_requests::{HostResult, HostResults};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{debug, info, warn};

pub(super) struct OwnedHosts {
    /// In the order of the request; `None` for a host that is not the caller's.
    requested: Vec<Option<HostId>>,
    by_id: BTreeMap<HostId, Arc<Host>>,
}

impl OwnedHosts {
    pub(super) fn with_capacity(hosts: usize) -> Self {
        Self { requested: Vec::with_capacity(hosts), by_id: BTreeMap::new() }
    }

    /// Adds the next host of the request; `None` for one that is not the caller's.
    pub(super) fn push(&mut self, host: Option<Arc<Host>>) {
        self.requested.push(host.as_ref().map(|host| host.id));
        self.by_id.extend(host.map(|host| (host.id, host)));
    }

    pub(super) fn ids(&self) -> BTreeSet<HostId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn get(&self, host: HostId) -> Option<&Arc<Host>> {
        self.by_id.get(&host)
    }

    /// The same result for each.
    pub(super) fn all(&self, result: &HostResult) -> HostResults {
        self.by_id.keys().map(|host| (*host, result.clone())).collect()
    }

    pub(super) fn log_bad_address(&self, request: &UpdateRequest, bad: &BadAddress) {
        let client = request.client;
        let hosts: Vec<_> = self.by_id.values().map(|host| host.fqdn.to_string()).collect();
        let hosts = hosts.join(",");
        if hosts.is_empty() {
            // no host is the caller's: the reply is about the hosts, not about the addresses
            debug!(%client, "address rejected: {bad}");
        } else if matches!(bad, BadAddress::ProxyWithoutClient(_)) {
            warn!(%client, hosts, "address rejected: {bad}; check daemon.proxy_header");
        } else {
            info!(%client, hosts, "address rejected: {bad}");
        }
    }

    /// A line for each host of the request.
    pub(super) fn reply(
        &self,
        request: &UpdateRequest,
        requested: &[RequestedHost],
        results: &HostResults,
    ) -> Reply {
        let codes = requested.iter().zip(&self.requested).map(|(host, owned)| match owned {
            // no result: it was deleted or given to another user before the lock
            Some(id) => results.get(id).map_or(ReturnCode::Nohost, |result| result.code),
            None if host.name.is_none() => ReturnCode::Notfqdn,
            None => ReturnCode::Nohost,
        });
        let lines = reply::lines(requested, codes);
        let change = request.change.as_ref();
        let addresses = change.map(|change| change.addresses()).unwrap_or_default();
        Reply::Hosts { lines, addresses }
    }
}
