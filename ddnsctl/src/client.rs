//! Connects to the daemon. In: the socket's path. Out: a client after the handshake, or an error
//! with the next step. Every call has a deadline.

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

/// Time limit of calls that the daemon answers from its database or memory.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of calls that wait for name servers.
pub(crate) const DNS_TIMEOUT: Duration = Duration::from_mins(2);

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("cannot reach ddnsd at {}: {why}", path.display())]
    Unreachable {
        path: PathBuf,
        /// The reason and the next step.
        why: String,
    },
    /// The mode of the socket's file denies access.
    #[error(
        "cannot reach ddnsd at {}: permission denied (are you in the group of the socket? try `sudo`, or see `ls -l {}`)",
        .0.display(), .0.display()
    )]
    SocketMode(PathBuf),
    #[error(
        "permission denied: uid {uid} may not administer ddnsd at {}: only root, its own user and members of its admin group may (try `sudo`, or see `admin.group` in its configuration)",
        path.display()
    )]
    Denied {
        path: PathBuf,
        /// Our uid as the daemon reports it.
        uid: u32,
    },
    #[error(
        "ddnsctl {VERSION} speaks protocol {PROTOCOL}, but ddnsd {version} speaks {protocol} (install the same version of both, and restart ddnsd)"
    )]
    OtherVersion { version: String, protocol: Protocol },
    #[error(
        "ddnsd did not answer within {} s (it may still execute the request; check the result, and see its log)",
        .0.as_secs()
    )]
    Timeout(Duration),
    /// The connection broke during a call.
    #[error("{}", lost(version, *protocol))]
    Lost { version: String, protocol: Protocol },
    /// The call was rejected before it was executed.
    #[error("ddnsd rejected the request: {0} (retry later)")]
    Rejected(String),
}

fn lost(version: &str, daemon: Protocol) -> String {
    if daemon == PROTOCOL {
        return "the connection to ddnsd broke before it answered (it may have executed the request; \
                check the result, and see its log)"
            .to_owned();
    }
    format!(
        "ddnsd closed the connection: ddnsctl {VERSION} speaks protocol {PROTOCOL}, ddnsd {version} speaks \
         {daemon}, and may not know this command (install the same version of both)"
    )
}

/// A connection after the handshake.
#[derive(Debug)]
pub(crate) struct Client {
    rpc: AdministrationClient,
    version: String,
    protocol: Protocol,
}

impl Client {
    pub(crate) async fn connect(path: &Path) -> Result<Self, ClientError> {
        let connected = timeout(CALL_TIMEOUT, Self::handshake(path)).await;
        connected.unwrap_or_else(|_| {
            let why = format!(
                "no answer within {} s (is it busy? see its log, try `systemctl restart ddnsd`)",
                CALL_TIMEOUT.as_secs()
            );
            Err(ClientError::Unreachable { path: path.to_owned(), why })
        })
    }

    async fn handshake(path: &Path) -> Result<Self, ClientError> {
        let failed = |error| unreachable(path, &error);
        let mut stream = UnixStream::connect(path).await.map_err(failed)?;
        let preamble =
            Preamble::receive(&mut stream).await.map_err(|error| no_preamble(path, &error))?;
        let Preamble { status, uid, protocol, version } = preamble;
        if status == Status::Denied {
            return Err(ClientError::Denied { path: path.to_owned(), uid });
        }
        if protocol.major != PROTOCOL.major || status != Status::Welcome {
            return Err(ClientError::OtherVersion { version, protocol });
        }
        Preamble::new(Status::Welcome, 0, VERSION).send(&mut stream).await.map_err(failed)?;
        let rpc = AdministrationClient::new(Config::default(), frames(stream)).spawn();
        Ok(Self { rpc, version, protocol })
    }

    /// Makes a call and waits for its reply, at most `time_limit`.
    pub(crate) async fn call<T>(
        &self,
        time_limit: Duration,
        request: impl AsyncFnOnce(&AdministrationClient, Context) -> Reply<T>,
    ) -> Result<T, ClientError> {
        match request(&self.rpc, within(time_limit)).await {
            Ok(answer) => answer.map_err(ClientError::Refused),
            Err(RpcError::DeadlineExceeded) => Err(ClientError::Timeout(time_limit)),
            Err(RpcError::Server(error)) => Err(ClientError::Rejected(error.detail)),
            Err(RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_)) => {
                Err(ClientError::Lost { version: self.version.clone(), protocol: self.protocol })
            }
        }
    }
}

pub(crate) type Reply<T> = Result<Result<T, Refusal>, RpcError>;

#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the clock: a call's deadline"
)]
fn within(time_limit: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time_limit;
    context
}

fn unreachable(path: &Path, error: &io::Error) -> ClientError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => return ClientError::SocketMode(path.to_owned()),
        io::ErrorKind::NotFound => {
            "no such file (is it running? try `systemctl start ddnsd`)".into()
        }
        io::ErrorKind::ConnectionRefused => {
            "no process listens there (is it running? try `systemctl start ddnsd`)".into()
        }
        _ => format!("{error} (is this its admin socket? see `admin.socket` in its configuration)"),
    };
    ClientError::Unreachable { path: path.to_owned(), why }
}

fn no_preamble(path: &Path, error: &PreambleError) -> ClientError {
    let why = match error {
        PreambleError::Foreign => {
            "the process that listens there is not ddnsd (see `admin.socket` in its configuration)"
        }
        PreambleError::Broken(_) => "it closed the connection (is it stopping? see its log)",
    };
    ClientError::Unreachable { path: path.to_owned(), why: why.to_owned() }
}
