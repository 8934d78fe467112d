//! Group commit. In: writes from many stories. Out: the result of each write, after the commit that
//! holds it.
//!
//! One task owns the connection for writing. It takes whatever was queued during the previous
//! commit, so a burst of changes costs one fsync. A write's own failure (a name in use, a row
//! referenced) is returned to its caller alone; a failed commit is returned to all callers. If a
//! statement fails in another way (another session holds the row, a value does not fit), each write
//! of the batch is tried in its own transaction, so that one bad write fails no other.

use super::cache::Caches;
use super::error::DbError;
use super::write::{ErasedWrite, JointWrite, QueuedJointWrite, QueuedWrite, Write, WriteFailure};
use super::write_connection::WriteConnection;
use crate::clock::Clock;
use crate::counters::DatabaseCounters;
use crate::log_budget::log_repeated;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait; beyond, callers get [`DbError::Busy`].
const MAX_QUEUED: usize = 16_384;
/// Writes in one transaction.
const MAX_BATCH: usize = 512;
/// How long results wait for a change, to share its transaction.
const MAX_WAIT: Duration = Duration::from_millis(1);

pub(super) struct DbWriter {
    queue: mpsc::Sender<WriterMessage>,
}

enum WriterMessage {
    Write(Box<dyn ErasedWrite>),
    Stop(oneshot::Sender<()>),
}

impl DbWriter {
    pub(super) fn start(
        connection: WriteConnection,
        caches: Arc<Caches>,
        counters: Arc<DatabaseCounters>,
    ) -> Self {
        let (queue, messages) = mpsc::channel(MAX_QUEUED);
        let results = Arc::new(WriteResults { caches, counters });
        let task = WriterTask { connection, results };
        tokio::spawn(task.run(messages));
        Self { queue }
    }

    /// Queues the write and waits until it is committed.
    pub(super) async fn run<W: Write>(&self, write: W) -> Result<W::Output, DbError> {
        let (queued, result) = QueuedWrite::new(write);
        self.queue(Box::new(queued))?;
        result.await.map_err(|_| DbError::Closed)?
    }

    /// As [`Self::run`].
    pub(super) async fn run_jointly<W: JointWrite>(&self, write: W) -> Result<W::Output, DbError> {
        let (queued, result) = QueuedJointWrite::new(write);
        self.queue(Box::new(queued))?;
        result.await.map_err(|_| DbError::Closed)?
    }

    fn queue(&self, write: Box<dyn ErasedWrite>) -> Result<(), DbError> {
        self.queue.try_send(WriterMessage::Write(write)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DbError::Busy,
            mpsc::error::TrySendError::Closed(_) => DbError::Closed,
        })
    }

    /// Waits until the task has ended.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// The number of queued writes.
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Commits the queued writes and closes the connection.
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.queue.send(WriterMessage::Stop(done)).await.is_ok() {
            // an error means that the task ended by itself
            let _ = stopped.await;
        }
    }
}

struct WriterTask {
    connection: WriteConnection,
    results: Arc<WriteResults>,
}

impl WriterTask {
    async fn run(mut self, mut messages: mpsc::Receiver<WriterMessage>) {
        let mut stop = None;
        let mut batch = Vec::new();
        while stop.is_none() {
            let Some(first) = messages.recv().await else {
                break;
            };
            // tasks that are ready queue their writes first
            tokio::task::yield_now().await;
            let mut next = Some(first);
            let mut wait = pin!(tokio::time::sleep(MAX_WAIT));
            while let Some(message) = next {
                match message {
                    WriterMessage::Write(write) if write.has_own_transaction() => {
                        // writes that were queued before it are committed before it
                        self.commit(&mut batch).await;
                        self.commit_alone(write).await;
                    }
                    WriterMessage::Write(write) => batch.push(write),
                    WriterMessage::Stop(done) => stop = Some(done),
                }
                let more = stop.is_none() && batch.len() < MAX_BATCH;
                next = if more { messages.try_recv().ok() } else { None };
                let may_wait = more && next.is_none() && !batch.is_empty();
                if may_wait && batch.iter().all(|it| it.can_wait()) {
                    next = tokio::select! {
                        message = messages.recv() => message,
                        () = &mut wait => None,
                    };
                }
            }
            self.commit(&mut batch).await;
        }
        messages.close();
        self.connection.close().await;
        if let Some(done) = stop {
            let _ = done.send(());
        }
    }

    /// Commits the writes together, or each alone if one of them makes the transaction fail.
    async fn commit(&mut self, batch: &mut Vec<Box<dyn ErasedWrite>>) {
        if batch.is_empty() {
            return;
        }
        match self.results.timed(self.connection.write(batch)).await {
            Err(WriteFailure::Statement(error))
                if batch.len() > 1 && error != DbError::NoAnswer =>
            {
                tracing::debug!(writes = batch.len(), "trying each write alone: {error}");
                self.commit_each(batch).await;
            }
            committed => self.results.finish(batch.drain(..), &committed),
        }
    }

    /// Commits each write alone. Once the database does not answer, the remaining ones fail at
    /// once.
    async fn commit_each(&mut self, batch: &mut Vec<Box<dyn ErasedWrite>>) {
        let mut unreachable = None;
        for write in batch.drain(..) {
            let mut one = [write];
            let committed = match unreachable.clone() {
                Some(error) => Err(WriteFailure::Begin(error)),
                None => self.results.timed(self.connection.write(&mut one)).await,
            };
            if let Err(failure) = &committed
                && failure.is_unanswered()
            {
                // a write that was not tried is certainly not stored
                unreachable = Some(match failure.error() {
                    DbError::Unconfirmed => DbError::NoAnswer,
                    error => error.clone(),
                });
            }
            self.results.finish(one, &committed);
        }
    }

    /// Commits a long transaction, on a connection of its own where the database allows two
    /// writers.
    async fn commit_alone(&mut self, write: Box<dyn ErasedWrite>) {
        let mut one = [write];
        let Some(mut second) = self.connection.second() else {
            let committed = self.results.timed(self.connection.write(&mut one)).await;
            return self.results.finish(one, &committed);
        };
        let results = Arc::clone(&self.results);
        tokio::spawn(async move {
            let committed = results.timed(second.write(&mut one)).await;
            second.close().await;
            results.finish(one, &committed);
        });
    }
}

/// Counts, logs and returns the results of transactions, of either connection.
struct WriteResults {
    caches: Arc<Caches>,
    counters: Arc<DatabaseCounters>,
}

impl WriteResults {
    /// Times a transaction.
    async fn timed<T>(&self, transaction: impl Future<Output = T>) -> T {
        let start = Clock.now().mono;
        let done = transaction.await;
        self.counters.transactions.record(Clock.now().mono.saturating_duration_since(start));
        done
    }

    fn finish(
        &self,
        writes: impl IntoIterator<Item = Box<dyn ErasedWrite>>,
        committed: &Result<(), WriteFailure>,
    ) {
        match committed {
            Ok(()) => self.succeeded(),
            Err(failure) => self.failed(failure),
        }
        for write in writes {
            self.counters.writes.add_one();
            let committed = committed.as_ref().copied().map_err(|failure| failure.error().clone());
            write.finish(committed, &self.caches);
        }
    }

    fn succeeded(&self) {
        self.counters.commits.add_one();
        if self.counters.writing.works() {
            log_repeated!(info, "the database takes changes again");
        }
    }

    fn failed(&self, failure: &WriteFailure) {
        let error = failure.error();
        self.counters.failed.add_one();
        // the caller reports it; other writes succeed
        if failure.concerns_rows_only() {
            tracing::debug!("a change is not written: {error}");
            return;
        }
        self.counters.writing.fails(Clock.now().mono, &error.to_string());
        log_repeated!(error, "changes are not written: {error}");
    }
}
