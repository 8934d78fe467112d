//! Checks the credentials and the limits of a request. In: a checked request. Out: a caller whose
//! request is reserved under the good limit, or the reply that ends it.

use super::last_requests::{HostResult, LastRequests};
use super::rehash::{DueRehash, Rehash};
use crate::clock::Clock;
use crate::db::Db;
use crate::limits::{Admission, LimitExceeded, Limits, Slot};
use crate::log_budget::log_repeated;
use crate::model::client::ClientKey;
use crate::model::name::UserName;
use crate::model::secret::Secret;
use crate::model::time::Now;
use crate::model::user::{Account, UserId};
use crate::passwords::{Attempt, Caller, Hashing, Passwords, Verification};
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{Login, UpdateRequest};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::DropGuard;
use tracing::{debug, warn};

/// The handles this story uses.
#[derive(Clone)]
pub struct Authenticate {
    pub db: Db,
    pub limits: Limits,
    pub passwords: Passwords,
    pub rehash: Rehash,
    pub last_requests: LastRequests,
    pub clock: Clock,
}

/// A place under the bad limit.
pub struct BadPlace {
    slot: Slot,
    /// If set, a password that is not known is refused with it.
    known_password_only: Option<LimitExceeded>,
}

/// A caller whose password was right and whose request is reserved under the good limit.
pub struct Authenticated {
    pub caller: Caller,
    slot: Slot,
    /// Once it is dropped with the end of the request, an imported hash is remade.
    _rehash: Option<DropGuard>,
}

impl Authenticate {
    /// Reserves a place under the bad limit, before any password work.
    ///
    /// # Errors
    /// The reply that ends the request: it has no credentials, or the limit is exceeded.
    pub async fn reserve(&self, request: &UpdateRequest, now: Now) -> Result<BadPlace, Reply> {
        if matches!(request.login, Login::Missing) {
            return Err(Reply::whole(ReturnCode::Badauth));
        }
        self.reserve_bad(request.key, now.mono).await.map_err(abuse)
    }

    /// Checks the password, then the good limit. Must run to its end, so that a guess counts.
    ///
    /// # Errors
    /// The reply that ends the request.
    pub async fn run(
        &self,
        request: &Arc<UpdateRequest>,
        place: BadPlace,
        now: Now,
    ) -> Result<Authenticated, Reply> {
        let BadPlace { mut slot, known_password_only } = place;
        let (caller, rehash) = match self.verify(request, known_password_only, now).await {
            Ok(verified) => verified,
            Err(reply) => return Err(self.record_slot(slot, reply)),
        };
        // it may have waited long for other requests of its client and for the password
        if let Err(exceeded) = self.limits.reserve_good(&mut slot, self.clock.mono()) {
            let reason = "too many good requests from this address";
            let result = HostResult::with_reason(ReturnCode::Abuse, reason);
            self.last_requests.record_rejected(request, now, Some(caller.user()), result);
            return Err(abuse(exceeded));
        }
        Ok(Authenticated { caller, slot, _rehash: rehash })
    }

    async fn reserve_bad(
        &self,
        client: ClientKey,
        now: Instant,
    ) -> Result<BadPlace, LimitExceeded> {
        let mut now = now;
        loop {
            match self.limits.reserve_bad(client, now) {
                Admission::Granted(slot) => {
                    return Ok(BadPlace { slot, known_password_only: None });
                }
                Admission::KnownPasswordOnly(slot, exceeded) => {
                    return Ok(BadPlace { slot, known_password_only: Some(exceeded) });
                }
                Admission::Exceeded(exceeded) => return Err(exceeded),
                // boxed: few wait
                Admission::Wait(waiter) => Box::pin(waiter.wait()).await,
            }
            now = self.clock.mono();
        }
    }

    /// Counts the request as good, bad or neither; until then its reservation counts. Returns the
    /// reply, or `abuse` if it is one bad request too many.
    pub fn record(&self, authenticated: Authenticated, reply: Reply) -> Reply {
        self.record_slot(authenticated.slot, reply)
    }

    fn record_slot(&self, slot: Slot, reply: Reply) -> Reply {
        let recorded = self.limits.record(slot, reply.counts_as(), self.clock.mono());
        recorded.err().map_or(reply, abuse)
    }

    /// Forgets clients without a recent request.
    pub fn forget_idle(&self) {
        self.limits.purge(self.clock.mono());
    }

    async fn verify(
        &self,
        request: &Arc<UpdateRequest>,
        known_password_only: Option<LimitExceeded>,
        now: Now,
    ) -> Result<(Caller, Option<DropGuard>), Reply> {
        let (user, password): (&UserName, &Secret) = match &request.login {
            Login::Given { user, password } => (user, password),
            Login::Unreadable { name } => return Err(bad_credentials(name, request.client)),
            Login::Missing => return Err(Reply::whole(ReturnCode::Badauth)),
        };
        let account = self.db.account(user).await.map_err(|problem| {
            log_repeated!(error, "cannot look up a user: {problem}");
            Reply::whole(ReturnCode::ServerError)
        })?;
        // for a suspended user it costs and counts as for a user that does not exist
        let usable = account.as_ref().filter(|account| !account.is_suspended);
        let attempt = Attempt { user, account: usable, password, client: request.key };
        let hashing = match known_password_only {
            Some(_) => Hashing::Refused,
            None => Hashing::Allowed(|| self.is_familiar(usable, request.key)),
        };
        match self.passwords.verify(attempt, hashing, now).await {
            Verification::Right(caller) => {
                let due = account.filter(|_| caller.rehash_due()).map(|account| DueRehash {
                    user: user.clone(),
                    account,
                    password: password.clone(),
                });
                Ok((caller, due.and_then(|due| self.rehash.after_request(due))))
            }
            Verification::Wrong => {
                let reason = match &account {
                    Some(account) if account.is_suspended => "the user is suspended",
                    _ => "wrong password",
                };
                let result = HostResult::with_reason(ReturnCode::Badauth, reason);
                let user_id = account.map(|account| account.id);
                self.last_requests.record_rejected(request, now, user_id, result);
                Err(bad_credentials(user.as_str(), request.client))
            }
            Verification::Busy => Err(Reply::whole(ReturnCode::ServerError)),
            Verification::NotKnown => {
                Err(known_password_only.map_or(Reply::whole(ReturnCode::ServerError), abuse))
            }
        }
    }

    /// Whether a host of the user was last updated from this client. An unknown user costs the same
    /// query.
    async fn is_familiar(&self, account: Option<&Account>, client: ClientKey) -> bool {
        let user = account.map_or(UserId(0), |account| account.id);
        let found = self.db.is_updated_from(user, client).await;
        found.unwrap_or_else(|problem| {
            debug!("cannot look up where a user's hosts were updated from: {problem}");
            false
        })
    }
}

fn bad_credentials(name: &str, client: IpAddr) -> Reply {
    // fail2ban reads this line; Debug escapes quotes and control characters
    warn!("auth failed user={name:?} client={client}");
    Reply::whole(ReturnCode::Badauth)
}

fn abuse(exceeded: LimitExceeded) -> Reply {
    Reply::Whole { code: ReturnCode::Abuse, retry_after: Some(exceeded.retry_after) }
}
