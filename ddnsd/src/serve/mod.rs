//! Accepts connections and drives them: TLS, HTTP version, and the bounds on all of them. In: a
//! listener and a service. Out: nothing; every connection ends, by its client, a time-out or the
//! stop.
//!
//! The HTTP version comes from ALPN. It is never sniffed, because hyper sniffs without a time-out.

mod connection_limits;
mod deadline;
mod first_head;
mod http_compat;
pub mod listen;
mod prefixed;
mod tls;

pub use connection_limits::ConnectionLimits;

use crate::config;
use arc_swap::ArcSwap;
use deadline::{InFlight, drain};
use first_head::HeadRefused;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use prefixed::Prefixed;
use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::BoxCloneSyncService;
use tracing::{debug, info, warn};

/// A request's head, bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Header lines: as many as fit into a head if each has 64 bytes. hyper reserves room for all of
/// them with each request, 2.4 ns a line. For the 4,096 lines "a:" that fit, that would double the
/// cost of an update that changes nothing.
const MAX_HEADERS: usize = MAX_HEAD / 64;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 8;
/// What a peer may send ahead on an HTTP/2 connection, bytes: several forms.
const WINDOW: u32 = 64 * 1024;

/// Answers requests.
pub type Service = BoxCloneSyncService<http::Request<Incoming>, warp::reply::Response, Infallible>;

/// The other end of the connection; an extension of every request. IPv4-mapped addresses
/// are IPv4.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

/// How connections are driven. A connection keeps the settings that held when it began.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// `None` is plain text.
    tls: Option<TlsAcceptor>,
    /// For the TLS handshake, for the head of a request and for being idle, each.
    timeout: Duration,
    /// Whether a request that is refused before it is understood has a line in the log.
    logs_requests: bool,
    /// Not counted per client.
    trusted: Arc<[IpNet]>,
}

impl ConnectionSettings {
    /// # Errors
    /// The crypto provider supports no version of TLS.
    pub fn new(config: &config::Http) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::acceptor).transpose()?,
            timeout: config.request_timeout,
            logs_requests: config.log_requests,
            trusted: Arc::clone(&config.trusted_proxies),
        })
    }

    /// Without TLS, and without trusted proxies.
    pub fn plain(timeout: Duration) -> Self {
        Self { tls: None, timeout, logs_requests: false, trusted: Arc::default() }
    }

    /// Of a URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Everything that serving a listener needs.
#[derive(Clone)]
pub struct HttpServer {
    pub service: Service,
    /// For new connections.
    pub settings: Arc<ArcSwap<ConnectionSettings>>,
    pub limits: ConnectionLimits,
    /// Cancelled, no connection is accepted, and those that are open end after their requests.
    pub stop: CancellationToken,
    /// Cancelled, every connection is cut.
    pub cut: CancellationToken,
    /// Connections run in it, so that the stop can wait for them.
    pub tasks: TaskTracker,
}

impl HttpServer {
    /// Accepts connections until stopped.
    pub async fn run(self, listener: TcpListener) {
        loop {
            // the permit first: without one, clients wait in the kernel's queue
            let permit = tokio::select! {
                permit = self.limits.any() => permit,
                () = self.stop.cancelled() => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let settings = self.settings.load_full();
                    let permit = self.limits.of_client(permit, peer.ip(), &settings.trusted);
                    if let Some(permit) = permit {
                        let server = self.clone();
                        self.tasks.spawn(async move {
                            server.serve(stream, peer, &settings).await;
                            drop(permit);
                        });
                    }
                }
                Err(error) if is_clients_fault(&error) => debug!("accept: {error}"),
                Err(error) => {
                    warn!("cannot accept connections: {error} (raise the limit of open files?)");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, settings: &ConnectionSettings) {
        // an error here means that the connection is gone already
        let _ = stream.set_nodelay(true);
        // bounds writing: a client that reads nothing would keep its connection for ever
        let timeout_ms = u32::try_from(settings.timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, timeout_ms);
        let connection = ClientConnection {
            server: self,
            client: peer.ip().to_canonical(),
            timeout: settings.timeout,
            logs_requests: settings.logs_requests,
            in_flight: InFlight::default(),
        };
        let served = async {
            match &settings.tls {
                None => connection.http1(stream).await,
                Some(acceptor) => connection.tls(acceptor, stream).await,
            }
        };
        tokio::select! {
            () = served => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// One connection while it is served.
struct ClientConnection<'a> {
    server: &'a HttpServer,
    client: IpAddr,
    timeout: Duration,
    logs_requests: bool,
    in_flight: InFlight,
}

impl ClientConnection<'_> {
    fn service(
        &self,
    ) -> impl hyper::service::Service<
        http::Request<Incoming>,
        Response = warp::reply::Response,
        Error = Infallible,
        Future: Send + 'static,
    > + 'static {
        let service = self.server.service.clone();
        let in_flight = self.in_flight.clone();
        let peer = PeerAddress(self.client);
        service_fn(move |mut request: http::Request<Incoming>| {
            let guard = in_flight.track();
            let service = service.clone();
            request.extensions_mut().insert(peer);
            async move {
                let response = http_compat::answer(service, request).await;
                drop(guard);
                response
            }
        })
    }

    async fn tls(&self, acceptor: &TlsAcceptor, stream: TcpStream) {
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.timeout, acceptor.accept(stream)) => accepted,
            () = self.server.stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(client = %self.client, "TLS: {error}"),
            Err(_) => return debug!(client = %self.client, "TLS: the handshake timed out"),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream).await;
        } else {
            self.http1(stream).await;
        }
    }

    async fn http1(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let head = first_head::read(&mut stream, MAX_HEAD);
        let head = tokio::select! {
            head = tokio::time::timeout(self.timeout, head) => head,
            () = self.server.stop.cancelled() => return,
        };
        let head = match head {
            Ok(Ok(head)) if !head.is_empty() => head,
            Ok(Ok(_)) => return,
            Ok(Err(error)) => return debug!(client = %self.client, "HTTP/1: {error}"),
            Err(_) => return debug!(client = %self.client, "HTTP/1: the head timed out"),
        };
        match first_head::repaired(head) {
            Ok(head) => self.http1_after(head, stream).await,
            Err(refused) => self.refuse(&refused, stream).await,
        }
    }

    /// Answers a request that hyper would refuse without a word.
    async fn refuse(&self, refused: &HeadRefused, mut stream: impl AsyncWrite + Unpin) {
        let HeadRefused(sentence) = refused;
        self.log_refused(400, sentence);
        let length = sentence.len() + 1;
        let reply = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{sentence}\n"
        );
        let written = async {
            stream.write_all(reply.as_bytes()).await?;
            stream.shutdown().await
        };
        // a client that does not read it is gone or hostile
        let _ = tokio::time::timeout(self.timeout, written).await;
    }

    fn log_refused(&self, status: u16, reason: &dyn Display) {
        if self.logs_requests {
            info!(client = %self.client, status, %reason, "request");
        }
    }

    async fn http1_after(
        &self,
        head: Vec<u8>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) {
        let stream = Prefixed::new(head, stream);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // runs from the accept or the previous reply, so it also bounds an idle connection
            .header_read_timeout(self.timeout)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            // `nc -N` and the like close their half with the request and wait for the reply
            .half_close(true)
            .serve_connection(TokioIo::new(stream), self.service());
        let closing = self.server.stop.cancelled();
        match drain(connection, &self.in_flight, closing).await {
            Err(error) if error.is_parse_too_large() => self.log_refused(431, &error),
            Err(error) if error.is_parse() => self.log_refused(400, &error),
            Err(error) => debug!(client = %self.client, "HTTP/1: {error}"),
            Ok(()) => {}
        }
    }

    async fn http2(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(self.timeout)
            .keep_alive_timeout(self.timeout)
            .serve_connection(TokioIo::new(stream), self.service());
        // hyper bounds neither the preface nor a head in HTTP/2: until it is complete, no request
        // is in flight
        let closing = async {
            tokio::select! {
                () = self.in_flight.idle_for(self.timeout) => {}
                () = self.server.stop.cancelled() => {}
            }
        };
        if let Err(error) = drain(connection, &self.in_flight, closing).await {
            debug!(client = %self.client, "HTTP/2: {error}");
        }
    }
}

fn is_clients_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
