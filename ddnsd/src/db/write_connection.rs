//! The connection for writing and its transactions. A transaction that lost a race on a server is
//! retried. A connection that failed is dropped, and the next transaction makes a new one.

use super::connection::Conn;
use super::error::DbError;
use super::joint;
use super::mariadb::daemon_lock::DaemonLock;
use super::mariadb::server::MariaDbServer;
use super::sqlite::file::DatabaseFile;
use super::statement::{Access, STATEMENT_TIMEOUT};
use super::write::{ErasedWrite, WriteFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

/// Tries of a transaction that loses races.
const MAX_TRIES: u32 = 5;
/// The longest pause before the second try; later ones are longer.
const MAX_PAUSE: Duration = Duration::from_millis(10);
/// Tries of a transaction that waits for another session's row lock, a second each.
const MAX_TRIES_LOCKED: u32 = 2;

pub(super) struct WriteConnection {
    /// `None` after a failure.
    conn: Option<Conn>,
    /// `None` for a server.
    file: Option<Arc<DatabaseFile>>,
    /// Where to connect again; `None` for a file, whose connection is never dropped.
    server: Option<Arc<MariaDbServer>>,
    /// Of a second connection: its place among the connections to the server.
    place: Option<OwnedSemaphorePermit>,
    /// The lock of the daemon's own session on a server.
    lock: Option<DaemonLock>,
    /// Whether its commits survive a power cut at the moment.
    durable: bool,
    /// Whether a failed commit may have lost earlier, non-durable commits in the write-ahead log.
    wal_suspect: bool,
}

impl WriteConnection {
    /// To a file that only this daemon opens.
    pub(super) fn to_file(conn: Conn, file: Arc<DatabaseFile>) -> Self {
        Self {
            conn: Some(conn),
            file: Some(file),
            server: None,
            place: None,
            lock: None,
            durable: true,
            wal_suspect: false,
        }
    }

    pub(super) fn to_server(conn: Conn, server: Arc<MariaDbServer>, lock: DaemonLock) -> Self {
        Self {
            conn: Some(conn),
            file: None,
            server: Some(server),
            place: None,
            lock: Some(lock),
            durable: true,
            wal_suspect: false,
        }
    }

    /// A second connection, where the database can run two transactions at a time.
    pub(super) fn second(&self) -> Option<Self> {
        let server = Some(Arc::clone(self.server.as_ref()?));
        let (durable, wal_suspect) = (true, false);
        let (conn, file, place, lock) = (None, None, None, None);
        Some(Self { conn, file, server, place, lock, durable, wal_suspect })
    }

    /// Runs the writes in one transaction. It is retried if it lost a race, or if the connection
    /// turned out to be closed before anything was sent.
    pub(super) async fn write(
        &mut self,
        batch: &mut [Box<dyn ErasedWrite>],
    ) -> Result<(), WriteFailure> {
        let mut tries = 1;
        loop {
            let was_connected = self.conn.is_some();
            let Err(failure) = self.transaction(batch).await else { return Ok(()) };
            let max = match &failure {
                WriteFailure::Begin(_) if was_connected && self.server.is_some() => 2,
                // of several writes, the writer finds the one at fault by trying each alone
                WriteFailure::Statement(DbError::Conflict(_)) if batch.len() == 1 => MAX_TRIES,
                WriteFailure::Statement(DbError::Locked) if batch.len() == 1 => MAX_TRIES_LOCKED,
                WriteFailure::End(DbError::Conflict(_)) => MAX_TRIES,
                failure if matches!(failure.error(), DbError::NotReady(_)) => MAX_TRIES,
                _ => 1,
            };
            if tries >= max {
                return Err(failure);
            }
            // at random, because the other daemon tries again too
            sleep(MAX_PAUSE.mul_f32(rand::random()) * tries).await;
            tries += 1;
            tracing::debug!(writes = batch.len(), "retrying a transaction");
        }
    }

    pub(super) async fn close(self) {
        let Some(conn) = self.conn else { return };
        let Err(error) = conn.close().await else { return };
        if self.server.is_none() {
            tracing::warn!("closing the database: {error}");
        } else {
            // everything is committed; the server only closed first
            tracing::debug!("closing the connection to the database: {error}");
        }
    }

    async fn transaction(
        &mut self,
        batch: &mut [Box<dyn ErasedWrite>],
    ) -> Result<(), WriteFailure> {
        let durable = batch.iter().any(|write| write.is_durable());
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await.map_err(WriteFailure::Begin)?,
        };
        let done = self.run(&mut conn, durable, batch).await;
        match &done {
            Ok(()) => self.conn = Some(conn),
            Err(failure) => {
                // After a failed fsync Linux marks the pages clean, so earlier non-durable commits
                // may be lost too: checkpoint before the next commit.
                self.wal_suspect |=
                    self.server.is_none() && matches!(failure, WriteFailure::End(_));
                self.recycle(conn, failure.error()).await;
            }
        }
        done
    }

    async fn run(
        &mut self,
        conn: &mut Conn,
        durable: bool,
        batch: &mut [Box<dyn ErasedWrite>],
    ) -> Result<(), WriteFailure> {
        self.prepare(conn, durable).await.map_err(WriteFailure::Begin)?;
        if let Conn::Sqlite(conn) = conn
            && batch.iter().all(|write| write.is_joint())
        {
            return joint::transaction(conn, batch).await;
        }
        conn.begin().await.map_err(WriteFailure::Begin)?;
        run_all(conn, batch).await
    }

    async fn prepare(&mut self, conn: &mut Conn, durable: bool) -> Result<(), DbError> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())?;
        if self.wal_suspect {
            conn.checkpoint().await?;
            self.wal_suspect = false;
        }
        // it takes effect between transactions; NORMAL saves the fsync of writes that are only done
        // again
        if self.durable != durable {
            conn.set_durable(durable).await?;
            self.durable = durable;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Conn, DbError> {
        let server = self.server.as_ref().ok_or(DbError::Closed)?;
        // a second connection has no lock, and takes the place of a reader
        if self.lock.is_none() && self.place.is_none() {
            self.place = Some(server.place().await?);
        }
        let mut conn = server.connect().await?;
        if let Some(lock) = &mut self.lock {
            // another daemon may hold the lock, or the server may not support it: this daemon
            // works without it
            let taken = timeout(STATEMENT_TIMEOUT, lock.take(&mut conn)).await;
            if let Err(error) = taken.map_err(|_| DbError::NoAnswer)? {
                tracing::warn!("cannot ask the database server for the daemon's lock: {error}");
            }
        }
        Ok(Conn::Mariadb(conn))
    }

    /// Rolls back and keeps the connection: that of a file always, that of a server if it still
    /// answers.
    async fn recycle(&mut self, mut conn: Conn, error: &DbError) {
        let is_server = self.server.is_some();
        if is_server && error.is_unanswered() {
            return;
        }
        let rolled_back = conn.roll_back().await;
        // SQLite fails here if it has rolled back by itself
        if rolled_back.is_ok() || !is_server {
            self.conn = Some(conn);
        }
    }
}

async fn run_all(conn: &mut Conn, batch: &mut [Box<dyn ErasedWrite>]) -> Result<(), WriteFailure> {
    for write in batch.iter_mut() {
        write.run(conn).await.map_err(WriteFailure::Statement)?;
    }
    if batch.iter().any(|write| write.is_to_roll_back()) {
        return conn.roll_back().await.map_err(WriteFailure::End);
    }
    let is_long = batch.iter().any(|write| write.has_own_transaction());
    let access = if is_long { Access::FullScan } else { Access::Indexed };
    conn.commit(access).await.map_err(WriteFailure::End)
}
