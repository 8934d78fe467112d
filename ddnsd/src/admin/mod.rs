//! The admin socket. In: connections of `ddnsctl`. Out: calls of stories. A client that sends
//! garbage, too much or nothing loses its own connection and harms nothing else.

mod connection;
mod convert;
mod peer;
mod service;
pub mod socket;

use crate::log_budget::log_repeated;
use connection::{AdminConnections, CallHandler};
use service::AdminService;
pub use service::AdminStories;
use socket::BoundSocket;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Connections before their handshake is done. Further ones wait in the kernel's backlog.
const MAX_HANDSHAKES: usize = 512;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the socket until `stop`, then removes it. Connections and calls run in `tasks`. After
/// `stop` a connection ends once its calls are answered, and a call ends once it is done.
pub async fn serve(
    bound: BoundSocket,
    stories: AdminStories,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let service = AdminService::new(stories, tasks.clone());
    accept(&bound, service.into_handler(), stop, tasks).await;
}

async fn accept(
    bound: &BoundSocket,
    handler: CallHandler,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let connections = AdminConnections::new(bound.policy(), handler, stop.clone());
    while let Some((permit, next)) = stop.run_until_cancelled(next(bound, &handshakes)).await {
        match next {
            Ok(stream) => {
                tasks.spawn(connections.clone().serve_connection(stream, permit));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
                debug!("admin socket: a client closed its connection before it was accepted");
            }
            // such as EMFILE: the connection stays in the backlog until a file descriptor is free
            Err(error) => {
                log_repeated!(warn, %error, "admin socket: cannot accept a connection, retrying");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

async fn next(
    bound: &BoundSocket,
    handshakes: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<UnixStream>) {
    // fails only when the semaphore is closed, which it never is
    let permit = Arc::clone(handshakes).acquire_owned().await.ok();
    let accepted = bound.listener().accept().await;
    (permit, accepted.map(|(stream, _)| stream))
}

#[cfg(test)]
mod tests;
