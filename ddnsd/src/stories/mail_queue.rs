//! The mail queue for administrators: list, retry, drop, and a test of the settings.

use super::deliver::Deliver;
use super::error::{AdminError, AdminErrorKind};
use crate::clock::Clock;
use crate::db::{Db, MailDrop};
use crate::mail::Letter;
use crate::model::mail::{MailId, QueuedMail};
use crate::model::name::Email;
use std::time::Duration;
use tokio::time::timeout;
use tracing::info;

/// Less than `ddnsctl` waits.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The story of the mail queue.
#[derive(Clone)]
pub struct MailQueue {
    pub db: Db,
    pub deliver: Deliver,
    pub clock: Clock,
}

impl MailQueue {
    /// Up to `limit` mails after a key, in the order in which they were queued.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: MailId, limit: u32) -> Result<Vec<QueuedMail>, AdminError> {
        Ok(self.db.mails(after, limit).await?)
    }

    /// Tries a mail now, also one that failed.
    ///
    /// # Errors
    /// There is no such mail, mail is disabled, or the database failed.
    pub async fn retry(&self, id: MailId) -> Result<(), AdminError> {
        if self.deliver.mailer().is_none() {
            return Err(disabled());
        }
        if !self.db.retry_mail(id, self.clock.now().wall).await? {
            return Err(not_found(id));
        }
        self.deliver.resume();
        Ok(())
    }

    /// Deletes a mail.
    ///
    /// # Errors
    /// There is no such mail, it is being sent, or the database failed.
    pub async fn drop(&self, id: MailId) -> Result<(), AdminError> {
        match self.db.drop_mail(id, self.clock.now().wall).await? {
            MailDrop::Deleted => info!(id = id.0, "an administrator dropped a mail"),
            MailDrop::NoSuchMail => return Err(not_found(id)),
            MailDrop::BeingSent => {
                let MailId(id) = id;
                let message = format!(
                    "mail {id} is being sent, so it is not dropped (see `ddnsctl mail list`, and try again in a minute)"
                );
                return Err(AdminError::new(AdminErrorKind::Busy, message));
            }
        }
        Ok(())
    }

    /// Sends a mail with the settings in force. Returns the server's reply.
    ///
    /// # Errors
    /// Mail is disabled, or the server did not accept it.
    pub async fn test(&self, to: Email) -> Result<String, AdminError> {
        let mailer = self.deliver.mailer().ok_or_else(disabled)?;
        let letter = Letter {
            to,
            subject: "Test mail of ddnsd".to_owned(),
            body: "This is a test mail of ddnsd, which an administrator requested.\n".to_owned(),
            id: format!("test.{:032x}", rand::random::<u128>()),
            at: self.clock.now().wall,
        };
        let sent = timeout(TEST_TIMEOUT, async {
            let mut session = mailer.connect().await?;
            let sent = session.send(&letter).await?;
            Ok((session, sent))
        });
        let failed = |message: String| AdminError::new(AdminErrorKind::Mail, message);
        let no_answer = |_| {
            let seconds = TEST_TIMEOUT.as_secs();
            failed(format!("mail server {} did not answer within {seconds} s", mailer.server()))
        };
        let sent: Result<_, crate::mail::SendError> = sent.await.map_err(no_answer)?;
        let (session, reply) = sent.map_err(|error| failed(error.to_string()))?;
        session.close().await;
        // mails that wait for the server are sent now
        self.deliver.resume();
        Ok(reply)
    }
}

fn not_found(MailId(id): MailId) -> AdminError {
    let message = format!("there is no mail {id} in the queue (see `ddnsctl mail list`)");
    AdminError::new(AdminErrorKind::NotFound, message)
}

fn disabled() -> AdminError {
    let message = "mail is disabled (set email.enabled, then `ddnsctl reload`)";
    AdminError::new(AdminErrorKind::Invalid, message)
}
