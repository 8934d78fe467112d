//! Keeps the last request for each host, so that an administrator sees why a router's updates do
//! not arrive. In: a request, and the result of each host. Out: a record in memory, written now and
//! then.

use crate::db::{Db, DbError};
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::model::last_request::LastRequest;
use crate::model::time::Now;
use crate::model::user::UserId;
use crate::rules::reply::ReturnCode;
use crate::rules::request::UpdateRequest;
use litemap::LiteMap;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Rejected requests that wait to be recorded. Beyond, they are not recorded, so that a flood costs
/// nothing.
const MAX_WAITING: usize = 32;

/// The return code of a host, and why.
#[derive(Clone, Debug)]
pub(super) struct HostResult {
    pub(super) code: ReturnCode,
    /// For the codes that do not say it all.
    pub(super) reason: Option<Box<str>>,
    /// What the reply shows of the host, if not the addresses of the request.
    pub(super) addresses: Option<Addresses>,
}

pub(super) type HostResults = LiteMap<HostId, HostResult>;

impl HostResult {
    pub(super) fn new(code: ReturnCode) -> Self {
        Self { code, reason: None, addresses: None }
    }

    pub(super) fn with_reason(code: ReturnCode, reason: impl Into<Box<str>>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(code) }
    }
}

/// The story; clones share everything.
#[derive(Clone)]
pub struct LastRequests {
    db: Db,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
}

impl LastRequests {
    /// Rejected requests are looked up in these tasks.
    pub fn new(db: Db, tasks: TaskTracker) -> Self {
        Self { db, tasks, permits: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Records the results of the caller's own hosts.
    pub(super) fn record(&self, request: &UpdateRequest, now: Now, results: &HostResults) {
        for (host, result) in results {
            let last = last_request(request, now, result);
            self.db.record_request(*host, LastRequest { updated_from: Some(last.client), ..last });
        }
    }

    /// Records a request that was rejected before its hosts were looked up, for those of them that
    /// this user owns. The reply does not wait for it, so that its time does not reveal which hosts
    /// exist.
    pub(super) fn record_rejected(
        &self,
        request: &Arc<UpdateRequest>,
        now: Now,
        user: Option<UserId>,
        result: HostResult,
    ) {
        let Some(user) = user else { return };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return debug!("too many rejected requests wait to be recorded");
        };
        let story = self.clone();
        let request = Arc::clone(request);
        self.tasks.spawn(async move {
            if let Err(problem) = story.look_up_and_record(&request, now, user, &result).await {
                debug!("cannot record a rejected request: {problem}");
            }
            drop(permit);
        });
    }

    async fn look_up_and_record(
        &self,
        request: &UpdateRequest,
        now: Now,
        user: UserId,
        result: &HostResult,
    ) -> Result<(), DbError> {
        let hosts = request.update.read_hosts().unwrap_or_default();
        for name in hosts.iter().filter_map(|host| host.name.as_ref()) {
            let host = self.db.host(name).await?;
            if let Some(host) = host.filter(|host| host.user == user) {
                self.db.record_request(host.id, last_request(request, now, result));
            }
        }
        Ok(())
    }

    /// The last request for a host.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn last(&self, host: &Arc<Host>) -> Result<Option<LastRequest>, DbError> {
        self.db.last_request(host.id).await
    }

    /// Whether there is so much to write that it should be written at once.
    pub fn are_many(&self) -> bool {
        self.db.should_flush_requests()
    }

    /// Writes what is recorded.
    ///
    /// # Errors
    /// The database failed; nothing is lost.
    pub async fn write(&self) -> Result<(), DbError> {
        self.db.flush_requests().await
    }
}

fn last_request(request: &UpdateRequest, now: Now, result: &HostResult) -> LastRequest {
    LastRequest {
        at: now.wall,
        client: request.client,
        updated_from: None,
        user_agent: request.user_agent.clone(),
        return_code: Cow::Borrowed(result.code.as_str()),
        reason: result.reason.clone(),
    }
}
