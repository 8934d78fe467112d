//! One change to the database, from a story's point of view and from the writer's.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// One change to the database.
pub(super) trait Write: Send + Sync + 'static {
    /// What the caller hears.
    type Output: Send + Sync + 'static;
    /// Whether it must survive a power cut once it is answered. What is not durable is only done
    /// again.
    const DURABLE: bool;
    /// Whether it has a transaction of its own: its failure, or [`Self::undo`], undoes it whole.
    const OWN_TRANSACTION: bool = false;

    /// Runs the statements. May run again, if the transaction had to be repeated.
    fn run(&self, conn: &mut Conn) -> impl Future<Output = Result<Self::Output, DbError>> + Send;

    /// Of a job that is alone: whether to undo it all the same, now that it has run. The caller hears the
    /// output either way.
    fn undo(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Brings the caches up to what was committed, before anybody hears of it.
    fn update_caches(&self, _output: &Self::Output, _caches: &Caches) {}
}

/// A job whose type is forgotten.
pub(super) trait ErasedWrite: Send {
    fn is_durable(&self) -> bool;
    fn has_own_transaction(&self) -> bool;
    fn is_undone(&self) -> bool;
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>>;
    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches);
}

pub(super) struct QueuedWrite<W: Write> {
    work: W,
    output: Option<Result<W::Output, DbError>>,
    reply: oneshot::Sender<Result<W::Output, DbError>>,
}

impl<W: Write> QueuedWrite<W> {
    /// The work, and where its result will be.
    pub(super) fn new(work: W) -> (Self, oneshot::Receiver<Result<W::Output, DbError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { work, output: None, reply }, answer)
    }
}

impl<W: Write> ErasedWrite for QueuedWrite<W> {
    fn is_durable(&self) -> bool {
        W::DURABLE
    }

    fn has_own_transaction(&self) -> bool {
        W::OWN_TRANSACTION
    }

    fn is_undone(&self) -> bool {
        W::OWN_TRANSACTION && matches!(&self.output, Some(Ok(output)) if self.work.undo(output))
    }

    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let output = self.work.run(conn).await;
            let fatal = match &output {
                Err(error) if W::OWN_TRANSACTION || !error.fails_one_write() => Err(error.clone()),
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
            self.work.update_caches(output, caches);
        }
        // a caller that went away needs no answer
        let _ = self.reply.send(output);
    }
}
