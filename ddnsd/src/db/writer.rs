//! Group commit. In: jobs from many stories. Out: each job's result, after the commit that holds it.
//!
//! One task owns the writing connection and takes whatever queued while the last commit was under way,
//! so a burst of changes costs one fsync. A job's own failure (a name taken, a row referenced) is its
//! own; a failed commit is everybody's in it. A job is one statement that changes something, or
//! several of which none can fail on its own: the database undoes a failed statement by itself. A job of
//! many statements that stand or fall together has a transaction of its own ([`Write::OWN_TRANSACTION`]).
//!
//! Where one statement fails in another way (another session holds its row, a value does not fit), each job of
//! the batch is tried in a transaction of its own, so that one bad job fails no other.

use super::cache::Caches;
use super::error::DbError;
use super::write::{ErasedWrite, QueuedWrite, Write};
use super::write_connection::{WriteConnection, WriteFailure};
use crate::clock::Clock;
use crate::counters::DatabaseCounters;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; beyond, callers hear [`DbError::Busy`].
const MAX_QUEUED: usize = 16_384;
/// Jobs in one transaction.
const MAX_BATCH: usize = 512;

pub(super) struct Writer {
    queue: mpsc::Sender<WriterMessage>,
}

enum WriterMessage {
    Job(Box<dyn ErasedWrite>),
    Stop(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the writing task.
    pub(super) fn start(
        session: WriteConnection,
        caches: Arc<Caches>,
        counters: Arc<DatabaseCounters>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(MAX_QUEUED);
        let ledger = Arc::new(Ledger { caches, counters });
        let task = WriterTask { session, ledger };
        tokio::spawn(task.run(jobs));
        Self { queue }
    }

    /// Queues the job and waits until it is committed.
    pub(super) async fn run<W: Write>(&self, work: W) -> Result<W::Output, DbError> {
        let (pending, answer) = QueuedWrite::new(work);
        self.queue.try_send(WriterMessage::Job(Box::new(pending))).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => DbError::Busy,
                mpsc::error::TrySendError::Closed(_) => DbError::Closed,
            },
        )?;
        answer.await.map_err(|_| DbError::Closed)?
    }

    /// Returns when the writing task has ended.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Commits what waits and closes the connection.
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.queue.send(WriterMessage::Stop(done)).await.is_ok() {
            // an error here means the task ended by itself, which is as good
            let _ = stopped.await;
        }
    }
}

struct WriterTask {
    session: WriteConnection,
    ledger: Arc<Ledger>,
}

impl WriterTask {
    async fn run(mut self, mut jobs: mpsc::Receiver<WriterMessage>) {
        let mut stop = None;
        let mut batch = Vec::new();
        while stop.is_none() {
            let Some(first) = jobs.recv().await else {
                break;
            };
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    WriterMessage::Job(job) if job.has_own_transaction() => {
                        // after what came before it
                        self.commit(&mut batch).await;
                        self.commit_alone(job).await;
                    }
                    WriterMessage::Job(job) => batch.push(job),
                    WriterMessage::Stop(done) => stop = Some(done),
                }
                let more = stop.is_none() && batch.len() < MAX_BATCH;
                next = if more { jobs.try_recv().ok() } else { None };
            }
            self.commit(&mut batch).await;
        }
        jobs.close();
        self.session.close().await;
        if let Some(done) = stop {
            let _ = done.send(());
        }
    }

    /// Commits the jobs together, or if one of them spoils it, each on its own.
    async fn commit(&mut self, batch: &mut Vec<Box<dyn ErasedWrite>>) {
        if batch.is_empty() {
            return;
        }
        match self.session.write(batch).await {
            Err(WriteFailure::Statement(error))
                if batch.len() > 1 && error != DbError::NoAnswer =>
            {
                tracing::debug!(jobs = batch.len(), "each is tried on its own: {error}");
                self.commit_each(batch).await;
            }
            committed => self.ledger.finish(batch.drain(..), &committed),
        }
    }

    /// Commits each job on its own, until the database is not to be reached, or does not answer: then the
    /// others do not wait for that one after the other.
    async fn commit_each(&mut self, batch: &mut Vec<Box<dyn ErasedWrite>>) {
        let mut unreachable = None;
        for job in batch.drain(..) {
            let mut one = [job];
            let committed = match unreachable.clone() {
                Some(error) => Err(WriteFailure::Begin(error)),
                None => self.session.write(&mut one).await,
            };
            if let Err(failed) = &committed
                && failed.is_unanswered()
            {
                // of those that were not tried it is known that they are not stored
                let error = Some(failed.error()).filter(|error| **error != DbError::Unconfirmed);
                unreachable = Some(error.cloned().unwrap_or(DbError::NoAnswer));
            }
            self.ledger.finish(one, &committed);
        }
    }

    /// A long transaction has a connection of its own where the database can do two things at a time.
    async fn commit_alone(&mut self, job: Box<dyn ErasedWrite>) {
        let mut one = [job];
        if !self.session.may_have_company() {
            let committed = self.session.write(&mut one).await;
            return self.ledger.finish(one, &committed);
        }
        let (mut session, ledger) = (self.session.another(), Arc::clone(&self.ledger));
        tokio::spawn(async move {
            let committed = session.write(&mut one).await;
            session.close().await;
            ledger.finish(one, &committed);
        });
    }
}

/// Counts and tells what became of transactions, of whichever connection.
struct Ledger {
    caches: Arc<Caches>,
    counters: Arc<DatabaseCounters>,
}

impl Ledger {
    fn finish(
        &self,
        jobs: impl IntoIterator<Item = Box<dyn ErasedWrite>>,
        committed: &Result<(), WriteFailure>,
    ) {
        match committed {
            Ok(()) => {
                self.counters.commits.add_one();
                if self.counters.writing.works() {
                    tracing::info!("the database takes changes again");
                }
            }
            // who asked for it is told; others are written
            Err(failed) if failed.concerns_rows_only() => {
                self.counters.failed.add_one();
                tracing::debug!("a change is not written: {}", failed.error());
            }
            Err(failed) => {
                let error = failed.error();
                self.counters.failed.add_one();
                // the next failures are no news
                if self.counters.writing.fails(Clock.now().mono, &error.to_string()) {
                    tracing::error!("changes are not written: {error}");
                } else {
                    tracing::debug!("changes are not written: {error}");
                }
            }
        }
        for job in jobs {
            self.counters.jobs.add_one();
            let committed = committed.as_ref().copied().map_err(|failed| failed.error().clone());
            job.finish(committed, &self.caches);
        }
    }
}
