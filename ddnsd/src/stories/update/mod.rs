//! One update, from a checked request to its reply, stage by stage as `update` and `change` list
//! them.

mod counting;
mod followers;
mod owned_hosts;
mod publish;
mod results;

use super::authenticate::{Authenticate, BadPlace};
use super::host_locks::{HostGuard, HostLocks};
use super::last_requests::{HostResult, HostResults, LastRequests};
use super::notices::Notices;
use super::publisher::{Publisher, ToChange};
use crate::clock::Clock;
use crate::db::{Db, DbError, Want};
use crate::log_budget::log_repeated;
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::model::notice::Notify;
use crate::model::time::Now;
use crate::passwords::Caller;
use crate::rules::decide::{self, Verdict};
use crate::rules::expiry;
use crate::rules::prefix::{self, Effect};
use crate::rules::reply::{self, Reply, ReturnCode};
use crate::rules::request::{RequestedHost, UpdateChange, UpdateRequest};
use arc_swap::ArcSwap;
pub use counting::UpdateCounters;
use followers::{Followers, LockedHosts, results_of_named};
use owned_hosts::OwnedHosts;
use results::{NotChanged, failed, too_many_updates};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The update story; clones share everything.
#[derive(Clone)]
pub struct Update(Arc<UpdateHandles>);

/// The handles it uses.
pub struct UpdateHandles {
    pub db: Db,
    pub publisher: Publisher,
    pub authenticate: Authenticate,
    pub last_requests: LastRequests,
    pub notices: Notices,
    pub host_locks: HostLocks,
    pub clock: Clock,
    pub counters: Arc<UpdateCounters>,
    /// Run the updates that must wait, so that they finish even if their client hangs up.
    pub tasks: TaskTracker,
    /// How long to wait for hosts that another update is changing.
    pub lock_timeout: Arc<ArcSwap<Duration>>,
}

/// What a request does to its hosts, and until when it waits for those that others change.
struct UpdateRun<'a> {
    hosts: &'a OwnedHosts,
    change: UpdateChange,
    now: Now,
    deadline: Instant,
}

/// What is decided, beside the results of hosts that are not changed.
#[derive(Default)]
struct Decisions {
    changes: Vec<HostChange>,
    /// The locks of hosts that are not changed. A follower that returns to its leader must not read
    /// the prefix before the new one is stored.
    kept: Vec<HostGuard>,
    /// What the reply shows of hosts, where it is not what the request gives.
    shown: Vec<(HostId, Addresses)>,
}

/// The changes that are stored, and the locks of hosts that others changed first.
#[derive(Default)]
struct Stored {
    changes: Vec<StoredChange>,
    overtaken: Vec<HostGuard>,
}

/// A change to be stored, and the lock of its host.
struct HostChange {
    guard: HostGuard,
    want: Want,
}

/// A change that is stored and not yet published, and the lock of its host.
struct StoredChange {
    guard: HostGuard,
    host: Arc<Host>,
    old: Addresses,
}

impl Update {
    pub fn new(handles: UpdateHandles) -> Self {
        Self(Arc::new(handles))
    }

    /// Carries out a request. Once its password is checked it runs to its end, even if the client
    /// hangs up or the deadline passes. It starts a task only if it must wait.
    pub async fn run(&self, request: Arc<UpdateRequest>, now: Now) -> Reply {
        let place = match self.0.authenticate.reserve(&request, now).await {
            Ok(place) => place,
            Err(reply) => {
                self.0.counters.count(&reply);
                return reply;
            }
        };
        let mut reply = Box::pin(self.clone().run_reserved(request, place, now));
        match futures::poll!(&mut reply) {
            Poll::Ready(reply) => reply,
            Poll::Pending => {
                let task = self.0.tasks.spawn(reply);
                task.await.unwrap_or_else(|_| Reply::whole(ReturnCode::ServerError))
            }
        }
    }

    /// Runs a request and counts its reply.
    async fn run_reserved(self, request: Arc<UpdateRequest>, place: BadPlace, now: Now) -> Reply {
        let reply = match self.0.authenticate.run(&request, place, now).await {
            Ok(authenticated) => {
                let reply = self.update_hosts(&request, &authenticated.caller, now).await;
                let reply = reply.unwrap_or_else(|problem| {
                    log_repeated!(error, "cannot carry out an update: {problem}");
                    Reply::whole(ReturnCode::ServerError)
                });
                self.0.authenticate.record(authenticated, reply)
            }
            Err(reply) => reply,
        };
        self.0.counters.count(&reply);
        reply
    }

    /// Finds the caller's hosts, changes them and builds the reply.
    async fn update_hosts(
        &self,
        request: &UpdateRequest,
        caller: &Caller,
        now: Now,
    ) -> Result<Reply, DbError> {
        let requested = match request.update.read_hosts() {
            Ok(requested) => requested,
            Err(why) => return Ok(Reply::whole(reply::no_hosts(why))),
        };
        let hosts = self.owned_hosts(&requested, caller).await?;
        let given = request.update.read_change();
        let addresses = given.as_ref().map(|given| given.change.addresses()).unwrap_or_default();
        let changed = match hosts.usable_change(request, given) {
            Ok(change) => {
                let deadline = now.mono + **self.0.lock_timeout.load();
                let run = UpdateRun { hosts: &hosts, change, now, deadline };
                // boxed: the allocator has small blocks at hand, and is slow beyond 1 KiB
                Box::pin(self.change(&run)).await
            }
            Err(result) => Err(NotChanged::Rejected(result)),
        };
        let (mut results, problem) = match changed {
            Ok(results) => (results, None),
            Err(NotChanged::Rejected(result)) => (hosts.all(&result), None),
            Err(NotChanged::Failed(problem)) => (hosts.all(&failed(&problem)), Some(problem)),
        };
        results.extend(hosts.suspended());
        // a database failure is recorded for each host, but the client gets one `911` for all
        self.0.last_requests.record(request, now, &results);
        match problem {
            Some(problem) => Err(problem),
            None => Ok(hosts.reply(addresses, &requested, &results)),
        }
    }

    /// Changes the hosts, one stage a line.
    async fn change(&self, run: &UpdateRun<'_>) -> Result<HostResults, NotChanged> {
        let LockedHosts { mut guards, followers } = self.lock(run).await?;
        let (mut results, mut shown) = (HostResults::default(), Vec::new());
        while !guards.is_empty() {
            let mut decisions = self.decide(guards, run, &followers, &mut results).await?;
            shown.append(&mut decisions.shown);
            if decisions.changes.is_empty() {
                break;
            }
            // boxed: what changes nothing needs no room for it
            let stored = Box::pin(self.store(decisions.changes, &mut results)).await;
            let Stored { changes, overtaken } = stored;
            drop(decisions.kept);
            results.extend(Box::pin(self.publish(changes)).await);
            guards = overtaken;
            if run.deadline <= self.0.clock.mono() {
                results.extend(guards.drain(..).map(|guard| (guard.host(), too_many_updates())));
            }
        }
        for (host, addresses) in shown {
            if let Some(result) = results.get_mut(&host) {
                result.addresses = Some(addresses);
            }
        }
        Ok(results_of_named(&followers, run.hosts, results))
    }

    /// Looks the hosts up before any lock, so that no one waits for the lock of another user's
    /// host.
    async fn owned_hosts(
        &self,
        requested: &[RequestedHost],
        caller: &Caller,
    ) -> Result<OwnedHosts, DbError> {
        let mut hosts = OwnedHosts::with_capacity(requested.len());
        for host in requested {
            let found = match &host.name {
                Some(name) => self.0.db.host(name).await?,
                None => None,
            };
            hosts.push(found.filter(|host| host.user == caller.user()));
        }
        Ok(hosts)
    }

    /// Reads each host again under its lock and decides whether it changes. Adds the results of
    /// those that do not. They cost no write: their last update is recorded in memory. With a
    /// cached row they cost no SQL.
    async fn decide(
        &self,
        guards: Vec<HostGuard>,
        run: &UpdateRun<'_>,
        followers: &Followers,
        results: &mut HostResults,
    ) -> Result<Decisions, DbError> {
        let (named, update) = (run.hosts, &run.change);
        let mut decisions = Decisions::default();
        for guard in guards {
            let host = match self.reread_locked(&guard, run, followers).await? {
                ToChange::Free(host) => host,
                // without a result here, `OwnedHosts::reply` answers `nohost`
                ToChange::Gone => continue,
                ToChange::Busy => {
                    results.insert(guard.host(), too_many_updates());
                    continue;
                }
            };
            if host.suspended_at.is_some() {
                if named.contains(host.id) {
                    results.insert(host.id, owned_hosts::suspended());
                }
                decisions.kept.push(guard);
                continue;
            }
            let effect = prefix::effect(&host, &self.asked(&host, named, update).await?);
            if effect.addresses != update.change.addresses() {
                decisions.shown.push((host.id, effect.addresses));
            }
            let verdict = decide::decide(&effect, &host, &self.0.publisher.defaults());
            if verdict == Verdict::Keep {
                let seen = effect.seen(run.now.wall);
                self.0.db.touch(host.id, seen, self.0.db.uptime(run.now));
                results.insert(host.id, HostResult::new(ReturnCode::Nochg));
                decisions.kept.push(guard);
            } else {
                let notify = if named.contains(host.id) { update.notify } else { Notify::No };
                let publish = verdict == Verdict::Change;
                let want = Box::pin(self.prepare_want(host, &effect, notify, run.now)).await?;
                decisions.changes.push(HostChange { guard, want: Want { publish, ..want } });
            }
        }
        Ok(decisions)
    }

    /// Gathers what the database stores for a change.
    async fn prepare_want(
        &self,
        host: Arc<Host>,
        effect: &Effect,
        notify: Notify,
        now: Now,
    ) -> Result<Want, DbError> {
        let (at, uptime) = (now.wall, self.0.db.uptime(now));
        if let Some(no_fit) = effect.no_fit {
            warn!(host = %host.fqdn, "no IPv6 address: {no_fit} (give it another --ipv6-suffix)");
        }
        let defaults = self.0.publisher.defaults();
        Ok(Want {
            records: effect.records,
            seen: effect.seen(at),
            check_at: expiry::first_check(&host, effect.records, &defaults, uptime),
            is_expiry: false,
            notices: self.0.notices.of_update(&host, effect, notify, at).await?,
            lan: effect.lan,
            publish: true,
            at,
            uptime,
            is_sent: !self.0.publisher.is_down(&host.zone()),
            host,
        })
    }

    /// Commits the changes together, as wanted and unpublished. From then on the republisher
    /// repeats them until DNS acknowledges them.
    async fn store(&self, changes: Vec<HostChange>, results: &mut HostResults) -> Stored {
        let mut wants = Vec::with_capacity(changes.len());
        let mut guards = Vec::with_capacity(changes.len());
        for HostChange { guard, want } in changes {
            guards.push((guard, want.host.wanted.addresses(), want.publish));
            wants.push(want);
        }
        let hosts = match self.0.publisher.want(wants).await {
            Ok(hosts) => hosts,
            Err(problem) => {
                log_repeated!(error, "cannot store a change: {problem}");
                let result = failed(&problem);
                let ids = guards.iter().map(|(guard, ..)| guard.host());
                results.extend(ids.map(|host| (host, result.clone())));
                return Stored::default();
            }
        };
        let mut stored = Stored::default();
        for ((guard, old, publish), host) in guards.into_iter().zip(hosts) {
            match host {
                Some(host) if publish => {
                    stored.changes.push(StoredChange { guard, host, old });
                }
                Some(host) => {
                    results.insert(host.id, HostResult::new(ReturnCode::Nochg));
                }
                // a move to another name server, or another daemon, takes no lock of ours
                None => stored.overtaken.push(guard),
            }
        }
        stored
    }
}
