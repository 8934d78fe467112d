//! One change to the database: as a story states it, and as the writer carries it out.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// One change to the database. It is one statement that changes rows, or several of which none
/// fails alone, because writes of one transaction share its fate. A write of many statements that
/// must succeed or fail together has [`Self::OWN_TRANSACTION`].
pub(super) trait Write: Send + Sync + 'static {
    type Output: Send + Sync + 'static;
    /// Whether it must survive a power cut once its result is returned.
    const DURABLE: bool;
    /// Whether it has a transaction of its own, which its failure or [`Self::roll_back`] undoes.
    const OWN_TRANSACTION: bool = false;

    /// Runs the statements. It runs again if the transaction is retried.
    fn run(&self, conn: &mut Conn) -> impl Future<Output = Result<Self::Output, DbError>> + Send;

    /// Whether to roll its own transaction back although it succeeded. The caller gets the output.
    fn roll_back(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Updates the caches after the commit and before the caller gets the output.
    fn update_caches(&self, _output: &Self::Output, _caches: &Caches) {}
}

/// A [`QueuedWrite`] of any type.
pub(super) trait ErasedWrite: Send {
    fn is_durable(&self) -> bool;
    fn has_own_transaction(&self) -> bool;
    fn is_to_roll_back(&self) -> bool;
    /// Fails with what concerns the whole transaction; an error of this write alone is kept for its
    /// caller.
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>>;
    /// Returns the result to the caller.
    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches);
}

/// A write, and the channel for its result.
pub(super) struct QueuedWrite<W: Write> {
    write: W,
    output: Option<Result<W::Output, DbError>>,
    reply: oneshot::Sender<Result<W::Output, DbError>>,
}

impl<W: Write> QueuedWrite<W> {
    pub(super) fn new(write: W) -> (Self, oneshot::Receiver<Result<W::Output, DbError>>) {
        let (reply, result) = oneshot::channel();
        (Self { write, output: None, reply }, result)
    }
}

impl<W: Write> ErasedWrite for QueuedWrite<W> {
    fn is_durable(&self) -> bool {
        W::DURABLE
    }

    fn has_own_transaction(&self) -> bool {
        W::OWN_TRANSACTION
    }

    fn is_to_roll_back(&self) -> bool {
        W::OWN_TRANSACTION
            && matches!(&self.output, Some(Ok(output)) if self.write.roll_back(output))
    }

    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let output = self.write.run(conn).await;
            let fatal = match &output {
                Err(error) if W::OWN_TRANSACTION || !error.fails_one_write() => Err(error.clone()),
                _ => Ok(()),
            };
            self.output = Some(output);
            fatal
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches) {
        let is_rolled_back = self.is_to_roll_back();
        let output = match (committed, self.output) {
            (Ok(()), Some(output)) => output,
            (Ok(()), None) => Err(DbError::Closed),
            (Err(error), _) => Err(error),
        };
        if let Ok(output) = &output
            && !is_rolled_back
        {
            self.write.update_caches(output, caches);
        }
        // the caller may have gone away
        let _ = self.reply.send(output);
    }
}
