//! The rows, which outlive the daemon: what the statements of `db/` do, over what the model makes of a row.

use crate::db::Settle;
use crate::model::address::Addresses;
use crate::model::change::Want;
use crate::model::host::{Acked, Host, HostId, Seen};
use crate::model::name::{Fqdn, Label, Zone};
use crate::model::notice::{Kind, Owed};
use crate::model::record::WantedRecords;
use crate::model::time::Millis;
use crate::model::user::UserId;
use crate::rules::expiry::Downtime;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) host: Arc<Host>,
    pub(super) seen: Seen,
    /// The addresses it has or had.
    pub(super) last: Addresses,
    pub(super) check_at: Option<Millis>,
    pub(super) last_error: Option<String>,
}

/// A queued mail, and which version of the row it tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) kind: Kind,
    pub(super) host: HostId,
    pub(super) version: i64,
}

#[derive(Default)]
pub(super) struct Disk {
    pub(super) rows: BTreeMap<HostId, Row>,
    pub(super) mails: Vec<Mail>,
    pub(super) gaps: Downtime,
    pub(super) heartbeat: Option<Millis>,
    added: i64,
}

impl Disk {
    pub(super) fn add(&mut self, label: &str, zone: &str, expiry_ttl: Option<u32>) -> HostId {
        self.added += 1;
        let id = HostId(self.added);
        let host = Host {
            id,
            user: UserId(1),
            label: Label::parse(label).unwrap(),
            zone: Zone::parse(zone).unwrap(),
            fqdn: Fqdn::parse(&format!("{label}.{zone}")).unwrap(),
            dns_ttl: None,
            expiry_ttl,
            wanted: WantedRecords::default(),
            acked: Acked::default(),
            unpublished_since: None,
            owed: None,
            version: 1,
        };
        let row = Row {
            host: Arc::new(host),
            seen: Seen::default(),
            last: Addresses::default(),
            check_at: None,
            last_error: None,
        };
        self.rows.insert(id, row);
        id
    }

    pub(super) fn host(&self, id: HostId) -> Option<Arc<Host>> {
        self.rows.get(&id).map(|row| Arc::clone(&row.host))
    }

    /// The row, if nobody has changed it since.
    fn row(&mut self, host: &Host) -> Option<&mut Row> {
        self.rows.get_mut(&host.id).filter(|row| row.host.version == host.version)
    }

    pub(super) fn want(&mut self, want: &Want) -> Option<Arc<Host>> {
        let row = self.row(&want.host)?;
        let addresses = want.records.addresses();
        row.last = Addresses { v4: addresses.v4.or(row.last.v4), v6: addresses.v6.or(row.last.v6) };
        row.seen = want.seen.or(row.seen);
        row.check_at = want.check_at.map(|at| row.check_at.filter(|is| *is < at).unwrap_or(at));
        row.last_error = None;
        row.host = Arc::new(want.host.wanting(want.records, want.owed, want.at));
        Some(Arc::clone(&row.host))
    }

    pub(super) fn doubt(&mut self, host: &Host, at: Millis) -> Arc<Host> {
        let row = self.row(host).unwrap();
        row.host = Arc::new(host.doubted(at));
        Arc::clone(&row.host)
    }

    pub(super) fn set_ttl(
        &mut self,
        host: &Host,
        ttl: Option<u32>,
        publish: Option<Millis>,
    ) -> Arc<Host> {
        let row = self.row(host).unwrap();
        row.host = Arc::new(host.with_ttls(ttl, host.expiry_ttl, publish));
        Arc::clone(&row.host)
    }

    pub(super) fn settle(&mut self, settle: Settle) {
        let (Settle::Acknowledged { host, at, .. } | Settle::Failed { host, at, .. }) = &settle;
        let (host, at) = (Arc::clone(host), *at);
        let Some(row) = self.row(&host) else {
            if let Some(row) = self.rows.get_mut(&host.id) {
                row.host = Arc::new(row.host.doubted(at));
            }
            return;
        };
        match settle {
            Settle::Failed { error, .. } => row.last_error = Some(error),
            Settle::Acknowledged { ttl, is_final, .. } => {
                let is_due = row.host.owed.is_some();
                row.last_error = None;
                row.host = Arc::new(host.acknowledged(ttl, is_final));
                let owed = host.owed.iter().flat_map(Owed::mails).filter(|_| is_due);
                let mails =
                    owed.map(|(kind, _)| Mail { kind, host: host.id, version: host.version });
                self.mails.extend(mails);
            }
        }
    }

    /// What is unpublished, those with an address first, the longest waiting first.
    pub(super) fn unpublished(&self) -> Vec<Arc<Host>> {
        let hosts = self.rows.values().map(|row| &row.host);
        let mut hosts: Vec<_> =
            hosts.filter(|it| it.unpublished_since.is_some()).cloned().collect();
        hosts.sort_by_key(|host| {
            (host.wanted.addresses().is_empty(), host.unpublished_since, host.id)
        });
        hosts
    }

    /// The clock was set back.
    pub(super) fn no_later_than(&mut self, now: Millis) {
        for row in self.rows.values_mut() {
            row.seen.v4 = row.seen.v4.map(|at| at.min(now));
            row.seen.v6 = row.seen.v6.map(|at| at.min(now));
            if !row.host.wanted.addresses().is_empty() {
                row.check_at = Some(Millis(0));
            }
        }
    }

    /// At a start: what was wanted by the run before was not wanted later than now.
    pub(super) fn pending_before(&mut self, now: Millis) {
        let latest = now.plus_millis(-1);
        for row in self.rows.values_mut() {
            if row.host.unpublished_since.is_some_and(|since| since > latest) {
                let host = Host { unpublished_since: Some(latest), ..Host::clone(&row.host) };
                row.host = Arc::new(host);
            }
        }
    }
}
