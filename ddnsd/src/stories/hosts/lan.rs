//! The place of hosts in a router's network: a suffix, and the host that they follow. A leader's
//! lock is held while hosts begin or end to follow it.

use super::modify::{Modified, Modify, NewValue};
use super::{Added, Hosts, LOCK_TIMEOUT, has_changed, no_such_host, refuse_other_zone};
use crate::db::{LanChange, Want};
use crate::dns::Lane;
use crate::model::host::{Host, HostId, Lan};
use crate::model::name::{Fqdn, HostNames};
use crate::model::prefix::{Ipv6Prefix, Ipv6Suffix};
use crate::model::user::UserId;
use crate::rules::{expiry, notice, prefix};
use crate::stories::error::{AdminError, AdminErrorKind};
use crate::stories::host_locks::HostGuard;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often the locks are taken if others follow meanwhile.
const MAX_TRIES: u32 = 3;

/// A host, or one that is to be added, and its place to be.
pub(super) struct NewPlace<'a> {
    pub(super) host: Option<&'a Host>,
    pub(super) fqdn: &'a Fqdn,
    pub(super) user: UserId,
    pub(super) suffix: Option<Ipv6Suffix>,
}

impl Hosts {
    /// Locks the leader of a new host, and checks whether the host may follow it.
    pub(super) async fn lock_leader(
        &self,
        place: NewPlace<'_>,
        leader: Option<&Fqdn>,
    ) -> Result<(Vec<HostGuard>, Option<Arc<Host>>), AdminError> {
        let Some(fqdn) = leader else { return Ok((Vec::new(), None)) };
        if fqdn == place.fqdn {
            return Err(misplaced(&place, Some(fqdn), prefix::Misplaced::Itself));
        }
        let find = || async { self.db.host(fqdn).await?.ok_or_else(|| no_such_host(fqdn)) };
        let id = find().await?.id;
        let guards = self.lock(&BTreeSet::from([id]), fqdn).await?;
        let leader = find().await?;
        if leader.id != id {
            return Err(no_such_host(fqdn));
        }
        self.check_place(&place, Some(&leader)).await?;
        Ok((guards, Some(leader)))
    }

    async fn check_place(
        &self,
        place: &NewPlace<'_>,
        leader: Option<&Arc<Host>>,
    ) -> Result<(), AdminError> {
        let followers = match leader {
            Some(leader) => self.db.followers(leader.id).await?,
            None => Vec::new(),
        };
        let is_other = |other: &&Arc<Host>| place.host.is_none_or(|host| host.id != other.id);
        let others = followers.iter().filter(is_other).count();
        let NewPlace { host, user, suffix, .. } = *place;
        prefix::check_place(host, user, suffix, leader.map(|leader| &**leader), others)
            .map_err(|why| misplaced(place, leader.map(|leader| &leader.fqdn), why))
    }

    /// Publishes a host that was just added, if its leader has a prefix. Returns what to know.
    pub(super) async fn publish_added(&self, added: &Added) -> Result<Option<String>, AdminError> {
        let Some(given) = added.leader.as_ref().and_then(|leader| leader.lan.prefix) else {
            return Ok(None);
        };
        let Some(host) = self.db.host(&added.fqdn).await? else { return Ok(None) };
        // its key is above the leader's, so the order of the locks holds
        let _guards = self.lock(&BTreeSet::from([host.id]), &added.fqdn).await?;
        let Some(host) = self.db.host(&added.fqdn).await? else { return Ok(None) };
        let Some(address) = self.address_in(host, given) else { return Ok(None) };
        let wanted = self.publisher.want(vec![address]).await?.pop().flatten();
        let Some(host) = wanted else { return Ok(None) };
        Ok(match self.publish_placed(&host).await {
            Modified::NotYetPublished(why) => {
                Some(format!("its IPv6 address is not yet published: {why}"))
            }
            Modified::Nothing | Modified::Done => None,
        })
    }

    /// Stores another suffix or leader, and publishes the address in the prefix that is stored.
    /// Returns the guards of the host and its leaders, because the caller goes on to change it.
    ///
    /// # Errors
    /// No such host or leader, a host that it cannot follow, or the database failed.
    pub(super) async fn modify_lan(
        &self,
        modify: &Modify,
    ) -> Result<(Vec<HostGuard>, Modified), AdminError> {
        let fqdn = &modify.names.fqdn;
        for _ in 0..MAX_TRIES {
            let host = self.named(&modify.names).await?;
            let next = match &modify.leader {
                NewValue::Set(Some(next)) => {
                    Some(self.db.host(next).await?.ok_or_else(|| no_such_host(next))?.id)
                }
                NewValue::Set(None) => None,
                NewValue::Keep => host.lan.follows,
            };
            let leaders = [host.lan.follows, next];
            let ids = leaders.into_iter().flatten().chain([host.id]).collect();
            let deadline = self.clock.now().mono + LOCK_TIMEOUT;
            let guards = self.lock(&ids, fqdn).await?;
            let now = self.read_locked(&modify.names, deadline).await?;
            if (now.id, now.lan.follows) != (host.id, host.lan.follows) {
                continue;
            }
            let modified = self.place(now, modify, next).await?;
            return Ok((guards, modified));
        }
        let message = format!("{fqdn} has just changed; try again");
        Err(AdminError::new(AdminErrorKind::Busy, message))
    }

    async fn place(
        &self,
        host: Arc<Host>,
        modify: &Modify,
        next: Option<HostId>,
    ) -> Result<Modified, AdminError> {
        let leader = match next {
            Some(next) => self.db.host_by_id(next).await?,
            None => None,
        };
        let suffix = modify.suffix.or(host.lan.suffix);
        let place = NewPlace { host: Some(&host), fqdn: &host.fqdn, user: host.user, suffix };
        self.check_place(&place, leader.as_ref()).await?;
        let own = host.lan.prefix.filter(|_| leader.is_none());
        let follows = leader.as_ref().map(|leader| leader.id);
        let is_offline = host.lan.is_offline && follows.is_some();
        let lan = Lan { suffix, follows, prefix: own, is_offline, ..*host.lan };
        if lan == *host.lan {
            return Ok(Modified::Nothing);
        }
        let given = own.or(leader.as_ref().and_then(|leader| leader.lan.prefix));
        let given = given.filter(|_| !is_offline && host.suspended_at.is_none());
        let placed = Arc::new(host.placed(lan));
        let address = given.and_then(|given| self.address_in(placed, given));
        let is_wanted = address.is_some();
        let host = self.store_lan(&host, lan, leader.as_ref(), address).await?;
        Ok(if is_wanted { self.publish_placed(&host).await } else { Modified::Done })
    }

    async fn store_lan(
        &self,
        host: &Arc<Host>,
        lan: Lan,
        leader: Option<&Arc<Host>>,
        address: Option<Want>,
    ) -> Result<Arc<Host>, AdminError> {
        let previous = match host.lan.follows {
            Some(previous) => self.db.host_by_id(previous).await?,
            None => None,
        };
        let leaders = previous.iter().chain(leader).map(|leader| leader.fqdn.clone()).collect();
        let at = self.clock.now().wall;
        let change = LanChange { host: Arc::clone(host), lan, leaders, address, at };
        let stored = self.publisher.place(change).await?.ok_or_else(|| has_changed(host))?;
        let suffix = lan.suffix.map_or_else(|| "none".to_owned(), |suffix| suffix.to_string());
        let follows = leader.map_or("none", |leader| leader.fqdn.as_str());
        tracing::info!(host = %host.fqdn, suffix, follows, "IPv6 suffix or leader modified");
        Ok(stored)
    }

    /// The address of a locked follower in the prefix of its leader, which may have changed while
    /// the follower was left alone; `None` if it has that already.
    pub(super) async fn address_in_leaders_prefix(
        &self,
        host: Arc<Host>,
    ) -> Result<Option<Want>, AdminError> {
        let leader = match host.lan.follows.filter(|_| !host.lan.is_offline) {
            Some(leader) => self.db.host_by_id(leader).await?,
            None => None,
        };
        let given = leader.and_then(|leader| leader.lan.prefix);
        Ok(given.and_then(|given| self.address_in(host, given)))
    }

    /// The address of a locked host in a prefix, to be stored; `None` if it has that already.
    fn address_in(&self, host: Arc<Host>, given: Ipv6Prefix) -> Option<Want> {
        let effect = prefix::placed(&host, given);
        if let Some(no_fit) = effect.no_fit {
            tracing::warn!(host = %host.fqdn, "no IPv6 address: {no_fit}");
        }
        if effect.records == host.wanted {
            return None;
        }
        let (now, defaults) = (self.clock.now(), self.defaults());
        let uptime = self.db.uptime(now);
        let notices = notice::of_update(&host, effect.updated, effect.records, None, &defaults);
        Some(Want {
            records: effect.records,
            seen: effect.seen(now.wall),
            check_at: expiry::first_check(&host, effect.records, &defaults, uptime),
            is_expiry: false,
            notices: notices.if_any(),
            lan: effect.lan,
            publish: true,
            at: now.wall,
            uptime,
            is_sent: true,
            host,
        })
    }

    /// Publishes a locked host whose address in a prefix is stored.
    pub(super) async fn publish_placed(&self, host: &Arc<Host>) -> Modified {
        match self.publisher.publish(Arc::clone(host), Lane::Interactive).await {
            Ok(()) => Modified::Done,
            Err(problem) => Modified::NotYetPublished(problem.to_string()),
        }
    }

    /// Locks a host that is to be deleted, and its followers. Returns those whose rows then change,
    /// or of a follower its leader.
    pub(super) async fn lock_to_delete(
        &self,
        names: &HostNames,
        force: bool,
    ) -> Result<(Vec<HostGuard>, Arc<Host>, Vec<Fqdn>), AdminError> {
        let (guards, host, followers) = self.lock_with_followers(names).await?;
        if !followers.is_empty() && !force {
            return Err(is_followed(&host, &followers));
        }
        let leader = match host.lan.follows {
            Some(leader) => self.db.host_by_id(leader).await?,
            None => None,
        };
        let related = followers.iter().chain(&leader).map(|host| host.fqdn.clone()).collect();
        Ok((guards, host, related))
    }

    /// Locks a host and its followers, which are read again under the locks.
    pub(super) async fn lock_with_followers(
        &self,
        names: &HostNames,
    ) -> Result<(Vec<HostGuard>, Arc<Host>, Vec<Arc<Host>>), AdminError> {
        for _ in 0..MAX_TRIES {
            let host = self.named(names).await?;
            let before = self.followers(&host).await?;
            let ids: BTreeSet<_> = before.iter().chain([&host]).map(|host| host.id).collect();
            let deadline = self.clock.now().mono + LOCK_TIMEOUT;
            let guards = self.lock(&ids, &names.fqdn).await?;
            let host = self.read_locked(names, deadline).await?;
            let now = self.followers(&host).await?;
            if now.iter().chain([&host]).map(|host| host.id).collect::<BTreeSet<_>>() == ids {
                return Ok((guards, host, now));
            }
        }
        let message =
            format!("hosts begin or end to follow {} all the time; try again", names.fqdn);
        Err(AdminError::new(AdminErrorKind::Busy, message))
    }

    async fn followers(&self, host: &Host) -> Result<Vec<Arc<Host>>, AdminError> {
        let is_followed = host.lan.is_followed;
        Ok(if is_followed { self.db.followers(host.id).await? } else { Vec::new() })
    }

    async fn named(&self, names: &HostNames) -> Result<Arc<Host>, AdminError> {
        let host = self.db.host(&names.fqdn).await?.ok_or_else(|| no_such_host(&names.fqdn))?;
        refuse_other_zone(&host, names)?;
        Ok(host)
    }
}

fn misplaced(place: &NewPlace<'_>, leader: Option<&Fqdn>, why: prefix::Misplaced) -> AdminError {
    let leader = leader.map_or_else(String::new, |leader| format!(" follow {leader}"));
    let message = format!("{} cannot{leader}: {why}", place.fqdn);
    AdminError::new(AdminErrorKind::Invalid, message)
}

fn is_followed(host: &Host, followers: &[Arc<Host>]) -> AdminError {
    let mut names: Vec<_> = followers.iter().take(5).map(|host| host.fqdn.to_string()).collect();
    if followers.len() > names.len() {
        names.push("others".to_owned());
    }
    let message = format!(
        "cannot delete {}: {} follow it; let them follow another host (`ddnsctl hostname modify … --follows`), or use --force to end the following",
        host.fqdn,
        names.join(", ")
    );
    AdminError::new(AdminErrorKind::InUse, message)
}
