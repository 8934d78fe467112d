//! What every request and reply has in common, whoever answers. In: a request as hyper read it. Out: one
//! that knows its peer and has a path; replies that old clients understand.

use super::Service;
use super::deadline::Client;
use futures::FutureExt;
use futures::future::Map;
use hyper::body::Body as _;
use std::sync::Arc;

/// Puts the peer into each request.
#[derive(Clone)]
pub(super) struct PeerService {
    pub(super) service: Service,
    pub(super) peer: Arc<Client>,
}

impl tower::Service<http::Request<hyper::body::Incoming>> for PeerService {
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
        let finish: fn(Answer) -> Answer = match (request.version(), request.method()) {
            (http::Version::HTTP_10, _) => close_http10,
            (_, &http::Method::HEAD) => strip_head_body,
            _ => |answer| answer,
        };
        self.service.call(request).map(finish)
    }
}

type Answer = Result<warp::reply::Response, std::convert::Infallible>;

/// HTTP/1.0 clients read to the end of the connection, even some that ask to keep it.
fn close_http10(answer: Answer) -> Answer {
    answer.map(|mut response| {
        // else hyper adds "keep-alive" for those that asked
        *response.version_mut() = http::Version::HTTP_10;
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
        response
    })
}

/// RFC 9110, 9.3.2: what HEAD is answered has the length of a body and no body. hyper sees to it in HTTP/1
/// only; a client of HTTP/2 takes the body for a broken protocol.
fn strip_head_body(answer: Answer) -> Answer {
    answer.map(|response| {
        let (mut head, body) = response.into_parts();
        if let Some(length) = body.size_hint().exact() {
            head.headers.insert(http::header::CONTENT_LENGTH, length.into());
        }
        warp::reply::Response::from_parts(head, String::new().into())
    })
}
