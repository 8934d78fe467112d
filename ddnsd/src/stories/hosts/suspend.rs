//! Suspends and resumes a host. In: its names. Out: the host as it is stored then, whether anything
//! changed, and why DNS does not hold it yet, if it should.

use super::modify::Modified;
use super::{Hosts, has_changed};
use crate::db::Want;
use crate::dns::Lane;
use crate::model::family::Families;
use crate::model::host::{Host, Seen};
use crate::model::name::HostNames;
use crate::stories::error::AdminError;
use std::sync::Arc;

impl Hosts {
    /// Suspends a host: its updates are rejected from now on, and it does not expire. With
    /// `take_down` its records are removed, as if it went offline, even if it was suspended
    /// before; without, they stay.
    ///
    /// # Errors
    /// No such host, or the database failed.
    pub async fn suspend(
        &self,
        names: &HostNames,
        take_down: bool,
    ) -> Result<(Arc<Host>, Modified), AdminError> {
        let (_guard, host) = self.lock_host(names).await?;
        let is_new = host.suspended_at.is_none();
        let host = if is_new { self.store_suspended(host).await? } else { host };
        if take_down && !host.wanted.addresses().is_empty() {
            return self.take_down(host).await;
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

    async fn take_down(&self, host: Arc<Host>) -> Result<(Arc<Host>, Modified), AdminError> {
        let now = self.clock.now();
        let old = host.wanted.addresses();
        let removal = Want {
            host: Arc::clone(&host),
            records: host.wanted.without(Families::BOTH),
            seen: Seen::default(),
            check_at: None,
            is_expiry: false,
            notices: None,
            lan: host.lan,
            publish: true,
            at: now.wall,
            uptime: self.db.uptime(now),
            is_sent: true,
        };
        let wanted = self.publisher.want(vec![removal]).await?.pop().flatten();
        let wanted = wanted.ok_or_else(|| has_changed(&host))?;
        let published = self.publisher.publish(Arc::clone(&wanted), Lane::Interactive).await;
        Ok(match published {
            Ok(()) => {
                tracing::info!(host = %wanted.fqdn, %old, "taken down by an administrator");
                (wanted, Modified::Done)
            }
            Err(problem) => {
                tracing::warn!(host = %wanted.fqdn, %old, "not yet taken down: {problem}");
                (wanted, Modified::NotYetPublished(problem.to_string()))
            }
        })
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
