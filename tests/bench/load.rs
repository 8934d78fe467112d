//! HTTP clients on one thread: each sends its next request as soon as the last one is answered. In:
//! a server, how many clients, what they send. Out: how many replies came, and how long each took.

use crate::request::{MakeRequest, Prepared};
use rustls_pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

/// Longest wait for the replies that are missing when the time is over.
const LAST_REPLIES: Duration = Duration::from_secs(20);

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) tls: Option<TlsConnector>,
}

/// What the clients do.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) clients: u32,
    /// One connection for all requests of a client, or a new one for each.
    pub(crate) kept: bool,
    pub(crate) time: Duration,
    /// How a reply's body may begin.
    pub(crate) expected: &'static [&'static str],
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// How long each took, unsorted.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) took: Duration,
}

impl Replies {
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds, of a part such as 0.99 of the replies.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = (sorted.len().saturating_sub(1) as f64 * part) as usize;
        sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Runs clients to their end, all on this thread.
///
/// # Panics
/// A reply is missing, or is not as expected.
pub(crate) fn run<T>(clients: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), clients)
}

/// Runs one plan.
///
/// # Panics
/// As [`run`].
pub(crate) fn drive(plan: &Plan, requests: &MakeRequest) -> Replies {
    run(replies(plan.clone(), requests.clone()))
}

/// The clients of a plan.
pub(crate) async fn replies(plan: Plan, requests: MakeRequest) -> Replies {
    let start = Instant::now();
    let clients: Vec<_> = (0..plan.clients)
        .map(|_| tokio::task::spawn_local(client(plan.clone(), requests.clone(), start)))
        .collect();
    let mut replies = Replies::default();
    for client in clients {
        let ended = tokio::time::timeout(plan.time + LAST_REPLIES, client).await;
        let ended = ended.expect("a reply in time").expect("a client");
        replies.latencies.extend(ended.unwrap_or_else(|why| panic!("{why}")));
    }
    replies.took = start.elapsed();
    replies
}

async fn client(
    plan: Plan,
    requests: MakeRequest,
    start: Instant,
) -> Result<Vec<Duration>, String> {
    let mut latencies = Vec::with_capacity(1 << 12);
    let mut open = None;
    let mut buffer = Vec::with_capacity(4096);
    while start.elapsed() < plan.time {
        let Some(request) = requests.next() else { break };
        let sent = Instant::now();
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => connect(&plan.server, request.source).await?,
        };
        exchange(&mut stream, &request, &mut buffer, plan.expected).await?;
        latencies.push(sent.elapsed());
        if plan.kept {
            open = Some(stream);
        }
    }
    Ok(latencies)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn connect(server: &Server, source: Ipv4Addr) -> Result<Stream, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let opened = async {
        let socket = TcpSocket::new_v4()?;
        if !source.is_unspecified() {
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(match &server.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Stream::Tls(Box::new(tls.connect(name, stream).await?))
            }
        })
    };
    opened.await.map_err(|error: std::io::Error| format!("no connection to {address}: {error}"))
}

async fn exchange(
    stream: &mut Stream,
    request: &Prepared,
    buffer: &mut Vec<u8>,
    expected: &[&str],
) -> Result<(), String> {
    let body = match stream {
        Stream::Plain(stream) => round_trip(stream, &request.bytes, buffer).await,
        Stream::Tls(stream) => round_trip(stream, &request.bytes, buffer).await,
    };
    let body = body.map_err(|error| format!("no reply: {error}"))?;
    if expected.iter().any(|word| body.starts_with(word.as_bytes())) {
        return Ok(());
    }
    let got = String::from_utf8_lossy(buffer);
    let sent = String::from_utf8_lossy(&request.bytes);
    let sent = sent.lines().next().unwrap_or_default();
    Err(format!("the reply to {sent:?} is not {expected:?} but {got:?}"))
}

/// Sends a request and returns the body of its reply.
async fn round_trip<'a>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    buffer: &'a mut Vec<u8>,
) -> std::io::Result<&'a [u8]> {
    stream.write_all(request).await?;
    stream.flush().await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((head, whole)) = complete(buffer) {
            return Ok(&buffer[head..whole]);
        }
    }
}

/// Where the body begins and ends, once all of it is there.
fn complete(reply: &[u8]) -> Option<(usize, usize)> {
    let head = reply.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines = reply[..head].split(|octet| *octet == b'\n');
    let length = lines.rev().find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        let value = name.eq_ignore_ascii_case(b"content-length:").then_some(value)?;
        std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()
    });
    let whole = head + length?;
    (reply.len() >= whole).then_some((head, whole))
}
