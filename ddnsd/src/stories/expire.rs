//! Expiry: removes the records of hosts that were not updated within their expiry TTL. An update at
//! the same time wins: the sweep reads a host again under its lock.

use super::error::AdminError;
use super::host_locks::{HostGuard, HostLocks};
use super::notices::Notices;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::db::{AgingHost, Db, DbError, DueHost, NextCheck, Want};
use crate::dns::Lane;
use crate::log_budget::log_repeated;
use crate::model::family::Families;
use crate::model::host::{Age, Host, HostId, Lan, Seen};
use crate::model::name::Fqdn;
use crate::model::record::WantedRecords;
use crate::model::time::{Millis, Uptime};
use crate::rules::expiry::{self, Expiry};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Hosts of a page. One page is published at a time.
const PAGE: u32 = 200;

/// The expiry story; clones share the lock of the sweep.
#[derive(Clone)]
pub struct Expire {
    db: Db,
    publisher: Publisher,
    notices: Notices,
    host_locks: HostLocks,
    clock: Clock,
    /// The default expiry TTL that stored checks use; `None` before the first sweep. A sweep holds
    /// the lock, so that only one runs.
    scheduled_by: Arc<Mutex<Option<u32>>>,
}

/// A locked host of which something has expired.
struct Expired {
    guard: HostGuard,
    aging: AgingHost,
    families: Families,
    /// Whether followers of it expire, too: then its prefix is forgotten.
    forgets_prefix: bool,
}

impl Expired {
    /// The leader, if this removes the IPv6 address of a follower.
    fn leader(&self) -> Option<HostId> {
        self.aging.host.lan.follows.filter(|_| self.families.v6)
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Names whose records were removed.
    pub expired: Vec<Fqdn>,
    /// Names whose records could not be removed yet, each with the reason.
    pub failed: Vec<(Fqdn, String)>,
    /// The number of unpublished hosts, including those in `failed`. Only `clean_up` counts them.
    pub pending: u64,
}

impl Expire {
    /// Starts the service clock where the previous run stored it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn start(
        db: Db,
        publisher: Publisher,
        notices: Notices,
        host_locks: HostLocks,
        clock: Clock,
    ) -> Result<Self, DbError> {
        db.tick(clock.now()).await?;
        Ok(Self { db, publisher, notices, host_locks, clock, scheduled_by: Arc::default() })
    }

    /// Writes touches (updates that changed nothing) and advances the service clock. If the write
    /// fails, the clock stops, because clients cannot renew their hosts then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn flush_keepalives(&self) -> Result<(), DbError> {
        let now = self.clock.now();
        self.db.flush_touches().await.inspect_err(|_| self.db.stop_service_clock())?;
        self.db.tick(now).await?;
        Ok(())
    }

    /// Removes what has expired by now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self) -> Result<Swept, AdminError> {
        let mut scheduled_by = self.scheduled_by.lock().await;
        let swept = self.sweep_all(&mut scheduled_by).await;
        swept.inspect_err(|_| self.db.stop_service_clock()).map_err(AdminError::from)
    }

    /// As [`Self::sweep`], and counts what is unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clean_up(&self) -> Result<Swept, AdminError> {
        let swept = self.sweep().await?;
        let counts = self.db.counts().await?;
        Ok(Swept { pending: counts.unpublished, ..swept })
    }

    async fn sweep_all(&self, scheduled_by: &mut Option<u32>) -> Result<Swept, DbError> {
        // one reading for the whole sweep: a stop or an outage during it ages no host
        let now = self.db.tick(self.clock.now()).await?;
        self.reschedule_if_default_changed(scheduled_by).await?;
        self.db.flush_touches().await?;
        let mut swept = Swept::default();
        // a position in `check_at`, which is on the service clock although the type is `Millis`
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.due(now, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(swept) };
            after = (Millis(last.check_at.0), last.host);
            self.sweep_page(page, now, &mut swept).await?;
        }
    }

    /// Locks all hosts of the page before it reads them, so that one query reads what is true until
    /// the end. A host that is being changed is left to the next sweep.
    async fn sweep_page(
        &self,
        page: Vec<DueHost>,
        now: Uptime,
        swept: &mut Swept,
    ) -> Result<(), DbError> {
        let lock = |due: DueHost| Some((due, self.host_locks.try_lock(due.host)?));
        let locked: Vec<_> = page.into_iter().filter_map(lock).collect();
        let hosts: Vec<_> = locked.iter().map(|(due, _)| due.host).collect();
        let mut aging = self.db.aging(&hosts).await?;
        let mut not_due = Vec::new();
        let mut expired = Vec::new();
        for (due, guard) in locked {
            let aging = aging.remove(&due.host);
            let Some(aging) = aging.filter(|it| !self.publisher.is_changed_elsewhere(&it.host))
            else {
                continue;
            };
            match self.evaluate(&aging.host, aging.host.wanted, aging.age, now) {
                Expiry::Never => not_due.push(next_check(due, &aging.host, None)),
                Expiry::CheckAt(at) => not_due.push(next_check(due, &aging.host, Some(at))),
                Expiry::Due(families) => {
                    expired.push(Expired { guard, aging, families, forgets_prefix: false });
                }
            }
        }
        if !not_due.is_empty() {
            self.db.schedule_checks(not_due).await?;
        }
        self.forget_prefixes(&mut expired, now).await?;
        for removed in join_all(expired.into_iter().map(|host| self.expire(host, now))).await {
            match removed? {
                Some((name, Ok(()))) => swept.expired.push(name),
                Some((name, Err(why))) => swept.failed.push((name, why)),
                None => {}
            }
        }
        Ok(())
    }

    /// Stores and publishes the removal of what has expired. `None` if the row was changed
    /// meanwhile; otherwise the name, with the reason if it failed.
    async fn expire(
        &self,
        expired: Expired,
        now: Uptime,
    ) -> Result<Option<(Fqdn, Result<(), String>)>, DbError> {
        let Expired { guard: _guard, aging, families, forgets_prefix } = expired;
        let fqdn = aging.host.fqdn.clone();
        let mut removal = self.removal(aging, families, now).await?;
        removal.lan.prefix = removal.lan.prefix.filter(|_| !forgets_prefix);
        let old = removal.host.wanted.addresses();
        let Some(wanted) = self.publisher.want(vec![removal]).await?.pop().flatten() else {
            return Ok(None);
        };
        // the removal is stored: the republisher sends it once the name server answers
        if self.publisher.is_down(&wanted.zone()) {
            let why = format!("the name server is down for zone `{}`", wanted.zone());
            return Ok(Some((fqdn, Err(why))));
        }
        let published = self.publisher.publish(wanted, Lane::Background).await;
        match &published {
            Ok(()) => tracing::info!(host = %fqdn, %old, "expired"),
            Err(why) => {
                log_repeated!(warn, host = %fqdn, %old, "expired, not yet removed: {why}");
            }
        }
        Ok(Some((fqdn, published.map_err(|why| why.to_string()))))
    }

    /// Forgets the prefixes of which followers expire, before these do. If a leader is being
    /// changed, perhaps by an update that renews them, its followers are left to the next sweep.
    async fn forget_prefixes(
        &self,
        expired: &mut Vec<Expired>,
        now: Uptime,
    ) -> Result<(), DbError> {
        let leaders: BTreeSet<_> = expired.iter().filter_map(Expired::leader).collect();
        let (mut guards, mut changes, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        for leader in leaders {
            if let Some(host) = expired.iter_mut().find(|host| host.guard.host() == leader) {
                host.forgets_prefix = true;
            } else if let Some(guard) = self.host_locks.try_lock(leader) {
                match self.db.host_by_id(leader).await? {
                    Some(host) if self.publisher.is_changed_elsewhere(&host) => busy.push(leader),
                    Some(host) if host.lan.prefix.is_some() => {
                        changes.push(self.forget_prefix(host, now));
                    }
                    Some(_) | None => {}
                }
                guards.push(guard);
            } else {
                busy.push(leader);
            }
        }
        if !changes.is_empty() {
            let leaders: Vec<_> = changes.iter().map(|change| change.host.id).collect();
            let stored = self.publisher.want(changes).await?;
            let refused = leaders.into_iter().zip(stored).filter(|(_, host)| host.is_none());
            busy.extend(refused.map(|(leader, _)| leader));
        }
        expired.retain(|host| host.leader().is_none_or(|leader| !busy.contains(&leader)));
        Ok(())
    }

    /// What a leader stores before the IPv6 address of a follower expires. The caller holds its
    /// lock.
    fn forget_prefix(&self, host: Arc<Host>, now: Uptime) -> Want {
        Want {
            records: host.wanted,
            seen: Seen::default(),
            check_at: expiry::first_check(&host, host.wanted, &self.publisher.defaults(), now),
            is_expiry: false,
            notices: host.notices.as_deref().copied(),
            lan: Lan { prefix: None, ..*host.lan },
            publish: false,
            is_sent: false,
            at: self.clock.now().wall,
            uptime: now,
            host,
        }
    }

    /// The removal of what has expired of a host.
    async fn removal(
        &self,
        aging: AgingHost,
        families: Families,
        now: Uptime,
    ) -> Result<Want, DbError> {
        let AgingHost { host, age, seen } = aging;
        let notices = self.notices.of_expiry(&host, families, seen).await?;
        let records = host.wanted.without(families);
        let check_at = match self.evaluate(&host, records, age, now) {
            Expiry::CheckAt(at) => Some(at),
            Expiry::Never | Expiry::Due(_) => None,
        };
        let prefix = host.lan.prefix.filter(|_| !families.v6);
        Ok(Want {
            records,
            seen: Seen::default(),
            check_at,
            is_expiry: true,
            notices,
            lan: Lan { prefix, ..*host.lan },
            publish: true,
            is_sent: !self.publisher.is_down(&host.zone()),
            at: self.clock.now().wall,
            uptime: now,
            host,
        })
    }

    fn evaluate(&self, host: &Host, records: WantedRecords, age: Age, now: Uptime) -> Expiry {
        let defaults = self.publisher.defaults();
        let unwritten = self.db.may_have_others().then(|| expiry::unwritten_for(host, &defaults));
        let now = now.minus(unwritten.unwrap_or_default());
        expiry::evaluate(host, records, age, &defaults, now)
    }

    /// Checks every host again if the default expiry TTL has changed.
    async fn reschedule_if_default_changed(
        &self,
        scheduled_by: &mut Option<u32>,
    ) -> Result<(), DbError> {
        let ttl = self.publisher.defaults().expiry_ttl;
        if *scheduled_by == Some(ttl) {
            return Ok(());
        }
        let current = ttl.to_string();
        let stored = self.db.meta("default_expiry_ttl").await?;
        if stored.as_ref() != Some(&current) {
            if stored.is_some() {
                self.db.check_all_now().await?;
            }
            self.db.set_meta("default_expiry_ttl", current).await?;
        }
        *scheduled_by = Some(ttl);
        Ok(())
    }
}

fn next_check(due: DueHost, host: &Host, at: Option<Uptime>) -> NextCheck {
    NextCheck { host: due.host, was: due.check_at, at, version: host.version }
}
