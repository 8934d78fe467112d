//! Suspends and resumes a host. In: its names. Out: the host as it is stored then, whether anything
//! changed, and why DNS does not hold it yet, if it should.

use super::modify::Modified;
use super::{Hosts, has_changed};
use crate::db::{Store, Want};
use crate::dns::Lane;
use crate::model::family::Families;
use crate::model::host::{Host, Lan, Seen};
use crate::model::name::HostNames;
use crate::rules::{expiry, notice};
use crate::stories::error::AdminError;
use futures::future::join_all;
use std::sync::Arc;

const V6: Families = Families { v4: false, v6: true };

impl Hosts {
    /// Suspends a host: its updates are rejected from now on, and it does not expire. With
    /// `take_down` its records are removed, as if it went offline, even if it was suspended
    /// before, and with them the IPv6 addresses of its followers; without, they stay.
    ///
    /// # Errors
    /// No such host, it or a follower has just changed, or the database failed.
    pub async fn suspend(
        &self,
        names: &HostNames,
        take_down: bool,
    ) -> Result<(Arc<Host>, Modified), AdminError> {
        let (_guards, host, followers) = if take_down {
            self.lock_with_followers(names).await?
        } else {
            let (guards, host) = self.lock_host(names).await?;
            (guards, host, Vec::new())
        };
        let is_new = host.suspended_at.is_none();
        let host = if is_new { self.store_suspended(host).await? } else { host };
        let followers: Vec<_> = followers.into_iter().filter(|host| goes_down(host)).collect();
        if take_down && (!host.wanted.addresses().is_empty() || !followers.is_empty()) {
            return self.take_down(host, followers).await;
        }
        if take_down && host.unpublished_since.is_some() {
            return self.publish_removal(host).await;
        }
        Ok((host, if is_new { Modified::Done } else { Modified::Nothing }))
    }

    async fn store_suspended(&self, host: Arc<Host>) -> Result<Arc<Host>, AdminError> {
        let at = self.clock.now().wall;
        let suspended = self.db.suspend_host(Arc::clone(&host), at).await?;
        let suspended = suspended.ok_or_else(|| has_changed(&host))?;
        tracing::info!(host = %suspended.fqdn, "suspended by an administrator");
        Ok(suspended)
    }

    async fn take_down(
        &self,
        host: Arc<Host>,
        followers: Vec<Arc<Host>>,
    ) -> Result<(Arc<Host>, Modified), AdminError> {
        let leader = self.removal(&host, Families::BOTH);
        let is_down = !leader.publish;
        let removals = followers.iter().map(|host| self.removal(host, V6));
        let removals = std::iter::once(leader).chain(removals).collect();
        let wanted = self.publisher.want(removals).await?;
        let mut hosts = std::iter::once(&host).chain(&followers).zip(&wanted);
        let changed = hosts.find(|(_, wanted)| wanted.is_none()).map(|(host, _)| has_changed(host));
        let taken = wanted.first().cloned().flatten();
        let sent = wanted.into_iter().skip(usize::from(is_down)).flatten().collect();
        let published = self.publisher.publish_all(sent, Lane::Interactive);
        let mut failed = None;
        for sent in join_all(published).await {
            let (host, result) = (Arc::clone(sent.host()), sent.result());
            self.publisher.settle(sent, Store::Now).await;
            let fqdn = &host.fqdn;
            match result {
                Ok(()) => tracing::info!(host = %fqdn, "taken down by an administrator"),
                Err(problem) => {
                    tracing::warn!(host = %fqdn, "not yet taken down: {problem}");
                    failed = failed.or_else(|| Some(problem.to_string()));
                }
            }
        }
        if let Some(changed) = changed {
            return Err(changed);
        }
        Ok((taken.unwrap_or(host), failed.map_or(Modified::Done, Modified::NotYetPublished)))
    }

    /// Publishes an earlier removal that waits, to say whether DNS takes it now.
    async fn publish_removal(&self, host: Arc<Host>) -> Result<(Arc<Host>, Modified), AdminError> {
        let at = self.clock.now().wall;
        let marked = self.publisher.mark_unpublished(Arc::clone(&host), at).await?;
        let marked = marked.ok_or_else(|| has_changed(&host))?;
        let modified = self.publish_placed(&marked).await;
        Ok((marked, modified))
    }

    /// The removal of records of a host, and of its prefix.
    fn removal(&self, host: &Arc<Host>, families: Families) -> Want {
        let (now, defaults) = (self.clock.now(), self.defaults());
        let uptime = self.db.uptime(now);
        let records = host.wanted.without(families);
        let publish = records != host.wanted;
        // a removal that changes no record keeps the mails of a change that waits
        let notices = if publish {
            notice::of_update(host, families, records, None, &defaults)
        } else {
            host.pending_notices()
        };
        Want {
            host: Arc::clone(host),
            records,
            seen: Seen::default(),
            check_at: expiry::first_check(host, records, &defaults, uptime),
            is_expiry: false,
            notices: notices.if_any(),
            lan: Lan { prefix: None, ..*host.lan },
            publish,
            at: now.wall,
            uptime,
            is_sent: true,
        }
    }

    /// Resumes a suspended host. Its time to expire starts again; records that were taken down
    /// come back with its next update, but a follower gets its address in its leader's prefix now.
    ///
    /// # Errors
    /// No such host, or the database failed.
    pub async fn resume(&self, names: &HostNames) -> Result<(Arc<Host>, Modified), AdminError> {
        let (_guard, host) = self.lock_host(names).await?;
        if host.suspended_at.is_none() {
            return Ok((host, Modified::Nothing));
        }
        let now = self.clock.now();
        let uptime = self.db.uptime(now);
        let next = Arc::new(host.suspended(None));
        let address = self.address_in_leaders_prefix(next).await?;
        let is_wanted = address.is_some();
        let resumed = self.db.resume_host(Arc::clone(&host), now.wall, uptime, address).await?;
        let resumed = resumed.ok_or_else(|| has_changed(&host))?;
        tracing::info!(host = %resumed.fqdn, "resumed by an administrator");
        let modified = if is_wanted { self.publish_placed(&resumed).await } else { Modified::Done };
        Ok((resumed, modified))
    }
}

/// Whether a follower loses its IPv6 address with its leader.
fn goes_down(follower: &Host) -> bool {
    follower.suspended_at.is_none() && follower.wanted.addresses().v6.is_some()
}
