//! Drives connections: accept, TLS, HTTP version, and the bounds on all of them. In: a listener and a
//! service. Out: nothing; every connection ends, by its client, a time-out or the stop.
//!
//! The HTTP version comes from ALPN and is never sniffed, because sniffing waits without a bound.

mod connection_limits;
mod deadline;
mod heard;
mod http_compat;
pub mod listen;
mod tls;

pub use connection_limits::ConnectionLimits;
pub use deadline::ConnectionPeer;

use crate::config;
use arc_swap::ArcSwap;
use deadline::Client;
use heard::Heard;
use http_compat::PeerService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::BoxCloneSyncService;
use tracing::{debug, warn};

/// A request's head, at most, bytes.
const HEAD: usize = 16 * 1024;
/// Header lines, at most: as many as a head has room for if a line has 64 bytes. hyper makes room for
/// them all with each request, 2.4 ns a line: for the 4,096 that "a:" would take it doubles the cost of
/// an update that changes nothing.
const HEADERS: usize = HEAD / 64;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 32;
/// What a peer may send ahead on an HTTP/2 connection, bytes: several forms.
const WINDOW: u32 = 64 * 1024;
/// At the stop, how long a connection without a request under way is listened to: what is on its way is
/// answered.
const DRAIN_IDLE: Duration = Duration::from_millis(200);

/// What answers requests.
pub type Service = BoxCloneSyncService<
    http::Request<hyper::body::Incoming>,
    warp::reply::Response,
    std::convert::Infallible,
>;

/// How connections are driven; each keeps what held when it began.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// TLS, or plain text.
    tls: Option<TlsAcceptor>,
    /// For a whole request, from the accept on, and for idling.
    timeout: Duration,
    /// Whose connections are not counted per client.
    trusted: Arc<[IpNet]>,
}

impl ConnectionSettings {
    /// As configured.
    ///
    /// # Errors
    /// TLS supports no protocol version.
    pub fn new(config: &config::Http) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::acceptor).transpose()?,
            timeout: config.request_timeout,
            trusted: Arc::clone(&config.trusted_proxies),
        })
    }

    /// How a URL of it begins.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Everything a listener needs besides itself.
#[derive(Clone)]
pub struct HttpServer {
    /// What answers.
    pub service: Service,
    /// For new connections.
    pub settings: Arc<ArcSwap<ConnectionSettings>>,
    /// Connections in all and per client.
    pub limits: ConnectionLimits,
    /// No new connections; what is under way may end.
    pub stop: CancellationToken,
    /// Everything ends.
    pub cut: CancellationToken,
    /// Where connections run, so that the stop can wait for them.
    pub tasks: TaskTracker,
}

impl HttpServer {
    /// Accepts until stopped.
    pub async fn run(self, listener: TcpListener) {
        loop {
            // a place first: while there is none, clients wait in the kernel's queue
            let place = tokio::select! {
                place = self.limits.place() => place,
                () = self.stop.cancelled() => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let settings = self.settings.load_full();
                    if let Some(permit) = self.limits.of(place, peer.ip(), &settings.trusted) {
                        let server = self.clone();
                        self.tasks.spawn(async move {
                            server.connection(stream, peer, &settings).await;
                            drop(permit);
                        });
                    }
                }
                Err(error) if is_clients_fault(&error) => debug!("accept: {error}"),
                Err(error) => {
                    warn!("cannot take new connections: {error}; raise the limit of open files?");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, settings: &ConnectionSettings) {
        let peer = Arc::new(Client::new(peer.ip().to_canonical(), settings.timeout));
        // an error here means the connection is gone already
        let _ = stream.set_nodelay(true);
        // bounds writing: a client that reads nothing would hold its place for ever
        let patience = u32::try_from(settings.timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience);
        let served = async {
            match &settings.tls {
                None => self.http1(stream, &peer).await,
                Some(acceptor) => self.tls(acceptor, stream, &peer).await,
            }
        };
        tokio::select! {
            () = served => {}
            () = peer.silent() => debug!(client = %peer.address, "no request in time"),
            () = self.cut.cancelled() => {}
        }
    }

    async fn tls(&self, acceptor: &TlsAcceptor, stream: TcpStream, peer: &Arc<Client>) {
        let accepted = tokio::select! {
            accepted = acceptor.accept(stream) => accepted,
            () = self.stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => return debug!(client = %peer.address, "TLS: {error}"),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream, peer).await;
        } else {
            self.http1(stream, peer).await;
        }
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: &Arc<Client>) {
        let in_flight = connection_limits::InFlight::default();
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // also bounds how long a kept connection may idle
            .header_read_timeout(peer.timeout)
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            // `nc -N` and the like close their half with the request and wait for the answer
            .half_close(true)
            .serve_connection(
                TokioIo::new(Heard::new(stream, peer, &in_flight)),
                in_flight.track(self.answering(peer)),
            );
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                drain(connection, &in_flight).await
            }
        };
        if let Err(error) = ended {
            debug!(client = %peer.address, "HTTP/1: {error}");
        }
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: &Arc<Client>,
    ) {
        let in_flight = connection_limits::InFlight::default();
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(peer.timeout)
            .keep_alive_timeout(peer.timeout)
            .serve_connection(TokioIo::new(stream), in_flight.track(self.answering(peer)));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = in_flight.idle_for(peer.timeout) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(peer.timeout, connection).await.unwrap_or(Ok(()))
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                drain(connection, &in_flight).await
            }
        };
        if let Err(error) = ended {
            debug!(client = %peer.address, "HTTP/2: {error}");
        }
    }

    /// The service, told who asks.
    fn answering(&self, peer: &Arc<Client>) -> TowerToHyperService<PeerService> {
        TowerToHyperService::new(PeerService {
            service: self.service.clone(),
            peer: Arc::clone(peer),
        })
    }
}

/// Drives a connection that is shutting down until nothing is asked on it any more: who never asked does
/// not delay the stop.
async fn drain<E>(
    connection: impl Future<Output = Result<(), E>>,
    in_flight: &connection_limits::InFlight,
) -> Result<(), E> {
    tokio::select! {
        ended = connection => ended,
        () = in_flight.idle_for(DRAIN_IDLE) => Ok(()),
    }
}

fn is_clients_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
