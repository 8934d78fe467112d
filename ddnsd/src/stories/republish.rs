//! Sends unpublished hosts again, at start and on a timer, until DNS acknowledges them: first those
//! with an address, then removals, then what failed before, for a bounded time. Why they are
//! unpublished (a kill, an outage of the name server, a refusal) does not matter.

use super::host_locks::HostLocks;
use super::publisher::Publisher;
use super::served_zones;
use crate::clock::Clock;
use crate::config::DnsBackend;
use crate::db::{Db, DbError, UnpublishedHost, UnpublishedKind};
use crate::dns::{self, Lane, PreparedDns};
use crate::model::host::HostId;
use crate::model::name::Zone;
use crate::model::time::Millis;
use crate::rules::retry::{self, MAX_GROUP, Retry};
use futures::future::join_all;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

/// Rows of a page. One page is sent at a time.
const PAGE: u32 = 200;
/// How long a run may take for hosts of a zone that failed before and fail again. The next run goes
/// on.
const MAX_FAILING: Duration = Duration::from_secs(2);
/// Hosts that failed before, in one run.
const MAX_FAILED: usize = 20_000;
/// `meta.target` while the records move to another server: no start takes it for its own.
const MOVING: &str = "moving";

/// The republishing story; clones share whether the target is stored.
#[derive(Clone)]
pub struct Republish {
    db: Db,
    publisher: Publisher,
    host_locks: HostLocks,
    clock: Clock,
    /// Whether `meta.target` names the server that is published to. Locked during a move to another
    /// one.
    is_named: Arc<Mutex<bool>>,
    /// Notified after another server, or other zones, came into force.
    changed: Arc<Notify>,
}

/// Another configuration of publishing. Dropped, nothing changes.
#[must_use = "it is used when it is committed"]
pub struct PreparedPublishing {
    dns: dns::PreparedDns,
    publisher: Publisher,
    /// During a move to another server.
    moving: Option<OwnedMutexGuard<bool>>,
    /// If a run is due at once. To a server that stays the same and is down, it would only send
    /// another probe, and hold the lock of its host meanwhile.
    changed: Option<Arc<Notify>>,
}

impl PreparedPublishing {
    /// Publishes this way from now on; see [`dns::PreparedDns::commit`].
    pub fn commit(self) {
        self.dns.commit();
        self.publisher.forget_refusals();
        drop(self.moving);
        if let Some(changed) = self.changed {
            changed.notify_one();
        }
    }
}

impl Republish {
    pub fn new(db: Db, publisher: Publisher, host_locks: HostLocks, clock: Clock) -> Self {
        let is_named = Arc::new(Mutex::new(true));
        Self { db, publisher, host_locks, clock, is_named, changed: Arc::default() }
    }

    /// Prepares another configuration. For another server, every live record is unpublished when
    /// this returns, and nothing is sent before the commit: so nothing that the previous server
    /// acknowledges is taken for published on the new one. New zones of the built-in name server
    /// are loaded.
    ///
    /// # Errors
    /// The database failed. Publishing goes on as before; some records may be sent once more.
    pub async fn prepare(
        &self,
        config: &DnsBackend,
        now: Millis,
    ) -> Result<PreparedPublishing, DbError> {
        let dns = self.publisher.prepare(config.clone()).await;
        if let PreparedDns::Builtin(zones) = &dns {
            served_zones::load(zones, &self.db, self.publisher.defaults()).await?;
        }
        let moving = if dns.is_elsewhere() { Some(self.begin_move(now).await?) } else { None };
        let may_have_new_zones = matches!(&dns, PreparedDns::Builtin(_));
        let changed = (moving.is_some() || may_have_new_zones).then(|| Arc::clone(&self.changed));
        Ok(PreparedPublishing { dns, publisher: self.publisher.clone(), moving, changed })
    }

    async fn begin_move(&self, now: Millis) -> Result<OwnedMutexGuard<bool>, DbError> {
        let mut is_named = Arc::clone(&self.is_named).lock_owned().await;
        *is_named = false;
        // whatever meta says: a previous move may have been stored and never carried out
        self.db.mark_all_unpublished(MOVING.to_owned(), now).await?;
        tracing::info!("another name server: every record is sent to it");
        Ok(is_named)
    }

    /// At the start, before anything is sent. If the server is not that of the previous run, every
    /// live record becomes unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn start(&self) -> Result<(), DbError> {
        let now = self.clock.now().wall;
        // rows of the previous run must look older than this one, even if the clock was set back
        let started = self.publisher.started().unwrap_or(now);
        self.db.clamp_unpublished_since(started.plus_millis(-1)).await?;
        let target = self.publisher.target();
        let before = self.db.meta("target").await?;
        if before.as_ref() == Some(&target) {
            return Ok(());
        }
        self.db.mark_all_unpublished(target.clone(), now).await?;
        if let Some(before) = before {
            tracing::info!(%before, now = %target, "another name server: every record is sent to it");
        }
        Ok(())
    }

    /// Waits for another configuration of publishing, after which a run is due at once.
    pub async fn is_reconfigured(&self) {
        self.changed.notified().await;
    }

    /// Stores which server is published to, unless it is stored, or a move is under way.
    async fn name_target(&self) -> Result<(), DbError> {
        let Ok(mut is_named) = self.is_named.try_lock() else { return Ok(()) };
        if !*is_named {
            self.db.set_meta("target", self.publisher.target()).await?;
            *is_named = true;
        }
        Ok(())
    }
}

/// What a run knows.
#[derive(Default)]
struct Run {
    published: usize,
    /// Zones whose server does not answer: the rest of their hosts waits for the next run.
    unanswered: HashSet<Zone>,
    /// How many hosts of a zone are sent together.
    groups: HashMap<Zone, usize>,
    failed: Vec<(Option<Instant>, UnpublishedHost)>,
}

/// The result of the hosts of a zone.
struct ZoneRun {
    zone: Zone,
    published: usize,
    is_unanswered: bool,
    group: usize,
}

/// The result of sending one host again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resent {
    Published,
    /// The zone is down.
    Unanswered,
    /// The server refused or ignored this host.
    Failed,
    /// It is locked by another change, or it is too early.
    Skipped,
}

impl Run {
    fn add(&mut self, ended: ZoneRun) {
        self.published += ended.published;
        if ended.is_unanswered {
            self.unanswered.insert(ended.zone);
        } else {
            self.groups.insert(ended.zone, ended.group);
        }
    }

    /// Groups the hosts to send now by zone, and keeps those that failed before for the end.
    fn sort(
        &mut self,
        rows: Vec<UnpublishedHost>,
        next: impl Fn(&UnpublishedHost) -> Retry,
    ) -> HashMap<Zone, Vec<UnpublishedHost>> {
        let mut now: HashMap<Zone, Vec<UnpublishedHost>> = HashMap::new();
        for row in rows.into_iter().filter(|row| !self.unanswered.contains(&row.zone)) {
            match next(&row) {
                Retry::Now => now.entry(row.zone.clone()).or_default().push(row),
                Retry::AfterOthers(at) if self.failed.len() < MAX_FAILED => {
                    self.failed.push((at, row));
                }
                Retry::AfterOthers(_) | Retry::NotYet => {}
            }
        }
        now
    }

    /// Hosts that failed before, by zone, the longest untried first. Of those that were not tried
    /// since the start, the one that failed least often comes first: a host that the server always
    /// ignores must not be the one that shows each time whether the server answers.
    fn failed(&mut self) -> HashMap<Zone, Vec<UnpublishedHost>> {
        let mut failed = std::mem::take(&mut self.failed);
        failed.sort_by_key(|(at, row)| (*at, row.attempts, Reverse(row.since)));
        let mut zones: HashMap<Zone, Vec<UnpublishedHost>> = HashMap::new();
        for (_, row) in failed {
            zones.entry(row.zone.clone()).or_default().push(row);
        }
        zones.retain(|zone, _| !self.unanswered.contains(zone));
        zones
    }
}

impl Republish {
    /// Goes once through all unpublished hosts. Returns how many are published now.
    ///
    /// # Errors
    /// The database failed; the next run starts again.
    pub async fn run(&self) -> Result<usize, DbError> {
        self.name_target().await?;
        let mut run = Run::default();
        self.send_pages(UnpublishedKind::WithAddress, &mut run).await?;
        self.send_pages(UnpublishedKind::WithoutAddress, &mut run).await?;
        let failed = run.failed().into_iter();
        let failed = failed.map(|(zone, rows)| self.send_zone(zone, rows, 1, Some(MAX_FAILING)));
        for ended in join_all(failed).await {
            run.add(ended?);
        }
        Ok(run.published)
    }

    async fn send_pages(&self, kind: UnpublishedKind, run: &mut Run) -> Result<(), DbError> {
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.unpublished(kind, after, PAGE).await?;
            let Some(last) = page.last else { return Ok(()) };
            after = last;
            let is_ours =
                |row: &UnpublishedHost| !self.publisher.is_left_to_another(row.lease.as_ref());
            let rows = page.rows.into_iter().filter(is_ours).collect();
            let zones = run.sort(rows, |row| self.publisher.next_retry(row));
            let sent = zones.into_iter().map(|(zone, rows)| {
                let group = run.groups.get(&zone).copied().unwrap_or(MAX_GROUP);
                self.send_zone(zone, rows, group, None)
            });
            for ended in join_all(sent).await {
                run.add(ended?);
            }
        }
    }

    /// Sends hosts of a zone, in groups. While the zone is down a single host is sent, so that no
    /// other is locked meanwhile. Ends early after this much time for groups that failed.
    async fn send_zone(
        &self,
        zone: Zone,
        rows: Vec<UnpublishedHost>,
        group: usize,
        max_failing: Option<Duration>,
    ) -> Result<ZoneRun, DbError> {
        let mut run = ZoneRun { zone, published: 0, is_unanswered: false, group };
        let mut rows = rows.into_iter();
        while self.publisher.is_down(&run.zone) {
            // a host that is skipped says nothing about the server
            let Some(row) = rows.next() else { return Ok(run) };
            match self.send(row).await? {
                Resent::Published => run.published += 1,
                Resent::Unanswered => return Ok(ZoneRun { is_unanswered: true, ..run }),
                Resent::Failed | Resent::Skipped => {}
            }
        }
        let mut failing = Duration::ZERO;
        while max_failing.is_none_or(|max| failing < max) && !run.is_unanswered {
            let group: Vec<_> = rows.by_ref().take(run.group).collect();
            if group.is_empty() {
                break;
            }
            let start = self.clock.now().mono;
            let all_published = self.send_group(group, &mut run).await?;
            run.group = retry::next_group(run.group, all_published);
            if !all_published {
                failing += self.clock.now().mono.saturating_duration_since(start);
            }
        }
        Ok(run)
    }

    /// Returns whether none of the hosts failed.
    async fn send_group(
        &self,
        group: Vec<UnpublishedHost>,
        run: &mut ZoneRun,
    ) -> Result<bool, DbError> {
        let mut all_published = true;
        for sent in join_all(group.into_iter().map(|row| self.send(row))).await {
            match sent? {
                Resent::Published => run.published += 1,
                Resent::Unanswered => run.is_unanswered = true,
                Resent::Failed => all_published = false,
                Resent::Skipped => {}
            }
        }
        Ok(all_published)
    }

    /// Sends one host again. A host that is locked is left to the change that locked it.
    async fn send(&self, row: UnpublishedHost) -> Result<Resent, DbError> {
        let UnpublishedHost { host: id, fqdn, zone, .. } = row;
        if self.publisher.is_waiting(&fqdn) {
            return Ok(Resent::Skipped);
        }
        let Some(_guard) = self.host_locks.try_lock(id) else { return Ok(Resent::Skipped) };
        let host = match self.db.readable_host(&fqdn).await? {
            Some(host) if host.id == id && host.unpublished_since.is_some() => host,
            _ => return Ok(Resent::Skipped),
        };
        if self.publisher.is_left_to_another(host.lease.as_deref()) {
            return Ok(Resent::Skipped);
        }
        let old = host.acked.addresses;
        let new = host.wanted.addresses();
        match self.publisher.publish(host, Lane::Background).await {
            Ok(()) => {
                // the same addresses were only sent once more
                if old != new {
                    tracing::info!(host = %fqdn, %old, %new, "address changed");
                }
                Ok(Resent::Published)
            }
            Err(problem) => {
                tracing::debug!(host = %fqdn, "still not published: {problem}");
                let is_zone = problem.is_unanswered() && self.publisher.is_down(&zone);
                Ok(if is_zone { Resent::Unanswered } else { Resent::Failed })
            }
        }
    }
}
