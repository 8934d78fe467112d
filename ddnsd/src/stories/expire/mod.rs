//! Takes down the records of hosts that fell silent. An update meanwhile wins: the sweep holds the
//! host's turn and reads again before it wants a removal.

mod uptime;

use super::error::{AdminError, database};
use super::host_locks::HostLocks;
use super::notices::Notices;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::db::{Db, DbError, DueHost, NextCheck};
use crate::dns::Lane;
use crate::model::family::Families;
use crate::model::host::{Host, HostId, Seen};
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use crate::rules::decide;
use crate::rules::expiry::{self, Downtime, Expiry};
use futures::future::join_all;
use std::sync::Arc;
use tokio::sync::Mutex;
use uptime::{Standstill, Watch};

/// Hosts looked at together; one batch is out at a time.
const BATCH: u32 = 200;

/// The expiry story; clones share what is known of the clock.
#[derive(Clone)]
pub struct Expire {
    db: Db,
    publisher: Publisher,
    notices: Notices,
    host_locks: HostLocks,
    clock: Clock,
    /// Held during a sweep: one at a time.
    sweeping: Arc<Mutex<Watch>>,
    standstill: Arc<Standstill>,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Names whose records were taken down.
    pub expired: Vec<Fqdn>,
    /// Names whose records could not be taken down yet, each with the reason.
    pub failed: Vec<(Fqdn, String)>,
    /// Hosts whose records DNS is not known to hold, those that failed among them; only where it was asked for.
    pub pending: u64,
}

impl Expire {
    /// Begins to watch the clock. The time since the last heartbeat is held against no host.
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
        let now = clock.now();
        let stored = db.meta("gaps").await?;
        let mut gaps: Downtime =
            stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let heartbeat = db.meta("heartbeat").await?.and_then(|text| text.parse().ok());
        let down = heartbeat.map_or(0, |last| now.wall.since(Millis(last)));
        let watch = Watch {
            last: now,
            gaps: Downtime::default(),
            beat: now.mono,
            default_ttl: None,
            answered: now.wall,
            failing: false,
        };
        let sweeping = Arc::new(Mutex::new(watch));
        let standstill = Arc::new(Standstill::new(now));
        let story = Self { db, publisher, notices, host_locks, clock, sweeping, standstill };
        if down < 0 {
            story.set_back(now.wall).await?;
            gaps.set_back(now.wall, -down);
            story.remember(&gaps).await?;
        } else if down > 0 {
            gaps.add(now.wall, down);
            story.remember(&gaps).await?;
        }
        let mut watch = story.sweeping.lock().await;
        watch.gaps = gaps;
        story.look_again_if_default_changed(&mut watch).await?;
        drop(watch);
        story.heartbeat(now.wall).await?;
        Ok(story)
    }

    /// Takes down what has expired by now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self) -> Result<Swept, AdminError> {
        let mut watch = self.sweeping.lock().await;
        let swept = self.sweep_all(&mut watch).await;
        watch.failing |= swept.is_err();
        swept.map_err(|problem| database(&problem))
    }

    /// The same for who wants to know what else is on its way.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clean_up(&self) -> Result<Swept, AdminError> {
        let swept = self.sweep().await?;
        let counts = self.db.counts().await.map_err(|problem| database(&problem))?;
        Ok(Swept { pending: counts.unpublished, ..swept })
    }

    /// Between sweeps: writes keepalives, so that a crash loses few, and compares the clocks, so that
    /// the moment of a jump is known closely.
    ///
    /// # Errors
    /// The database failed.
    pub async fn flush_keepalives(&self) -> Result<(), DbError> {
        self.standstill.passed(self.clock.now());
        self.standstill.works();
        let done = self.flush_and_look().await;
        self.standstill.rests(self.clock.now());
        done
    }

    async fn flush_and_look(&self) -> Result<(), DbError> {
        // a sweep looks at the clock itself, and may take longer than keepalives should wait
        let Ok(mut watch) = self.sweeping.try_lock() else { return self.db.flush_touches().await };
        let done = self.look_and_beat(&mut watch).await;
        watch.failing |= done.is_err();
        done
    }

    /// At the end: notes until when ddnsd ran.
    ///
    /// # Errors
    /// The database failed; all time since the last heartbeat is held against no host.
    pub async fn stop(&self) -> Result<(), DbError> {
        let mut watch = self.sweeping.lock().await;
        // nobody looked while requests were drained, which is no standstill
        let now = self.step(&mut watch).await?;
        self.forgive_outage(&mut watch, now.wall).await?;
        self.beat(&mut watch, now).await
    }

    async fn look_and_beat(&self, watch: &mut Watch) -> Result<(), DbError> {
        self.look(watch).await?;
        self.db.flush_touches().await?;
        // how long it took says nothing of whether ddnsd stood still
        let now = self.step(watch).await?;
        self.forgive_outage(watch, now.wall).await?;
        if expiry::is_beat_due(watch.beat, now.mono) {
            self.beat(watch, now).await?;
        }
        Ok(())
    }

    async fn sweep_all(&self, watch: &mut Watch) -> Result<Swept, DbError> {
        let now = self.look(watch).await?;
        self.look_again_if_default_changed(watch).await?;
        self.db.flush_touches().await?;
        self.forgive_outage(watch, now.wall).await?;
        let mut swept = Swept::default();
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.due(now.wall, after, BATCH).await?;
            let Some(last) = page.last else { break };
            after = last;
            self.standstill.passed(self.clock.now());
            self.forgive_standstill(watch).await?;
            self.judge(page.rows, &watch.gaps, now.wall, &mut swept).await?;
        }
        // how long it took says nothing of whether ddnsd stood still
        let now = self.step(watch).await?;
        self.beat(watch, now).await?;
        watch.answered = now.wall;
        Ok(swept)
    }

    async fn judge(
        &self,
        page: Vec<DueHost>,
        gaps: &Downtime,
        now: Millis,
        swept: &mut Swept,
    ) -> Result<(), DbError> {
        let mut alive = Vec::new();
        let mut silent = Vec::new();
        for due in page {
            let Some(host) = self.db.readable_host(&due.fqdn).await? else {
                continue;
            };
            match self.evaluate(&host, due.seen, gaps, now) {
                Expiry::Never => {
                    alive.push(schedule_checks(&due, None));
                }
                Expiry::CheckAt(at) => {
                    alive.push(schedule_checks(&due, Some(at)));
                }
                Expiry::Due { .. } => silent.push(self.expire(due, gaps, now)),
            }
        }
        if !alive.is_empty() {
            self.db.schedule_checks(alive).await?;
        }
        for expired in join_all(silent).await {
            match expired? {
                Some((name, Ok(()))) => swept.expired.push(name),
                Some((name, Err(why))) => swept.failed.push((name, why)),
                None => {}
            }
        }
        Ok(())
    }

    /// Wants and publishes the removal. `None` if the host is alive after all, or being changed.
    async fn expire(
        &self,
        due: DueHost,
        gaps: &Downtime,
        now: Millis,
    ) -> Result<Option<(Fqdn, Result<(), String>)>, DbError> {
        let Some(_guard) = self.host_locks.try_lock(due.host) else {
            return Ok(None);
        };
        let Some(host) = self.db.readable_host(&due.fqdn).await? else {
            return Ok(None);
        };
        let seen = self.db.last_seen(due.host).await?;
        let Expiry::Due { v4, v6 } = self.evaluate(&host, seen, gaps, now) else {
            return Ok(None);
        };
        let old = host.wanted.addresses();
        let owed = self.notices.of_expiry(&host, Families { v4, v6 }, seen).await?;
        let (expired, defaults) = (((v4, v6), owed), self.publisher.defaults());
        let want = decide::want_for_expiry(host, expired, (seen, gaps), &defaults, now);
        let wanted = self.publisher.want(vec![want]).await?.pop().flatten();
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        if self.publisher.is_down(&wanted.zone) {
            let why = format!("the name server is down for zone `{}`", wanted.zone);
            return Ok(Some((due.fqdn, Err(why))));
        }
        let published = self.publisher.publish(wanted, Lane::Background).await;
        match &published {
            Ok(()) => tracing::info!(host = %due.fqdn, %old, "expired"),
            Err(why) => {
                tracing::warn!(host = %due.fqdn, %old, "expired, not yet taken down: {why}");
            }
        }
        Ok(Some((due.fqdn, published.map_err(|why| why.to_string()))))
    }

    fn evaluate(&self, host: &Host, seen: Seen, gaps: &Downtime, now: Millis) -> Expiry {
        expiry::evaluate(host, seen, gaps, &self.publisher.defaults(), now)
    }

    /// Hosts without a TTL of their own were to be looked at by the old default.
    async fn look_again_if_default_changed(&self, watch: &mut Watch) -> Result<(), DbError> {
        let ttl = self.publisher.defaults().expiry_ttl;
        if watch.default_ttl == Some(ttl) {
            return Ok(());
        }
        let now = ttl.to_string();
        let before = self.db.meta("default_expiry_ttl").await?;
        if before.as_ref() != Some(&now) {
            if before.is_some() {
                self.db.check_all_now().await?;
            }
            self.db.set_meta("default_expiry_ttl", now).await?;
        }
        watch.default_ttl = Some(ttl);
        Ok(())
    }
}

fn schedule_checks(due: &DueHost, at: Option<Millis>) -> NextCheck {
    NextCheck { host: due.host, was: due.check_at, at, version: due.version }
}
