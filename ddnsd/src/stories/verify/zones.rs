//! What checks of a zone as a whole found. A zone that cannot be checked is logged once. A zone
//! whose server was away is checked as a whole once it answers: it may have lost records meanwhile.

use super::{CheckedFor, Verify};
use crate::db::DbError;
use crate::dns::{CheckResult, DnsError};
use crate::model::host::Host;
use crate::model::name::Zone;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Zones that are remembered.
const MAX_ZONES: usize = 1_000;
/// Between two tries of a zone whose checks or queries get no answer.
const PROBE: Duration = Duration::from_secs(5);
/// Tried at a time.
const MAX_PROBES: usize = 4;
const ASK_AGAIN: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct ZoneChecks {
    known: HashMap<Zone, ZoneCheck>,
    /// Zones that updates found down.
    down: HashSet<Zone>,
    /// Zones to check as a whole, and the last name that was checked.
    due: VecDeque<(Zone, String)>,
}

#[derive(Default)]
struct ZoneCheck {
    /// Checks fail, and that is logged.
    is_failing: bool,
    /// A host to try with, and when, while the server does not answer.
    away: Option<(Arc<Host>, Instant)>,
    /// When a query last failed, which is logged.
    query_failed: Option<Instant>,
    has_other_ttl: bool,
}

impl ZoneChecks {
    /// `None` if too many are known.
    fn of(&mut self, zone: &Zone) -> Option<&mut ZoneCheck> {
        if self.known.len() >= MAX_ZONES && !self.known.contains_key(zone) {
            return None;
        }
        Some(self.known.entry(zone.clone()).or_default())
    }

    /// Whether a query may be sent.
    pub(super) fn may_ask(&self, zone: &Zone, now: Instant) -> bool {
        let failed = self.known.get(zone).and_then(|check| check.query_failed);
        failed.is_none_or(|failed| failed + ASK_AGAIN <= now)
    }

    /// Records when a query failed, or that it did not. Returns whether that is news.
    pub(super) fn asked(&mut self, zone: &Zone, failed: Option<Instant>) -> bool {
        let Some(check) = self.of(zone) else { return false };
        let is_news = check.query_failed.is_some() != failed.is_some();
        check.query_failed = failed;
        is_news
    }

    /// Records that the server changes TTLs. Returns whether that is news.
    pub(super) fn has_other_ttl(&mut self, zone: &Zone) -> bool {
        self.of(zone).is_some_and(|check| !std::mem::replace(&mut check.has_other_ttl, true))
    }

    /// Hosts to try zones with that are away.
    fn take_probes(&mut self, now: Instant) -> Vec<Arc<Host>> {
        let away = self.known.values_mut().filter_map(|check| check.away.as_mut());
        let due = away.filter(|(_, retry)| *retry <= now).take(MAX_PROBES);
        due.map(|(host, retry)| {
            *retry = now + PROBE;
            Arc::clone(host)
        })
        .collect()
    }

    fn check_whole(&mut self, zone: &Zone) {
        let is_due = self.due.iter().any(|(due, _)| due == zone);
        if !is_due && self.due.len() < MAX_ZONES {
            self.due.push_back((zone.clone(), String::new()));
        }
    }

    /// The next zone to check as a whole, and the last name that was checked.
    pub(super) fn next_whole(&self) -> Option<(Zone, String)> {
        self.due.front().cloned()
    }

    /// Goes on after this name, or with the next zone.
    pub(super) fn whole_checked(&mut self, last: Option<String>) {
        if let Some((zone, _)) = self.due.pop_front()
            && let Some(last) = last
        {
            self.due.push_front((zone, last));
        }
    }
}

impl Verify {
    /// Records what the check of a zone says about its server.
    pub(super) fn zone_checked(&self, zone: &Zone, hosts: &[Arc<Host>], results: &[CheckResult]) {
        let unknown = results.iter().find_map(|result| match result {
            CheckResult::Unknown(why) => Some(why),
            CheckResult::Holds | CheckResult::Differs => None,
        });
        let is_answered = results.iter().any(|result| !matches!(result, CheckResult::Unknown(_)));
        let mut zones = self.zones();
        let Some(check) = zones.of(zone) else { return };
        if is_answered {
            if std::mem::take(&mut check.is_failing) {
                info!(%zone, "what the name server holds can be checked again");
            }
            if check.away.take().is_some() {
                zones.check_whole(zone);
            }
        } else if let Some(why) = unknown {
            if why.is_unanswered() && check.away.is_none() {
                let retry = self.handles().clock.now().mono + PROBE;
                check.away = hosts.first().map(|host| (Arc::clone(host), retry));
            }
            // that the zone is down is logged already
            let is_logged = matches!(why, DnsError::Down { .. });
            if !is_logged && !std::mem::replace(&mut check.is_failing, true) {
                warn!(%zone, "cannot check what the name server holds: {why}");
            }
        }
    }

    /// Notices zones that were down and are not any more.
    pub(super) fn watch_zones(&self) {
        let health = self.handles().publisher.zones();
        let down: HashSet<_> =
            health.into_iter().filter(|zone| zone.down).map(|zone| zone.zone).collect();
        let mut zones = self.zones();
        let back: Vec<_> = zones.down.difference(&down).cloned().collect();
        zones.down = down;
        for zone in back {
            zones.check_whole(&zone);
        }
    }

    /// Tries zones whose server did not answer checks, so that they are checked once it is back.
    pub(super) async fn probe_zones(&self) -> Result<(), DbError> {
        let now = self.handles().clock.now().mono;
        let due = self.zones().take_probes(now);
        let mut hosts = Vec::with_capacity(due.len());
        for host in due {
            match self.handles().db.readable_host(&host.fqdn).await? {
                Some(host) => hosts.push(host),
                // any host of the zone will do
                None => hosts.push(host),
            }
        }
        self.check(hosts, CheckedFor::State).await
    }
}
