//! Who sends a request, and may they come so often? In: a checked request. Out: a caller with a place
//! under the limits, or the reply that ends it.

use super::last_requests::{HostResult, LastRequests};
use super::rehash::{DueRehash, Rehash};
use crate::clock::Clock;
use crate::db::Db;
use crate::limits::{Admission, LimitExceeded, Limits, Slot};
use crate::model::client::ClientKey;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::passwords::{Attempt, Caller, Passwords, Verification};
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{Login, UpdateRequest};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// The handles this story uses.
#[derive(Clone)]
pub struct Authenticate {
    /// Users.
    pub db: Db,
    /// Requests per client.
    pub limits: Limits,
    /// Verifies and remembers.
    pub passwords: Passwords,
    /// Remakes imported hashes.
    pub rehash: Rehash,
    /// What administrators see of refused ones.
    pub last_requests: LastRequests,
    /// The clock.
    pub clock: Clock,
    /// Where a verification runs on when its client is gone.
    pub tasks: TaskTracker,
}

/// Someone whose password was right, with a place under the good limit.
pub struct Authenticated {
    /// Who it is.
    pub caller: Caller,
    slot: Slot,
    /// With the end of the request, and of this, an imported hash is remade.
    _rehash: Option<DropGuard>,
}

impl Authenticate {
    /// Lets a request in. Checked in this order: are there credentials, the bad limit, the password,
    /// the good limit.
    ///
    /// # Errors
    /// The reply that ends the request.
    pub async fn run(
        &self,
        request: &Arc<UpdateRequest>,
        now: Now,
    ) -> Result<Authenticated, Reply> {
        if matches!(request.login, Login::Missing) {
            return Err(Reply::whole(ReturnCode::Badauth));
        }
        let slot = self.reserve_bad(request.key, now).await.map_err(abuse)?;
        let mut admitted = self.admit(request, slot, now).await?;
        // it may have waited long for others of its client and for the password
        if let Err(refused) = self.limits.reserve_good(&mut admitted.slot, self.clock.now()) {
            let told = HostResult::with_reason(
                ReturnCode::Abuse,
                "too many good requests from this address",
            );
            self.last_requests.record_rejected(request, now, Some(admitted.caller.user()), told);
            return Err(abuse(refused));
        }
        Ok(admitted)
    }

    async fn reserve_bad(&self, client: ClientKey, now: Now) -> Result<Slot, LimitExceeded> {
        let mut now = now;
        loop {
            match self.limits.reserve_bad(client, now) {
                Admission::Granted(slot) => return Ok(slot),
                Admission::Exceeded(exceeded) => return Err(exceeded),
                Admission::Wait(waiter) => waiter.wait().await,
            }
            now = self.clock.now();
        }
    }

    /// Counts the request as what it turned out to be; until then its reservation counts. Out: the
    /// reply, or `abuse` if it is one bad request too many.
    pub fn close(&self, admitted: Authenticated, reply: Reply) -> Reply {
        self.count(admitted.slot, reply)
    }

    fn count(&self, slot: Slot, reply: Reply) -> Reply {
        let counts_as = reply.decisive_code().counts_as();
        let closed = self.limits.record(slot, counts_as, self.clock.now());
        closed.err().map_or(reply, abuse)
    }

    /// Forgets clients that did not come for long.
    pub fn forget_idle(&self) {
        self.limits.purge(self.clock.now());
    }

    /// Under the bad limit. A known password is answered at once; hashing goes on when its client hangs
    /// up, so that a guess counts.
    async fn admit(
        &self,
        request: &Arc<UpdateRequest>,
        slot: Slot,
        now: Now,
    ) -> Result<Authenticated, Reply> {
        let mut check = Box::pin(self.clone().check(Arc::clone(request), slot, now));
        match futures::poll!(&mut check) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => {
                let task = self.tasks.spawn(check);
                task.await.unwrap_or_else(|_| Err(Reply::whole(ReturnCode::ServerError)))
            }
        }
    }

    async fn check(
        self,
        request: Arc<UpdateRequest>,
        slot: Slot,
        now: Now,
    ) -> Result<Authenticated, Reply> {
        match self.verify(&request, now).await {
            Ok((caller, rehash)) => Ok(Authenticated { caller, slot, _rehash: rehash }),
            Err(code) => Err(self.count(slot, Reply::whole(code))),
        }
    }

    async fn verify(
        &self,
        request: &Arc<UpdateRequest>,
        now: Now,
    ) -> Result<(Caller, Option<DropGuard>), ReturnCode> {
        let (user, password): (&UserName, &Secret) = match &request.login {
            Login::Given { user, password } => (user, password),
            Login::Unreadable { name } => return Err(refused(name, request.client)),
            Login::Missing => return Err(ReturnCode::Badauth),
        };
        let account = self.db.account(user).await.map_err(|problem| {
            error!("a user could not be looked up: {problem}");
            ReturnCode::ServerError
        })?;
        let attempt = Attempt { user, account: account.as_ref(), password, client: request.key };
        match self.passwords.verify(attempt, now).await {
            Verification::Right(caller) => {
                let due = account.filter(|_| caller.rehash_due()).map(|account| DueRehash {
                    user: user.clone(),
                    account,
                    password: password.clone(),
                });
                Ok((caller, due.and_then(|due| self.rehash.after_request(due))))
            }
            Verification::Wrong => {
                let code = refused(user.as_str(), request.client);
                let told = HostResult::with_reason(code, "wrong password");
                let user_id = account.map(|account| account.id);
                self.last_requests.record_rejected(request, now, user_id, told);
                Err(code)
            }
            Verification::Busy => Err(ReturnCode::ServerError),
        }
    }
}

fn refused(name: &str, client: IpAddr) -> ReturnCode {
    // fail2ban reads this line; Debug escapes quotes and control characters
    warn!("auth failed user={name:?} client={client}");
    ReturnCode::Badauth
}

fn abuse(exceeded: LimitExceeded) -> Reply {
    Reply::Whole { code: ReturnCode::Abuse, retry_after: Some(exceeded.retry_after) }
}
