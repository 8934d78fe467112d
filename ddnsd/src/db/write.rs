//! One change to the database: as a story states it, and as the writer carries it out.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::statement::BoundStatement;
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

/// A change of statements that do not depend on each other, nor on those of other such changes. On
/// SQLite all that are queued run in one go, so that the thread of its connection is woken once.
pub(super) trait JointWrite: Send + Sync + 'static {
    type Output: Send + Sync + 'static;
    /// As [`Write::DURABLE`].
    const DURABLE: bool;

    /// Each must change nothing if all of its values are NULL: `joint.rs` pads texts with such.
    fn statements(&self) -> Vec<BoundStatement>;

    /// Whether it may wait for others, to share their transaction.
    fn can_wait(&self) -> bool {
        false
    }

    /// `matched` is the number of rows of each of [`Self::statements`].
    fn output(&self, matched: &[u64]) -> Self::Output;

    /// As [`Write::update_caches`].
    fn update_caches(&self, output: &Self::Output, caches: &Caches);
}

/// A [`QueuedWrite`] or [`QueuedJointWrite`] of any type.
pub(super) trait ErasedWrite: Send {
    fn is_durable(&self) -> bool;
    fn has_own_transaction(&self) -> bool;
    fn is_to_roll_back(&self) -> bool;
    /// Fails with what concerns the whole transaction; an error of this write alone is kept for its
    /// caller.
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>>;
    /// Whether [`Self::statements`] and [`Self::matched`] can stand for [`Self::run`].
    fn is_joint(&self) -> bool {
        false
    }
    fn statements(&self) -> Vec<BoundStatement> {
        Vec::new()
    }
    fn matched(&mut self, _rows: &[u64]) {}
    /// See [`JointWrite::can_wait`].
    fn can_wait(&self) -> bool {
        false
    }
    /// Returns the result to the caller.
    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches);
}

/// The result of a write, and the channel for it.
struct WriteReply<T> {
    output: Option<Result<T, DbError>>,
    reply: oneshot::Sender<Result<T, DbError>>,
}

impl<T> WriteReply<T> {
    fn new() -> (Self, oneshot::Receiver<Result<T, DbError>>) {
        let (reply, result) = oneshot::channel();
        (Self { output: None, reply }, result)
    }

    /// Returns the result to the caller, after `update_caches` if it is stored.
    fn send(self, committed: Result<(), DbError>, update_caches: impl FnOnce(&T)) {
        let output = match (committed, self.output) {
            (Ok(()), Some(output)) => output,
            (Ok(()), None) => Err(DbError::Closed),
            (Err(error), _) => Err(error),
        };
        if let Ok(output) = &output {
            update_caches(output);
        }
        // the caller may have gone away
        let _ = self.reply.send(output);
    }
}

pub(super) struct QueuedWrite<W: Write> {
    write: W,
    reply: WriteReply<W::Output>,
}

impl<W: Write> QueuedWrite<W> {
    pub(super) fn new(write: W) -> (Self, oneshot::Receiver<Result<W::Output, DbError>>) {
        let (reply, result) = WriteReply::new();
        (Self { write, reply }, result)
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
            && matches!(&self.reply.output, Some(Ok(output)) if self.write.roll_back(output))
    }

    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let output = self.write.run(conn).await;
            let fatal = match &output {
                Err(error) if W::OWN_TRANSACTION || !error.fails_one_write() => Err(error.clone()),
                _ => Ok(()),
            };
            self.reply.output = Some(output);
            fatal
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches) {
        let is_rolled_back = self.is_to_roll_back();
        let Self { write, reply } = *self;
        reply.send(committed, |output| {
            if !is_rolled_back {
                write.update_caches(output, caches);
            }
        });
    }
}

pub(super) struct QueuedJointWrite<W: JointWrite> {
    write: W,
    reply: WriteReply<W::Output>,
}

impl<W: JointWrite> QueuedJointWrite<W> {
    pub(super) fn new(write: W) -> (Self, oneshot::Receiver<Result<W::Output, DbError>>) {
        let (reply, result) = WriteReply::new();
        (Self { write, reply }, result)
    }
}

impl<W: JointWrite> ErasedWrite for QueuedJointWrite<W> {
    fn is_durable(&self) -> bool {
        W::DURABLE
    }

    fn has_own_transaction(&self) -> bool {
        false
    }

    fn is_to_roll_back(&self) -> bool {
        false
    }

    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let mut rows = Vec::new();
            for BoundStatement { sql, args } in self.write.statements() {
                rows.push(conn.run(sql, args).await?);
            }
            self.matched(&rows);
            Ok(())
        })
    }

    fn is_joint(&self) -> bool {
        true
    }

    fn statements(&self) -> Vec<BoundStatement> {
        self.write.statements()
    }

    fn can_wait(&self) -> bool {
        self.write.can_wait()
    }

    fn matched(&mut self, rows: &[u64]) {
        self.reply.output = Some(Ok(self.write.output(rows)));
    }

    fn finish(self: Box<Self>, committed: Result<(), DbError>, caches: &Caches) {
        let Self { write, reply } = *self;
        reply.send(committed, |output| write.update_caches(output, caches));
    }
}

/// Where a transaction failed. Nothing of it is stored, except perhaps with
/// [`DbError::Unconfirmed`].
pub(super) enum WriteFailure {
    /// Connecting or BEGIN: no write was tried.
    Begin(DbError),
    /// A statement of one write: without it, the others may succeed.
    Statement(DbError),
    /// COMMIT or ROLLBACK.
    End(DbError),
}

impl WriteFailure {
    /// Whether it concerns the rows of its writes, so that the database may well take others.
    pub(super) fn concerns_rows_only(&self) -> bool {
        matches!(self, WriteFailure::Statement(error) if error.concerns_rows_only())
    }

    /// Whether the server cannot be reached or does not answer.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, WriteFailure::Begin(_)) || self.error().is_unanswered()
    }

    pub(super) fn error(&self) -> &DbError {
        match self {
            WriteFailure::Begin(error)
            | WriteFailure::Statement(error)
            | WriteFailure::End(error) => error,
        }
    }
}
