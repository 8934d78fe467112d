//! The entrance for `ddnsctl`. In: connections on the admin socket. Out: calls of stories, at most 32
//! connections at a time. Nothing that a client does ends more than its own connection, but for one that
//! nobody uses.

mod connection;
mod convert;
mod peer;
mod places;
mod service;
pub mod socket;
mod strangers;

use crate::reload::Reload;
use crate::stories::expire::Expire;
use crate::stories::hosts::Hosts;
use crate::stories::import::Transfer;
use crate::stories::status::Status;
use crate::stories::users::Users;
use connection::CallHandler;
use peer::Policy;
use places::{Guest, Places};
use service::AdminService;
use socket::BoundSocket;
use std::sync::Arc;
use std::time::Duration;
use strangers::Strangers;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Pause after a failed accept: out of file descriptors, which only time gives back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The stories that administrators can call.
#[derive(Clone)]
pub struct AdminStories {
    /// Users.
    pub users: Users,
    /// Hosts.
    pub hosts: Hosts,
    /// The daemon's state.
    pub status: Status,
    /// The sweep.
    pub expire: Expire,
    /// Export and import.
    pub transfer: Transfer,
    /// The configuration.
    pub reload: Reload,
}

/// Serves the socket until `stop`, then removes it. Connections and calls run in `tasks`: a
/// connection ends on `stop` as soon as its calls are answered, a call ends when it is done.
pub async fn serve(
    bound: BoundSocket,
    admin: AdminStories,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let service = AdminService::new(admin, tasks.clone());
    accept(&bound, service.into_answer(), stop, tasks).await;
}

async fn accept(
    bound: &BoundSocket,
    answer: CallHandler,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let (places, strangers) = (Places::new(), Arc::new(Strangers::default()));
    while let Some(next) = stop.run_until_cancelled(bound.listener().accept()).await {
        match next {
            Ok((stream, _)) => {
                let Some(guest) = stop.run_until_cancelled(places.take(&stop)).await else {
                    return;
                };
                let (answer, strangers) = (Arc::clone(&answer), Arc::clone(&strangers));
                tasks.spawn(serve_connection(stream, bound.policy(), answer, guest, strangers));
            }
            Err(error) => {
                warn!(%error, "admin socket: cannot accept a connection, trying again");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// One connection from beginning to end.
async fn serve_connection(
    mut stream: UnixStream,
    policy: Policy,
    answer: CallHandler,
    guest: Guest,
    strangers: Arc<Strangers>,
) {
    match guest.leave().run_until_cancelled(connection::handshake(&mut stream, policy)).await {
        Some(Ok(peer)) => connection::serve_calls(stream, peer, answer, &guest).await,
        Some(Err(error)) => error.log(&strangers),
        None => {}
    }
}

#[cfg(test)]
mod tests;
