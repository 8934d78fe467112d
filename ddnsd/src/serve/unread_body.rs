//! A reply to a request whose body was not read to its end. In HTTP/2 hyper resets the stream when
//! the body is dropped, and discards what was not sent of the reply. So the reply keeps the body.

use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// An extension of a reply: what is left of the body of its request.
#[derive(Clone)]
pub struct UnreadBody(#[expect(dead_code, reason = "only its drop matters")] Arc<Mutex<dyn Send>>);

impl UnreadBody {
    pub fn new(body: impl Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }
}

/// The body of a reply, and what is dropped after it.
pub(super) struct ReplyBody<B> {
    body: B,
    _unread: Option<UnreadBody>,
}

/// Makes the reply keep the rest of the body, if it is in HTTP/2. In HTTP/1 hyper reads what is
/// left, or closes the connection, once the body is dropped.
pub(super) fn keep_unread<B>(mut reply: Response<B>, is_http2: bool) -> Response<ReplyBody<B>> {
    let unread = reply.extensions_mut().remove().filter(|_| is_http2);
    reply.map(|body| ReplyBody { body, _unread: unread })
}

impl<B: Body + Unpin> Body for ReplyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
