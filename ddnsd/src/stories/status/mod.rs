//! A snapshot of the daemon's state, for `ddnsctl status` and `/metrics`.

mod figures;

use crate::clock::Clock;
use crate::counters::{LastError, LastReload, Reading};
use crate::db::{Counts, Db, DbError, PendingZone, UnservedZone};
use crate::dns::Dns;
use crate::model::certificate::Certificate;
use crate::model::time::{Millis, Now};
use crate::passwords::Passwords;
use crate::rules::certificate;
pub use figures::{Counters, Durations, Figure};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for the numbers of rows: a scrape and a call of `ddnsctl` end after 10 s.
const ROWS_TIMEOUT: Duration = Duration::from_secs(5);

/// The handles this story uses.
#[derive(Clone)]
pub struct Status {
    pub db: Db,
    pub dns: Dns,
    pub passwords: Passwords,
    pub clock: Clock,
    /// When the daemon started.
    pub started: Now,
    pub counters: Counters,
}

/// The state at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub at: Millis,
    pub started: Millis,
    /// Since the daemon started, milliseconds.
    pub uptime_ms: u64,
    /// Counters in display order: `updates.good`, `updates.nochg`, `dns.messages`, …
    pub counters: Vec<Figure>,
    /// Queue lengths.
    pub queues: Vec<Figure>,
    pub durations: Vec<Durations>,
    /// HTTP replies by status; 0 stands for all others.
    pub replies: Vec<(u16, u64)>,
    pub connections: OpenConnections,
    pub last_reload: Option<LastReload>,
    /// That clients see; `None` without TLS.
    pub certificate: Option<CertificateHealth>,
    /// Why the database does not answer; `None` if it does.
    pub database: Option<String>,
    /// Why it cannot store anything, and since how long; `None` if changes are written.
    pub writing: Option<String>,
    /// By name: each zone that was published to since the start or has pending hosts.
    pub zones: Vec<ZoneState>,
    /// Hosts whose records DNS is not known to hold.
    pub pending: u64,
    /// Since when the first of them has been pending.
    pub pending_since: Option<Millis>,
    /// Hosts that DNS does not serve although it acknowledged them.
    pub unserved: u64,
    /// How long the last check of all hosts took; `None` before the first.
    pub check_round: Option<Duration>,
    pub users: u64,
    pub hosts: u64,
}

/// The certificate that clients see.
#[derive(Clone, Debug)]
pub struct CertificateHealth {
    /// Its last moment.
    pub until: Millis,
    /// Whether clients accept it.
    pub is_valid: bool,
    /// What its owner must know now.
    pub warning: Option<String>,
}

fn health(certificate: &Certificate, now: Millis) -> CertificateHealth {
    CertificateHealth {
        until: certificate.validity.until,
        is_valid: certificate::state(certificate.validity, now).is_valid(),
        warning: certificate::warning(certificate, now),
    }
}

/// Connections of the HTTP front end.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenConnections {
    pub open: u64,
    pub max: u64,
}

#[derive(Clone, Debug, Default)]
pub struct ZoneState {
    pub zone: String,
    /// Whether the name server does not answer for it at the moment.
    pub down: bool,
    /// Hosts of it that DNS is not known to hold.
    pub pending: u64,
    /// Since when the first of them has been pending.
    pub pending_since: Option<Millis>,
    /// Hosts of it that DNS does not serve although it acknowledged them, and why, of one of them.
    pub unserved: u64,
    pub unserved_reason: Option<String>,
    /// The last failure since the start, or that of a pending host, however long ago.
    pub last_error: Option<ZoneError>,
    /// `None` if nothing was published to it since the start.
    pub messages: Option<ZoneMessages>,
}

#[derive(Clone, Debug)]
pub struct ZoneError {
    /// `None` if it was before the start.
    pub at: Option<Millis>,
    pub text: String,
}

/// Messages to the name server about a zone, since the start.
#[derive(Clone, Debug)]
pub struct ZoneMessages {
    /// By RCODE, or what stands for it.
    pub results: Vec<(&'static str, u64)>,
    /// Hosts in the messages.
    pub hosts: u64,
    pub durations: Reading,
}

impl Status {
    /// Reads everything now.
    pub async fn snapshot(&self) -> Snapshot {
        let rows = tokio::time::timeout(ROWS_TIMEOUT, self.rows()).await;
        let rows = rows.unwrap_or(Err(DbError::NoAnswer));
        let now = self.clock.now();
        let up = now.mono.saturating_duration_since(self.started.mono);
        let database = rows.as_ref().err().map(ToString::to_string);
        let is_known = rows.is_ok();
        let (counted, pending, unserved) = rows.unwrap_or_default();
        let known = is_known.then_some(&counted);
        let round = self.counters.dns.checks.round_seconds.get();
        let Counters { http, connections, reloads, .. } = &self.counters;
        Snapshot {
            at: now.wall,
            started: self.started.wall,
            uptime_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
            counters: [self.counters.figures(), self.server_figures()].concat(),
            queues: self.queues(self.dns.zones().iter().map(|zone| zone.queued).sum(), known),
            durations: self.counters.durations(),
            replies: http.replies().map(|(status, counter)| (status, counter.get())).collect(),
            connections: OpenConnections {
                open: connections.open.get(),
                max: connections.max.get(),
            },
            last_reload: reloads.last(),
            certificate: reloads.certificate.load().as_ref().map(|it| health(it, now.wall)),
            database,
            writing: self.writing(),
            pending_since: pending.iter().map(|zone| zone.since).min(),
            zones: self.zones(pending, unserved),
            pending: counted.unpublished,
            unserved: counted.unserved,
            check_round: (round > 0).then(|| Duration::from_secs(round)),
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
    async fn rows(&self) -> Result<(Counts, Vec<PendingZone>, Vec<UnservedZone>), DbError> {
        let counts = self.db.counts().await?;
        let pending = self.db.pending_zones().await?;
        Ok((counts, pending, self.db.unserved_zones().await?))
    }

    /// Joins what was counted, which zones are down, and the rows of pending and unserved hosts.
    fn zones(&self, pending: Vec<PendingZone>, unserved: Vec<UnservedZone>) -> Vec<ZoneState> {
        let mut zones = ZoneStates::default();
        for (name, counters) in self.counters.dns.zones.all() {
            let zone = zones.of(&name);
            let error = |LastError { at, text }| ZoneError { at: Some(at), text };
            zone.last_error = counters.last_error().map(error);
            zone.messages = Some(ZoneMessages {
                results: counters.results().map(|(result, count)| (result, count.get())).collect(),
                hosts: counters.hosts.get(),
                durations: counters.durations.read(),
            });
        }
        for health in self.dns.zones() {
            zones.of(health.zone.as_str()).down = health.down;
        }
        for PendingZone { zone, hosts, since, last_error } in pending {
            let zone = zones.of(&zone);
            zone.pending = hosts;
            zone.pending_since = Some(since);
            let error = last_error.map(|text| ZoneError { at: None, text });
            zone.last_error = zone.last_error.take().or(error);
        }
        for UnservedZone { zone, hosts, reason } in unserved {
            let zone = zones.of(&zone);
            zone.unserved = hosts;
            zone.unserved_reason = Some(reason);
        }
        zones.0.into_values().collect()
    }
}

#[derive(Default)]
struct ZoneStates(BTreeMap<String, ZoneState>);

impl ZoneStates {
    fn of(&mut self, name: &str) -> &mut ZoneState {
        let new = || ZoneState { zone: name.to_owned(), ..ZoneState::default() };
        self.0.entry(name.to_owned()).or_insert_with(new)
    }
}
