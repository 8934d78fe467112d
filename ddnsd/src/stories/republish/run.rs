//! One run through all that is unpublished: first what somebody is to be found at, then what is only to go,
//! and what was refused after all of it, for a bounded time.

use super::Republish;
use crate::db::{DbError, UnpublishedHost, UnpublishedKind};
use crate::dns::{DnsError, Lane};
use crate::model::host::HostId;
use crate::model::name::Zone;
use crate::model::time::Millis;
use crate::rules::retry::{Pace, Went, When};
use futures::future::join_all;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// A page of the database; one batch of a zone is out at a time.
const PAGE: u32 = 200;
/// How long a run may take over hosts of a zone that were refused and are again. The next one goes on.
const IN_VAIN: Duration = Duration::from_secs(2);
/// Refused hosts that a run looks at.
const MOST_REFUSED: usize = 20_000;

/// What a run knows.
#[derive(Default)]
struct Run {
    published: usize,
    /// Zones whose server says nothing: the rest of their backlog can wait, others must not wait for it.
    silent: HashSet<Zone>,
    pace: HashMap<Zone, Pace>,
    refused: Vec<(Option<Instant>, UnpublishedHost)>,
}

/// What came of the hosts of a zone.
struct Passed {
    zone: Zone,
    published: usize,
    is_silent: bool,
    pace: Pace,
}

/// What came of sending a host again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// DNS acknowledged it.
    Published,
    /// The server said nothing.
    Silence,
    /// The server refused it.
    Refused,
    /// The server answers others, and says nothing about this one.
    Ignored,
    /// Somebody else is at it, or it is too early.
    NotNow,
}

impl Run {
    fn passed(&mut self, passed: Passed) {
        self.published += passed.published;
        if passed.is_silent {
            self.silent.insert(passed.zone);
        } else {
            self.pace.insert(passed.zone, passed.pace);
        }
    }

    /// Puts those that were refused aside, and the others together by zone.
    fn sort(
        &mut self,
        rows: Vec<UnpublishedHost>,
        when: impl Fn(&UnpublishedHost) -> When,
    ) -> HashMap<Zone, Vec<UnpublishedHost>> {
        let mut first: HashMap<Zone, Vec<UnpublishedHost>> = HashMap::new();
        for pending in rows.into_iter().filter(|pending| !self.silent.contains(&pending.zone)) {
            match when(&pending) {
                When::First => first.entry(pending.zone.clone()).or_default().push(pending),
                When::Last(at) if self.refused.len() < MOST_REFUSED => {
                    self.refused.push((at, pending));
                }
                When::Last(_) | When::NotYet => {}
            }
        }
        first
    }

    /// Those that were refused, by zone, the longest untried first. Of those that met a silence, or were
    /// refused before this run of the daemon, the one that failed least often: one that is at fault itself
    /// must not be the one that a silent server is asked with each time.
    fn refused(&mut self) -> HashMap<Zone, Vec<UnpublishedHost>> {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|(at, pending)| (*at, pending.attempts, Reverse(pending.since)));
        let mut zones: HashMap<Zone, Vec<UnpublishedHost>> = HashMap::new();
        for (_, pending) in refused {
            zones.entry(pending.zone.clone()).or_default().push(pending);
        }
        zones.retain(|zone, _| !self.silent.contains(zone));
        zones
    }
}

impl Republish {
    /// Goes once through all that is unpublished. Returns how many are published now.
    ///
    /// # Errors
    /// The database failed; the next run begins anew.
    pub async fn run(&self) -> Result<usize, DbError> {
        self.name_target().await?;
        let mut run = Run::default();
        self.run_through(UnpublishedKind::WithAddress, &mut run).await?;
        self.run_through(UnpublishedKind::WithoutAddress, &mut run).await?;
        let refused = run
            .refused()
            .into_iter()
            .map(|(zone, pending)| self.zone(zone, pending, Pace::careful(), Some(IN_VAIN)));
        for passed in join_all(refused).await {
            run.passed(passed?);
        }
        Ok(run.published)
    }

    async fn run_through(&self, which: UnpublishedKind, run: &mut Run) -> Result<(), DbError> {
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.unpublished(which, after, PAGE).await?;
            let Some(last) = page.last else { return Ok(()) };
            after = last;
            let when = |pending: &UnpublishedHost| {
                self.publisher.when(pending.host, (pending.version, pending.has_failed))
            };
            let zones = run.sort(page.rows, when);
            let sent = zones.into_iter().map(|(zone, pending)| {
                let known = run.pace.get(&zone).copied().unwrap_or_else(Pace::full);
                self.zone(zone, pending, known, None)
            });
            for passed in join_all(sent).await {
                run.passed(passed?);
            }
        }
    }

    /// Sends a zone's pending hosts, in groups. A server that is known to be silent is asked with a single
    /// host, so that no other host's turn is held meanwhile.
    async fn zone(
        &self,
        zone: Zone,
        pending: Vec<UnpublishedHost>,
        pace: Pace,
        patience: Option<Duration>,
    ) -> Result<Passed, DbError> {
        let mut passed = Passed { zone, published: 0, is_silent: false, pace };
        let mut pending = pending.into_iter();
        while self.publisher.is_down(&passed.zone) {
            // those that are not to be sent yet say nothing of the server
            let Some(probe) = pending.next() else { return Ok(passed) };
            match self.one(probe).await? {
                Sent::Published => passed.published += 1,
                Sent::Silence => return Ok(Passed { is_silent: true, ..passed }),
                Sent::Refused | Sent::Ignored | Sent::NotNow => {}
            }
        }
        let mut in_vain = Duration::ZERO;
        while patience.is_none_or(|patience| in_vain < patience) && !passed.is_silent {
            let group: Vec<_> = pending.by_ref().take(passed.pace.hosts()).collect();
            if group.is_empty() {
                break;
            }
            let start = self.clock.now().mono;
            let went = self.group(group, &mut passed).await?;
            passed.pace = passed.pace.after(went);
            if went != Went::Well {
                in_vain += self.clock.now().mono.saturating_duration_since(start);
            }
        }
        Ok(passed)
    }

    /// Sends hosts together.
    async fn group(
        &self,
        group: Vec<UnpublishedHost>,
        passed: &mut Passed,
    ) -> Result<Went, DbError> {
        let mut went = Went::Well;
        for sent in join_all(group.into_iter().map(|pending| self.one(pending))).await {
            match sent? {
                Sent::Published => passed.published += 1,
                Sent::Silence => passed.is_silent = true,
                Sent::Refused => went = went.max(Went::Refused),
                Sent::Ignored => went = Went::Slowly,
                Sent::NotNow => {}
            }
        }
        Ok(went)
    }

    /// Sends one host again. One that is being changed is left to whoever changes it.
    async fn one(&self, pending: UnpublishedHost) -> Result<Sent, DbError> {
        let UnpublishedHost { host: id, fqdn, zone, .. } = pending;
        if self.publisher.is_waiting(&fqdn) {
            return Ok(Sent::NotNow);
        }
        let Some(_guard) = self.host_locks.try_lock(id) else { return Ok(Sent::NotNow) };
        let host = match self.db.readable_host(&fqdn).await? {
            Some(host) if host.id == id && host.unpublished_since.is_some() => host,
            _ => return Ok(Sent::NotNow),
        };
        let (old, new) = (host.acked.addresses, host.wanted.addresses());
        match self.publisher.publish(host, Lane::Background).await {
            Ok(()) => {
                // else it is asserted once more only
                if old != new {
                    tracing::info!(host = %fqdn, %old, %new, "address changed");
                }
                Ok(Sent::Published)
            }
            Err(problem) => {
                tracing::debug!(host = %fqdn, "still not published: {problem}");
                let is_unanswered = problem.is_unanswered() && self.publisher.is_down(&zone);
                Ok(match problem {
                    DnsError::HostUnanswered { .. } => Sent::Ignored,
                    _ if is_unanswered => Sent::Silence,
                    _ => Sent::Refused,
                })
            }
        }
    }
}
