//! A connection to a mail server that reads a bounded number of bytes after each command. lettre
//! bounds a line of a reply only after its end has come, and after each line it reads the reply
//! again from its start.

use lettre::transport::smtp::client::AsyncTokioStream;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Of a reply. What is encrypted has a line feed in every 256 bytes or so.
const MAX_LINES: usize = 128;

#[derive(Debug)]
pub(super) struct BoundedStream {
    stream: TcpStream,
    /// Bytes that it reads after each write.
    max_bytes: usize,
    /// Bytes that it still reads before the next write.
    left: usize,
    /// Line feeds likewise: lettre's time grows with the square of their number.
    lines_left: usize,
    /// The session will be encrypted. Reads one byte at a time, so that lettre has read nothing
    /// beyond the reply to STARTTLS. Otherwise it would take what a third party adds to that reply,
    /// unencrypted, for the first replies of the encrypted session (RFC 3207, 6).
    is_byte_by_byte: bool,
}

impl BoundedStream {
    pub(super) fn new(stream: TcpStream, max_bytes: usize, is_byte_by_byte: bool) -> Self {
        Self { stream, max_bytes, left: max_bytes, lines_left: MAX_LINES, is_byte_by_byte }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.left == 0 || self.lines_left == 0 {
            let what = "the server sent more than any reply holds";
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, what)));
        }
        let mut chunk = [0; 4096];
        let max = if self.is_byte_by_byte { 1 } else { self.left };
        let max = max.min(buffer.remaining()).min(chunk.len());
        let mut part = ReadBuf::new(chunk.get_mut(..max).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled_mut();
        self.left -= read.len();
        let lines = read.split(|byte| *byte == b'\n').count() - 1;
        self.lines_left = self.lines_left.saturating_sub(lines);
        if !self.is_byte_by_byte {
            // some servers reply in Latin-1, which lettre takes for a failed connection
            read.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        buffer.put_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.left = self.max_bytes;
        self.lines_left = MAX_LINES;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for BoundedStream {
    fn peer_addr(&self) -> Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn sent(text: &[u8], max_bytes: usize, is_byte_by_byte: bool) -> BoundedStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(text).await.unwrap();
        BoundedStream::new(stream, max_bytes, is_byte_by_byte)
    }

    #[tokio::test]
    async fn no_byte_after_the_last_allowed_one_is_read() {
        let mut stream = sent(b"220 x\r\nmore", 7, false).await;
        let mut text = Vec::new();
        let error = stream.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(
            (error.kind(), text.as_slice()),
            (ErrorKind::InvalidData, b"220 x\r\n".as_slice())
        );
        stream.write_all(b"EHLO x\r\n").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4, "the next reply");
    }

    #[tokio::test]
    async fn a_reply_of_too_many_lines_ends_and_one_in_latin_1_is_readable() {
        let mut stream = sent(&b"220-x\r\n".repeat(200), 10_000, false).await;
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut stream = sent(b"550 Empf\xe4nger\r\n", 10_000, false).await;
        let mut buffer = [0; 64];
        let length = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"550 Empf?nger\r\n");
    }

    #[tokio::test]
    async fn nothing_beyond_a_line_is_taken_before_tls() {
        let mut stream = sent(b"220 go\r\n250 injected\r\n", 100, true).await;
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        let mut line = tokio::io::BufReader::new(&mut stream);
        let mut text = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut line, &mut text).await.unwrap();
        assert_eq!(text, "20 go\r\n");
        assert_eq!(line.buffer(), b"");
    }
}
