//! What DNS is not known to hold is sent again, at start and on a timer, until it is acknowledged. Who
//! killed the daemon, or how long the name server was away, does not matter here.

use super::publishing::Publisher;
use super::turns::Turns;
use super::unsigned::Unsigned;
use crate::config::Rfc2136;
use crate::db::{Db, DbError, Unpublished, Which};
use crate::dns::{self, Lane};
use crate::model::host::HostId;
use crate::model::name::Zone;
use crate::model::time::Millis;
use futures::future::join_all;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

/// One batch is out at a time, so that fresh updates never queue behind a backlog.
const BATCH: u32 = 200;

/// `meta.target` while the records move to another server: no start takes it for its own.
const MOVING: &str = "moving";

/// The republishing story; clones share what is known of the target's name.
#[derive(Clone)]
pub struct Republish {
    db: Db,
    publisher: Publisher,
    turns: Turns,
    /// Whether `meta.target` names the server that is published to. Held while that becomes another one.
    is_named: Arc<Mutex<bool>>,
    /// Told when it has become another one.
    moved: Arc<Notify>,
}

/// Another way to publish, ready to be used. Dropped, all is published as before.
#[must_use = "it is used when it is committed"]
pub struct Prepared {
    dns: dns::Prepared,
    unsigned: Unsigned,
    /// If it is another server.
    moving: Option<(OwnedMutexGuard<bool>, Arc<Notify>)>,
}

impl Prepared {
    /// Publishes so from now on; see [`dns::Prepared::commit`].
    pub fn commit(self) {
        self.dns.commit();
        self.unsigned.warn();
        if let Some((is_named, moved)) = self.moving {
            drop(is_named);
            moved.notify_one();
        }
    }
}

impl Republish {
    /// The story over these handles.
    pub fn new(db: Db, publisher: Publisher, turns: Turns) -> Self {
        Self { db, publisher, turns, is_named: Arc::new(Mutex::new(true)), moved: Arc::default() }
    }

    /// Gets ready to publish in another way. If it is another server, every live record is unpublished
    /// when this returns, and nothing is sent before the commit: so nothing that the server of before
    /// acknowledges is taken for published on the new one.
    ///
    /// # Errors
    /// The database failed. All is published as before; some of it once more, perhaps.
    pub async fn prepare(&self, config: &Rfc2136, now: Millis) -> Result<Prepared, DbError> {
        let unsigned = Unsigned::of(&config.keys, &self.db).await;
        let dns = self.publisher.prepare(config.clone()).await;
        if !dns.is_elsewhere() {
            return Ok(Prepared { dns, unsigned, moving: None });
        }
        let mut is_named = Arc::clone(&self.is_named).lock_owned().await;
        *is_named = false;
        // whatever meta says: it may tell of a move that was stored and never carried out
        self.db.doubt_all(MOVING.to_owned(), now).await?;
        tracing::info!(now = %config.server, "another name server: every record is sent to it");
        Ok(Prepared { dns, unsigned, moving: Some((is_named, Arc::clone(&self.moved))) })
    }

    /// At the start, when nothing is sent yet: another server than that of the run before knows nothing,
    /// so every live record becomes unpublished. Zones without a key are told.
    ///
    /// # Errors
    /// The database failed.
    pub async fn aim_at(&self, config: &Rfc2136, now: Millis) -> Result<(), DbError> {
        Unsigned::of(&config.keys, &self.db).await.warn();
        // what is unpublished since before this run must be seen to be, whatever the clock did since
        self.db.unpublished_no_later_than(now.plus_millis(-1)).await?;
        let target = target(config.server);
        let before = self.db.meta("target").await?;
        if before.as_ref() == Some(&target) {
            return Ok(());
        }
        self.db.doubt_all(target.clone(), now).await?;
        if let Some(before) = before {
            tracing::info!(%before, now = %target, "another name server: every record is sent to it");
        }
        Ok(())
    }

    /// Waits until the records have moved to another server, and a run is due at once.
    pub async fn has_moved(&self) {
        self.moved.notified().await;
    }

    /// Notes which server is published to, if that is not noted and not just changing.
    async fn name_target(&self) -> Result<(), DbError> {
        let Ok(mut is_named) = self.is_named.try_lock() else { return Ok(()) };
        if !*is_named {
            self.db.set_meta("target", target(self.publisher.server())).await?;
            *is_named = true;
        }
        Ok(())
    }

    /// Goes once through all that is unpublished: first what somebody is to be found at, then what is
    /// only to go. Returns how many are published now.
    ///
    /// # Errors
    /// The database failed; the next run begins anew.
    pub async fn run(&self) -> Result<usize, DbError> {
        self.name_target().await?;
        let mut silent = HashSet::new();
        let published = self.run_through(Which::WithAddress, &mut silent).await?;
        Ok(published + self.run_through(Which::WithoutAddress, &mut silent).await?)
    }

    async fn run_through(
        &self,
        which: Which,
        silent: &mut HashSet<Zone>,
    ) -> Result<usize, DbError> {
        let mut published = 0;
        let mut after = (Millis(i64::MIN), HostId(0));
        loop {
            let page = self.db.unpublished(which, after, BATCH).await?;
            let Some(last) = page.last else { return Ok(published) };
            after = last;
            let mut zones: HashMap<Zone, Vec<Unpublished>> = HashMap::new();
            for pending in page.rows.into_iter().filter(|pending| !silent.contains(&pending.zone)) {
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

/// As `meta` names it.
fn target(server: SocketAddr) -> String {
    format!("rfc2136 {server}")
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
