//! What sweeps, comparisons and deletions did, as it travels to `ddnsctl`; pure. Names go in both forms.

use super::cut;
use crate::model::address::Family;
use crate::model::name::Fqdn;
use crate::stories::expire::Swept;
use crate::stories::hosts::Deleted;
use crate::stories::hosts::sync::{Drift, Repair, SyncPage};
use ddnsd_proto::host::{self as proto, LeftRecord};
use ddnsd_proto::status::{Failed, HostName, SweptView};
use ddnsd_proto::sync::{DriftView, SyncedPage};
use ddnsd_proto::transport::MAX_FRAME;
use serde::Serialize;
use std::net::IpAddr;

/// Bytes of a list whose items have no bound on their number: a reply has a few such lists.
const MAX_LIST: usize = MAX_FRAME / 4;

/// Records at one name that are sent.
const MAX_RECORDS: usize = 50;

/// The first of these, as many as fit: names in U-labels are up to four times as long as in A-labels, and
/// most are short.
fn fitting<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut left = MAX_LIST;
    let mut fits = |item: &T| {
        // what cannot be written is not sent either
        let bytes = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len());
        let rest = left.checked_sub(bytes.saturating_add(1));
        rest.is_some_and(|rest| {
            left = rest;
            true
        })
    };
    items.take_while(|item| fits(item)).collect()
}

/// What a sweep did.
pub(in crate::admin) fn swept(swept: Swept) -> SweptView {
    let expired_hosts = fitting(swept.expired.iter().map(host_name));
    SweptView {
        expired_total: swept.expired.len() as u64,
        failed_total: swept.failed.len() as u64,
        expired: expired_hosts.iter().map(|host| host.fqdn.clone()).collect(),
        expired_hosts,
        failed: fitting(swept.failed.into_iter().map(failed)),
        pending: Some(swept.pending),
    }
}

pub(super) fn host_name(fqdn: &Fqdn) -> HostName {
    HostName { fqdn: fqdn.as_str().to_owned(), unicode: fqdn.to_unicode() }
}

fn failed((fqdn, reason): (Fqdn, String)) -> Failed {
    let HostName { fqdn, unicode } = host_name(&fqdn);
    Failed { fqdn, unicode, reason: cut(reason) }
}

/// What a deletion left behind.
pub(in crate::admin) fn deleted(deleted: &Deleted) -> proto::Deleted {
    let record = |address: &IpAddr| {
        let HostName { fqdn, unicode } = host_name(&deleted.fqdn);
        let record = if address.is_ipv4() { "A" } else { "AAAA" }.to_owned();
        LeftRecord { fqdn, unicode, record, address: address.to_string() }
    };
    let records: Vec<_> = deleted.left_in_dns.iter().map(record).collect();
    let line = |left: &LeftRecord| format!("{} {} {}", left.fqdn, left.record, left.address);
    proto::Deleted {
        left_in_dns: records.iter().map(line).collect(),
        records,
        others_possible: Some(deleted.others_possible),
        host: Some(host_name(&deleted.fqdn)),
    }
}

/// What came of comparing a page.
pub(in crate::admin) fn synced(page: SyncPage) -> SyncedPage {
    SyncedPage {
        compared: page.compared,
        pending: page.pending,
        drift: page.drift.into_iter().map(drift).collect(),
        failed: page.failed.into_iter().map(failed).collect(),
        next: page.next,
    }
}

fn drift(drift: Drift) -> DriftView {
    let problem = match &drift.repair {
        Repair::NotYet(why) => Some(cut(why.clone())),
        Repair::NotAsked | Repair::Done => None,
    };
    DriftView {
        fqdn: drift.host.fqdn.as_str().to_owned(),
        unicode: drift.host.fqdn.to_unicode(),
        record: match drift.family {
            Family::V4 => "A".to_owned(),
            Family::V6 => "AAAA".to_owned(),
        },
        in_dns: drift.found.records.into_iter().take(MAX_RECORDS).map(cut).collect(),
        in_dns_ttl: drift.found.ttl,
        wanted: drift.wanted,
        wanted_ttl: drift.wanted_ttl,
        repaired: drift.repair == Repair::Done,
        problem,
    }
}
