//! Group commit. In: jobs from many stories. Out: each job's result, after the commit that holds it.
//!
//! One task owns the writing connection and takes whatever queued while the last commit was under way,
//! so a burst of changes costs one fsync. A job's own failure (a name taken, a row referenced) is its
//! own; a failed commit is everybody's in it. A job is one statement that changes something, or
//! several of which none can fail on its own: the database undoes a failed statement by itself. A job of
//! many statements that stand or fall together has a transaction of its own ([`Work::ALONE`]).
//!
//! A batch that lost a race on a server (deadlock) runs again. A connection that failed is thrown away, and
//! the next batch makes a new one; what was not committed is a failure for all in it.

use super::cache::Caches;
use super::driver::Conn;
use super::error::DbError;
use super::open::Origin;
use crate::counters::DatabaseCounters;
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; beyond, callers hear [`DbError::Busy`].
const MOST_WAITING: usize = 16_384;
/// Jobs in one transaction.
const MOST_TOGETHER: usize = 512;
/// How often a batch is tried that loses races.
const TRIES: u32 = 5;

/// One change to the database.
pub(super) trait Work: Send + Sync + 'static {
    /// What the caller hears.
    type Output: Send + Sync + 'static;
    /// Whether it must survive a power cut once it is answered. What is not durable is only done
    /// again.
    const DURABLE: bool;
    /// Whether it has a transaction of its own: its failure, or [`Self::undo`], undoes it whole.
    const ALONE: bool = false;

    /// Runs the statements. May run again, if the transaction had to be repeated.
    fn run(&self, conn: &mut Conn) -> impl Future<Output = Result<Self::Output, DbError>> + Send;

    /// Of a job that is alone: whether to undo it all the same, now that it has run. The caller hears the
    /// output either way.
    fn undo(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Brings the caches up to what was committed, before anybody hears of it.
    fn remember(&self, _output: &Self::Output, _caches: &Caches) {}
}

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Job(Box<dyn Queued>),
    Stop(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the writing task.
    pub(super) fn start(
        conn: Conn,
        origin: Arc<Origin>,
        caches: Arc<Caches>,
        counters: Arc<DatabaseCounters>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(MOST_WAITING);
        let task = Task { conn: Some(conn), origin, caches, counters, durable: true };
        tokio::spawn(task.run(jobs));
        Self { queue }
    }

    /// Queues the job and waits until it is committed.
    pub(super) async fn run<W: Work>(&self, work: W) -> Result<W::Output, DbError> {
        let (reply, answer) = oneshot::channel();
        let pending = Pending { work, output: None, reply };
        self.queue.try_send(Message::Job(Box::new(pending))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DbError::Busy,
            mpsc::error::TrySendError::Closed(_) => DbError::Closed,
        })?;
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
        if self.queue.send(Message::Stop(done)).await.is_ok() {
            // an error here means the task ended by itself, which is as good
            let _ = stopped.await;
        }
    }
}

/// A job whose type is forgotten.
trait Queued: Send {
    fn is_durable(&self) -> bool;
    fn is_alone(&self) -> bool;
    fn is_undone(&self) -> bool;
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>>;
    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches);
}

struct Pending<W: Work> {
    work: W,
    output: Option<Result<W::Output, DbError>>,
    reply: oneshot::Sender<Result<W::Output, DbError>>,
}

impl<W: Work> Queued for Pending<W> {
    fn is_durable(&self) -> bool {
        W::DURABLE
    }

    fn is_alone(&self) -> bool {
        W::ALONE
    }

    fn is_undone(&self) -> bool {
        W::ALONE && matches!(&self.output, Some(Ok(output)) if self.work.undo(output))
    }

    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let output = self.work.run(conn).await;
            let fatal = match &output {
                Err(error) if W::ALONE || !error.is_jobs_own() => Err(error.clone()),
                _ => Ok(()),
            };
            self.output = Some(output);
            fatal
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches) {
        let undone = self.is_undone();
        let output = match (committed, self.output) {
            (Ok(()), Some(output)) => output,
            (Ok(()), None) => Err(DbError::Closed),
            (Err(error), _) => Err(error),
        };
        if let Ok(output) = &output
            && !undone
        {
            self.work.remember(output, caches);
        }
        // a caller that went away needs no answer
        let _ = self.reply.send(output);
    }
}

struct Task {
    /// None after it failed.
    conn: Option<Conn>,
    origin: Arc<Origin>,
    caches: Arc<Caches>,
    counters: Arc<DatabaseCounters>,
    /// Whether its commits outlive a power cut at the moment.
    durable: bool,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Message>) {
        let mut stop = None;
        let mut batch = Vec::new();
        while stop.is_none() {
            let Some(first) = jobs.recv().await else {
                break;
            };
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Job(job) if job.is_alone() => {
                        // after what came before it
                        self.commit_together(&mut batch).await;
                        batch.push(job);
                        self.commit_together(&mut batch).await;
                    }
                    Message::Job(job) => batch.push(job),
                    Message::Stop(done) => stop = Some(done),
                }
                let more = stop.is_none() && batch.len() < MOST_TOGETHER;
                next = if more { jobs.try_recv().ok() } else { None };
            }
            self.commit_together(&mut batch).await;
        }
        jobs.close();
        if let Some(conn) = self.conn
            && let Err(error) = conn.close().await
        {
            tracing::warn!("closing the database: {error}");
        }
        if let Some(done) = stop {
            let _ = done.send(());
        }
    }

    async fn commit_together(&mut self, batch: &mut Vec<Box<dyn Queued>>) {
        if batch.is_empty() {
            return;
        }
        let committed = self.transaction_at_last(batch).await;
        match &committed {
            Ok(()) => self.counters.commits.add_one(),
            Err(error) => {
                self.counters.failed.add_one();
                tracing::error!(jobs = batch.len(), "nothing was written: {error}");
            }
        }
        self.counters.jobs.add(batch.len() as u64);
        for job in batch.drain(..) {
            job.finish(committed.clone(), &self.caches);
        }
    }

    /// Tries again what lost a race, or met a connection that had died since it was last used.
    async fn transaction_at_last(&mut self, batch: &mut [Box<dyn Queued>]) -> Result<(), DbError> {
        let mut tries = 1;
        loop {
            let was_connected = self.conn.is_some();
            let Err(failed) = self.transaction(batch).await else { return Ok(()) };
            let again = match &failed {
                Failed::Begin(_) => was_connected && !self.origin.is_ours_alone(),
                Failed::Inside(DbError::Conflict(_)) => true,
                Failed::Inside(_) => false,
            };
            let (Failed::Begin(error) | Failed::Inside(error)) = failed;
            if !again || tries == TRIES {
                return Err(error);
            }
            tries += 1;
            tracing::debug!(jobs = batch.len(), "written once more: {error}");
        }
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
        let durable = batch.iter().any(|job| job.is_durable());
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await.map_err(Failed::Begin)?,
        };
        if let Err(error) = self.begin(&mut conn, durable).await {
            self.keep(conn, &error).await;
            return Err(Failed::Begin(error));
        }
        match run_all(&mut conn, batch).await {
            Ok(()) => {
                self.conn = Some(conn);
                Ok(())
            }
            Err(error) => {
                self.keep(conn, &error).await;
                Err(Failed::Inside(error))
            }
        }
    }

    async fn begin(&mut self, conn: &mut Conn, durable: bool) -> Result<(), DbError> {
        // takes effect between transactions; NORMAL spares the fsync where the work is only done again
        if self.durable != durable {
            conn.set_durable(durable).await?;
            self.durable = durable;
        }
        conn.begin().await
    }

    async fn connect(&mut self) -> Result<Conn, DbError> {
        match &*self.origin {
            Origin::Server(server) => server.connect().await,
            Origin::File { .. } => Err(DbError::Closed),
        }
    }

    /// Undoes what was begun. A file's connection is kept whatever happened; a server's only if it still
    /// answers and does what it is told.
    async fn keep(&mut self, mut conn: Conn, error: &DbError) {
        if matches!((&*self.origin, error), (Origin::Server(_), DbError::Silent)) {
            return;
        }
        let rolled_back = conn.roll_back().await;
        // an error of SQLite here says that it had rolled back by itself
        if rolled_back.is_ok() || self.origin.is_ours_alone() {
            self.conn = Some(conn);
        }
    }
}

/// Where a transaction failed.
enum Failed {
    /// Before anything was sent: to connect, to begin.
    Begin(DbError),
    /// In a statement, or in the commit.
    Inside(DbError),
}

async fn run_all(conn: &mut Conn, batch: &mut [Box<dyn Queued>]) -> Result<(), DbError> {
    for job in batch.iter_mut() {
        job.run(conn).await?;
    }
    let undo = batch.iter().any(|job| job.is_undone());
    if undo { conn.roll_back().await } else { conn.commit().await }
}
