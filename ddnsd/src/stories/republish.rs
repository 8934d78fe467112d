//! What DNS is not known to hold is sent again, at start and on a timer, until it is acknowledged. Who
//! killed the daemon, or how long the name server was away, does not matter here.

use super::publishing::Publisher;
use super::turns::Turns;
use crate::config::Rfc2136;
use crate::db::{Db, DbError, Unpublished};
use crate::dns::{self, Lane};
use crate::model::host::HostId;
use crate::model::name::Zone;
use crate::model::time::Millis;
use futures::future::join_all;
use std::collections::{HashMap, HashSet};

/// One batch is out at a time, so that fresh updates never queue behind a backlog.
const BATCH: u32 = 200;

/// The handles this story uses.
#[derive(Clone)]
pub struct Republish {
    /// What is unpublished.
    pub db: Db,
    /// The way into DNS.
    pub publisher: Publisher,
    /// One change per host.
    pub turns: Turns,
}

impl Republish {
    /// Gets ready to publish in another way. If it is another server, every live record is unpublished
    /// when this returns, and nothing is sent before the commit: so nothing that the server of before
    /// acknowledges is taken for published on the new one.
    ///
    /// # Errors
    /// The database failed; all stays as it was.
    pub async fn prepare(&self, config: &Rfc2136, now: Millis) -> Result<dns::Prepared, DbError> {
        let prepared = self.publisher.prepare(config.clone()).await;
        if prepared.is_elsewhere() {
            self.aim_at(config, now).await?;
        }
        Ok(prepared)
    }

    /// Names the server that is published to from now on. Another one than before knows nothing yet, so
    /// every live record becomes unpublished.
    ///
    /// # Errors
    /// The database failed.
    pub async fn aim_at(&self, config: &Rfc2136, now: Millis) -> Result<(), DbError> {
        let target = format!("rfc2136 {}", config.server);
        let before = self.db.meta("target").await?;
        if before.as_ref() == Some(&target) {
            return Ok(());
        }
        if let Some(before) = before {
            tracing::info!(%before, now = %target, "another name server: every record is sent to it");
            self.db.doubt_all(now).await?;
        }
        self.db.set_meta("target", target).await
    }

    /// Goes once through all that is unpublished. Returns how many are published now.
    ///
    /// # Errors
    /// The database failed; the next run begins anew.
    pub async fn run(&self) -> Result<usize, DbError> {
        let mut published = 0;
        let mut silent = HashSet::new();
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.unpublished(after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(published) };
            after = (last.since, last.host);
            let mut zones: HashMap<Zone, Vec<Unpublished>> = HashMap::new();
            for pending in page.into_iter().filter(|pending| !silent.contains(&pending.zone)) {
                zones.entry(pending.zone.clone()).or_default().push(pending);
            }
            let sent = zones.into_iter().map(|(zone, pending)| self.zone(zone, pending));
            for done in join_all(sent).await {
                let (zone, count) = done?;
                match count {
                    Some(count) => published += count,
                    // the rest of its backlog can wait; other zones must not wait for it
                    None => drop(silent.insert(zone)),
                }
            }
        }
    }

    /// Sends a zone's pending hosts: how many are published, or `None` if the server is silent. One that
    /// is known to be silent is asked with a single host, so that no other host's turn is held meanwhile.
    async fn zone(
        &self,
        zone: Zone,
        pending: Vec<Unpublished>,
    ) -> Result<(Zone, Option<usize>), DbError> {
        let mut published = 0;
        let mut pending = pending.into_iter();
        while self.publisher.is_down(&zone) {
            let Some(probe) = pending.next() else { return Ok((zone, None)) };
            match self.one(probe).await? {
                Sent::Published => published += 1,
                Sent::Silence => return Ok((zone, None)),
                Sent::Refused | Sent::NotNow => {}
            }
        }
        let mut is_silent = false;
        for sent in join_all(pending.map(|pending| self.one(pending))).await {
            match sent? {
                Sent::Published => published += 1,
                Sent::Silence => is_silent = true,
                Sent::Refused | Sent::NotNow => {}
            }
        }
        Ok((zone, (!is_silent).then_some(published)))
    }

    /// Sends one host again. One that is being changed is left to whoever changes it.
    async fn one(&self, pending: Unpublished) -> Result<Sent, DbError> {
        let Unpublished { host: id, fqdn, .. } = pending;
        if self.publisher.is_waiting(id) {
            return Ok(Sent::NotNow);
        }
        let Some(_turn) = self.turns.try_one(id) else { return Ok(Sent::NotNow) };
        match self.db.readable_host(&fqdn).await? {
            Some(host) if host.id == id && host.unpublished_since.is_some() => {
                match self.publisher.publish(host, Lane::Background).await {
                    Ok(()) => Ok(Sent::Published),
                    Err(problem) => {
                        tracing::debug!(host = %fqdn, "still not published: {problem}");
                        Ok(if problem.is_silence() { Sent::Silence } else { Sent::Refused })
                    }
                }
            }
            _ => Ok(Sent::NotNow),
        }
    }
}

/// What came of sending a host again.
enum Sent {
    /// DNS acknowledged it.
    Published,
    /// The server said nothing.
    Silence,
    /// The server refused it.
    Refused,
    /// Somebody else is at it, or it is too early.
    NotNow,
}
