//! The daemon's state and the outcomes of reloads, sweeps and comparisons into replies.

use super::bounds::{cut, fitting};
use super::names::{failed, host_name};
use crate::config::{Difference, Differences};
use crate::counters::LastReload;
use crate::model::family::Family;
use crate::model::time::Millis;
use crate::reload::ReloadResult;
use crate::stories::expire::Swept;
use crate::stories::hosts::sync::{Drift, Repair, SyncPage};
use crate::stories::status::{CertificateHealth, Figure, Snapshot, ZoneState};
use ddnsd_proto::reload::{ChangedKey, Reloaded};
use ddnsd_proto::status::{
    CertificateView, LastReloadView, Named, StatusView, SweptView, ZoneView,
};
use ddnsd_proto::sync::{DriftView, SyncedPage};

/// Keys and problems of a configuration.
const MAX_KEYS: usize = 100;

const MAX_ZONES: usize = 500;

/// Records at one name.
const MAX_RECORDS: usize = 50;

pub(in crate::admin) fn reloaded(result: ReloadResult) -> Reloaded {
    let log_problem = result.log_problem.map(cut);
    let keys = |keys: Vec<Difference>| keys.into_iter().take(MAX_KEYS).map(changed_key).collect();
    match result.configuration {
        Ok(Differences { changed, needs_restart }) => Reloaded {
            changed_total: changed.len() as u64,
            changed: keys(changed),
            needs_restart: keys(needs_restart),
            log_problem,
            ..Reloaded::default()
        },
        Err(problems) => Reloaded {
            problems_total: problems.len() as u64,
            problems: problems.into_iter().take(MAX_KEYS).map(cut).collect(),
            log_problem,
            ..Reloaded::default()
        },
    }
}

fn changed_key(Difference { key, values }: Difference) -> ChangedKey {
    // without values the key is secret
    let (old, new) = values.unzip();
    ChangedKey { key: cut(key), old: old.map(cut), new: new.map(cut) }
}

pub(in crate::admin) fn status(snapshot: Snapshot) -> StatusView {
    let named = |Figure { name, value, .. }| Named { name, value };
    let pending_ms = |since: Option<Millis>| since.map(|since| snapshot.at.since(since).max(0));
    let zone = |zone: ZoneState| ZoneView {
        zone: zone.zone,
        down: zone.down,
        pending: zone.pending,
        pending_ms: pending_ms(zone.pending_since),
        unserved: zone.unserved,
        unserved_reason: zone.unserved_reason.map(cut),
        last_error_at: zone.last_error.as_ref().and_then(|error| error.at).map(|at| at.0),
        last_error: zone.last_error.map(|error| cut(error.text)),
    };
    let last_reload =
        |reload: LastReload| LastReloadView { at: reload.at.0, succeeded: reload.succeeded };
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: snapshot.uptime_ms,
        database_error: snapshot.database.map(cut),
        database_write_error: snapshot.writing.map(cut),
        users: snapshot.users,
        hosts: snapshot.hosts,
        pending: snapshot.pending,
        pending_ms: pending_ms(snapshot.pending_since),
        unserved: snapshot.unserved,
        check_round_ms: snapshot
            .check_round
            .map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
        last_reload: snapshot.last_reload.map(last_reload),
        certificate: snapshot.certificate.map(certificate),
        zones: snapshot.zones.into_iter().take(MAX_ZONES).map(zone).collect(),
        queues: snapshot.queues.into_iter().map(named).collect(),
        counters: snapshot.counters.into_iter().map(named).collect(),
    }
}

fn certificate(health: CertificateHealth) -> CertificateView {
    let CertificateHealth { until, is_valid, warning } = health;
    CertificateView { ends_at: until.0, is_valid, warning: warning.map(cut) }
}

pub(in crate::admin) fn swept(swept: Swept) -> SweptView {
    SweptView {
        expired_total: swept.expired.len() as u64,
        failed_total: swept.failed.len() as u64,
        expired: fitting(swept.expired.iter().map(host_name)),
        failed: fitting(swept.failed.into_iter().map(failed)),
        pending: swept.pending,
    }
}

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
