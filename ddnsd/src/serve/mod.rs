//! Drives connections: accept, TLS, HTTP version, and the bounds on all of them. In: a listener and a
//! service. Out: nothing; every connection ends, by its client, a time-out or the stop.
//!
//! The HTTP version comes from ALPN and is never sniffed, because sniffing waits without a bound.

mod client;
pub mod listen;
mod permits;

pub use client::Peer;
pub use permits::Permits;

use crate::config;
use arc_swap::ArcSwap;
use client::Client;
use futures::FutureExt;
use futures::future::Map;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
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

/// What answers requests.
pub type Service = BoxCloneSyncService<
    http::Request<hyper::body::Incoming>,
    warp::reply::Response,
    std::convert::Infallible,
>;

/// How connections are driven; each keeps what held when it began.
#[derive(Clone)]
pub struct Settings {
    /// TLS, or plain text.
    tls: Option<TlsAcceptor>,
    /// For a whole request, from the accept on, and for idling.
    timeout: Duration,
    /// Whose connections are not counted per client.
    trusted: Arc<[IpNet]>,
}

impl Settings {
    /// As configured.
    ///
    /// # Errors
    /// TLS supports no protocol version.
    pub fn new(config: &config::Http) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls).transpose()?,
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
pub struct Server {
    /// What answers.
    pub service: Service,
    /// For new connections.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Connections in all and per client.
    pub permits: Permits,
    /// No new connections; what is under way may end.
    pub stop: CancellationToken,
    /// Everything ends.
    pub cut: CancellationToken,
    /// Where connections run, so that the stop can wait for them.
    pub tasks: TaskTracker,
}

impl Server {
    /// Accepts until stopped.
    pub async fn run(self, listener: TcpListener) {
        loop {
            // a place first: while there is none, clients wait in the kernel's queue
            let place = tokio::select! {
                place = self.permits.place() => place,
                () = self.stop.cancelled() => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let settings = self.settings.load_full();
                    if let Some(permit) = self.permits.of(place, peer.ip(), &settings.trusted) {
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

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, settings: &Settings) {
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
        let stream = match acceptor.accept(stream).await {
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
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // also bounds how long a kept connection may idle
            .header_read_timeout(peer.timeout)
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), self.answering(peer));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
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
        let busy = permits::Busy::default();
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(peer.timeout)
            .keep_alive_timeout(peer.timeout)
            .serve_connection(TokioIo::new(stream), busy.around(self.answering(peer)));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = busy.idle_for(peer.timeout) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(peer.timeout, connection).await.unwrap_or(Ok(()))
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(client = %peer.address, "HTTP/2: {error}");
        }
    }

    /// The service, told who asks.
    fn answering(&self, peer: &Arc<Client>) -> TowerToHyperService<Told> {
        TowerToHyperService::new(Told { service: self.service.clone(), peer: Arc::clone(peer) })
    }
}

/// Puts the peer into each request.
#[derive(Clone)]
struct Told {
    service: Service,
    peer: Arc<Client>,
}

impl tower::Service<http::Request<hyper::body::Incoming>> for Told {
    type Response = warp::reply::Response;
    type Error = std::convert::Infallible;
    type Future = Map<
        <Service as tower::Service<http::Request<hyper::body::Incoming>>>::Future,
        fn(Answer) -> Answer,
    >;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<hyper::body::Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.asks());
        // "CONNECT host:port" and "GET host" have no path, on which warp panics
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = http::Uri::from_static("/");
        }
        let is_old = request.version() == http::Version::HTTP_10;
        let finish: fn(Answer) -> Answer = if is_old { closing } else { |answer| answer };
        self.service.call(request).map(finish)
    }
}

type Answer = Result<warp::reply::Response, std::convert::Infallible>;

/// HTTP/1.0 clients read to the end of the connection, even some that ask to keep it.
fn closing(answer: Answer) -> Answer {
    answer.map(|mut response| {
        // else hyper adds "keep-alive" for those that asked
        *response.version_mut() = http::Version::HTTP_10;
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
        response
    })
}

fn is_clients_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// TLS with the configured certificate, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
///
/// # Errors
/// The crypto provider supports no protocol version.
fn tls(config: &config::Tls) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(OneKey(Arc::clone(&config.certified))));
    // a client that names only what is not here is refused, and curl --http1.0 names that one
    server.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).into();
    Ok(TlsAcceptor::from(Arc::new(server)))
}

#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl ResolvesServerCert for OneKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
