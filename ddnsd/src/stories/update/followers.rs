//! The hosts of an update that has a prefix, or takes a leader offline: those that are named, and
//! those that follow them. In: the named hosts. Out: all of them, locked, and a result for each of
//! the named ones.

use super::owned_hosts::OwnedHosts;
use super::results::{NotChanged, too_many_updates};
use super::{Update, UpdateRun};
use crate::db::DbError;
use crate::model::host::{Host, HostId};
use crate::rules::prefix::{Asked, LeaderChange};
use crate::rules::reply::ReturnCode;
use crate::rules::request::{Change, UpdateChange};
use crate::stories::host_locks::HostGuard;
use crate::stories::last_requests::{HostResult, HostResults};
use crate::stories::publisher::ToChange;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often the locks are taken if other hosts follow meanwhile.
const MAX_TRIES: u32 = 3;

/// The locks of the named hosts and their followers.
pub(super) struct LockedHosts {
    pub(super) guards: Vec<HostGuard>,
    pub(super) followers: Followers,
}

/// The followers that the update concerns, as they were read under the locks of their leaders.
pub(super) type Followers = BTreeMap<HostId, Arc<Host>>;

impl Update {
    /// Locks the named hosts and their followers, if the request concerns those, in the order of
    /// their keys. The followers are read before and, because others may follow meanwhile, under
    /// the locks.
    pub(super) async fn lock(&self, run: &UpdateRun<'_>) -> Result<LockedHosts, NotChanged> {
        let UpdateRun { hosts: named, change: update, .. } = *run;
        let concerns_followers = LeaderChange::of(update.change, update.prefix).is_some();
        for _ in 0..MAX_TRIES {
            let mut before = Followers::new();
            if concerns_followers {
                Box::pin(self.add_followers(named.all_hosts(), &mut before)).await?;
            }
            let ids = named.ids().chain(before.keys().copied()).collect();
            let timeout = run.deadline.saturating_duration_since(self.0.clock.mono());
            let guards = self.0.host_locks.lock(ids, timeout).await;
            let guards = guards.map_err(|_| NotChanged::Rejected(too_many_updates()))?;
            let mut followers = Followers::new();
            if concerns_followers {
                let mut leaders = Vec::new();
                for host in named.all_hosts() {
                    leaders.extend(self.0.db.host(&host.fqdn).await?);
                }
                Box::pin(self.add_followers(leaders.iter(), &mut followers)).await?;
            }
            if followers.keys().eq(before.keys()) {
                return Ok(LockedHosts { guards, followers });
            }
        }
        let reason = "other hosts begin or end to follow it all the time";
        Err(NotChanged::Rejected(HostResult::with_reason(ReturnCode::ServerError, reason)))
    }

    /// Adds the followers of these hosts; a suspended one leads none. Costs no statement for a host
    /// that has none.
    async fn add_followers(
        &self,
        leaders: impl Iterator<Item = &Arc<Host>>,
        found: &mut Followers,
    ) -> Result<(), DbError> {
        let leads = |host: &&Arc<Host>| host.lan.is_followed && host.suspended_at.is_none();
        for leader in leaders.filter(leads) {
            let followers = self.0.db.followers(leader.id).await?;
            found.extend(followers.into_iter().map(|host| (host.id, host)));
        }
        Ok(())
    }

    /// The locked host; gone, if it was deleted or given to another user before it was locked.
    pub(super) async fn reread_locked(
        &self,
        guard: &HostGuard,
        run: &UpdateRun<'_>,
        followers: &Followers,
    ) -> Result<ToChange, DbError> {
        let before = run.hosts.get(guard.host()).or_else(|| followers.get(&guard.host()));
        let Some(before) = before else {
            return Ok(ToChange::Gone);
        };
        Ok(match self.0.publisher.read_to_change(&before.fqdn, run.deadline).await? {
            ToChange::Free(host) if (host.id, host.user) != (before.id, before.user) => {
                ToChange::Gone
            }
            read => read,
        })
    }

    /// What the request says of a locked host.
    pub(super) async fn asked(
        &self,
        host: &Host,
        named: &OwnedHosts,
        update: &UpdateChange,
    ) -> Result<Asked, DbError> {
        let UpdateChange { change, prefix, .. } = *update;
        let is_named = named.contains(host.id);
        let leader = host.lan.follows.filter(|leader| named.contains(*leader));
        let leader = leader.and_then(|_| LeaderChange::of(change, prefix));
        let is_back = is_named && host.lan.is_offline && matches!(change, Change::Set(_));
        let stored = match host.lan.follows {
            Some(leader) if is_back => Box::pin(self.0.db.host_by_id(leader)).await?,
            _ => None,
        };
        let stored = stored.and_then(|leader| leader.lan.prefix);
        Ok(Asked { named: is_named.then_some(change), prefix, leader, stored })
    }
}

/// The result of each named host: the worst of its own and those of its followers.
pub(super) fn results_of_named(
    followers: &Followers,
    named: &OwnedHosts,
    mut results: HostResults,
) -> HostResults {
    for (follower, host) in followers {
        let Some(of_follower) = results.get(follower).cloned() else { continue };
        if let Some(leader) = host.lan.follows
            && let Some(of_leader) = results.get_mut(&leader)
            && rank(of_follower.code) > rank(of_leader.code)
        {
            let addresses = of_leader.addresses;
            *of_leader = HostResult { addresses, ..of_follower };
        }
    }
    results.retain(|host, _| named.contains(*host));
    results
}

/// How much a return code of one host says of all.
fn rank(code: ReturnCode) -> u8 {
    match code {
        ReturnCode::Nochg => 0,
        ReturnCode::Good => 1,
        ReturnCode::Dnserr => 2,
        _ => 3,
    }
}
