//! Keeps the last request for each host, so that an administrator sees why a router's updates do not
//! arrive. In: a request, and what each host was told. Out: a note in memory, written now and then.

use crate::db::{Db, DbError};
use crate::model::host::{Host, HostId};
use crate::model::last_request::LastRequest;
use crate::model::time::Now;
use crate::model::user::UserId;
use crate::rules::reply::ReturnCode;
use crate::rules::request::UpdateRequest;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Refused requests that wait to be noted, at most; beyond, they are not, so that a flood costs nothing.
const MOST_WAITING: usize = 32;

/// What a host was told, and why.
#[derive(Clone, Debug)]
pub(super) struct HostResult {
    pub(super) code: ReturnCode,
    /// For the words that do not say it all.
    pub(super) reason: Option<Box<str>>,
}

impl HostResult {
    /// A word that says it all.
    pub(super) fn new(code: ReturnCode) -> Self {
        Self { code, reason: None }
    }

    /// A word and its reason.
    pub(super) fn with_reason(code: ReturnCode, reason: impl Into<Box<str>>) -> Self {
        Self { code, reason: Some(reason.into()) }
    }
}

/// The story; clones share everything.
#[derive(Clone)]
pub struct LastRequests {
    db: Db,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl LastRequests {
    /// Notes into this database, what takes a while in these tasks.
    pub fn new(db: Db, tasks: TaskTracker) -> Self {
        Self { db, tasks, places: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// Notes what hosts were told; only for the caller's own.
    pub(super) fn record(
        &self,
        request: &UpdateRequest,
        now: Now,
        told: &BTreeMap<HostId, HostResult>,
    ) {
        for (host, told) in told {
            self.record_one(request, now, *host, told);
        }
    }

    fn record_one(&self, request: &UpdateRequest, now: Now, host: HostId, told: &HostResult) {
        let last = LastRequest {
            at: now.wall,
            client: request.client,
            user_agent: request.user_agent.clone(),
            return_code: Cow::Borrowed(told.code.as_str()),
            reason: told.reason.clone(),
        };
        self.db.record_request(host, last);
    }

    /// Notes a request that was refused before its hosts were looked at, for those of them that this
    /// user owns. Nobody waits for it: how long the answer takes must not tell which hosts there are.
    pub(super) fn record_rejected(
        &self,
        request: &Arc<UpdateRequest>,
        now: Now,
        user: Option<UserId>,
        told: HostResult,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return debug!("too many refused requests wait to be noted");
        };
        let (story, request) = (self.clone(), Arc::clone(request));
        self.tasks.spawn(async move {
            story.look_up_and_record(&request, now, user, told).await;
            drop(place);
        });
    }

    async fn look_up_and_record(
        &self,
        request: &UpdateRequest,
        now: Now,
        user: Option<UserId>,
        told: HostResult,
    ) {
        for asked in request.hosts.iter().flatten() {
            let Some(name) = &asked.name else {
                continue;
            };
            match self.db.host(name).await {
                Ok(Some(host)) if Some(host.user) == user => {
                    self.record_one(request, now, host.id, &told);
                }
                Ok(_) => {}
                Err(problem) => return debug!("a refused request is not noted: {problem}"),
            }
        }
    }

    /// The last request for a host.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn last(&self, host: &Arc<Host>) -> Result<Option<LastRequest>, DbError> {
        self.db.last_request(host.id).await
    }

    /// Whether there is so much to write that it should not wait for its time.
    pub fn are_many(&self) -> bool {
        self.db.should_flush_requests()
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// The database failed; nothing is lost.
    pub async fn write(&self) -> Result<(), DbError> {
        self.db.flush_requests().await
    }
}
