//! Requests, as routers send them. In: a URL and what `curl` shall do with it, or the bytes
//! themselves. Out: status, headers and body, with the answer shown whenever an expectation fails.

use crate::process::{Finished, program, run};
use base64::Engine as _;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// A request that `curl` will send.
pub struct Request {
    url: String,
    arguments: Vec<String>,
}

/// A request for this URL.
pub fn get(url: &str) -> Request {
    Request { url: url.to_owned(), arguments: Vec::new() }
}

impl Request {
    /// With Basic credentials, sent at once.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Self {
        self.with(&["-u", &format!("{name}:{password}")])
    }

    /// With a header line.
    #[must_use]
    pub fn header(self, line: &str) -> Self {
        self.with(&["-H", line])
    }

    /// Asks for JSON.
    #[must_use]
    pub fn accept_json(self) -> Self {
        self.header("Accept: application/json")
    }

    /// Further arguments of `curl`.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sends it and reads the reply.
    ///
    /// # Panics
    /// When there is no reply.
    #[track_caller]
    pub fn send(&self) -> Reply {
        let curl = self.curl(30).ok();
        Reply::parse(&curl.stdout).unwrap_or_else(|| panic!("no HTTP reply: {curl}"))
    }

    /// Sends it and hangs up if there is no reply after so many seconds.
    ///
    /// # Panics
    /// When there was a reply.
    #[track_caller]
    pub fn hang_up_after(&self, seconds: u32) {
        // "operation timeout"
        self.curl(seconds).exits(28);
    }

    #[track_caller]
    fn curl(&self, seconds: u32) -> Finished {
        let mut curl = Command::new(program("curl"));
        curl.args(["-q", "-sS", "-g", "-i", "--noproxy", "*", "--max-time", &seconds.to_string()]);
        run(curl.args(&self.arguments).arg(&self.url), "")
    }
}

/// A reply; printed whole when an expectation fails.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: String,
}

impl Reply {
    /// Reads a reply as it went over the wire.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, headers, body: body.to_owned() })
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Status and body must be these, and the body's length must be announced.
    ///
    /// # Panics
    /// When they are not, with the whole reply.
    #[track_caller]
    pub fn is(self, status: u16, body: &str) -> Self {
        assert_eq!((self.status, self.body.as_str()), (status, body), "reply, expected: {self}");
        self.announced()
    }

    /// The status must be this, and the body's length must be announced.
    ///
    /// # Panics
    /// When it is not, with the whole reply.
    #[track_caller]
    pub fn has_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status, expected: {self}");
        self.announced()
    }

    /// Every reply carries Content-Length and is never chunked: old clients break on it.
    #[track_caller]
    fn announced(self) -> Self {
        assert!(self.header("transfer-encoding").is_none(), "it is chunked: {self}");
        let length = self.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let length = length.unwrap_or_else(|| panic!("no Content-Length: {self}"));
        assert!(self.body.is_empty() || length == self.body.len(), "wrong Content-Length: {self}");
        self
    }

    /// `Retry-After`, in seconds.
    ///
    /// # Panics
    /// When it is not there or no number.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        let value = self.header("retry-after").and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no Retry-After in seconds: {self}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in: {self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "HTTP {}", self.status)?;
        self.headers.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))?;
        write!(f, "body: {:?}", self.body)
    }
}

/// Sends bytes as they are and reads until the server closes. Without `Connection: close` or
/// HTTP/1.0 in them, that takes the server's own time-out.
///
/// # Errors
/// Connecting, writing or reading failed, or 30 s went by.
pub fn raw(server: impl ToSocketAddrs, bytes: &[u8]) -> io::Result<String> {
    exchange(TcpStream::connect(server)?, bytes)
}

/// The same, but returns what arrived before the connection broke: a server that refuses a
/// request before it has read all of it makes the kernel reset the connection.
///
/// # Panics
/// When there is no connection.
pub fn raw_got(server: impl ToSocketAddrs, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same, and the client's half of the connection is closed with the last byte.
///
/// # Errors
/// Connecting, writing or reading failed, or 30 s went by.
pub fn raw_half_closed(server: impl ToSocketAddrs, bytes: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    read_all(stream)
}

/// The same from another address of this machine's loopback network.
///
/// # Errors
/// Connecting, writing or reading failed, or 30 s went by.
pub fn raw_from(source: Ipv4Addr, server: &str, bytes: &[u8]) -> io::Result<String> {
    exchange(connect_from(source, server)?, bytes)
}

/// A connection from another address of this machine's loopback network.
///
/// # Errors
/// Connecting failed.
///
/// # Panics
/// When the server's address is no IPv4 address with a port.
pub fn connect_from(source: Ipv4Addr, server: &str) -> io::Result<TcpStream> {
    let server: SocketAddrV4 = server.parse().expect("an IPv4 address with a port");
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
    socket::connect(socket.as_raw_fd(), &SockaddrIn::from(server))?;
    Ok(TcpStream::from(socket))
}

fn exchange(mut stream: TcpStream, bytes: &[u8]) -> io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(bytes)?;
    read_all(stream)
}

/// Everything that the server sends until it closes.
///
/// # Errors
/// Reading failed, or took longer than the stream may.
pub fn read_all(mut stream: TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request written line by line, and closed with its answer: a request line without the version,
/// as `GET /update?hostname=pc.dyn.example`, further header lines, and a body, which is announced
/// if there is one.
pub fn lines(request: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{request} HTTP/1.1\r\nHost: ddns.example\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

/// The header line of Basic credentials.
pub fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// The reply to bytes that are sent as they are; see [`raw`].
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn ask(server: &str, bytes: impl AsRef<[u8]>) -> Reply {
    let bytes = bytes.as_ref();
    let sent = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let text = raw(server, bytes).unwrap_or_else(|error| panic!("{error} after {:?}", sent()));
    Reply::parse(&text).unwrap_or_else(|| panic!("no reply to {:?}: {text:?}", sent()))
}

/// A GET with Basic credentials without starting a program: for many at once. `None` if the
/// connection broke before a whole reply was there.
pub fn quick_get(server: &str, path: &str, user: &str, password: &str) -> Option<Reply> {
    let request = lines(&format!("GET {path}"), &[&basic(user, password)], "");
    whole(&raw(server, request.as_bytes()).ok()?)
}

/// One of more than 64 at once, which one address may not send: each number has another address,
/// in networks of 100.
pub fn quick_get_by(number: usize, server: &str, path: &str, login: (&str, &str)) -> Option<Reply> {
    let byte = |number: usize| u8::try_from(number % 100).unwrap_or(0) + 1;
    let source = Ipv4Addr::new(127, 1, byte(number / 100), byte(number));
    let (user, password) = login;
    let request = lines(&format!("GET {path}"), &[&basic(user, password)], "");
    whole(&raw_from(source, server, request.as_bytes()).ok()?)
}

fn whole(text: &str) -> Option<Reply> {
    let reply = Reply::parse(text)?;
    let is_whole = reply.header("content-length")?.parse() == Ok(reply.body.len());
    is_whole.then_some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_with_its_headers() {
        let reply =
            Reply::parse("HTTP/1.1 401 No\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nx\n");
        let reply = reply.unwrap().is(401, "x\n");
        assert_eq!(reply.retry_after(), 7);
        assert_eq!(reply.header("RETRY-AFTER"), Some("7"));
    }

    #[test]
    #[should_panic(expected = "wrong Content-Length")]
    fn a_wrong_content_length_is_detected() {
        let _ =
            Reply::parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx\n").unwrap().is(200, "x\n");
    }
}
