//! One update, from a checked request to the words of its reply. Read downwards: who it is, what they
//! may change, whether that changes anything, and then: want, publish, settle.

use super::authenticate::{Authenticate, Authenticated};
use super::host_locks::{HostGuard, HostLocks};
use super::last_requests::{HostResult, LastRequests};
use super::notices::Notices;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::counters::UpdateCounters;
use crate::db::{Db, DbError, Want};
use crate::dns::{DnsError, Lane};
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::model::notice::Notify;
use crate::model::record::WantedRecords;
use crate::model::time::Now;
use crate::passwords::Caller;
use crate::rules::decide::{self, Verdict};
use crate::rules::reply::{self, Reply, ReturnCode};
use crate::rules::request::{BadAddress, Change, RequestedHost, UpdateRequest};
use arc_swap::ArcSwap;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

/// The update story; clones share everything.
#[derive(Clone)]
pub struct Update(Arc<UpdateHandles>);

/// The handles it uses.
pub struct UpdateHandles {
    /// Users and hosts.
    pub db: Db,
    /// The way into DNS.
    pub publisher: Publisher,
    /// Who they are.
    pub authenticate: Authenticate,
    /// What administrators see.
    pub last_requests: LastRequests,
    /// What owners are told.
    pub notices: Notices,
    /// One change per host.
    pub host_locks: HostLocks,
    /// The clock.
    pub clock: Clock,
    /// What is counted.
    pub counters: Arc<UpdateCounters>,
    /// Where a change runs on when its client is gone.
    pub tasks: TaskTracker,
    /// How long to wait for hosts that somebody else is changing.
    pub patience: Arc<ArcSwap<Duration>>,
}

/// The hosts a caller may change, by key, each with its place in DNS.
type Owned = BTreeMap<HostId, Arc<Host>>;

impl Update {
    /// The story with its handles.
    pub fn new(parts: UpdateHandles) -> Self {
        Self(Arc::new(parts))
    }

    /// Carries a request out and answers it. Once someone is logged in it runs to its end and counts,
    /// whether the client waits for it or not; what is answered from memory is answered at once.
    pub async fn run(&self, request: UpdateRequest) -> Reply {
        let now = self.0.clock.now();
        let request = Arc::new(request);
        let admitted = match self.0.authenticate.run(&request, now).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.count(&refused);
                return refused;
            }
        };
        let mut answer = Box::pin(self.clone().answer(request, admitted, now));
        match futures::poll!(&mut answer) {
            Poll::Ready(reply) => reply,
            Poll::Pending => {
                let task = self.0.tasks.spawn(answer);
                task.await.unwrap_or_else(|_| Reply::whole(ReturnCode::ServerError))
            }
        }
    }

    async fn answer(self, request: Arc<UpdateRequest>, admitted: Authenticated, now: Now) -> Reply {
        let reply = match self.hosts(&request, &admitted.caller, now).await {
            Ok(reply) => reply,
            Err(problem) => {
                error!("an update could not be carried out: {problem}");
                Reply::whole(ReturnCode::ServerError)
            }
        };
        let reply = self.0.authenticate.close(admitted, reply);
        self.count(&reply);
        reply
    }

    /// Which of the hosts are the caller's, and what becomes of them?
    async fn hosts(
        &self,
        request: &UpdateRequest,
        caller: &Caller,
        now: Now,
    ) -> Result<Reply, DbError> {
        let asked = match &request.hosts {
            Ok(hosts) => hosts,
            Err(why) => return Ok(Reply::whole(reply::no_hosts(*why))),
        };
        let mut named = Vec::with_capacity(asked.len());
        for host in asked {
            named.push(self.owned(host, caller).await?);
        }
        let owned: Owned = named.iter().flatten().map(|host| (host.id, Arc::clone(host))).collect();
        let told = match &request.change {
            Ok(asked) => self.change((*asked, request.notify), &owned, now).await,
            Err(bad) => Ok(bad_addresses(bad, &owned, request.client)),
        };
        let note = |told: &BTreeMap<_, _>| self.0.last_requests.record(request, now, told);
        let failed = |problem: &DbError| {
            note(&all(
                &owned,
                &HostResult::with_reason(ReturnCode::ServerError, problem.to_string()),
            ));
        };
        let told = told.inspect(note).inspect_err(failed)?;
        let words = asked.iter().zip(named).map(|(host, owned)| match owned {
            Some(owned) => told.get(&owned.id).map_or(ReturnCode::Nohost, |told| told.code),
            None if host.name.is_none() => ReturnCode::Notfqdn,
            None => ReturnCode::Nohost,
        });
        let lines = reply::lines(asked, words.collect());
        let addresses = match &request.change {
            Ok(Change::Set(addresses)) => *addresses,
            Ok(Change::Offline) | Err(_) => Addresses::default(),
        };
        Ok(Reply::Hosts { lines, addresses })
    }

    /// The host, if it is there and the caller's; before any guard, so nobody waits for another's.
    async fn owned(
        &self,
        asked: &RequestedHost,
        caller: &Caller,
    ) -> Result<Option<Arc<Host>>, DbError> {
        let Some(name) = &asked.name else {
            return Ok(None);
        };
        let host = self.0.db.host(name).await?;
        Ok(host.filter(|host| host.user == caller.user()))
    }

    /// Under the hosts' guards: what changes, and does DNS take it?
    async fn change(
        &self,
        (asked, notify): (Change, Notify),
        owned: &Owned,
        now: Now,
    ) -> Result<BTreeMap<HostId, HostResult>, DbError> {
        let ids: BTreeSet<HostId> = owned.keys().copied().collect();
        let patience = **self.0.patience.load();
        let Ok(guards) = self.0.host_locks.lock(&ids, patience).await else {
            let told =
                HostResult::with_reason(ReturnCode::ServerError, "too many updates of it at once");
            return Ok(all(owned, &told));
        };
        let mut words = BTreeMap::new();
        let mut changes = Vec::new();
        for guard in guards {
            let Some(was) = owned.get(&guard.host()) else {
                continue;
            };
            // read again: it may have changed before the guard came
            let Some(host) = self.0.db.host(&was.fqdn).await? else {
                continue;
            };
            if host.id != was.id || host.user != was.user {
                continue;
            }
            match decide::decide(asked, &host, &self.0.publisher.defaults()) {
                Verdict::Keep => {
                    self.0.db.touch(host.id, decide::seen(asked, now.wall));
                    words.insert(host.id, HostResult::new(ReturnCode::Nochg));
                }
                Verdict::Change(records) => {
                    changes.push((guard, self.want((asked, notify), host, records, now).await?));
                }
            }
        }
        if !changes.is_empty() {
            words.extend(self.want_and_publish(changes).await);
        }
        Ok(words)
    }

    async fn want(
        &self,
        (asked, notify): (Change, Notify),
        host: Arc<Host>,
        records: WantedRecords,
        now: Now,
    ) -> Result<Want, DbError> {
        let owed = self.0.notices.of_update(&host, (asked, notify), records, now).await?;
        let defaults = self.0.publisher.defaults();
        Ok(decide::want_for_update(host, asked, (records, owed), &defaults, now.wall))
    }

    async fn want_and_publish(&self, changes: Vec<(HostGuard, Want)>) -> Vec<(HostId, HostResult)> {
        let (guards, wants): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let old: Vec<_> = wants.iter().map(|want| want.host.wanted).collect();
        let hosts = match self.0.publisher.want(wants).await {
            Ok(hosts) => hosts,
            Err(problem) => {
                error!("a change could not be stored: {problem}");
                let told = HostResult::with_reason(ReturnCode::ServerError, problem.to_string());
                return guards.iter().map(|guard| (guard.host(), told.clone())).collect();
            }
        };
        let mut words = Vec::new();
        let (mut kept, mut wanted) = (Vec::new(), Vec::new());
        for ((guard, host), old) in guards.into_iter().zip(hosts).zip(old) {
            match host {
                Some(host) => {
                    wanted.push(host);
                    kept.push((guard, old));
                }
                None => words.push((guard.host(), superseded())),
            }
        }
        // all at once, so that the hosts of a zone travel in one message
        let published = self.0.publisher.publish_all(wanted, Lane::Interactive);
        let done = kept.into_iter().zip(published).map(|((guard, old), published)| async move {
            let (host, result) = published.await;
            // the guard goes back as soon as this host is done, whatever the others do
            (guard.host(), told(&host, old, result))
        });
        words.extend(join_all(done).await);
        words
    }

    fn count(&self, reply: &Reply) {
        match reply {
            Reply::Whole { code, .. } => self.counter(*code).add_one(),
            Reply::Hosts { lines, .. } => {
                for line in lines {
                    self.counter(line.code).add_one();
                }
            }
        }
    }

    fn counter(&self, code: ReturnCode) -> &crate::counters::Counter {
        let counters = &self.0.counters;
        match code {
            ReturnCode::Good => &counters.good,
            ReturnCode::Nochg => &counters.nochg,
            ReturnCode::Badauth => &counters.badauth,
            ReturnCode::Nohost => &counters.nohost,
            ReturnCode::Notfqdn => &counters.notfqdn,
            ReturnCode::Numhost => &counters.numhost,
            ReturnCode::Badip => &counters.badip,
            ReturnCode::Dnserr => &counters.dnserr,
            ReturnCode::Abuse => &counters.abuse,
            ReturnCode::ServerError => &counters.server_error,
        }
    }
}

/// The word for a host whose change was sent, and its line in the log.
fn told(host: &Host, old: WantedRecords, result: Result<(), DnsError>) -> HostResult {
    let (old, new) = (old.addresses(), host.wanted.addresses());
    match result {
        Ok(()) => {
            // else it is asserted once more only
            if old != new || host.acked.addresses != new {
                info!(host = %host.fqdn, %old, %new, "address changed");
            }
            HostResult::new(ReturnCode::Good)
        }
        Err(problem) => {
            warn!(host = %host.fqdn, %old, %new, "address not yet published: {problem}");
            HostResult::with_reason(ReturnCode::Dnserr, problem.to_string())
        }
    }
}

fn superseded() -> HostResult {
    HostResult::with_reason(ReturnCode::ServerError, "it was changed or deleted at the same moment")
}

fn bad_addresses(bad: &BadAddress, owned: &Owned, client: IpAddr) -> BTreeMap<HostId, HostResult> {
    let hosts: Vec<_> = owned.values().map(|host| host.fqdn.to_string()).collect();
    let hosts = hosts.join(",");
    if hosts.is_empty() {
        // every host has an error of its own, so nobody is told of the addresses
        debug!(%client, "an address was refused: {bad}");
    } else if matches!(bad, BadAddress::ProxyWithoutClient(_)) {
        warn!(%client, hosts, "an address was refused: {bad}; check daemon.proxy_header");
    } else {
        info!(%client, hosts, "an address was refused: {bad}");
    }
    all(owned, &HostResult::with_reason(ReturnCode::Badip, bad.to_string()))
}

/// Every host is told the same.
fn all(owned: &Owned, told: &HostResult) -> BTreeMap<HostId, HostResult> {
    owned.keys().map(|host| (*host, told.clone())).collect()
}
