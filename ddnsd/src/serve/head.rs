//! The head of an HTTP/1 request, examined before hyper sees it: hyper refuses what routers send
//! unescaped, without a text. In: bytes. Out: the head in legal form if it has one plain meaning,
//! and what follows it, or the sentence that refuses it. Pure.

use super::{MAX_HEAD, MAX_HEADERS, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};
use httparse::{Header, Status};
use std::borrow::Cow;
use std::mem::MaybeUninit;

/// What comes before the number of the version.
const VERSION: &[u8] = b" HTTP/1.";
/// Header lines that hyper takes at no cost, without one that is added here.
const FEW_HEADERS: usize = 99;
/// Ends the connection after the reply.
const CLOSE: &[u8] = b"Connection: close\r\n";

/// Why a request is refused before it is understood: one sentence without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeadRefused {
    pub(super) status: StatusCode,
    pub(super) sentence: Cow<'static, str>,
}

impl From<&'static str> for HeadRefused {
    fn from(sentence: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, sentence: sentence.into() }
    }
}

impl HeadRefused {
    fn malformed(error: httparse::Error) -> Self {
        let sentence = format!("the request is malformed: {error}").into();
        Self { status: StatusCode::BAD_REQUEST, sentence }
    }

    pub(super) fn too_large(sentence: &'static str) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, sentence: sentence.into() }
    }

    pub(super) fn cut() -> Self {
        "the connection ended within the head of the request".into()
    }

    /// The reply of hyper.
    pub(super) fn into_reply(self) -> Response {
        let mut reply = Response::new(format!("{}\n", self.sentence).into());
        *reply.status_mut() = self.status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        reply.headers_mut().insert(CONTENT_TYPE, text);
        reply
    }

    /// The reply in HTTP/1 as it is sent.
    pub(super) fn reply(&self) -> Bytes {
        let Self { status, sentence } = self;
        let length = sentence.len() + 1;
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{sentence}\n"
        );
        reply.into()
    }
}

/// The size of a head in HTTP/2 as RFC 9113, 6.5.2 counts it.
pub(super) fn header_bytes<B>(request: &Request<B>) -> usize {
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    fields.sum::<usize>() + target
}

/// What bytes of a client are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// The head has no end yet.
    Incomplete,
    /// A head of so many bytes.
    Head { length: usize, head: Head },
    /// The preface of HTTP/2, whose clients understand no reply in HTTP/1. hyper closes it.
    Http2,
}

/// A head that hyper takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// `None` if it is legal as it came.
    pub(super) legal: Option<Vec<u8>>,
    /// Bytes of the body; `None` if it is chunked. Then the connection ends with the reply.
    pub(super) body: Option<u64>,
    /// More than hyper takes by default.
    pub(super) has_many_lines: bool,
}

/// Examines what came, of which `seen` bytes were [`Examined::Incomplete`]. Empty lines before it
/// have been left out.
///
/// # Errors
/// hyper would refuse it.
pub(super) fn examine(received: &[u8], seen: usize) -> Result<Examined, HeadRefused> {
    if let Some(refused) = other_protocol(received) {
        return Err(refused);
    }
    if received.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Ok(Examined::Http2);
    }
    if seen == 0
        && let Some(whole) = as_it_came(received)
    {
        return Ok(whole);
    }
    let length = length(received, seen);
    if length.unwrap_or(received.len()) > MAX_HEAD {
        return Err(too_long(received));
    }
    let Some((head, _)) = length.and_then(|length| received.split_at_checked(length)) else {
        return Ok(Examined::Incomplete);
    };
    Ok(Examined::Head { length: head.len(), head: legal_head(head)? })
}

/// A head that is whole and legal as it came, as nearly every one is. What this leaves to the rest
/// of [`examine`] costs more, and has the same result.
fn as_it_came(received: &[u8]) -> Option<Examined> {
    let parsed = parse(received).ok()?;
    let is_legal = parsed.is_plain && parsed.body.is_some() && parsed.length <= MAX_HEAD;
    let ParsedHead { body, has_many_lines, .. } = parsed;
    let head = Head { legal: None, body, has_many_lines };
    is_legal.then_some(Examined::Head { length: parsed.length, head })
}

/// Where the first line begins, or the end of many empty lines; `None` while there are only few of
/// them. hyper skips them, too.
pub(super) fn start(received: &[u8]) -> Option<usize> {
    // version 2 of the PROXY protocol begins with empty lines
    if PROXY_2.starts_with(received) || received.starts_with(PROXY_2) {
        return (received.len() >= PROXY_2.len()).then_some(0);
    }
    let first = received.iter().position(|byte| !b"\r\n".contains(byte));
    // empty lines without an end are not kept
    first.or_else(|| (received.len() > PROXY_2.len()).then_some(received.len()))
}

/// The start of version 2 of the PROXY protocol.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes up to the end of the empty line.
fn length(received: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(2);
    let mut line_ends = received.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n');
    line_ends.find_map(|(at, _)| match received.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

fn too_long(received: &[u8]) -> HeadRefused {
    if received.iter().take(MAX_HEAD).any(|byte| *byte == b'\n') {
        return HeadRefused::too_large("the head of the request is over 16 KiB");
    }
    let sentence = "the first line of the request is over 16 KiB".into();
    HeadRefused { status: StatusCode::URI_TOO_LONG, sentence }
}

fn other_protocol(received: &[u8]) -> Option<HeadRefused> {
    // RFC 8446, 5.1: a handshake record of any version
    if received.starts_with(&[0x16, 0x03]) {
        return Some("this port takes plain HTTP, but TLS was sent".into());
    }
    if received.starts_with(b"PROXY ") || received.starts_with(PROXY_2) {
        return Some("the PROXY protocol is not known; let the proxy send X-Forwarded-For".into());
    }
    let is_http = received.first().is_none_or(u8::is_ascii_graphic);
    (!is_http).then(|| "the request is malformed: it does not begin with a method".into())
}

fn legal_head(head: &[u8]) -> Result<Head, HeadRefused> {
    let mut legal = in_legal_form(head);
    if legal.len() > MAX_HEAD {
        return Err(HeadRefused::too_large("the head of the request, escaped, is over 16 KiB"));
    }
    let ParsedHead { body, has_many_lines, .. } = parse(&legal)?;
    if body.is_none() {
        let head = legal.to_mut();
        let line_end = head.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        head.splice(line_end..line_end, CLOSE.iter().copied());
    }
    let legal = match legal {
        Cow::Borrowed(_) => None,
        Cow::Owned(legal) => Some(legal),
    };
    Ok(Head { legal, body, has_many_lines })
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

/// What is read of a head that hyper takes.
struct ParsedHead {
    length: usize,
    /// As [`Head::body`].
    body: Option<u64>,
    /// As [`Head::has_many_lines`].
    has_many_lines: bool,
    /// Whether the target is an escaped path.
    is_plain: bool,
}

/// Checks what hyper refuses without a text. What is framed in two ways is refused: a proxy in
/// front may read it otherwise.
fn parse(head: &[u8]) -> Result<ParsedHead, HeadRefused> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(head, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Err("the request is malformed: its head is cut".into()),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HeadRefused::too_large("the head of the request has over 256 lines"));
        }
        Err(error) => return Err(HeadRefused::malformed(error)),
    };
    let target = request.path.unwrap_or_default();
    let is_plain = is_plain(target);
    if !is_plain && Uri::try_from(target).is_err() {
        return Err("the target is no path (did the client escape the whole URL?)".into());
    }
    let body = body_length(&request)?;
    let has_many_lines = request.headers.len() > FEW_HEADERS;
    Ok(ParsedHead { length, body, has_many_lines, is_plain })
}

/// Whether a target is a path, perhaps with a query, of characters that RFC 3986 allows in them.
fn is_plain(target: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'$' | b'%'..=b'/' | b':' | b';' | b'=' | b'?' | b'@')
            || matches!(byte, b'_' | b'~')
    };
    target.starts_with('/') && target.bytes().all(is_allowed)
}

fn body_length(request: &httparse::Request<'_, '_>) -> Result<Option<u64>, HeadRefused> {
    let length = content_length(request.headers)?;
    let mut encodings = values(request.headers, "transfer-encoding").peekable();
    if encodings.peek().is_none() {
        return Ok(Some(length.unwrap_or(0)));
    }
    let last = encodings.last().and_then(|value| value.rsplit(|byte| *byte == b',').next());
    let is_chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if !is_chunked || request.version != Some(1) || length.is_some() {
        return Err("the request is malformed: Transfer-Encoding leaves its length open".into());
    }
    Ok(None)
}

fn content_length(fields: &[Header<'_>]) -> Result<Option<u64>, HeadRefused> {
    let mut length = None;
    for value in values(fields, "content-length") {
        let digits =
            str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let Some(parsed) = digits.and_then(|digits| digits.parse().ok()) else {
            return Err("the request is malformed: Content-Length is no number of bytes".into());
        };
        if length.is_some_and(|length| length != parsed) {
            return Err("the request is malformed: there are two lengths".into());
        }
        length = Some(parsed);
    }
    Ok(length)
}

fn values<'a>(fields: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(bytes: &[u8]) -> Head {
        match examine(bytes, 0) {
            Ok(Examined::Head { head, .. }) => head,
            other => panic!("{other:?}"),
        }
    }

    fn text(bytes: &str) -> String {
        let legal = head(bytes.as_bytes()).legal.expect("another form");
        String::from_utf8(legal).unwrap()
    }

    #[track_caller]
    fn refused(bytes: &[u8]) -> (u16, String) {
        let HeadRefused { status, sentence } = examine(bytes, 0).unwrap_err();
        (status.as_u16(), sentence.into_owned())
    }

    #[test]
    fn raw_characters_of_the_target_are_escaped() {
        for (target, escaped) in [
            ("/update?a=<ip6lanprefix>", "/update?a=%3Cip6lanprefix%3E"),
            ("/update?a=\"b\"&c=d e", "/update?a=%22b%22&c=d%20e"),
            ("/u HTTP/1.1 x", "/u%20HTTP/1.1%20x"),
        ] {
            let head = |target| format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n");
            assert_eq!(text(&(head(target) + "body <\"> ")), head(escaped));
        }
    }

    #[test]
    fn a_folded_header_line_is_unfolded() {
        let folded = "POST / HTTP/1.1\r\nA: b\r\n\tc\nD: e\n f\n\r\n x";
        assert_eq!(text(folded), "POST / HTTP/1.1\r\nA: b  \tc\nD: e  f\n\r\n");
    }

    #[test]
    fn a_legal_head_is_left_as_it_is() {
        for legal in ["OPTIONS * HTTP/1.1\n\n", "GET example.org HTTP/1.1\r\n\r\nx"] {
            let expected = Head { legal: None, body: Some(0), has_many_lines: false };
            assert_eq!(head(legal.as_bytes()), expected, "{legal}");
        }
    }

    #[test]
    fn the_length_of_a_body_is_known_or_the_connection_ends_with_the_reply() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n");
        let body = |fields: &str| head(post(fields).as_bytes()).body;
        assert_eq!(body("Content-Length: 12\r\ncontent-length: 12\r\n"), Some(12));
        assert_eq!(body("Host: x\r\n"), Some(0));
        assert_eq!(body("Transfer-Encoding: gzip, Chunked\r\n"), None);
        let chunked = text(&post("Transfer-Encoding: chunked\r\n"));
        let expected = "POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(chunked, expected);
    }

    /// Pieces of heads, legal and not.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "/a?b=%3c",
            "*",
            "x",
            "<",
            "#",
            "{",
            "|",
            "\\",
            "[",
            "é",
            " ",
            "\t",
            " HTTP/1.1",
            " HTTP/1.0",
            " HTTP/1.2",
            "\r",
            "\n",
            "\r\n",
            "\r\n\r\n",
            "\n\n",
            "Host: x",
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
            ":",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn a_head_that_comes_whole_is_read_as_one_that_comes_in_parts(
            start in prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "GET /a b HTTP/1.1\r\n"]),
            mut rest in pieces(),
        ) {
            let mut bytes = start.as_bytes().to_vec();
            bytes.append(&mut rest);
            // of a head that has begun nothing is read twice
            prop_assert_eq!(examine(&bytes, 0), examine(&bytes, 1), "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_head_that_comes_in_parts_is_incomplete_until_its_end() {
        let whole = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
        for length in 0..whole.len() {
            let (part, seen) = (&whole[..length], length.saturating_sub(1));
            assert_eq!(examine(part, seen), Ok(Examined::Incomplete), "{length}");
        }
        let Ok(Examined::Head { length, .. }) = examine(whole, whole.len() - 1) else { panic!() };
        assert_eq!(length, whole.len());
        assert_eq!(
            (start(b"\r\n\r\n"), start(b"\r\n\nGET"), start(PROXY_2)),
            (None, Some(3), Some(0))
        );
        assert_eq!(start(&b"\r\n".repeat(100)), Some(200), "they are not kept");
    }

    #[test]
    fn what_hyper_would_refuse_is_refused_with_the_reason() {
        for (head, why) in [
            (&b"GET %2fnic%2fupdate%3fa=b HTTP/1.1\r\n\r\n"[..], "the target is no path (did"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n", "the PROXY protocol"),
            (PROXY_2, "the PROXY protocol"),
            (b"\x16\x03\x01\x02\0\x01", "this port takes plain HTTP, but TLS was sent"),
            (b"GET / HTTP/3.0\r\n\r\n", "the request is malformed: "),
            (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", "the request is malformed: "),
            (b"rubbish\r\n\r\n", "the request is malformed: "),
            (b"\0", "the request is malformed: it does not begin"),
            (b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "the request is malformed: Content"),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "the request is malformed: Tr"),
            (
                b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "the request is malformed: Tr",
            ),
        ] {
            let (status, sentence) = refused(head);
            assert!(status == 400 && sentence.starts_with(why), "{status} {sentence:?}");
        }
        let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(refused(lines.as_bytes()).0, 431);
        assert_eq!(
            refused(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MAX_HEAD)).as_bytes()).0,
            431
        );
        assert_eq!(refused(format!("GET /{}", "x".repeat(MAX_HEAD)).as_bytes()).0, 414);
        assert_eq!(
            refused(format!("GET /?{} HTTP/1.1\r\n\r\n", "<".repeat(6000)).as_bytes()).0,
            431
        );
    }
}
