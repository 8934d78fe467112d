//! Sends the mails of the outbox. In: rows that are due. Out: each is sent once, tried again later,
//! or failed for good.
//!
//! Rows are claimed before they are sent, so several daemons send each once. The result of each is
//! committed before the next is sent. After a kill in between, one mail is sent again, with the
//! same Message-ID. A server that takes no mail ends the run; the next one waits, longer each time.

mod letter;

use crate::clock::Clock;
use crate::counters::MailCounters;
use crate::db::{Db, DbError, MailClaim};
use crate::log_budget::log_repeated;
use crate::mail::{Letter, Mailer, SEND_TIMEOUT, SendError, SmtpSession};
use crate::model::mail::{Delivery, MailId, QueuedMail};
use crate::model::time::Now;
use crate::rules::mail::{self, MAX_AGE, ServerPause};
use arc_swap::ArcSwapOption;
use jiff::tz::TimeZone;
pub use letter::host;
use letter::kind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Mails that are claimed together.
const BATCH: u32 = 50;
/// How long the mails of a batch are sent; the rest is claimed again.
const BATCH_TIME: Duration = Duration::from_mins(5);
/// Longer than the batch, its last mail and the commit of the result.
const CLAIM_TIME: Duration = Duration::from_mins(10);
const _: () = assert!(BATCH_TIME.as_secs() + 2 * SEND_TIMEOUT.as_secs() < CLAIM_TIME.as_secs());
/// How long a stop waits for the mail that is being sent: its acceptance would be missed.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Between two tries to store that a mail was sent.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
/// How long failed mails are shown.
const KEEP_FAILED: Duration = Duration::from_hours(30 * 24);

/// The delivery story; clones share its state.
#[derive(Clone)]
pub struct Deliver {
    db: Db,
    clock: Clock,
    counters: Arc<MailCounters>,
    /// `None`: mail is disabled.
    mailer: Arc<ArcSwapOption<Mailer>>,
    state: Arc<DeliveryState>,
}

#[derive(Default)]
struct DeliveryState {
    server: Mutex<ServerPause>,
    /// Notified when the server is worth another try.
    resumed: Notify,
}

/// What a run holds.
struct DeliveryRun<'a> {
    mailer: Arc<Mailer>,
    session: Option<SmtpSession>,
    /// The name of this run in its claims.
    by: String,
    zone: TimeZone,
    stop: &'a CancellationToken,
}

/// Why a batch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchEnd {
    /// All of it was tried, or its time is over.
    Next,
    /// The server takes no mail, or the daemon stops.
    Stop,
}

impl Deliver {
    pub fn new(db: Db, clock: Clock, counters: Arc<MailCounters>, mailer: Option<Mailer>) -> Self {
        let mailer = Arc::new(ArcSwapOption::from_pointee(mailer));
        Self { db, clock, counters, mailer, state: Arc::default() }
    }

    /// Sends with other settings from now on; `None`: mail is disabled.
    pub fn reconfigure(&self, mailer: Option<Mailer>) {
        self.mailer.store(mailer.map(Arc::new));
        self.resume();
    }

    /// The settings in force; `None`: mail is disabled.
    pub fn mailer(&self) -> Option<Arc<Mailer>> {
        self.mailer.load_full()
    }

    /// The server is tried again at once.
    pub fn resume(&self) {
        *self.server() = ServerPause::default();
        self.state.resumed.notify_one();
    }

    /// Waits for a reason to run before the next time of the timer.
    pub async fn woken(&self) {
        tokio::select! {
            () = self.db.mail_queued() => {}
            () = self.state.resumed.notified() => {}
        }
    }

    /// Sends what is due, until nothing is, the server takes no mail, or `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        if let Err(problem) = self.send_due(stop).await {
            Self::log_failure(&format!("mails wait for the database: {problem}"));
        }
    }

    async fn send_due(&self, stop: &CancellationToken) -> Result<(), DbError> {
        let Some(mailer) = self.mailer() else { return Ok(()) };
        let by = format!("{:032x}", rand::random::<u128>());
        let mut run = DeliveryRun { mailer, session: None, by, zone: TimeZone::system(), stop };
        let sent = self.send_batches(&mut run).await;
        if let Some(session) = run.session.take() {
            stop.run_until_cancelled(session.close()).await;
        }
        sent
    }

    async fn send_batches(&self, run: &mut DeliveryRun<'_>) -> Result<(), DbError> {
        loop {
            let now = self.clock.now();
            if run.stop.is_cancelled() || !self.server().is_over(now.mono) {
                return Ok(());
            }
            let Some(mailer) = self.mailer() else { return Ok(()) };
            if !Arc::ptr_eq(&mailer, &run.mailer) {
                run.session = None;
                run.mailer = mailer;
            }
            let (by, until) = (run.by.clone(), now.wall.plus(CLAIM_TIME));
            let claim = MailClaim { by, now: now.wall, until };
            let mails = self.db.claim_mails(claim, BATCH).await?;
            if mails.is_empty() || self.send_batch(run, mails, now).await? == BatchEnd::Stop {
                return Ok(());
            }
        }
    }

    async fn send_batch(
        &self,
        run: &mut DeliveryRun<'_>,
        mails: Vec<QueuedMail>,
        start: Now,
    ) -> Result<BatchEnd, DbError> {
        let mut mails = mails.into_iter();
        while let Some(mail) = mails.next() {
            let now = self.clock.now();
            let is_late = now.mono.saturating_duration_since(start.mono) > BATCH_TIME;
            // a reload changes the settings between two mails
            let is_outdated =
                !self.mailer().is_some_and(|mailer| Arc::ptr_eq(&mailer, &run.mailer));
            if is_late || is_outdated || run.stop.is_cancelled() {
                self.record(run, std::iter::once(mail).chain(mails), |_| Delivery::Untried).await?;
                return Ok(BatchEnd::Next);
            }
            let result = match letter::render(&run.mailer, &mail, &run.zone) {
                Ok(letter) => self.send(run, &letter).await,
                Err(error) => Some(Err(error)),
            };
            match result {
                Some(Ok(())) => self.sent(run, mail).await?,
                Some(Err(SendError::Mail { is_final, reason })) => {
                    self.refused(run, mail, is_final, reason).await?;
                }
                Some(Err(SendError::Server(reason))) => {
                    self.record(run, mails, |_| Delivery::Untried).await?;
                    self.server_failed(run, mail, reason).await?;
                    return Ok(BatchEnd::Stop);
                }
                None => {
                    let rest = std::iter::once(mail).chain(mails);
                    self.record(run, rest, |_| Delivery::Untried).await?;
                    return Ok(BatchEnd::Stop);
                }
            }
        }
        Ok(BatchEnd::Next)
    }

    /// `None`: the daemon stops, and whether the mail was accepted is not known.
    async fn send(
        &self,
        run: &mut DeliveryRun<'_>,
        letter: &Letter,
    ) -> Option<Result<(), SendError>> {
        let stop = run.stop;
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            sent = send_by_session(run, letter) => Some(sent),
            () = stopped => None,
        }
    }

    async fn sent(&self, run: &DeliveryRun<'_>, mail: QueuedMail) -> Result<(), DbError> {
        self.counters.sent.add_one();
        *self.server() = ServerPause::default();
        let (kind, host) = (kind(&mail), host(&mail));
        info!(host, recipient = mail.recipient, kind, "mail sent");
        // a mail whose end is not stored would be sent again; without the database nothing is sent
        while let Err(problem) = self.record(run, [mail.clone()], |_| Delivery::Sent).await {
            let mail = mail.id.0;
            Self::log_failure(&format!("cannot store that mail {mail} was sent: {problem}"));
            let pause = tokio::time::sleep(RECORD_PAUSE);
            if run.stop.run_until_cancelled(pause).await.is_none() {
                return Err(problem);
            }
        }
        Ok(())
    }

    async fn refused(
        &self,
        run: &DeliveryRun<'_>,
        mail: QueuedMail,
        is_final: bool,
        reason: String,
    ) -> Result<(), DbError> {
        let at = self.clock.now().wall;
        let delivery = if is_final {
            Delivery::Failed { at, error: reason }
        } else {
            mail::after_failure(&mail, at, reason)
        };
        let (kind, host) = (kind(&mail), host(&mail));
        let (MailId(id), recipient) = (mail.id, &mail.recipient);
        let about = format!("mail {id} ({kind}) about {host:?} to {recipient:?}");
        match &delivery {
            Delivery::Failed { error, .. } => {
                self.counters.failed.add_one();
                Self::log_failure(&format!("{about} failed: {error} (see `ddnsctl mail list`)"));
            }
            Delivery::Retry { error, .. } => {
                self.counters.retried.add_one();
                Self::log_failure(&format!("{about} is tried again later: {error}"));
            }
            Delivery::Sent | Delivery::Untried => {}
        }
        self.record(run, [mail], move |_| delivery.clone()).await
    }

    /// No mail is tried before the pause is over. Then the others come before this one: it may be
    /// the reason, as one whose recipient makes the server close the connection.
    async fn server_failed(
        &self,
        run: &mut DeliveryRun<'_>,
        mail: QueuedMail,
        reason: String,
    ) -> Result<(), DbError> {
        run.session = None;
        let now = self.clock.now();
        let pause = self.server().failed(now.mono).as_secs();
        Self::log_failure(&format!("mails wait, next try in {pause} s: {reason}"));
        let delivery = mail::after_failure(&mail, now.wall, reason);
        match &delivery {
            Delivery::Failed { .. } => self.counters.failed.add_one(),
            _ => self.counters.retried.add_one(),
        }
        self.record(run, [mail], |_| delivery.clone()).await
    }

    async fn record(
        &self,
        run: &DeliveryRun<'_>,
        mails: impl IntoIterator<Item = QueuedMail>,
        delivery: impl Fn(&QueuedMail) -> Delivery,
    ) -> Result<(), DbError> {
        let deliveries = mails.into_iter().map(|mail| (mail.id, delivery(&mail))).collect();
        self.db.record_deliveries(run.by.clone(), deliveries).await
    }

    /// At the start, before the first run: the claims of a killed run are free.
    ///
    /// # Errors
    /// The database failed.
    pub async fn free_claims(&self) -> Result<(), DbError> {
        self.db.free_mail_claims().await
    }

    /// Fails mails that are old because mail is disabled, and deletes those that failed long ago.
    /// Mails whose time was set by a clock that was ahead are due now.
    ///
    /// # Errors
    /// The database failed; they stay.
    pub async fn clean_up(&self) -> Result<(), DbError> {
        let now = self.clock.now().wall;
        let before = |age: Duration| {
            now.plus_millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX).saturating_neg())
        };
        if self.mailer.load().is_none() {
            let reason = "mail was disabled for 3 days";
            let failed = self.db.give_up_mails(before(MAX_AGE), now, reason).await?;
            if failed > 0 {
                self.counters.failed.add(failed);
                warn!(mails = failed, "mails failed, because mail was disabled for 3 days");
            }
        }
        self.db.clamp_mails(now, now.plus(mail::MAX_PAUSE)).await?;
        let dropped = self.db.drop_failed_mails(before(KEEP_FAILED)).await?;
        if dropped > 0 {
            info!(mails = dropped, "dropped mails that failed long ago");
        }
        Ok(())
    }

    fn log_failure(what: &str) {
        log_repeated!(warn, "{what}");
    }

    fn server(&self) -> MutexGuard<'_, ServerPause> {
        self.state.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a letter on the session of the run, or on a new one. A session that ends after some
/// letters is replaced once: many servers allow a number of letters only.
async fn send_by_session(run: &mut DeliveryRun<'_>, letter: &Letter) -> Result<(), SendError> {
    let used = match run.session.take() {
        Some(session) if session.is_usable() => Some(session),
        Some(session) => {
            session.close().await;
            None
        }
        None => None,
    };
    if let Some(session) = used {
        let session = run.session.insert(session);
        match session.send(letter).await {
            Err(SendError::Server(_)) => run.session = None,
            sent => return sent.map(drop),
        }
    }
    let session = run.session.insert(run.mailer.connect().await?);
    session.send(letter).await.map(drop)
}
