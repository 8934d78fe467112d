//! A snapshot of the daemon's state, for `ddnsctl status`.

use super::update::UpdateCounters;
use crate::clock::Clock;
use crate::counters::{Counter, DatabaseCounters, DnsCounters, LimitCounters, PasswordCounters};
use crate::db::{Counts, Db, DbError, PendingZone};
use crate::dns::{Dns, ZoneHealth};
use crate::model::time::Now;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The handles this story uses.
#[derive(Clone)]
pub struct Status {
    pub db: Db,
    pub dns: Dns,
    pub clock: Clock,
    /// When the daemon started.
    pub started: Now,
    pub counters: Counters,
}

/// Every part's counters.
#[derive(Clone, Default)]
pub struct Counters {
    pub updates: Arc<UpdateCounters>,
    pub dns: Arc<DnsCounters>,
    pub passwords: Arc<PasswordCounters>,
    pub limits: Arc<LimitCounters>,
    pub database: Arc<DatabaseCounters>,
}

/// The state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Since the daemon started, milliseconds.
    pub uptime_ms: u64,
    /// Counters by name, in display order: `updates.good`, `updates.nochg`, `dns.messages`, …
    pub counters: Vec<(String, u64)>,
    /// Queue lengths by name.
    pub queues: Vec<(String, u64)>,
    /// Why the database does not answer; `None` if it does.
    pub database: Option<String>,
    /// Why it cannot store anything, and since how long; `None` if changes are written.
    pub writing: Option<String>,
    /// By name: each zone that was published to lately or has pending hosts.
    pub zones: Vec<ZoneState>,
    /// Hosts whose records DNS is not known to hold.
    pub pending: u64,
    pub users: u64,
    pub hosts: u64,
}

#[derive(Clone, Debug)]
pub struct ZoneState {
    pub zone: String,
    /// Whether the name server does not answer for it at the moment.
    pub down: bool,
    /// Hosts of it that DNS is not known to hold.
    pub pending: u64,
    /// The last failure of the last minute, or that of a pending host, however long ago.
    pub last_error: Option<String>,
}

impl Status {
    /// Reads everything now.
    pub async fn snapshot(&self) -> Snapshot {
        let rows = self.rows().await;
        let (jobs, touches) = self.db.waiting();
        let zones = self.dns.zones();
        let waiting = zones.iter().map(|zone| zone.queued as u64).sum();
        let up = self.clock.now().mono.saturating_duration_since(self.started.mono);
        let database = rows.as_ref().err().map(ToString::to_string);
        let (counted, pending) = rows.unwrap_or_default();
        Snapshot {
            uptime_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
            counters: self.counters.named(),
            queues: vec![
                ("database".into(), jobs as u64),
                ("keepalives".into(), touches as u64),
                ("dns".into(), waiting),
            ],
            database,
            writing: self.writing(),
            zones: zone_states(zones, pending),
            pending: counted.unpublished,
            users: counted.users,
            hosts: counted.hosts,
        }
    }

    fn writing(&self) -> Option<String> {
        let (since, why) = self.counters.database.writing.failing()?;
        let seconds = self.clock.now().mono.saturating_duration_since(since).as_secs();
        Some(format!("changes have not been written for {seconds} s: {why}"))
    }

    /// Stops at the first error, so that a database that does not answer is waited for once only.
    async fn rows(&self) -> Result<(Counts, Vec<PendingZone>), DbError> {
        Ok((self.db.counts().await?, self.db.pending_zones().await?))
    }
}

/// Joins what the exit knows of zones with the rows of pending hosts.
fn zone_states(active: Vec<ZoneHealth>, pending: Vec<PendingZone>) -> Vec<ZoneState> {
    let mut states: BTreeMap<String, ZoneState> = BTreeMap::new();
    for zone in active {
        let name = zone.zone.to_string();
        let last_error = zone.last_error.map(|error| error.to_string());
        let state = ZoneState { zone: name.clone(), down: zone.down, pending: 0, last_error };
        states.insert(name, state);
    }
    for PendingZone { zone, hosts, last_error } in pending {
        let new = || ZoneState { zone: zone.clone(), down: false, pending: 0, last_error: None };
        let state = states.entry(zone.clone()).or_insert_with(new);
        state.pending = hosts;
        state.last_error = state.last_error.take().or(last_error);
    }
    states.into_values().collect()
}

impl Counters {
    fn named(&self) -> Vec<(String, u64)> {
        let Counters { updates, dns, passwords, limits, database } = self;
        let of_updates = updates.by_code();
        let of_updates =
            of_updates.map(|(code, counter)| (format!("updates.{}", code.as_str()), counter.get()));
        let others: [(&str, &Counter); 15] = [
            ("dns.messages", &dns.messages),
            ("dns.hosts", &dns.hosts),
            ("dns.tcp", &dns.tcp),
            ("dns.refused", &dns.refused),
            ("dns.unanswered", &dns.unanswered),
            ("dns.dropped", &dns.dropped),
            ("passwords.hashed", &passwords.hashed),
            ("passwords.cached_right", &passwords.cached_right),
            ("passwords.cached_wrong", &passwords.cached_wrong),
            ("passwords.busy", &passwords.busy),
            ("limits.bad_refused", &limits.bad_refused),
            ("limits.good_refused", &limits.good_refused),
            ("database.commits", &database.commits),
            ("database.writes", &database.writes),
            ("database.failed", &database.failed),
        ];
        let others = others.into_iter().map(|(name, counter)| (name.to_owned(), counter.get()));
        of_updates.chain(others).collect()
    }
}
