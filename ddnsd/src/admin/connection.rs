//! One connection to the admin socket. In: its stream. Out: first whether its peer may administer and
//! speaks our protocol, then its calls, handed to `answer`. Bounds: 5 s for the greeting, 8 calls at a
//! time, 10 min without a new call, 4 MiB a frame.

use super::peer::{self, PeerCredentials, Policy};
use super::places::Guest;
use super::strangers::Strangers;
use crate::clock::Clock;
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
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info};

/// For the peer's credentials and preamble.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Without a new call; longer than any call takes.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// Of one connection at a time; tarpc refuses what is beyond.
const MAX_CALLS: usize = 8;

/// The daemon's own version, as clients are told it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Carries a call out. Boxed, because tarpc's own trait cannot say that its futures are `Send`.
pub(super) type CallHandler = Arc<
    dyn Fn(Context, AdministrationRequest) -> BoxFuture<'static, CallReply> + Send + Sync + 'static,
>;

/// What goes back to the client.
pub(super) type CallReply = Result<AdministrationResponse, ServerError>;

/// Why a connection ended before its first call.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The kernel does not say whose it is.
    #[error("cannot tell whose connection it is")]
    Nameless(#[source] io::Error),
    /// Not allowed to administer.
    #[error("may not administer")]
    Stranger(PeerCredentials),
    /// No preamble.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// It broke while we greeted.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// Another major version.
    #[error("ddnsctl {version} speaks protocol {theirs}, this daemon {PROTOCOL}")]
    OtherProtocol {
        /// The client's version, as it says.
        version: String,
        /// What it speaks.
        theirs: Protocol,
    },
    /// Too slow.
    #[error("no preamble within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Silent,
}

impl HandshakeError {
    /// Strangers are an operator's business, the rest is only for those who look.
    pub(super) fn log(&self, strangers: &Strangers) {
        match self {
            HandshakeError::Stranger(peer) => strangers.log(*peer, Clock.now().mono),
            HandshakeError::OtherProtocol { .. } => {
                info!("admin socket: {}", self.to_string().escape_debug());
            }
            other => debug!(reason = %other, "admin socket: connection dropped"),
        }
    }
}

/// Tells the peer whether it may go on, and reads its preamble. The daemon speaks first, so that a
/// stranger is told before anything is read from it.
pub(super) async fn handshake(
    stream: &mut UnixStream,
    policy: Policy,
) -> Result<PeerCredentials, HandshakeError> {
    timeout(HANDSHAKE_TIMEOUT, judge(stream, policy)).await.unwrap_or(Err(HandshakeError::Silent))
}

async fn judge(stream: &mut UnixStream, policy: Policy) -> Result<PeerCredentials, HandshakeError> {
    let peer = PeerCredentials::from(stream.peer_cred().map_err(HandshakeError::Nameless)?);
    if !peer::may_administer(policy, peer).await {
        // told so if it still listens; it is a stranger either way
        let _ = Preamble::new(Status::Denied, peer.uid, VERSION).send(stream).await;
        return Err(HandshakeError::Stranger(peer));
    }
    Preamble::new(Status::Welcome, peer.uid, VERSION).send(stream).await?;
    let Preamble { protocol: theirs, version, .. } = Preamble::receive(stream).await?;
    if theirs.major == PROTOCOL.major {
        Ok(peer)
    } else {
        Err(HandshakeError::OtherProtocol { version, theirs })
    }
}

/// Takes calls until the peer leaves, sends rubbish or nothing, or is to leave; then the calls that are
/// under way are still answered.
pub(super) async fn serve_calls(
    stream: UnixStream,
    peer: PeerCredentials,
    answer: CallHandler,
    guest: &Guest,
) {
    let channel = BaseChannel::with_defaults(frames(stream)).max_concurrent_requests(MAX_CALLS);
    let mut requests = pin!(channel.requests());
    let mut calls = JoinSet::new();
    while let Ok(Some(next)) = timeout(IDLE_TIMEOUT, next(requests.as_mut(), guest)).await {
        let request: InFlightRequest<AdministrationRequest, _> = match next {
            Ok(request) => request,
            Err(error) => return debug!(uid = peer.uid, %error, "admin socket: connection dropped"),
        };
        debug!(uid = peer.uid, call = request.get().message.name(), "admin call");
        let answer = Arc::clone(&answer);
        calls.spawn(request.execute(tarpc::server::serve(move |ctx, call| answer(ctx, call))));
        while calls.try_join_next().is_some() {}
    }
}

/// The next request; `None` when the peer has left, or when it is to leave and nothing is left to
/// answer. Answers are written while this is polled.
async fn next<C: Channel>(
    mut requests: Pin<&mut Requests<C>>,
    guest: &Guest,
) -> Option<<Requests<C> as Stream>::Item> {
    let mut leave = pin!(guest.leave().cancelled());
    poll_fn(|cx| {
        let next = requests.as_mut().poll_next(cx);
        let leaving = guest.leave().is_cancelled() || leave.as_mut().poll(cx).is_ready();
        let busy = requests.channel().in_flight_requests() > 0;
        guest.note_busy(busy);
        match next {
            Poll::Pending if leaving && !busy => Poll::Ready(None),
            next => next,
        }
    })
    .await
}
