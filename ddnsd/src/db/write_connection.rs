//! A connection for writing and the transactions on it. A batch that lost a race on a server runs again; a
//! connection that failed is thrown away and made anew for the next one.

use super::connection::{Conn, End, STATEMENT_TIMEOUT};
use super::error::DbError;
use super::mariadb::daemon_lock::DaemonLock;
use super::open::Origin;
use super::write::ErasedWrite;
use crate::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// How often a transaction is tried that loses races.
const MAX_TRIES: u32 = 5;
/// How often one is tried that waits for another session's row, a second each time.
const MAX_TRIES_LOCKED: u32 = 2;
/// For the end of a transaction of many rows.
const LONG_TRANSACTION_TIMEOUT: Duration = Duration::from_mins(5);

pub(super) struct WriteConnection {
    /// None after it failed.
    conn: Option<Conn>,
    origin: Arc<Origin>,
    /// Of the daemon's own one, that shows others on a server that a daemon is there.
    presence: Option<DaemonLock>,
    /// Whether its commits outlive a power cut at the moment.
    durable: bool,
    /// Whether a file's commits of before may have been lost with the one that failed.
    wal_suspect: bool,
}

/// Where a transaction failed; nothing of it is stored, but for [`DbError::Unconfirmed`].
pub(super) enum WriteFailure {
    /// Before anything was sent: to connect, to begin.
    Begin(DbError),
    /// In a job's statement: without that job the others might succeed.
    Statement(DbError),
    /// At its end.
    End(DbError),
}

impl WriteFailure {
    /// Whether it is because of the rows that it was about, and others can be written.
    pub(super) fn concerns_rows_only(&self) -> bool {
        matches!(self, WriteFailure::Statement(error) if error.concerns_rows_only())
    }

    /// Whether a server answers nothing, or nobody.
    pub(super) fn is_unanswered(&self) -> bool {
        match self {
            WriteFailure::Begin(_) => true,
            WriteFailure::Statement(error) | WriteFailure::End(error) => {
                matches!(error, DbError::NoAnswer | DbError::Unconfirmed)
            }
        }
    }

    pub(super) fn error(&self) -> &DbError {
        match self {
            WriteFailure::Begin(error)
            | WriteFailure::Statement(error)
            | WriteFailure::End(error) => error,
        }
    }
}

impl WriteConnection {
    pub(super) fn new(conn: Option<Conn>, origin: Arc<Origin>) -> Self {
        Self {
            conn,
            origin,
            presence: Some(DaemonLock::Unknown),
            durable: true,
            wal_suspect: false,
        }
    }

    /// Whether transactions may run beside each other.
    pub(super) fn may_have_company(&self) -> bool {
        !self.origin.is_exclusive()
    }

    /// Another one on the same database.
    pub(super) fn another(&self) -> Self {
        Self { presence: None, ..Self::new(None, Arc::clone(&self.origin)) }
    }

    /// Runs the jobs in one transaction. One that lost a race, or met a connection that had died since it was
    /// last used, is tried again.
    pub(super) async fn write(
        &mut self,
        batch: &mut [Box<dyn ErasedWrite>],
    ) -> Result<(), WriteFailure> {
        let mut tries = 1;
        loop {
            let was_connected = self.conn.is_some();
            let Err(failed) = self.transaction(batch).await else { return Ok(()) };
            let most = match &failed {
                WriteFailure::Begin(_) if was_connected && !self.origin.is_exclusive() => 2,
                // of several jobs the one at fault is found by trying each
                WriteFailure::Statement(DbError::Conflict(_)) if batch.len() == 1 => MAX_TRIES,
                WriteFailure::Statement(DbError::Locked) if batch.len() == 1 => MAX_TRIES_LOCKED,
                WriteFailure::End(DbError::Conflict(_)) => MAX_TRIES,
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
        if self.origin.is_exclusive() {
            tracing::warn!("closing the database: {error}");
        } else {
            // all is committed; the server only did not wait for the goodbye
            tracing::debug!("closing the connection to the database: {error}");
        }
    }

    async fn transaction(
        &mut self,
        batch: &mut [Box<dyn ErasedWrite>],
    ) -> Result<(), WriteFailure> {
        let durable = batch.iter().any(|job| job.is_durable());
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await.map_err(WriteFailure::Begin)?,
        };
        let done = match self.begin(&mut conn, durable).await {
            Ok(()) => run_all(&mut conn, batch).await,
            Err(error) => Err(WriteFailure::Begin(error)),
        };
        match &done {
            Ok(()) => self.conn = Some(conn),
            Err(
                failed @ (WriteFailure::Begin(error)
                | WriteFailure::Statement(error)
                | WriteFailure::End(error)),
            ) => {
                // the kernel tells of pages that it could not write once, and takes them for written
                // then: those of earlier commits that were not durable, too
                self.wal_suspect |=
                    self.origin.is_exclusive() && matches!(failed, WriteFailure::End(_));
                self.keep(conn, error).await;
            }
        }
        done
    }

    async fn begin(&mut self, conn: &mut Conn, durable: bool) -> Result<(), DbError> {
        if let Some(presence) = &mut self.presence {
            presence.show(conn, Clock.now().mono).await?;
        }
        if self.wal_suspect {
            conn.empty_log().await?;
            self.wal_suspect = false;
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
            *presence = DaemonLock::Unknown;
        }
        match &*self.origin {
            Origin::MariaDbServer(server) => Ok(Conn::Mariadb(server.session().await?)),
            Origin::File { .. } => Err(DbError::Closed),
        }
    }

    /// Undoes what was begun. A file's connection is kept whatever happened; a server's only if it still
    /// answers and does what it is told.
    async fn keep(&mut self, mut conn: Conn, error: &DbError) {
        let is_server = !self.origin.is_exclusive();
        if is_server && matches!(error, DbError::NoAnswer | DbError::Unconfirmed) {
            return;
        }
        let rolled_back = conn.end(End::RollBack, LONG_TRANSACTION_TIMEOUT).await;
        // an error of SQLite here says that it had rolled back by itself
        if rolled_back.is_ok() || !is_server {
            self.conn = Some(conn);
        }
    }
}

async fn run_all(conn: &mut Conn, batch: &mut [Box<dyn ErasedWrite>]) -> Result<(), WriteFailure> {
    for job in batch.iter_mut() {
        job.run(conn).await.map_err(WriteFailure::Statement)?;
    }
    let undo = batch.iter().any(|job| job.is_undone());
    let is_long = batch.iter().any(|job| job.has_own_transaction());
    let end = if undo { End::RollBack } else { End::Commit };
    let patience = if is_long { LONG_TRANSACTION_TIMEOUT } else { STATEMENT_TIMEOUT };
    conn.end(end, patience).await.map_err(WriteFailure::End)
}
