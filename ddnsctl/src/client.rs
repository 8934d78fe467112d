//! The daemon's other end. In: the socket's path. Out: a client that has exchanged preambles, or a
//! sentence that says what is wrong and what to do next. Every call has a deadline.

use ddnsd_proto::error::Refusal;
use ddnsd_proto::transport::{Preamble, PreambleError, Status, frames};
use ddnsd_proto::{AdministrationClient, PROTOCOL, Protocol};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tarpc::client::{Config, RpcError};
use tarpc::context::{self, Context};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// For what the daemon answers from its database or memory.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// For what waits for name servers.
pub(crate) const DNS_TIMEOUT: Duration = Duration::from_mins(2);

/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the daemon did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It looked at the request and refused.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Nobody there.
    #[error("cannot reach ddnsd at {}: {why}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why, and the next step.
        why: String,
    },
    /// The socket's mode keeps us out.
    #[error(
        "cannot reach ddnsd at {}: permission denied (are you in the group of the socket? try `sudo`, or see `ls -l {}`)",
        .0.display(), .0.display()
    )]
    Locked(PathBuf),
    /// The daemon keeps us out.
    #[error(
        "ddnsd at {} does not obey uid {uid}: only root, its own user and members of its admin group may administer it (try `sudo`, or see `admin.group` in its configuration)",
        path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
        /// Our uid as the daemon sees it.
        uid: u32,
    },
    /// Different major versions.
    #[error(
        "ddnsctl {VERSION} speaks protocol {PROTOCOL}, but ddnsd {version} speaks {protocol} (install the same version of both, and restart ddnsd)"
    )]
    OtherVersion {
        /// The daemon's version.
        version: String,
        /// What it speaks.
        protocol: Protocol,
    },
    /// No answer in time.
    #[error(
        "ddnsd did not answer within {} s (it may still carry this out; look again, and see its log)",
        .0.as_secs()
    )]
    Late(Duration),
    /// The connection broke during a call.
    #[error("{}", lost(version, *protocol))]
    Lost {
        /// The daemon's version.
        version: String,
        /// What it speaks.
        protocol: Protocol,
    },
    /// The call was turned away before anybody looked at it.
    #[error("ddnsd turned the request away: {0} (try again)")]
    TurnedAway(String),
}

fn lost(version: &str, daemon: Protocol) -> String {
    if daemon == PROTOCOL {
        return "the connection to ddnsd broke before it answered (it may have carried this out; \
                look again, and see its log)"
            .to_owned();
    }
    format!(
        "ddnsd hung up: ddnsctl {VERSION} speaks protocol {PROTOCOL}, ddnsd {version} speaks \
         {daemon}, and may not know this command (install the same version of both)"
    )
}

/// A daemon that talks to us.
#[derive(Debug)]
pub(crate) struct Client {
    rpc: AdministrationClient,
    version: String,
    protocol: Protocol,
}

impl Client {
    /// Connects and exchanges preambles.
    pub(crate) async fn connect(path: &Path) -> Result<Self, ClientError> {
        let greeting = timeout(CALL_TIMEOUT, Self::handshake(path)).await;
        greeting.unwrap_or_else(|_| {
            let why = format!(
                "it does not answer within {} s (is it busy? see its log, try `systemctl restart ddnsd`)",
                CALL_TIMEOUT.as_secs()
            );
            Err(ClientError::Unreachable { path: path.to_owned(), why })
        })
    }

    async fn handshake(path: &Path) -> Result<Self, ClientError> {
        let refuse = |error| unreachable(path, &error);
        let mut stream = UnixStream::connect(path).await.map_err(refuse)?;
        let hello =
            Preamble::receive(&mut stream).await.map_err(|error| no_preamble(path, &error))?;
        let Preamble { status, uid, protocol, version } = hello;
        if status == Status::Denied {
            return Err(ClientError::Denied { path: path.to_owned(), uid });
        }
        if protocol.major != PROTOCOL.major || status != Status::Welcome {
            return Err(ClientError::OtherVersion { version, protocol });
        }
        Preamble::new(Status::Welcome, 0, VERSION).send(&mut stream).await.map_err(refuse)?;
        let rpc = AdministrationClient::new(Config::default(), frames(stream)).spawn();
        Ok(Self { rpc, version, protocol })
    }

    /// Makes one call and waits for its answer, at most `time_limit`.
    pub(crate) async fn call<T>(
        &self,
        time_limit: Duration,
        request: impl AsyncFnOnce(&AdministrationClient, Context) -> Reply<T>,
    ) -> Result<T, ClientError> {
        match request(&self.rpc, within(time_limit)).await {
            Ok(answer) => answer.map_err(ClientError::Refused),
            Err(RpcError::DeadlineExceeded) => Err(ClientError::Late(time_limit)),
            Err(RpcError::Server(error)) => Err(ClientError::TurnedAway(error.detail)),
            Err(RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_)) => {
                Err(ClientError::Lost { version: self.version.clone(), protocol: self.protocol })
            }
        }
    }
}

/// What a call brings back.
pub(crate) type Reply<T> = Result<Result<T, Refusal>, RpcError>;

#[expect(clippy::disallowed_methods, reason = "the only reading of the clock: a call's deadline")]
fn within(time_limit: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time_limit;
    context
}

fn unreachable(path: &Path, error: &io::Error) -> ClientError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => return ClientError::Locked(path.to_owned()),
        io::ErrorKind::NotFound => {
            "no such file (is it running? try `systemctl start ddnsd`)".into()
        }
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there (is it running? try `systemctl start ddnsd`)".into()
        }
        _ => format!("{error} (is this its admin socket? see `admin.socket` in its configuration)"),
    };
    ClientError::Unreachable { path: path.to_owned(), why }
}

fn no_preamble(path: &Path, error: &PreambleError) -> ClientError {
    let why = match error {
        PreambleError::Foreign => {
            "what answers there is not ddnsd (see `admin.socket` in its \
                                   configuration)"
        }
        PreambleError::Broken(_) => "it hung up (is it stopping? see its log)",
    };
    ClientError::Unreachable { path: path.to_owned(), why: why.to_owned() }
}
