//! A connection for writing and the transactions on it. A batch that lost a race on a server runs again; a
//! connection that failed is thrown away and made anew for the next one.

use super::company::Presence;
use super::driver::{Conn, End, PATIENCE};
use super::error::DbError;
use super::job::Queued;
use super::open::Origin;
use crate::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// How often a transaction is tried that loses races.
const TRIES: u32 = 5;
/// How often one is tried that waits for another session's row, a second each time.
const TRIES_LOCKED: u32 = 2;
/// For the end of a transaction of many rows.
const PATIENCE_ALONE: Duration = Duration::from_mins(5);

pub(super) struct Session {
    /// None after it failed.
    conn: Option<Conn>,
    origin: Arc<Origin>,
    /// Of the daemon's own one, that shows others on a server that a daemon is there.
    presence: Option<Presence>,
    /// Whether its commits outlive a power cut at the moment.
    durable: bool,
    /// Whether a file's commits of before may have been lost with the one that failed.
    log_in_doubt: bool,
}

/// Where a transaction failed; nothing of it is stored, but for [`DbError::Unknown`].
pub(super) enum Failed {
    /// Before anything was sent: to connect, to begin.
    Begin(DbError),
    /// In a job's statement: without that job the others might succeed.
    Statement(DbError),
    /// At its end.
    End(DbError),
}

impl Failed {
    /// Whether it is because of the rows that it was about, and others can be written.
    pub(super) fn is_rows_own(&self) -> bool {
        matches!(self, Failed::Statement(error) if error.is_rows_own())
    }

    /// Whether a server answers nothing, or nobody.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Failed::Begin(_) => true,
            Failed::Statement(error) | Failed::End(error) => {
                matches!(error, DbError::Silent | DbError::Unknown)
            }
        }
    }

    pub(super) fn error(&self) -> &DbError {
        match self {
            Failed::Begin(error) | Failed::Statement(error) | Failed::End(error) => error,
        }
    }
}

impl Session {
    pub(super) fn new(conn: Option<Conn>, origin: Arc<Origin>) -> Self {
        Self { conn, origin, presence: Some(Presence::Unknown), durable: true, log_in_doubt: false }
    }

    /// Whether transactions may run beside each other.
    pub(super) fn may_have_company(&self) -> bool {
        !self.origin.is_ours_alone()
    }

    /// Another one on the same database.
    pub(super) fn another(&self) -> Self {
        Self { presence: None, ..Self::new(None, Arc::clone(&self.origin)) }
    }

    /// Runs the jobs in one transaction. One that lost a race, or met a connection that had died since it was
    /// last used, is tried again.
    pub(super) async fn write(&mut self, batch: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
        let mut tries = 1;
        loop {
            let was_connected = self.conn.is_some();
            let Err(failed) = self.transaction(batch).await else { return Ok(()) };
            let most = match &failed {
                Failed::Begin(_) if was_connected && !self.origin.is_ours_alone() => 2,
                // of several jobs the one at fault is found by trying each
                Failed::Statement(DbError::Conflict(_)) if batch.len() == 1 => TRIES,
                Failed::Statement(DbError::Locked) if batch.len() == 1 => TRIES_LOCKED,
                Failed::End(DbError::Conflict(_)) => TRIES,
                _ => 1,
            };
            if tries >= most {
                return Err(failed);
            }
            tries += 1;
            tracing::debug!(jobs = batch.len(), "a transaction is tried again");
        }
    }

    /// Says goodbye, if the other end still listens.
    pub(super) async fn close(self) {
        let Some(conn) = self.conn else { return };
        let Err(error) = conn.close().await else { return };
        if self.origin.is_ours_alone() {
            tracing::warn!("closing the database: {error}");
        } else {
            // all is committed; the server only did not wait for the goodbye
            tracing::debug!("closing the connection to the database: {error}");
        }
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
        let durable = batch.iter().any(|job| job.is_durable());
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await.map_err(Failed::Begin)?,
        };
        let done = match self.begin(&mut conn, durable).await {
            Ok(()) => run_all(&mut conn, batch).await,
            Err(error) => Err(Failed::Begin(error)),
        };
        match &done {
            Ok(()) => self.conn = Some(conn),
            Err(
                failed @ (Failed::Begin(error) | Failed::Statement(error) | Failed::End(error)),
            ) => {
                // the kernel tells of pages that it could not write once, and takes them for written
                // then: those of earlier commits that were not durable, too
                self.log_in_doubt |=
                    self.origin.is_ours_alone() && matches!(failed, Failed::End(_));
                self.keep(conn, error).await;
            }
        }
        done
    }

    async fn begin(&mut self, conn: &mut Conn, durable: bool) -> Result<(), DbError> {
        if let Some(presence) = &mut self.presence {
            presence.show(conn, Clock.now().mono).await?;
        }
        if self.log_in_doubt {
            conn.empty_log().await?;
            self.log_in_doubt = false;
        }
        // takes effect between transactions; NORMAL spares the fsync where the work is only done again
        if self.durable != durable {
            conn.set_durable(durable).await?;
            self.durable = durable;
        }
        conn.begin().await
    }

    async fn connect(&mut self) -> Result<Conn, DbError> {
        if let Some(presence) = &mut self.presence {
            *presence = Presence::Unknown;
        }
        match &*self.origin {
            Origin::Server(server) => Ok(Conn::Mariadb(server.session().await?)),
            Origin::File { .. } => Err(DbError::Closed),
        }
    }

    /// Undoes what was begun. A file's connection is kept whatever happened; a server's only if it still
    /// answers and does what it is told.
    async fn keep(&mut self, mut conn: Conn, error: &DbError) {
        let is_server = !self.origin.is_ours_alone();
        if is_server && matches!(error, DbError::Silent | DbError::Unknown) {
            return;
        }
        let rolled_back = conn.end(End::RollBack, PATIENCE_ALONE).await;
        // an error of SQLite here says that it had rolled back by itself
        if rolled_back.is_ok() || !is_server {
            self.conn = Some(conn);
        }
    }
}

async fn run_all(conn: &mut Conn, batch: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
    for job in batch.iter_mut() {
        job.run(conn).await.map_err(Failed::Statement)?;
    }
    let undo = batch.iter().any(|job| job.is_undone());
    let is_long = batch.iter().any(|job| job.is_alone());
    let end = if undo { End::RollBack } else { End::Commit };
    let patience = if is_long { PATIENCE_ALONE } else { PATIENCE };
    conn.end(end, patience).await.map_err(Failed::End)
}
