//! Checks that DNS serves what it acknowledged, and acts if it does not. In: acknowledged changes,
//! and every host once per `verify_interval`. Out: hosts that are published again, or marked
//! unserved with the reason until a check holds.
//!
//! Three loops share the pace of check messages: recent changes, hosts that did not hold at their
//! last check, and the round over all hosts.

mod ask;
mod judge;
mod queues;
mod round;
mod zones;

use super::host_locks::HostLocks;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::counters::CheckCounters;
use crate::db::{Db, DbError};
use crate::dns::{CheckResult, Halving};
use crate::log_budget::LogBudget;
use crate::model::host::{Host, HostId};
use crate::model::name::Zone;
use crate::model::time::Millis;
use crate::rules::decide;
use crate::rules::verify::VerifyTimes;
use arc_swap::ArcSwap;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use queues::CheckQueues;
use round::Round;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use zones::ZoneChecks;

/// Recent changes checked in one second: what 20 messages hold.
const MAX_CHANGES: usize = 4_000;
/// Hosts that did not hold, checked at a time.
const MAX_SUSPECTS: usize = 200;
/// Queries in one second.
const MAX_QUERIES: usize = 200;
/// Zones checked, and names asked for, at the same time.
const MAX_ZONES_AT_ONCE: usize = 8;
const MAX_QUERIES_AT_ONCE: usize = 16;
const PAGE: u32 = 200;
/// In 10 s, about hosts: a server that drops everything concerns every host.
const MAX_LINES: u32 = 20;

/// The verifying story; clones share everything.
#[derive(Clone)]
pub struct Verify(Arc<VerifyParts>);

/// The handles it uses.
pub struct VerifyHandles {
    pub db: Db,
    pub publisher: Publisher,
    pub host_locks: HostLocks,
    pub clock: Clock,
    pub counters: Arc<CheckCounters>,
    /// `dns_service.verify_interval`; zero: no round.
    pub interval: Arc<ArcSwap<Duration>>,
}

struct VerifyParts {
    handles: VerifyHandles,
    times: VerifyTimes,
    changes: tokio::sync::Mutex<Option<Receiver<Arc<Host>>>>,
    queues: Mutex<CheckQueues>,
    zones: Mutex<ZoneChecks>,
    round: tokio::sync::Mutex<Round>,
    log: LogBudget,
    /// Names this run of the daemon.
    daemon: String,
}

/// Why a host is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckedFor {
    /// It has just changed: what hides it is asked for, too.
    Change,
    /// It did not hold, or the round has come to it.
    State,
}

impl Verify {
    /// Takes the acknowledged changes of the publisher.
    pub fn new(handles: VerifyHandles, times: VerifyTimes) -> Self {
        let changes = handles.publisher.take_acknowledged();
        let round = Round::beginning(handles.clock.now().mono + times.first_round);
        Self(Arc::new(VerifyParts {
            handles,
            times,
            changes: tokio::sync::Mutex::new(changes),
            queues: Mutex::default(),
            zones: Mutex::default(),
            round: tokio::sync::Mutex::new(round),
            log: LogBudget::new(MAX_LINES),
            daemon: format!("{:016x}", rand::random::<u64>()),
        }))
    }

    fn handles(&self) -> &VerifyHandles {
        &self.0.handles
    }

    fn queues(&self) -> MutexGuard<'_, CheckQueues> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn zones(&self) -> MutexGuard<'_, ZoneChecks> {
        self.0.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anything to ask: the built-in name server serves what it has stored.
    pub fn is_needed(&self) -> bool {
        self.handles().publisher.is_remote()
    }

    //----- Recent changes -----

    /// Checks the changes that are due. Called every second.
    ///
    /// # Errors
    /// The database failed; later checks find what was missed.
    pub async fn check_changes(&self) -> Result<(), DbError> {
        let mut changes = self.0.changes.lock().await;
        let now = self.handles().clock.now().mono;
        let due = now + self.0.times.after_change;
        while let Some(host) = changes.as_mut().and_then(|changes| changes.try_recv().ok()) {
            self.queues().add_change(host, due);
        }
        let hosts = self.queues().take_changes(MAX_CHANGES, now);
        self.check(hosts, CheckedFor::Change).await?;
        let to_ask = self.queues().take_questions(MAX_QUERIES);
        let asked = to_ask.into_iter().map(|host| self.ask(host));
        let asked: Vec<_> =
            stream::iter(asked).buffer_unordered(MAX_QUERIES_AT_ONCE).collect().await;
        self.count_waiting();
        asked.into_iter().collect()
    }

    fn count_waiting(&self) {
        let waiting = u64::try_from(self.queues().waiting()).unwrap_or(u64::MAX);
        self.handles().counters.waiting.set(waiting);
    }

    //----- Hosts that did not hold -----

    /// Checks the hosts again that did not hold and are due. Called every second.
    ///
    /// # Errors
    /// The database failed; the next call goes on.
    pub async fn check_suspects(&self) -> Result<(), DbError> {
        self.watch_zones();
        self.probe_zones().await?;
        self.load_unserved().await?;
        let now = self.handles().clock.now().mono;
        let retry = now + self.0.times.confirm;
        let due = self.queues().take_suspects(MAX_SUSPECTS, now, retry);
        let mut hosts = Vec::with_capacity(due.len());
        for suspect in due {
            let found = self.handles().db.readable_host(&suspect.fqdn).await?;
            match found.filter(|host| host.id == suspect.id) {
                // it is checked once it is published
                Some(host) if host.unpublished_since.is_some() => {}
                Some(host) => hosts.push(host),
                None => self.queues().forget(suspect.id),
            }
        }
        self.check(hosts, CheckedFor::State).await
    }

    async fn load_unserved(&self) -> Result<(), DbError> {
        let now = self.handles().clock.now().mono;
        if !self.queues().is_time_to_load(self.0.times.recheck, now) || !self.is_checker().await? {
            return Ok(());
        }
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.handles().db.unserved_hosts(after, PAGE).await?;
            let Some(last) = page.last else { return Ok(()) };
            after = last;
            for host in page.rows {
                if !self.queues().add_unserved(&host, now) {
                    return Ok(());
                }
            }
        }
    }

    //----- One check -----

    /// Checks hosts, those of a zone together, and acts on the results.
    async fn check(&self, hosts: Vec<Arc<Host>>, what: CheckedFor) -> Result<(), DbError> {
        let mut zones: HashMap<Zone, Vec<Arc<Host>>> = HashMap::new();
        for host in hosts {
            zones.entry(host.zone()).or_default().push(host);
        }
        let checked = zones.into_iter().map(|(zone, hosts)| self.check_zone(zone, hosts, what));
        let checked: Vec<_> =
            stream::iter(checked).buffer_unordered(MAX_ZONES_AT_ONCE).collect().await;
        checked.into_iter().collect()
    }

    async fn check_zone(
        &self,
        zone: Zone,
        hosts: Vec<Arc<Host>>,
        what: CheckedFor,
    ) -> Result<(), DbError> {
        let checks: Vec<_> = hosts.iter().map(|host| decide::check(host)).collect();
        let publisher = &self.handles().publisher;
        let results = publisher.check_records(&zone, &checks, Halving::WhileSomeHold).await;
        self.zone_checked(&zone, &hosts, &results);
        let judged = hosts.into_iter().zip(results).map(|(host, result)| async move {
            match result {
                CheckResult::Holds => self.holds(host, what).await,
                CheckResult::Differs => self.differs(host).await,
                CheckResult::Unknown(why) => self.is_unknown(host, &why).await,
            }
        });
        join_all(judged).await.into_iter().collect()
    }
}
