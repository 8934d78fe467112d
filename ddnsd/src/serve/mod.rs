//! Accepts connections and drives them: TLS, HTTP version, and the bounds on all of them. In: a
//! listener and a service. Out: nothing; every connection ends, by its client, a time-out or the
//! stop.
//!
//! The HTTP version comes from ALPN. It is never sniffed, because hyper sniffs without a time-out.

mod connections;
mod deadline;
mod eviction;
mod head;
mod head_stream;
mod http_compat;
pub mod listen;
mod metered;
mod open_files;
mod refusal_log;
mod seldom;
mod tls;
mod unread_body;

pub use connections::{Answering, ConnectionLimits, OpenConnection, UnfinishedForm};
pub use unread_body::UnreadBody;
pub use warp::reply::Response;

use crate::config;
use crate::log_budget::log_repeated;
use arc_swap::ArcSwap;
use bytes::Bytes;
use connections::{ConnectionPermit, KEPT_BYTES, TLS_BYTES};
use deadline::{InFlight, drain};
use futures::future::BoxFuture;
use head::HeadRefused;
use head_stream::HeadStream;
use http::{StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use metered::Metered;
use refusal_log::RefusalLog;
use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_user_timeout};
use seldom::Seldom;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use unread_body::keep_unread;

/// A request's head, bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Header lines: as many as fit into a head if each has 64 bytes. hyper takes memory for all of
/// them with each request, so it does only where a head has many (`head_stream`).
const MAX_HEADERS: usize = MAX_HEAD / 64;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 8;
/// What a peer may send ahead on an HTTP/2 connection, bytes: several forms.
const WINDOW: u32 = 64 * 1024;

/// Answers requests.
pub type Service =
    Arc<dyn Fn(http::Request<Incoming>, HttpPeer) -> BoxFuture<'static, Response> + Send + Sync>;

/// The other end of the connection. IPv4-mapped addresses are IPv4.
#[derive(Clone)]
pub struct HttpPeer {
    pub address: IpAddr,
    pub connection: Arc<OpenConnection>,
}

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
        // connections inherit it, as the time-out of writing
        let _is_no_tcp = set_tcp_nodelay(&listener, true);
        let mut inherited = Duration::ZERO;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let settings = self.settings.load_full();
                    if inherited != settings.timeout {
                        inherited = settings.timeout;
                        bound_writing(listener.as_fd(), inherited);
                        bound_writing(stream.as_fd(), inherited);
                    }
                    let place = self.limits.of_client(peer.ip(), &settings.trusted);
                    let Some(place) = place else { continue };
                    let permit = tokio::select! {
                        permit = self.limits.place(place) => permit,
                        () = self.stop.cancelled() => return,
                    };
                    let server = self.clone();
                    self.tasks.spawn(async move {
                        server.serve(stream, permit, &settings).await;
                    });
                }
                Err(error) if is_clients_fault(&error) => debug!("accept: {error}"),
                Err(error) => {
                    log_repeated!(
                        warn,
                        "cannot accept connections: {error} (raise the limit of open files?)"
                    );
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        permit: ConnectionPermit,
        settings: &ConnectionSettings,
    ) {
        let stream = Metered::new(stream, Arc::clone(permit.connection()));
        let connection = ClientConnection {
            server: self,
            peer: HttpPeer {
                address: permit.client(),
                connection: Arc::clone(permit.connection()),
            },
            timeout: settings.timeout,
            refusals: RefusalLog { client: permit.client(), is_on: settings.logs_requests },
            in_flight: InFlight::new(),
        };
        let served = async {
            match &settings.tls {
                None => connection.http1(stream).await,
                Some(acceptor) => connection.tls(acceptor, stream).await,
            }
        };
        let cut = Seldom::new(async {
            tokio::select! {
                () = permit.connection().evicted() => {}
                () = self.cut.cancelled() => {}
            }
        });
        tokio::select! {
            () = served => {}
            () = cut => {}
        }
    }
}

/// One connection while it is served.
struct ClientConnection<'a> {
    server: &'a HttpServer,
    peer: HttpPeer,
    timeout: Duration,
    refusals: RefusalLog,
    in_flight: InFlight,
}

impl ClientConnection<'_> {
    fn service(
        &self,
    ) -> impl hyper::service::Service<
        http::Request<Incoming>,
        Response = http::Response<
            impl Body<Data = Bytes, Error = warp::Error> + Send + Unpin + 'static,
        >,
        Error = Infallible,
        Future: Send + 'static,
    > + 'static {
        let service = Arc::clone(&self.server.service);
        let in_flight = self.in_flight.clone();
        let peer = self.peer.clone();
        let refusals = self.refusals;
        service_fn(move |request: http::Request<Incoming>| {
            let guard = in_flight.track();
            // a form is whole once it is read
            let (peer, is_whole) = (peer.clone(), request.body().is_end_stream());
            let is_http2 = request.version() == Version::HTTP_2;
            let answer = if is_http2 && head::header_bytes(&request) > MAX_HEAD {
                let refused = HeadRefused::too_large("the headers are over 16 KiB");
                refusals.refused(refused.status, &refused.sentence);
                Err(refused.into_reply())
            } else {
                Ok(http_compat::answer(&service, request, peer.clone()))
            };
            async move {
                // only here: hyper does not run this while the client leaves earlier replies unread
                let answering = is_whole.then(|| peer.connection.answer());
                let reply = match answer {
                    Ok(answer) => answer.await,
                    Err(refused) => refused,
                };
                // a request that is refused before its form is read has none yet
                let answering = answering.unwrap_or_else(|| peer.connection.answer());
                drop((guard, answering));
                Ok(keep_unread(reply, is_http2))
            }
        })
    }

    async fn tls(&self, acceptor: &TlsAcceptor, stream: Metered) {
        self.peer.connection.hold(TLS_BYTES);
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.timeout, acceptor.accept(stream)) => accepted,
            () = self.server.stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(client = %self.peer.address, "TLS: {error}"),
            Err(_) => return debug!(client = %self.peer.address, "TLS: the handshake timed out"),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.peer.connection.hold(KEPT_BYTES);
            // boxed, so that a handshake takes no room for it
            Box::pin(self.http2(stream)).await;
        } else {
            self.http1(stream).await;
        }
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let mut stream = HeadStream::new(stream, self.refusals);
        // before hyper, which takes four times the memory for it
        let head = poll_fn(|cx| stream.poll_head(cx));
        let head = tokio::select! {
            head = tokio::time::timeout(self.timeout, head) => head,
            () = self.server.stop.cancelled() => return,
        };
        match head {
            // boxed, so that a head takes no room for it
            Ok(Ok(true)) => Box::pin(self.http1_after_head(stream)).await,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => debug!(client = %self.peer.address, "HTTP/1: {error}"),
            Err(_) => debug!(client = %self.peer.address, "HTTP/1: the head timed out"),
        }
    }

    async fn http1_after_head(
        &self,
        mut stream: HeadStream<impl AsyncRead + AsyncWrite + Unpin + 'static>,
    ) {
        let mut builder = http1::Builder::new();
        builder
            // `closing` bounds it
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            // `nc -N` and the like close their half with the request and wait for the reply
            .half_close(true);
        loop {
            if stream.pass_many_lines() {
                builder.max_headers(MAX_HEADERS);
            }
            let mut connection = builder.serve_connection(TokioIo::new(stream), self.service());
            let drained = drain(Pin::new(&mut connection), &self.in_flight, self.closing());
            match drained.await {
                Err(error) if error.is_parse() => {
                    return self.refusals.refused(StatusCode::BAD_REQUEST, &error);
                }
                Err(error) => return debug!(client = %self.peer.address, "HTTP/1: {error}"),
                Ok(()) => stream = connection.into_parts().io.into_inner(),
            }
            if !stream.has_many_lines() {
                return;
            }
        }
    }

    async fn http2(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            // h2 itself refuses what is longer, without a text
            .max_header_list_size(u32::try_from(MAX_HEAD * 2).unwrap_or(u32::MAX))
            .keep_alive_interval(self.timeout)
            .keep_alive_timeout(self.timeout)
            .serve_connection(TokioIo::new(stream), self.service());
        if let Err(error) = drain(pin!(connection), &self.in_flight, self.closing()).await {
            debug!(client = %self.peer.address, "HTTP/2: {error}");
        }
    }

    /// Returns once the daemon stops or no request is in flight for too long. It bounds each later
    /// head of HTTP/1, the preface and the heads of HTTP/2, and the writing of a reply.
    async fn closing(&self) {
        tokio::select! {
            () = self.in_flight.idle_for(self.timeout) => {}
            () = self.server.stop.cancelled() => {}
        }
    }
}

/// A client that reads nothing would keep its connection for ever.
fn bound_writing(socket: BorrowedFd<'_>, timeout: Duration) {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    // an error means that the socket is gone already
    let _is_gone = set_tcp_user_timeout(socket, timeout_ms);
}

fn is_clients_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
