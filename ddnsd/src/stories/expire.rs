//! Expiry: removes the records of hosts that were not updated within their expiry TTL. An update at
//! the same time wins: the sweep reads a host again under its lock.

use super::error::AdminError;
use super::host_locks::HostLocks;
use super::notices::Notices;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::db::{Db, DbError, DueHost, NextCheck, Want};
use crate::dns::Lane;
use crate::log_budget::log_repeated;
use crate::model::host::{Age, Host, HostId, Seen};
use crate::model::name::Fqdn;
use crate::model::record::WantedRecords;
use crate::model::time::{Millis, Uptime};
use crate::rules::expiry::{self, Expiry};
use futures::future::join_all;
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
            let Some(last) = page.last else { return Ok(swept) };
            after = last;
            self.sweep_page(page.rows, now, &mut swept).await?;
        }
    }

    async fn sweep_page(
        &self,
        page: Vec<DueHost>,
        now: Uptime,
        swept: &mut Swept,
    ) -> Result<(), DbError> {
        let mut not_due = Vec::new();
        let mut expired = Vec::new();
        for due in page {
            let Some(host) = self.db.readable_host(&due.fqdn).await? else {
                continue;
            };
            match self.evaluate(&host, host.wanted, due.age, now) {
                Expiry::Never => not_due.push(next_check(&due, None)),
                Expiry::CheckAt(at) => not_due.push(next_check(&due, Some(at))),
                Expiry::Due(_) => expired.push(self.expire(due, now)),
            }
        }
        if !not_due.is_empty() {
            self.db.schedule_checks(not_due).await?;
        }
        for removed in join_all(expired).await {
            match removed? {
                Some((name, Ok(()))) => swept.expired.push(name),
                Some((name, Err(why))) => swept.failed.push((name, why)),
                None => {}
            }
        }
        Ok(())
    }

    /// Stores and publishes the removal of what has expired. `None` if the host was updated or
    /// deleted meanwhile, or is being changed; otherwise its name, with the reason if it failed.
    async fn expire(
        &self,
        due: DueHost,
        now: Uptime,
    ) -> Result<Option<(Fqdn, Result<(), String>)>, DbError> {
        let Some(_guard) = self.host_locks.try_lock(due.host) else {
            return Ok(None);
        };
        let host = self.db.readable_host(&due.fqdn).await?.filter(|host| host.id == due.host);
        let Some(host) = host.filter(|host| !self.publisher.is_changed_elsewhere(host)) else {
            return Ok(None);
        };
        let Some(removal) = self.removal(host, now).await? else {
            return Ok(None);
        };
        let old = removal.host.wanted.addresses();
        let wanted = self.publisher.want(vec![removal]).await?.pop().flatten();
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        // the removal is stored: the republisher sends it once the name server answers
        if self.publisher.is_down(&wanted.zone) {
            let why = format!("the name server is down for zone `{}`", wanted.zone);
            return Ok(Some((due.fqdn, Err(why))));
        }
        let published = self.publisher.publish(wanted, Lane::Background).await;
        match &published {
            Ok(()) => tracing::info!(host = %due.fqdn, %old, "expired"),
            Err(why) => {
                log_repeated!(warn, host = %due.fqdn, %old, "expired, not yet removed: {why}");
            }
        }
        Ok(Some((due.fqdn, published.map_err(|why| why.to_string()))))
    }

    /// The removal of what has expired of a host, if anything has.
    async fn removal(&self, host: Arc<Host>, now: Uptime) -> Result<Option<Want>, DbError> {
        let age = self.db.age(host.id).await?;
        let Expiry::Due(families) = self.evaluate(&host, host.wanted, age, now) else {
            return Ok(None);
        };
        let seen = self.db.last_seen(host.id).await?;
        let notices = self.notices.of_expiry(&host, families, seen).await?;
        let records = host.wanted.without(families);
        let check_at = match self.evaluate(&host, records, age, now) {
            Expiry::CheckAt(at) => Some(at),
            Expiry::Never | Expiry::Due(_) => None,
        };
        Ok(Some(Want {
            records,
            seen: Seen::default(),
            check_at,
            is_expiry: true,
            notices,
            lan: host.lan,
            publish: true,
            is_sent: !self.publisher.is_down(&host.zone),
            at: self.clock.now().wall,
            uptime: now,
            host,
        }))
    }

    fn evaluate(&self, host: &Host, records: WantedRecords, age: Age, now: Uptime) -> Expiry {
        expiry::evaluate(host, records, age, &self.publisher.defaults(), now)
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

fn next_check(due: &DueHost, at: Option<Uptime>) -> NextCheck {
    NextCheck { host: due.host, was: due.check_at, at, version: due.version }
}
