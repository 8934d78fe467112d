//! The mails of the outbox: those to send, claimed so that several daemons send each once; those of
//! `ddnsctl mail`.

use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::row::row;
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::mail::{Delivery, MailId, QueuedMail};
use crate::model::notice::NoticeKind;
use crate::model::time::Millis;

pub(super) const STATEMENTS: Statements =
    &[CLAIMING, RECORDING, FREEING, GIVING_UP, CLAMPING, CLEANING, LISTING, RETRYING, DROPPING];

/// The columns of [`MailRow`].
macro_rules! mail_columns {
    () => {
        "id, kind, recipient, variables, message_id, created_at, next_at, attempts, last_error,
         failed_at"
    };
}

row! {
    struct MailRow {
        id: i64,
        kind: String,
        recipient: String,
        variables: String,
        message_id: String,
        created_at: i64,
        next_at: i64,
        attempts: i64,
        last_error: Option<String>,
        failed_at: Option<i64>,
    }
}

impl MailRow {
    fn mail(self) -> QueuedMail {
        QueuedMail {
            id: MailId(self.id),
            kind: NoticeKind::parse(&self.kind),
            recipient: self.recipient,
            variables: self.variables,
            message_id: self.message_id,
            created_at: Millis(self.created_at),
            next_at: Millis(self.next_at),
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            last_error: self.last_error,
            failed_at: self.failed_at.map(Millis),
        }
    }
}

//----- Claim -----

/// Who claims mails, and until when.
#[derive(Clone, Debug)]
pub struct MailClaim {
    /// The daemon.
    pub by: String,
    pub now: Millis,
    /// From then on others may claim them.
    pub until: Millis,
}

statements! { CLAIMING;
    DUE: Indexed = concat!(
        "SELECT ", mail_columns!(), " FROM outbox
         WHERE failed_at IS NULL AND next_at <= ? AND (claimed_until IS NULL OR claimed_until <= ?)
         ORDER BY next_at LIMIT ?"
    );
    // its time as it was read: another daemon may have tried it since
    CLAIM: Indexed =
        "UPDATE outbox SET claimed_by = ?, claimed_until = ?
         WHERE id = ? AND next_at = ? AND failed_at IS NULL
             AND (claimed_until IS NULL OR claimed_until <= ?)";
}

impl Db {
    /// Claims up to `limit` mails that are due, the longest due first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_mails(
        &self,
        claim: MailClaim,
        limit: u32,
    ) -> Result<Vec<QueuedMail>, DbError> {
        let now = claim.now.0;
        let due: Vec<MailRow> = self.0.readers.all(&DUE, args![now, now, limit]).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mails: Vec<_> = due.into_iter().map(MailRow::mail).collect();
        self.0.writer.run(ClaimMails { claim, mails }).await
    }
}

struct ClaimMails {
    claim: MailClaim,
    mails: Vec<QueuedMail>,
}

impl Write for ClaimMails {
    type Output = Vec<QueuedMail>;
    // Makes the rows durable, too, before they are sent: an acknowledgement that is lost in a power
    // cut would queue its mail again.
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<QueuedMail>, DbError> {
        let MailClaim { by, now, until } = &self.claim;
        let mut claimed = Vec::with_capacity(self.mails.len());
        for mail in &self.mails {
            let args = args![by.as_str(), until.0, mail.id.0, mail.next_at.0, now.0];
            if conn.run(&CLAIM, args).await? > 0 {
                claimed.push(mail.clone());
            }
        }
        Ok(claimed)
    }
}

//----- Record -----

statements! { RECORDING;
    SENT: Indexed = "DELETE FROM outbox WHERE id = ? AND claimed_by = ?";
    RETRY_LATER: Indexed =
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL, attempts = attempts + 1,
             next_at = ?, last_error = ?
         WHERE id = ? AND claimed_by = ?";
    FAIL: Indexed =
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL, attempts = attempts + 1,
             failed_at = ?, last_error = ?
         WHERE id = ? AND claimed_by = ?";
    RELEASE: Indexed =
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL WHERE id = ? AND claimed_by = ?";
}

impl Db {
    /// Stores the results of attempts and ends the claims of this daemon on these mails.
    ///
    /// # Errors
    /// The database failed; the claims run out.
    pub async fn record_deliveries(
        &self,
        by: String,
        deliveries: Vec<(MailId, Delivery)>,
    ) -> Result<(), DbError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        self.0.writer.run(RecordDeliveries { by, deliveries }).await
    }
}

struct RecordDeliveries {
    by: String,
    deliveries: Vec<(MailId, Delivery)>,
}

impl Write for RecordDeliveries {
    type Output = ();
    // a mail whose end is lost in a power cut would be sent again
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let by = self.by.as_str();
        for (MailId(id), delivery) in &self.deliveries {
            let id = *id;
            match delivery {
                Delivery::Sent => conn.run(&SENT, args![id, by]).await?,
                Delivery::Retry { at, error } => {
                    conn.run(&RETRY_LATER, args![at.0, error.as_str(), id, by]).await?
                }
                Delivery::Failed { at, error } => {
                    conn.run(&FAIL, args![at.0, error.as_str(), id, by]).await?
                }
                Delivery::Untried => conn.run(&RELEASE, args![id, by]).await?,
            };
        }
        Ok(())
    }
}

statements! { FREEING;
    FREE_CLAIMS: FullScan =
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by IS NOT NULL";
}

impl Db {
    /// At the start: ends the claims of a killed daemon. Other daemons keep theirs, so this does
    /// nothing unless this daemon is the only one that can use the database.
    ///
    /// # Errors
    /// The database failed; the claims run out.
    pub async fn free_mail_claims(&self) -> Result<(), DbError> {
        if self.0.is_sole_owner() { self.0.writer.run(FreeClaims).await } else { Ok(()) }
    }
}

struct FreeClaims;

impl Write for FreeClaims {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&FREE_CLAIMS, args![]).await?;
        Ok(())
    }
}

//----- Give up, clean up -----

statements! { GIVING_UP;
    GIVE_UP: FullScan =
        "UPDATE outbox SET failed_at = ?, last_error = COALESCE(last_error, ?)
         WHERE failed_at IS NULL AND next_at <= ? AND created_at <= ?";
}

impl Db {
    /// Marks mails as failed that were queued before this time. Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn give_up_mails(
        &self,
        before: Millis,
        now: Millis,
        error: &'static str,
    ) -> Result<u64, DbError> {
        self.0.writer.run(GiveUpMails { before, now, error }).await
    }
}

struct GiveUpMails {
    before: Millis,
    now: Millis,
    error: &'static str,
}

impl Write for GiveUpMails {
    type Output = u64;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<u64, DbError> {
        let Self { before, now, error } = self;
        conn.run(&GIVE_UP, args![now.0, *error, now.0, before.0]).await
    }
}

statements! { CLAMPING;
    CLAMP: FullScan = "UPDATE outbox SET next_at = ? WHERE failed_at IS NULL AND next_at > ?";
}

impl Db {
    /// Makes mails due now that would be due only after `latest`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clamp_mails(&self, now: Millis, latest: Millis) -> Result<(), DbError> {
        self.0.writer.run(ClampMails { now, latest }).await
    }
}

struct ClampMails {
    now: Millis,
    latest: Millis,
}

impl Write for ClampMails {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&CLAMP, args![self.now.0, self.latest.0]).await?;
        Ok(())
    }
}

statements! { CLEANING;
    // the one that many others failed after
    NEWER_FAILED: Indexed =
        "SELECT failed_at FROM outbox WHERE failed_at IS NOT NULL
         ORDER BY failed_at DESC LIMIT 1 OFFSET 10000",
        mariadb
        "SELECT failed_at FROM outbox FORCE INDEX (outbox_due) WHERE failed_at IS NOT NULL
         ORDER BY failed_at DESC LIMIT 1 OFFSET 10000";
    DROP_FAILED: Indexed = "DELETE FROM outbox WHERE failed_at IS NOT NULL AND failed_at <= ?";
}

impl Db {
    /// Deletes failed mails: those that failed before this time, and all but the last 10,000.
    /// Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn drop_failed_mails(&self, before: Millis) -> Result<u64, DbError> {
        let beyond: Option<(i64,)> = self.0.readers.optional(&NEWER_FAILED, args![]).await?;
        let before = beyond.map_or(before, |(at,)| before.max(Millis(at)));
        self.0.writer.run(DropFailed(before)).await
    }
}

struct DropFailed(Millis);

impl Write for DropFailed {
    type Output = u64;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<u64, DbError> {
        conn.run(&DROP_FAILED, args![self.0.0]).await
    }
}

//----- For administrators -----

statements! { LISTING;
    PAGE: Indexed = concat!(
        "SELECT ", mail_columns!(), " FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
    );
}

impl Db {
    /// Up to `limit` mails after a key, in the order in which they were queued.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mails(&self, after: MailId, limit: u32) -> Result<Vec<QueuedMail>, DbError> {
        let rows: Vec<MailRow> = self.0.readers.all(&PAGE, args![after.0, limit]).await?;
        Ok(rows.into_iter().map(MailRow::mail).collect())
    }
}

statements! { RETRYING;
    RETRY: Indexed =
        "UPDATE outbox SET next_at = ?, attempts = 0, failed_at = NULL WHERE id = ?";
}

impl Db {
    /// Makes a mail due now, also one that failed; `false` if there is no such mail.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retry_mail(&self, id: MailId, now: Millis) -> Result<bool, DbError> {
        let found = self.0.writer.run(RetryMail(id, now)).await?;
        if found {
            self.0.mail_queued.notify_one();
        }
        Ok(found)
    }
}

struct RetryMail(MailId, Millis);

impl Write for RetryMail {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        Ok(conn.run(&RETRY, args![self.1.0, self.0.0]).await? > 0)
    }
}

statements! { DROPPING;
    // its state would be unknown if it were deleted while it is sent
    DROP: Indexed =
        "DELETE FROM outbox WHERE id = ? AND (claimed_until IS NULL OR claimed_until <= ?)";
    EXISTS: Indexed = "SELECT id FROM outbox WHERE id = ?";
}

/// What became of a mail that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailDrop {
    Deleted,
    /// It stays: a daemon is sending it.
    BeingSent,
    NoSuchMail,
}

impl Db {
    /// Deletes a mail that is not being sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn drop_mail(&self, id: MailId, now: Millis) -> Result<MailDrop, DbError> {
        if self.0.writer.run(DropMail(id, now)).await? {
            return Ok(MailDrop::Deleted);
        }
        let found: Option<(i64,)> = self.0.readers.optional(&EXISTS, args![id.0]).await?;
        Ok(found.map_or(MailDrop::NoSuchMail, |_| MailDrop::BeingSent))
    }
}

struct DropMail(MailId, Millis);

impl Write for DropMail {
    type Output = bool;
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<bool, DbError> {
        Ok(conn.run(&DROP, args![self.0.0, self.1.0]).await? > 0)
    }
}
