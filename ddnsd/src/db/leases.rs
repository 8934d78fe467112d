//! Leases of hosts: of several daemons on one MariaDB, the one that changes a host. The statements
//! of a change take a lease and give it back. An SQLite file has one daemon, and no leases.

use super::handle::Db;
use super::statement::Arg;
use crate::clock::Clock;
use crate::model::host::Host;
use crate::model::lease::{LEASE, Lease};
use crate::model::time::Millis;
use std::sync::Arc;
use std::time::Duration;

impl Db {
    /// A lease of this daemon, for a change that is being sent; `None` if it is the only daemon.
    pub(super) fn new_lease(&self) -> Option<Lease> {
        self.lease_for(LEASE)
    }

    /// A lease of this daemon that has ended: it still has to publish the host.
    pub(super) fn ended_lease(&self) -> Option<Lease> {
        self.lease_for(Duration::ZERO)
    }

    fn lease_for(&self, time: Duration) -> Option<Lease> {
        let by = Arc::clone(self.0.daemon()?);
        Some(Lease { by, until: Clock.now().wall.plus(time) })
    }

    /// Whether other daemons may use the database.
    pub fn may_have_others(&self) -> bool {
        self.0.daemon().is_some()
    }

    /// Whether this daemon holds a lease of the host.
    pub fn holds_lease(&self, host: &Host, now: Millis) -> bool {
        let is_own = |lease: &Lease| self.others_lease(Some(lease)).is_none();
        host.lease.as_deref().is_some_and(|lease| lease.holds(now) && is_own(lease))
    }

    /// The lease, if another daemon took it.
    pub fn others_lease<'l>(&self, lease: Option<&'l Lease>) -> Option<&'l Lease> {
        lease.filter(|lease| self.0.daemon().is_some_and(|own| *own != lease.by))
    }
}

/// The values of `leased_by` and `leased_until`.
pub(super) fn columns(lease: Option<&Lease>) -> (Arg, Arg) {
    let by = lease.map(|lease| (*lease.by).to_owned());
    (Arg::from(by), Arg::from(lease.map(|lease| lease.until.0)))
}

/// The lease that the columns hold.
pub(super) fn lease(by: Option<String>, until: Option<i64>) -> Option<Lease> {
    Some(Lease { by: by?.into(), until: Millis(until?) })
}
