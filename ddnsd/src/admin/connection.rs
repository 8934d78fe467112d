//! One connection to the admin socket. First the peer's credentials are checked and versions are
//! exchanged, then its calls go to the handler.

use super::peer::{self, PeerCredentials, Policy};
use crate::log_budget::log_repeated;
use ddnsd_proto::transport::{Preamble, PreambleError, Status, frames};
use ddnsd_proto::{AdministrationRequest, AdministrationResponse, PROTOCOL, Protocol};
use futures::Stream;
use futures::future::BoxFuture;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel, InFlightRequest, Requests};
use tarpc::{RequestName, ServerError};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections that may send calls at a time.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// For the peer's credentials and preamble, and then again for its first call.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Without a call in flight.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Calls of one connection at a time; tarpc refuses further ones.
const MAX_CALLS: usize = 8;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Executes a call. Boxed, because tarpc's own trait cannot declare its futures `Send`.
pub(super) type CallHandler = Arc<
    dyn Fn(Context, AdministrationRequest) -> BoxFuture<'static, CallReply> + Send + Sync + 'static,
>;

pub(super) type CallReply = Result<AdministrationResponse, ServerError>;

/// Why a connection ended before its first call.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("cannot read the peer's credentials")]
    NoCredentials(#[source] io::Error),
    #[error("permission denied")]
    Denied(PeerCredentials),
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("ddnsctl {version} speaks protocol {theirs}, this daemon {PROTOCOL}")]
    OtherProtocol { version: String, theirs: Protocol },
    #[error("no preamble within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
}

impl HandshakeError {
    fn log(&self) {
        match self {
            Self::Denied(PeerCredentials { uid, pid, .. }) => log_repeated!(
                warn,
                uid,
                pid = pid.unwrap_or_default(),
                "admin socket: permission denied: neither root, ddnsd's own user nor in the admin group"
            ),
            Self::OtherProtocol { .. } => {
                log_repeated!(info, "admin socket: {}", self.to_string().escape_debug());
            }
            other => debug!(reason = %other, "admin socket: connection dropped"),
        }
    }
}

/// What all connections share; clones share it too.
#[derive(Clone)]
pub(super) struct AdminConnections {
    policy: Policy,
    handler: CallHandler,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl AdminConnections {
    pub(super) fn new(policy: Policy, handler: CallHandler, stop: CancellationToken) -> Self {
        Self { policy, handler, permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)), stop }
    }

    /// Serves a connection to its end. `handshake_permit` is released once it may send calls.
    pub(super) async fn serve_connection(
        self,
        mut stream: UnixStream,
        handshake_permit: Option<OwnedSemaphorePermit>,
    ) {
        let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(&mut stream, self.policy));
        let peer = match self.stop.run_until_cancelled(handshake).await {
            Some(outcome) => outcome.unwrap_or(Err(HandshakeError::Timeout)),
            None => return,
        };
        let peer = match peer {
            Ok(peer) => peer,
            Err(error) => return error.log(),
        };
        let Some(Ok(_permit)) = self.stop.run_until_cancelled(self.permits.acquire()).await else {
            return;
        };
        drop(handshake_permit);
        self.serve_calls(stream, peer).await;
    }

    /// Serves calls until the peer hangs up, sends garbage or is idle, or until `stop`. Calls in
    /// flight are answered first.
    async fn serve_calls(&self, stream: UnixStream, peer: PeerCredentials) {
        let channel = BaseChannel::with_defaults(frames(stream)).max_concurrent_requests(MAX_CALLS);
        let mut requests = pin!(channel.requests());
        let mut calls = JoinSet::new();
        let mut time_limit = HANDSHAKE_TIMEOUT;
        loop {
            let request: InFlightRequest<AdministrationRequest, _> =
                match timeout(time_limit, next(requests.as_mut(), &self.stop)).await {
                    Ok(Some(Ok(request))) => request,
                    Ok(Some(Err(error))) => {
                        return debug!(uid = peer.uid, %error, "admin socket: connection dropped");
                    }
                    Ok(None) => return,
                    Err(_) if requests.channel().in_flight_requests() > 0 => continue,
                    Err(_) => {
                        return debug!(uid = peer.uid, "admin socket: idle connection closed");
                    }
                };
            debug!(uid = peer.uid, call = request.get().message.name(), "admin call");
            let handler = Arc::clone(&self.handler);
            calls.spawn(request.execute(tarpc::server::serve(move |ctx, call| handler(ctx, call))));
            while calls.try_join_next().is_some() {}
            time_limit = IDLE_TIMEOUT;
        }
    }
}

/// Checks the peer, then exchanges preambles. The daemon sends first, so that nothing is read from
/// a peer without permission.
async fn handshake(
    stream: &mut UnixStream,
    policy: Policy,
) -> Result<PeerCredentials, HandshakeError> {
    let credentials = stream.peer_cred().map_err(HandshakeError::NoCredentials)?;
    let peer = PeerCredentials::from(credentials);
    if !peer::may_administer(policy, peer).await {
        // the outcome is the same if the peer does not receive this
        let _ = Preamble::new(Status::Denied, peer.uid, VERSION).send(stream).await;
        return Err(HandshakeError::Denied(peer));
    }
    Preamble::new(Status::Welcome, peer.uid, VERSION).send(stream).await?;
    let Preamble { protocol: theirs, version, .. } = Preamble::receive(stream).await?;
    if theirs.major == PROTOCOL.major {
        Ok(peer)
    } else {
        Err(HandshakeError::OtherProtocol { version, theirs })
    }
}

/// The next request; `None` when the peer has hung up, or when `stop` was requested and no call is
/// in flight. Replies are written only while this is polled.
async fn next<C: Channel>(
    mut requests: Pin<&mut Requests<C>>,
    stop: &CancellationToken,
) -> Option<<Requests<C> as Stream>::Item> {
    let mut stopping = pin!(stop.cancelled());
    poll_fn(|cx| {
        let next = requests.as_mut().poll_next(cx);
        let is_stopping = stopping.as_mut().poll(cx).is_ready();
        let is_idle = requests.channel().in_flight_requests() == 0;
        if next.is_pending() && is_stopping && is_idle { Poll::Ready(None) } else { next }
    })
    .await
}
