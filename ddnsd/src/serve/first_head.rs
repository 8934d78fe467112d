//! The first head of an HTTP/1 connection, read before hyper sees it: hyper refuses what routers
//! send unescaped, without a word. In: bytes. Out: the same bytes in legal form if they have one
//! plain meaning, or the sentence that refuses them. Later heads of a connection are hyper's.

use super::MAX_HEADERS;
use http::Uri;
use std::borrow::Cow;
use std::io::Error;
use std::mem::MaybeUninit;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What comes before the number of the version.
const VERSION: &[u8] = b" HTTP/1.";
/// Bytes of one read: nearly every head fits.
const CHUNK: usize = 2 * 1024;

/// Why a head is refused: one sentence without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeadRefused(pub(super) Cow<'static, str>);

impl From<&'static str> for HeadRefused {
    fn from(sentence: &'static str) -> Self {
        Self(sentence.into())
    }
}

/// Reads until the head is complete, `max` bytes are there, or the client sends no more.
///
/// # Errors
/// The connection failed.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<Vec<u8>, Error> {
    let mut head = Vec::with_capacity(CHUNK);
    while !is_enough(&head) && head.len() < max {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// Whether its empty line is there, or it is another protocol.
fn is_enough(head: &[u8]) -> bool {
    other_protocol(head).is_some() || length(head).is_some()
}

/// Bytes up to the end of the empty line.
fn length(head: &[u8]) -> Option<usize> {
    let after =
        |mark: &[u8]| Some(head.windows(mark.len()).position(|at| at == mark)? + mark.len());
    after(b"\n\r\n").into_iter().chain(after(b"\n\n")).min()
}

fn other_protocol(head: &[u8]) -> Option<HeadRefused> {
    // RFC 8446, 5.1: a handshake record of any version
    if head.starts_with(&[0x16, 0x03]) {
        return Some("this port takes plain HTTP, but TLS was sent".into());
    }
    let is_proxy = head.starts_with(b"PROXY ") || head.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
    is_proxy.then(|| "the PROXY protocol is not known; let the proxy send X-Forwarded-For".into())
}

/// The head as hyper takes it, with whatever follows it.
///
/// # Errors
/// hyper would refuse it.
pub(super) fn repaired(bytes: Vec<u8>) -> Result<Vec<u8>, HeadRefused> {
    if let Some(refused) = other_protocol(&bytes) {
        return Err(refused);
    }
    // a client of HTTP/2 would not understand an answer
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Ok(bytes);
    }
    // too long or cut: hyper answers
    let Some((head, rest)) = length(&bytes).and_then(|end| bytes.split_at_checked(end)) else {
        return Ok(bytes);
    };
    let bytes = match in_legal_form(head) {
        Cow::Borrowed(_) => bytes,
        Cow::Owned(mut head) => {
            head.extend_from_slice(rest);
            head
        }
    };
    check(&bytes)?;
    Ok(bytes)
}

/// Escapes what is raw in the request's target, and unfolds header lines (RFC 9112, 5.2).
fn in_legal_form(head: &[u8]) -> Cow<'_, [u8]> {
    let line_end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let (line, fields) = head.split_at_checked(line_end).unwrap_or((head, &[]));
    let is_fold = |at: &[u8]| at.first() == Some(&b'\n') && is_blank(at.get(1));
    let is_folded = fields.windows(2).any(is_fold);
    let target = target(line).filter(|(_, target, _)| target.iter().copied().any(is_raw));
    if target.is_none() && !is_folded {
        return Cow::Borrowed(head);
    }
    let mut legal = Vec::with_capacity(head.len() + line.len() * 2);
    match target {
        None => legal.extend_from_slice(line),
        Some((method, target, version)) => {
            legal.extend_from_slice(method);
            for byte in target {
                if is_raw(*byte) {
                    legal.extend_from_slice(format!("%{byte:02X}").as_bytes());
                } else {
                    legal.push(*byte);
                }
            }
            legal.extend_from_slice(version);
        }
    }
    for (at, byte) in fields.iter().enumerate() {
        let next = if *byte == b'\r' { fields.get(at + 2) } else { fields.get(at + 1) };
        let is_line_end = *byte == b'\n' || fields.get(at..at + 2) == Some(b"\r\n");
        legal.push(if at > 0 && is_line_end && is_blank(next) { b' ' } else { *byte });
    }
    Cow::Owned(legal)
}

/// The method with its space, the target, and the version with its space.
fn target(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let start = line.iter().position(|byte| *byte == b' ')? + 1;
    let end = line.windows(VERSION.len()).rposition(|at| at == VERSION)?;
    let (line, version) = line.split_at_checked(end)?;
    let (method, target) = line.split_at_checked(start)?;
    Some((method, target, version))
}

fn is_raw(byte: u8) -> bool {
    b" \"<>".contains(&byte)
}

fn is_blank(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t'))
}

/// What hyper checks without a word to the client.
fn check(head: &[u8]) -> Result<(), HeadRefused> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut fields) {
        // hyper answers
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Ok(()),
        Ok(httparse::Status::Complete(_)) => {}
        Err(error) => return Err(HeadRefused(format!("the request is malformed: {error}").into())),
    }
    match request.path.map(Uri::try_from) {
        Some(Err(error)) => Err(HeadRefused(format!("the target is no path: {error}").into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &str) -> String {
        String::from_utf8(repaired(head.into()).unwrap()).unwrap()
    }

    fn refused(head: &[u8]) -> String {
        repaired(head.to_vec()).unwrap_err().0.into_owned()
    }

    #[test]
    fn raw_characters_of_the_target_are_escaped() {
        for (target, escaped) in [
            ("/update?a=<ip6lanprefix>", "/update?a=%3Cip6lanprefix%3E"),
            ("/update?a=\"b\"&c=d e", "/update?a=%22b%22&c=d%20e"),
            ("/u HTTP/1.1 x", "/u%20HTTP/1.1%20x"),
        ] {
            let head = |target| format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\nbody <\"> ");
            assert_eq!(text(&head(target)), head(escaped));
        }
    }

    #[test]
    fn a_folded_header_line_is_unfolded() {
        let folded = "POST / HTTP/1.1\r\nA: b\r\n\tc\nD: e\n f\n\r\n x";
        assert_eq!(text(folded), "POST / HTTP/1.1\r\nA: b  \tc\nD: e  f\n\r\n x");
    }

    #[test]
    fn a_legal_cut_or_long_head_is_left_as_it_is() {
        let long = format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(MAX_HEADERS + 1));
        for head in ["GET /?a=<b> HTTP/1.1\r\nA: b\r\n", "OPTIONS * HTTP/1.1\n\n", &long, ""] {
            assert_eq!(text(head), head);
        }
        assert_eq!(text("GET example.org HTTP/1.1\r\n\r\nx"), "GET example.org HTTP/1.1\r\n\r\nx");
    }

    #[test]
    fn what_hyper_would_refuse_is_refused_with_the_reason() {
        for (head, why) in [
            (&b"GET %2fnic%2fupdate%3fa=b HTTP/1.1\r\n\r\n"[..], "the target is no path: "),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n", "the PROXY protocol"),
            (b"\x16\x03\x01\x02\0\x01", "this port takes plain HTTP, but TLS was sent"),
            (b"GET / HTTP/3.0\r\n\r\n", "the request is malformed: "),
            (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", "the request is malformed: "),
            (b"rubbish\r\n\r\n", "the request is malformed: "),
        ] {
            assert!(refused(head).starts_with(why), "{:?}", refused(head));
        }
    }
}
