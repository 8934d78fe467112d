//! Suspends and resumes users and hosts. The time to expire of what is resumed starts again.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::publishing::want_one;
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::change::Want;
use crate::model::host::Host;
use crate::model::lease::Lease;
use crate::model::name::UserName;
use crate::model::time::{Millis, Uptime};
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[USERS, HOSTS];

//----- Users -----

statements! { USERS;
    SUSPEND_USER: Indexed =
        "UPDATE users SET suspended_at = ?, changed_at = ?, version = version + 1
         WHERE name = ? AND suspended_at IS NULL";
    RESUME_USER: Indexed =
        "UPDATE users SET suspended_at = NULL, changed_at = ?, version = version + 1
         WHERE name = ? AND suspended_at IS NOT NULL";
    // the new version overtakes a sweep that read them as those of a suspended user
    RESUME_HOSTS_OF_USER: Indexed =
        "UPDATE hosts SET set4_uptime = CASE WHEN state4 = 1 THEN ? ELSE set4_uptime END,
             set6_uptime = CASE WHEN state6 = 1 THEN ? ELSE set6_uptime END,
             check_at = 0, version = version + 1
         WHERE user_id = (SELECT id FROM users WHERE name = ?)";
}

impl Db {
    /// Suspends a user; `false` if there is none of that name, or it is suspended already.
    ///
    /// # Errors
    /// The database failed.
    pub async fn suspend_user(&self, name: UserName, at: Millis) -> Result<bool, DbError> {
        self.0.writer.run(SuspendUser { name, at }).await
    }

    /// Resumes a user; `false` if there is none of that name, or it is not suspended. What its
    /// hosts hold counts as updated at `uptime`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_user(
        &self,
        name: UserName,
        at: Millis,
        uptime: Uptime,
    ) -> Result<bool, DbError> {
        self.0.writer.run(ResumeUser { name, at, uptime }).await
    }
}

struct SuspendUser {
    name: UserName,
    at: Millis,
}

impl Write for SuspendUser {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let args = args![self.at.0, self.at.0, self.name.as_str()];
        Ok(conn.run(&SUSPEND_USER, args).await? > 0)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.accounts.update(&self.name, None);
    }
}

struct ResumeUser {
    name: UserName,
    at: Millis,
    uptime: Uptime,
}

impl Write for ResumeUser {
    type Output = bool;
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let is_resumed = conn.run(&RESUME_USER, args![self.at.0, self.name.as_str()]).await? > 0;
        if is_resumed {
            let args = args![self.uptime.0, self.uptime.0, self.name.as_str()];
            conn.run(&RESUME_HOSTS_OF_USER, args).await?;
        }
        Ok(is_resumed)
    }

    fn update_caches(&self, _: &bool, caches: &Caches) {
        caches.accounts.update(&self.name, None);
        caches.hosts.clear();
    }
}

//----- Hosts -----

statements! { HOSTS;
    SUSPEND_HOST: Indexed =
        "UPDATE hosts SET suspended_at = ?, version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
    RESUME_HOST: Indexed =
        "UPDATE hosts SET suspended_at = NULL,
             set4_uptime = CASE WHEN state4 = 1 THEN ? ELSE set4_uptime END,
             set6_uptime = CASE WHEN state6 = 1 THEN ? ELSE set6_uptime END,
             check_at = 0, version = version + 1, changed_at = ?
         WHERE id = ? AND version = ?";
}

impl Db {
    /// Suspends a host. Returns it as it is now, or `None` if the row had changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn suspend_host(
        &self,
        host: Arc<Host>,
        at: Millis,
    ) -> Result<Option<Arc<Host>>, DbError> {
        self.0.writer.run(SuspendHost { host, at }).await
    }

    /// Resumes a host. What it holds counts as updated at `uptime`. Returns it as it is now, or
    /// `None` if the row had changed. `address`: what a follower, as it is then, wants from now on;
    /// it is stored together with that, and published by the caller.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_host(
        &self,
        host: Arc<Host>,
        at: Millis,
        uptime: Uptime,
        address: Option<Want>,
    ) -> Result<Option<Arc<Host>>, DbError> {
        let lease = self.new_lease();
        self.0.writer.run(ResumeHost { host, at, uptime, address, lease }).await
    }
}

struct SuspendHost {
    host: Arc<Host>,
    at: Millis,
}

impl Write for SuspendHost {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let Self { host, at } = self;
        let args = args![at.0, at.0, host.id.0, host.version];
        let rows = conn.run(&SUSPEND_HOST, args).await?;
        Ok((rows > 0).then(|| Arc::new(host.suspended(Some(*at)))))
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host.fqdn, now.as_ref());
    }
}

struct ResumeHost {
    host: Arc<Host>,
    at: Millis,
    uptime: Uptime,
    address: Option<Want>,
    /// Of the address.
    lease: Option<Lease>,
}

impl Write for ResumeHost {
    type Output = Option<Arc<Host>>;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Self::Output, DbError> {
        let Self { host, at, uptime, .. } = self;
        let args = args![uptime.0, uptime.0, at.0, host.id.0, host.version];
        if conn.run(&RESUME_HOST, args).await? == 0 {
            return Ok(None);
        }
        match &self.address {
            Some(address) => want_one(address, self.lease.clone(), conn).await,
            None => Ok(Some(Arc::new(host.suspended(None)))),
        }
    }

    fn update_caches(&self, now: &Self::Output, caches: &Caches) {
        caches.hosts.update(&self.host.fqdn, now.as_ref());
    }
}
