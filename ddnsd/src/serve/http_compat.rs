//! What requests and replies of every HTTP version need, whoever answers. In: a request as hyper
//! read it. Out: a reply that old clients understand.

use super::{HttpPeer, Response, Service};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Request, Uri, Version};
use hyper::body::{Body as _, Incoming};

/// Answers one request by `service`.
pub(super) fn answer(
    service: &Service,
    mut request: Request<Incoming>,
    peer: HttpPeer,
) -> impl Future<Output = Response> + Send + use<> {
    // "CONNECT host:port" and "GET host" have no path, on which warp panics
    if request.uri().path_and_query().is_none() {
        *request.uri_mut() = Uri::from_static("/");
    }
    let is_http10 = request.version() == Version::HTTP_10;
    let is_head = request.method() == Method::HEAD;
    name_host(&mut request);
    let answer = service(request, peer);
    async move {
        let response = answer.await;
        match (is_http10, is_head) {
            (true, _) => close_http10(response),
            (false, true) => strip_head_body(response),
            (false, false) => response,
        }
    }
}

/// HTTP/2 names the host in `:authority` (RFC 9113, 8.3.1).
fn name_host(request: &mut Request<Incoming>) {
    if request.headers().contains_key(HOST) {
        return;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    if let Some(Ok(host)) = authority.map(HeaderValue::try_from) {
        request.headers_mut().insert(HOST, host);
    }
}

/// HTTP/1.0 clients read until the connection ends, even some that ask to keep it.
fn close_http10(mut response: Response) -> Response {
    // with another version hyper adds "keep-alive" for clients that ask for it
    *response.version_mut() = Version::HTTP_10;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// RFC 9110, 9.3.2: the reply to HEAD has the length of a body and no body. hyper sees to it in
/// HTTP/1 only; in HTTP/2 clients take the body for a protocol error.
fn strip_head_body(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, String::new().into())
}
