//! Changes the settings of a host. In: its names and the settings. Out: whether anything changed,
//! and why DNS does not hold it yet, if it should.

use super::{Hosts, LOCK_TIMEOUT, has_changed};
use crate::db::SetTtls;
use crate::dns::Lane;
use crate::model::host::Host;
use crate::model::name::{Fqdn, HostNames};
use crate::model::prefix::Ipv6Suffix;
use crate::rules::decide;
use crate::stories::error::AdminError;
use std::sync::Arc;

/// What to do with a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewValue<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// `None` removes it: a TTL goes back to the default.
    Set(Option<T>),
}

impl<T: Copy> NewValue<T> {
    pub(super) fn or(self, old: Option<T>) -> Option<T> {
        match self {
            NewValue::Keep => old,
            NewValue::Set(new) => new,
        }
    }
}

/// Other settings of a host.
#[derive(Clone, Debug)]
pub struct Modify {
    pub names: HostNames,
    /// Seconds.
    pub dns_ttl: NewValue<u32>,
    /// Seconds.
    pub expiry_ttl: NewValue<u32>,
    pub suffix: NewValue<Ipv6Suffix>,
    /// The host that it follows.
    pub leader: NewValue<Fqdn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modified {
    /// It was like this already.
    Nothing,
    /// It is stored, and DNS holds what it should.
    Done,
    /// It is stored; DNS does not hold it yet, for this reason. The republisher retries.
    NotYetPublished(String),
}

impl Hosts {
    /// Stores other settings of a host. A new TTL of its records, or its address with a new suffix
    /// or leader, is published at once; a new time to expire counts from the next sweep on. Returns
    /// the host as it is stored then.
    ///
    /// # Errors
    /// No such host or leader, a host that it cannot follow, or the database failed.
    pub async fn modify(&self, modify: Modify) -> Result<(Arc<Host>, Modified), AdminError> {
        if (&modify.suffix, &modify.leader) == (&NewValue::Keep, &NewValue::Keep) {
            let (_guards, host) = self.lock_host(&modify.names).await?;
            return self.modify_ttls(host, &modify).await;
        }
        let (_guards, placed) = self.modify_lan(&modify).await?;
        // publishing stored its result in the row
        let deadline = self.clock.now().mono + LOCK_TIMEOUT;
        let host = self.read_locked(&modify.names, deadline).await?;
        let (host, modified) = self.modify_ttls(host, &modify).await?;
        // what is published last says whether DNS holds all of it
        let is_new = matches!(modified, Modified::Done | Modified::NotYetPublished(_));
        Ok((host, if is_new { modified } else { placed }))
    }

    async fn modify_ttls(
        &self,
        host: Arc<Host>,
        modify: &Modify,
    ) -> Result<(Arc<Host>, Modified), AdminError> {
        let dns_ttl = modify.dns_ttl.or(host.dns_ttl);
        let expiry_ttl = modify.expiry_ttl.or(host.expiry_ttl);
        if (dns_ttl, expiry_ttl) == (host.dns_ttl, host.expiry_ttl) {
            return Ok((host, Modified::Nothing));
        }
        let publish = decide::must_publish_ttl(dns_ttl, &host, &self.defaults());
        let host = self.store(&host, dns_ttl, expiry_ttl, publish).await?;
        let (host_name, dns_ttl, expiry_ttl) = (&host.fqdn, shown(dns_ttl), shown(expiry_ttl));
        tracing::info!(host = %host_name, %dns_ttl, %expiry_ttl, "TTLs modified");
        if !publish {
            return Ok((host, Modified::Done));
        }
        Ok(match self.publisher.publish(Arc::clone(&host), Lane::Interactive).await {
            Ok(()) => (host, Modified::Done),
            Err(problem) => (host, Modified::NotYetPublished(problem.to_string())),
        })
    }

    async fn store(
        &self,
        host: &Arc<Host>,
        dns_ttl: Option<u32>,
        expiry_ttl: Option<u32>,
        publish: bool,
    ) -> Result<Arc<Host>, AdminError> {
        let check_now = expiry_ttl != host.expiry_ttl && !host.wanted.addresses().is_empty();
        let at = self.clock.now().wall;
        let ttls = SetTtls { host: Arc::clone(host), dns_ttl, expiry_ttl, publish, check_now, at };
        let stored = self.publisher.set_ttls(ttls).await?;
        stored.ok_or_else(|| has_changed(host))
    }
}

/// A TTL for the log.
fn shown(ttl: Option<u32>) -> String {
    ttl.map_or_else(|| "default".to_owned(), |seconds| seconds.to_string())
}
