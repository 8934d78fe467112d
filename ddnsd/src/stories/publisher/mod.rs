//! The three steps of every change: want, publish, settle. Update, expiry, deletion and the
//! republisher all use them.
//!
//! After a kill at any point the row is still unpublished and is sent again. It also stays
//! unpublished while an unanswered message could still overwrite what was acknowledged.

mod leases;

use crate::clock::Clock;
use crate::config::DnsBackend;
use crate::db::{Db, DbError, PublishResult, Store, UnpublishedHost, Want};
use crate::dns::{
    self, CheckResult, Dns, DnsError, Found, Halving, Lane, LookupError, Published, ZoneHealth,
};
use crate::log_budget::log_repeated;
use crate::model::change::RecordCheck;
use crate::model::family::{Families, Family};
use crate::model::host::{Defaults, Host};
use crate::model::name::{Fqdn, Zone};
use crate::model::time::{Millis, Now};
use crate::rules::decide;
use crate::rules::retry::{self, Retry, RetrySchedule};
use arc_swap::ArcSwap;
pub(super) use leases::ToChange;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// How often a removal is sent at most, while an unanswered message could still undo it.
const MAX_REMOVALS: u32 = 3;
/// A removal that was acknowledged is checked after each of these pauses until it holds.
const REMOVAL_CHECKS: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(6)];
/// Acknowledged changes that wait to be checked.
const MAX_ACKNOWLEDGED: usize = 10_000;

/// Why a host's records are not removed for good.
#[derive(Debug, thiserror::Error)]
pub enum NotRemoved {
    /// DNS did not acknowledge it.
    #[error(transparent)]
    Dns(DnsError),
    /// Each time a message got no answer, and it may still undo the removal.
    #[error(
        "the name server ({target}) acknowledged it, but a message got no answer each time and may come late (does UDP reach it?)"
    )]
    NotFinal {
        /// Which server.
        target: String,
    },
    /// It was acknowledged, and not done.
    #[error(
        "the name server ({target}) acknowledged it, but still holds them (does a policy or script there drop updates?)"
    )]
    StillThere {
        /// Which server.
        target: String,
    },
}

/// A change that was sent, and what became of it. It is not stored yet.
#[must_use = "its result is to be settled"]
pub struct Sent {
    host: Arc<Host>,
    /// The TTL it was sent with, in seconds.
    ttl: u32,
    published: Published,
}

impl Sent {
    /// The host as it was sent.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// # Errors
    /// DNS did not acknowledge it.
    pub fn result(&self) -> Result<(), DnsError> {
        match &self.published {
            Published::Acknowledged { .. } => Ok(()),
            Published::Refused(problem) | Published::Unconfirmed(problem) => Err(problem.clone()),
        }
    }
}

/// Publishes hosts; clones share what is known of refused ones.
#[derive(Clone)]
pub struct Publisher {
    db: Db,
    dns: Dns,
    clock: Clock,
    defaults: Arc<ArcSwap<Defaults>>,
    refused: Arc<Mutex<RetrySchedule>>,
    acknowledged: Acknowledged,
    key_refused: Arc<AtomicBool>,
}

/// The channel of acknowledged changes to the story that checks them.
#[derive(Clone)]
struct Acknowledged {
    sender: Sender<Arc<Host>>,
    receiver: Arc<Mutex<Option<Receiver<Arc<Host>>>>>,
}

impl Publisher {
    pub fn new(db: Db, dns: Dns, clock: Clock, defaults: Arc<ArcSwap<Defaults>>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_ACKNOWLEDGED);
        let receiver = Arc::new(Mutex::new(Some(receiver)));
        let acknowledged = Acknowledged { sender, receiver };
        let (refused, key_refused) = Default::default();
        Self { db, dns, clock, defaults, refused, acknowledged, key_refused }
    }

    /// The hosts whose changes another name server acknowledges, as they are then. Those that do
    /// not fit are left out. `None` if it was taken before.
    pub fn take_acknowledged(&self) -> Option<Receiver<Arc<Host>>> {
        self.acknowledged.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the name server refused since the last call what another key may be accepted for.
    pub fn take_key_refusal(&self) -> bool {
        self.key_refused.swap(false, Ordering::Relaxed)
    }

    pub fn defaults(&self) -> Defaults {
        **self.defaults.load()
    }

    /// Prepares another configuration, perhaps of another server; see [`Dns::prepare`].
    pub async fn prepare(&self, config: DnsBackend) -> dns::PreparedDns {
        self.dns.prepare(config).await
    }

    /// The server that is published to, as `meta.target` stores it.
    pub fn target(&self) -> String {
        self.dns.target()
    }

    /// See [`Dns::started`].
    pub fn started(&self) -> Option<Millis> {
        self.dns.started()
    }

    /// Whether a host of this name can be published.
    ///
    /// # Errors
    /// See [`Dns::check`].
    pub fn check(&self, name: &Fqdn, zone: &Zone) -> Result<(), DnsError> {
        self.dns.check(name, zone)
    }

    /// Whether the name server does not answer for a zone at the moment.
    pub fn is_down(&self, zone: &Zone) -> bool {
        self.dns.is_down(zone)
    }

    /// The zones that were published to in the last minute.
    pub fn zones(&self) -> Vec<ZoneHealth> {
        self.dns.zones()
    }

    /// Whether records are served by another program.
    pub fn is_remote(&self) -> bool {
        self.dns.is_remote()
    }

    /// Whether the name server holds what names of a zone should hold; see
    /// [`Dns::check_records`].
    pub async fn check_records(
        &self,
        zone: &Zone,
        checks: &[RecordCheck],
        halving: Halving,
    ) -> Vec<CheckResult> {
        self.dns.check_records(zone, checks, halving).await
    }

    /// What the name server answers for a name.
    ///
    /// # Errors
    /// It does not answer, or not for this name.
    pub async fn look_up(
        &self,
        name: &Fqdn,
        zone: &Zone,
        family: Family,
    ) -> Result<Found, LookupError> {
        self.dns.look_up(name, zone, family).await
    }

    /// Whether an acknowledgement of this host is not final yet, so that it is too early to send it
    /// again.
    pub fn is_waiting(&self, host: &Fqdn) -> bool {
        self.dns.is_waiting(host)
    }

    /// When an unpublished host is sent again.
    pub fn next_retry(&self, row: &UnpublishedHost) -> Retry {
        let now = self.clock.now().mono;
        self.refused().next(row.host, row.version, row.has_failed, now)
    }

    /// The configuration changed: what was refused may be accepted now.
    pub fn forget_refusals(&self) {
        self.refused().forget_all();
    }

    /// Commits changes as wanted and unpublished, as [`Db::want`]. The caller holds the hosts'
    /// locks. A move of every record to another name server, or another daemon, can change a row
    /// all the same. If it wants the same and owes the same mails, the change is stored once more.
    ///
    /// # Errors
    /// The database failed; what was not wanted before is not.
    pub async fn want(&self, changes: Vec<Want>) -> Result<Vec<Option<Arc<Host>>>, DbError> {
        for change in &changes {
            self.expect_others_message(&change.host);
        }
        let mut hosts = self.db.want(changes.clone()).await?;
        for (host, change) in hosts.iter_mut().zip(changes).filter(|(host, _)| host.is_none()) {
            let Some(now) = self.db.host(&change.host.fqdn).await? else { continue };
            let was = &change.host;
            let is_same = (now.id, now.user, now.wanted, &now.notices, *now.lan)
                == (was.id, was.user, was.wanted, &was.notices, *was.lan);
            if is_same && !self.is_changed_elsewhere(&now) {
                self.expect_others_message(&now);
                let again = Want { host: now, ..change };
                *host = self.db.want(vec![again]).await?.pop().flatten();
            }
        }
        Ok(hosts)
    }

    /// Publishes the host as it is wanted and settles the result. The caller holds its lock.
    ///
    /// # Errors
    /// DNS did not acknowledge it; the row stays unpublished.
    pub async fn publish(&self, host: Arc<Host>, lane: Lane) -> Result<(), DnsError> {
        self.expect_others_message(&host);
        let change = decide::change(&host, &self.defaults());
        let ttl = change.ttl;
        let published = self.dns.publish(change, lane).await;
        let sent = Sent { host, ttl, published };
        let result = sent.result();
        self.settle(sent, Store::Now).await;
        result
    }

    /// Publishes several hosts as they are wanted; those of a zone travel together. The caller
    /// holds their locks until it has settled each.
    pub fn publish_all(
        &self,
        hosts: Vec<Arc<Host>>,
        lane: Lane,
    ) -> impl Iterator<Item = impl Future<Output = Sent> + use<>> + use<> {
        let defaults = self.defaults();
        for host in &hosts {
            self.expect_others_message(host);
        }
        let changes: Vec<_> = hosts.iter().map(|host| decide::change(host, &defaults)).collect();
        let ttls: Vec<_> = changes.iter().map(|change| change.ttl).collect();
        let published = self.dns.publish_all(changes, lane);
        hosts.into_iter().zip(ttls).zip(published).map(|((host, ttl), published)| async move {
            Sent { host, ttl, published: published.await }
        })
    }

    /// Stores what became of a change. A result that is lost leaves the row unpublished, so that
    /// the host is sent again.
    pub async fn settle(&self, sent: Sent, when: Store) {
        let Sent { host, ttl, published } = sent;
        let now = self.clock.now();
        let at = now.wall;
        match published {
            Published::Acknowledged { final_from } => {
                self.refused().acknowledged(host.id);
                let is_final = final_from.is_none();
                let stored = PublishResult::Acknowledged { host, ttl, is_final, at };
                let now =
                    self.store(stored, when).await.filter(|it| it.unpublished_since.is_none());
                if let Some(now) = now.filter(|_| self.is_remote()) {
                    // without space it is left to the round over all hosts
                    let _is_full = self.acknowledged.sender.try_send(now);
                }
            }
            Published::Refused(problem) | Published::Unconfirmed(problem) => {
                let error = problem.to_string();
                if problem.may_be_of_key() {
                    self.key_refused.store(true, Ordering::Relaxed);
                }
                if self.is_new(&host, &problem, &error, now) {
                    let failed = PublishResult::Failed { host, error, at };
                    let _unchanged = self.store(failed, when).await;
                } else {
                    self.give_back(host).await;
                }
            }
        }
    }

    /// Whether a failure is worth a write. Records a refusal.
    fn is_new(&self, host: &Host, problem: &DnsError, error: &str, now: Now) -> bool {
        match problem {
            // else the whole backlog would be written again at each try of a zone that is down
            DnsError::Down { .. } | DnsError::Overloaded { .. } => false,
            problem if problem.is_unanswered() => true,
            _ => self.refused().refused(host, error, now.mono),
        }
    }

    /// Removes the host's records before its row is deleted; nothing is settled. Repeats the
    /// removal (3 times, 90 s in all) while an unanswered message could still restore them.
    ///
    /// # Errors
    /// DNS did not acknowledge it, a message got no answer each time, or a check still finds one.
    pub async fn remove_records(&self, host: &Host) -> Result<(), NotRemoved> {
        let mut change = decide::change(host, &self.defaults());
        change.records = change.records.without(Families::BOTH);
        let start = self.clock.now().mono;
        for round in 1..=MAX_REMOVALS {
            let final_from = match self.dns.publish(change.clone(), Lane::Interactive).await {
                Published::Acknowledged { final_from: None } => {
                    return self.check_removed(host).await;
                }
                Published::Acknowledged { final_from: Some(final_from) } => final_from,
                Published::Refused(error) | Published::Unconfirmed(error) => {
                    return Err(NotRemoved::Dns(error));
                }
            };
            let timeout = self.dns.timeout();
            if round == MAX_REMOVALS
                || !retry::is_time_for_another_removal(start, final_from, timeout)
            {
                break;
            }
            tokio::time::sleep_until(final_from.into()).await;
        }
        Err(NotRemoved::NotFinal { target: self.dns.target() })
    }

    /// Whether none of the host's records is there, in several tries; unknown is believed.
    ///
    /// # Errors
    /// [`NotRemoved::StillThere`].
    pub async fn check_removed(&self, host: &Host) -> Result<(), NotRemoved> {
        let mut check = decide::check(host);
        check.records = check.records.without(Families::BOTH);
        for pause in REMOVAL_CHECKS {
            tokio::time::sleep(pause).await;
            let checks = slice::from_ref(&check);
            let results = self.dns.check_records(&check.zone, checks, Halving::ToTheEnd).await;
            if !matches!(results.as_slice(), [CheckResult::Differs]) {
                return Ok(());
            }
        }
        Err(NotRemoved::StillThere { target: self.dns.target() })
    }

    fn refused(&self) -> MutexGuard<'_, RetrySchedule> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the host as it is now, if the result is its last one.
    async fn store(&self, result: PublishResult, when: Store) -> Option<Arc<Host>> {
        // a result that is not stored leaves the row unpublished, so the host is sent again
        self.db.settle(result, when).await.unwrap_or_else(|error| {
            log_repeated!(warn, "cannot store the result of a change: {error}");
            None
        })
    }
}
