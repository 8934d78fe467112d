//! What hyper reads of an HTTP/1 connection. In: the bytes of the client. Out: the same, with each
//! head in legal form; after a head that is refused, the end of the stream. hyper then completes
//! the replies that are due and shuts the stream down, which sends the refusal first.

use super::head::{Examined, Head, HeadRefused, examine, start};
use super::refusal_log::RefusalLog;
use bytes::{Buf as _, Bytes, BytesMut};
use std::io::{Error, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes of one read: nearly every head fits.
const CHUNK: usize = 2 * 1024;
/// What is read after a refusal. A connection that is closed with unread bytes is reset, and the
/// reply may be lost.
const MAX_UNREAD: usize = 128 * 1024;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is read head by head.
pub(super) struct HeadStream<S> {
    stream: S,
    log: RefusalLog,
    /// Not examined.
    received: BytesMut,
    /// Of the current head or body, for hyper.
    passed: Bytes,
    part: StreamPart,
    /// Whether hyper takes heads of many lines here.
    takes_many_lines: bool,
}

/// What comes next.
enum StreamPart {
    /// A head, of which so many bytes were incomplete.
    Head(usize),
    /// So many bytes of a body.
    Body(u64),
    /// All that comes is for hyper to judge.
    Rest,
    /// A head of more lines than hyper takes here, which is passed after the end of the stream for
    /// this hyper; then a body as in [`Head::body`].
    ManyLines(Option<u64>),
    /// Nothing: the head was refused.
    Refused(Box<RefusalReply>),
}

struct RefusalReply {
    reply: Bytes,
    unread: usize,
    /// Begins with the end of the reply.
    unread_timeout: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> HeadStream<S> {
    pub(super) fn new(stream: S, log: RefusalLog) -> Self {
        let part = StreamPart::Head(0);
        let (received, passed) = Default::default();
        Self { stream, log, received, passed, part, takes_many_lines: false }
    }

    /// Whether a head of many lines waits for a hyper that takes it.
    pub(super) fn has_many_lines(&self) -> bool {
        matches!(self.part, StreamPart::ManyLines(_))
    }

    /// As [`Self::has_many_lines`]. From now on such heads are passed.
    pub(super) fn pass_many_lines(&mut self) -> bool {
        let StreamPart::ManyLines(body) = self.part else { return false };
        self.takes_many_lines = true;
        self.part = body.map_or(StreamPart::Rest, StreamPart::Body);
        true
    }

    /// Reads on until a head is complete or refused. Returns whether there is one.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        while let StreamPart::Head(seen) = self.part {
            if let Some(start) = start(&self.received) {
                self.received.advance(start);
                self.examine(seen);
            }
            if matches!(self.part, StreamPart::Head(_)) && ready!(self.poll_fill(cx))? == 0 {
                if start(&self.received).is_none() {
                    return Poll::Ready(Ok(false));
                }
                self.refuse(&HeadRefused::cut());
            }
        }
        Poll::Ready(Ok(true))
    }

    fn examine(&mut self, seen: usize) {
        match examine(&self.received, seen) {
            Ok(Examined::Incomplete) => self.part = StreamPart::Head(self.received.len()),
            Ok(Examined::Http2) => self.part = StreamPart::Rest,
            Ok(Examined::Head { length, head }) => {
                let received = self.take(length);
                self.passed = head.legal.map_or(received, Bytes::from);
                self.part = match head.body {
                    body if head.has_many_lines && !self.takes_many_lines => {
                        StreamPart::ManyLines(body)
                    }
                    Some(length) => StreamPart::Body(length),
                    None => StreamPart::Rest,
                };
            }
            Err(refused) => self.refuse(&refused),
        }
    }

    fn refuse(&mut self, refused: &HeadRefused) {
        self.log.refused(refused.status, &refused.sentence);
        self.received = BytesMut::new();
        let reply = refused.reply();
        let refusal = RefusalReply { reply, unread: MAX_UNREAD, unread_timeout: None };
        self.part = StreamPart::Refused(Box::new(refusal));
    }

    /// Reads a head into hyper's own buffer: nearly every one comes whole, alone and in legal form,
    /// and is copied no more. Returns whether hyper may take what came, or the end.
    fn poll_head_into(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<bool, Error>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if let Ok(Examined::Head { length, head }) = examine(read, 0)
            && let Head { legal: None, body: Some(body), has_many_lines: false } = head
            && length == read.len()
        {
            self.part = StreamPart::Body(body);
            return Poll::Ready(Ok(true));
        }
        self.received.extend_from_slice(read);
        buf.set_filled(before);
        Poll::Ready(Ok(false))
    }

    /// Reads what is there.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
        let mut read = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.received.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// The next bytes. An idle connection keeps no buffer.
    fn take(&mut self, length: usize) -> Bytes {
        let taken = self.received.split_to(length.min(self.received.len())).freeze();
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        taken
    }

    fn pass(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.passed.len().min(buf.remaining());
        buf.put_slice(&self.passed.split_to(length));
        if self.passed.is_empty() {
            self.passed = Bytes::new();
        }
    }

    /// Sends the refusal, and reads what the client had sent before it knew.
    fn poll_refuse(
        stream: &mut S,
        refusal: &mut RefusalReply,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut stream = Pin::new(stream);
        while !refusal.reply.is_empty() {
            let written = ready!(stream.as_mut().poll_write(cx, &refusal.reply))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            refusal.reply.advance(written);
        }
        let timeout = match &mut refusal.unread_timeout {
            Some(timeout) => timeout,
            none => {
                ready!(stream.as_mut().poll_shutdown(cx))?;
                none.insert(Box::pin(tokio::time::sleep(UNREAD_TIMEOUT)))
            }
        };
        let mut chunk = [0; CHUNK];
        while refusal.unread > 0 && timeout.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut chunk);
            ready!(stream.as_mut().poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            refusal.unread = refusal.unread.saturating_sub(read.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HeadStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        while this.passed.is_empty() || matches!(this.part, StreamPart::ManyLines(_)) {
            match this.part {
                StreamPart::Head(0) if this.received.is_empty() => {
                    if ready!(this.poll_head_into(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                StreamPart::Head(_) => {
                    if !ready!(this.poll_head(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                StreamPart::Body(0) => {
                    this.part = StreamPart::Head(0);
                    if !this.received.is_empty() {
                        // requests that come together are answered in turn with other connections
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                StreamPart::Body(left) => {
                    if this.received.is_empty() && ready!(this.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    this.passed = this.take(usize::try_from(left).unwrap_or(usize::MAX));
                    let passed = u64::try_from(this.passed.len()).unwrap_or(u64::MAX);
                    this.part = StreamPart::Body(left.saturating_sub(passed));
                }
                StreamPart::Rest if this.received.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buf);
                }
                StreamPart::Rest => this.passed = this.take(usize::MAX),
                StreamPart::Refused(_) | StreamPart::ManyLines(_) => return Poll::Ready(Ok(())),
            }
        }
        this.pass(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HeadStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        match &mut this.part {
            StreamPart::Refused(refusal) => Self::poll_refuse(&mut this.stream, refusal, cx),
            StreamPart::ManyLines(_) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut this.stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    /// What hyper reads of bytes that come in parts of this size, and what the client gets when
    /// hyper shuts the stream down.
    async fn read(bytes: &[u8], size: usize) -> (String, String) {
        let (mut client, server) = duplex(64 * 1024);
        let mut stream = HeadStream::new(server, RefusalLog::silent());
        let sent = async {
            for part in bytes.chunks(size) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            let mut reply = String::new();
            client.read_to_string(&mut reply).await.unwrap();
            reply
        };
        let read = async {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            text
        };
        let (reply, text) = tokio::join!(sent, read);
        (text, reply)
    }

    #[tokio::test]
    async fn every_head_is_examined_and_no_body_is() {
        let post = "POST /?<> HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /<> HTTP/1.1\r\n";
        let get = "\r\nGET /?<> HTTP/1.1\r\n\r\n";
        let refused = "GET / HTTP/9.9\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let bytes = [post, get, refused].concat();
        let legal = [&post.replacen("<>", "%3C%3E", 1), &get[2..].replace("<>", "%3C%3E")];
        for size in [1, 2, 3, 7, 1000] {
            let (text, reply) = read(bytes.as_bytes(), size).await;
            assert_eq!(text, legal.map(String::as_str).concat(), "{size}");
            assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{size}: {reply}");
            assert!(reply.ends_with("\r\n\r\nthe request is malformed: invalid HTTP version\n"));
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_a_head_gets_a_reply_and_an_idle_one_none() {
        let (text, reply) = read(b"GET / HTTP/1.1\r\nA: b", 1000).await;
        assert_eq!(text, "");
        assert!(reply.ends_with("\nthe connection ended within the head of the request\n"));
        for quiet in ["", "\r\n", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (text, reply) = read(quiet.as_bytes(), 1000).await;
            assert_eq!((text.as_str(), reply.as_str()), (quiet.trim_start(), ""));
        }
    }
}
