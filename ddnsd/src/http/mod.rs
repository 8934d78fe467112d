//! The HTTP front end: one update request from bytes to a checked request and back. In: what hyper
//! read. Out: what it writes. Nothing behind this folder knows HTTP.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod body;
mod client_address;
mod credentials;
mod foreign_site;
mod in_flight;
mod query;
mod reply;
mod request_log;

use crate::clock::Clock;
use crate::config::{self, Endpoint};
use crate::counters::HttpCounters;
use crate::log_budget::log_repeated;
use crate::model::client::ClientKey;
use crate::model::time::Now;
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{RequestOrigin, RequestedUpdate, UpdateRequest, notify, user_agent};
use crate::serve::{Answering, HttpPeer, Response, Service, UnreadBody};
use crate::stories::update::Update;
use arc_swap::ArcSwap;
use bytes::{Buf, Bytes};
use client_address::header_of_untrusted_proxy;
use foreign_site::is_from_foreign_site;
use futures::future::Either;
use futures::{FutureExt as _, Stream};
use http::header::{AUTHORIZATION, EXPECT, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, request};
use in_flight::RequestPlaces;
use query::Parameters;
use reply::ReplyFormat;
use request_log::RequestRecord;
use std::borrow::Cow;
use std::future::ready;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::Poll;
use tokio::time::{Instant, timeout_at};
use tower::Service as _;
use warp::Filter as _;

/// Bytes.
const MAX_QUERY: usize = 8 * 1024;

const FOREIGN_SITE: &str = "refused: a page of another site made your browser send this, and it may not change your host (open this URL itself, or use an update client)\n";

/// Replaced as a whole by a reload; a request keeps those of its start.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// The paths that take updates.
    pub endpoints: Arc<[Endpoint]>,
    /// `[daemon]`.
    pub http: config::Http,
    /// The warning of a proxy that is not configured.
    pub proxy_warning: Arc<Once>,
}

/// The front end; clones share everything.
#[derive(Clone)]
pub struct Front(Arc<FrontInner>);

struct FrontInner {
    update: Update,
    clock: Clock,
    settings: Arc<ArcSwap<FrontSettings>>,
    counters: Arc<HttpCounters>,
    places: RequestPlaces,
}

/// The head of a request.
struct Call {
    head: request::Parts,
    peer: HttpPeer,
    settings: Arc<FrontSettings>,
    start: Now,
    /// `request_timeout` after the end of the head: the form is read and the reply made by then.
    deadline: Instant,
}

/// An update request once its form is read. Of head and form only what it holds is kept, because it
/// may wait long.
struct ReadCall {
    request: Arc<UpdateRequest>,
    format: ReplyFormat,
    /// See [`Parameters::unknown_address`]; `None` if an address was given by a known name.
    unknown_address: Option<String>,
    start: Now,
    deadline: Instant,
    peer: HttpPeer,
    /// Keeps the connection open. `serve/` does it for a request without a body.
    answering: Option<Answering>,
}

impl Front {
    pub fn new(
        update: Update,
        clock: Clock,
        settings: Arc<ArcSwap<FrontSettings>>,
        counters: Arc<HttpCounters>,
    ) -> Self {
        let places = RequestPlaces::default();
        Self(Arc::new(FrontInner { update, clock, settings, counters, places }))
    }

    /// Answers the requests of a connection.
    pub fn service(&self) -> Service {
        let front = self.clone();
        Arc::new(move |request, peer| {
            let (head, body) = request.into_parts();
            // each request has a route of its own, because filters clone what they read of a head
            let call = Arc::new(Mutex::new(Some((front.clone(), front.call(head, peer)))));
            let route = warp::body::stream().then(move |body| {
                match call.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some((front, call)) => Either::Left(front.answer(call, body)),
                    // the route runs once
                    None => Either::Right(ready(reply::no_request())),
                }
            });
            let answered = warp::service(route).call(Request::new(body));
            Box::pin(answered.map(|reply| reply.unwrap_or_else(|never| match never {})))
        })
    }

    /// Boxed, because it is moved often until its form is read.
    fn call(&self, head: request::Parts, peer: HttpPeer) -> Box<Call> {
        let settings = self.0.settings.load_full();
        let start = self.0.clock.now();
        let deadline = Instant::from_std(start.mono) + settings.http.request_timeout;
        Box::new(Call { head, peer, settings, start, deadline })
    }

    /// Answers one request. This and `update` are no `async fn`: their futures would have room for
    /// each argument twice.
    fn answer<B: Buf>(
        self,
        call: Box<Call>,
        mut body: impl Stream<Item = Result<B, warp::Error>> + Unpin + Send + 'static,
    ) -> impl Future<Output = Response> {
        let logs = call.settings.http.log_requests;
        // boxed, because few have one
        let mut record = logs.then(|| Box::new(RequestRecord::new(&call, self.0.clock)));
        let sends_body = !call.head.headers.contains_key(EXPECT);
        async move {
            let response = match call.read(&mut body).await {
                Ok(read) => self.update(read, record.as_deref_mut()).await,
                Err(mut refused) => {
                    // a client that waits for "100 Continue" (RFC 9110, 10.1.1) has not sent it
                    if sends_body {
                        Box::pin(body::skip(&mut body)).await;
                    }
                    refused.extensions_mut().insert(UnreadBody::new(body));
                    refused
                }
            };
            if let Some(record) = &mut record {
                record.set_reply(&response);
            }
            self.0.counters.reply(response.status().as_u16());
            response
        }
    }

    fn update(
        &self,
        call: ReadCall,
        mut record: Option<&mut RequestRecord>,
    ) -> impl Future<Output = Response> {
        let ReadCall { request, format, unknown_address, start, deadline, peer, answering } = call;
        if let Some(record) = &mut record {
            record.set_update(&request);
        }
        async move {
            let Some(_place) = self.0.places.take(request.update.origin) else {
                self.0.counters.overloaded.add_one();
                let reply = Reply::whole(ReturnCode::ServerError);
                if let Some(record) = record {
                    record.set_return_code(&reply);
                }
                return reply::response(&reply, format);
            };
            // reading a form takes time
            let now = if answering.is_some() { self.0.clock.now() } else { start };
            let mut update = pin!(self.0.update.run(Arc::clone(&request), now));
            let reply = match futures::poll!(&mut update) {
                Poll::Ready(reply) => reply,
                // after the deadline the update goes on, but its client gets an answer
                Poll::Pending => {
                    let reply = Box::pin(timeout_at(deadline, update)).await;
                    reply.unwrap_or(Reply::whole(ReturnCode::ServerError))
                }
            };
            if reply.has_changed_any() {
                warn_of_address(&request, unknown_address.as_deref());
            }
            set_known(&peer, reply.decisive_code());
            if let Some(record) = record {
                record.set_return_code(&reply);
            }
            let took = self.0.clock.mono().saturating_duration_since(start.mono);
            self.0.counters.updates.record(took);
            reply::response(&reply, format)
        }
    }
}

impl Call {
    /// The update request, or the response that refuses it.
    async fn read<B: Buf>(
        self: Box<Self>,
        body: impl Stream<Item = Result<B, warp::Error>> + Unpin,
    ) -> Result<ReadCall, Response> {
        let headers = &self.head.headers;
        // RFC 9112, 3.2: a proxy in front may have used the other one
        if headers.get_all(HOST).iter().nth(1).is_some() {
            let text = "there is more than one Host line\n";
            return Err(reply::sentence(StatusCode::BAD_REQUEST, text));
        }
        let Some(endpoint) = self.endpoint() else {
            return Err(reply::sentence(StatusCode::NOT_FOUND, "there is nothing here\n"));
        };
        let peer = self.peer.address;
        let trusted = &self.settings.http.trusted_proxies;
        if let Some(header) = header_of_untrusted_proxy(peer, headers, trusted) {
            self.warn_of_untrusted_proxy(peer, header);
        }
        let by_proxy = client_address::is_trusted(peer, trusted);
        if is_from_foreign_site(headers, !by_proxy) {
            log_repeated!(warn, client = %self.origin().address(),
                "refused an update that a page of another site made a browser send");
            return Err(reply::sentence(StatusCode::FORBIDDEN, FOREIGN_SITE));
        }
        if self.query().len() > MAX_QUERY {
            return Err(reply::sentence(StatusCode::URI_TOO_LONG, "the query is over 8 KiB\n"));
        }
        let form = match self.head.method {
            Method::GET => Bytes::new(),
            Method::POST => {
                let unfinished = self.peer.connection.form();
                // boxed: most requests have none
                Box::pin(body::read_form(headers, self.deadline, body, unfinished)).await?
            }
            _ => return Err(reply::method_not_allowed()),
        };
        let given = Parameters::read(self.query(), &form, &endpoint.params).map_err(|_| {
            let text = "there are more than 256 parameters\n";
            reply::sentence(StatusCode::BAD_REQUEST, text)
        })?;
        Ok(self.read_parameters(given))
    }

    fn warn_of_untrusted_proxy(&self, proxy: IpAddr, header: &HeaderName) {
        self.settings.proxy_warning.call_once(|| {
            tracing::warn!(
                "{proxy} sends {header} and is not in daemon.trusted_proxies, so all clients behind it count as one (if it is your proxy, set proxy_header and trusted_proxies)"
            );
        });
    }

    fn path(&self) -> &str {
        self.head.uri.path()
    }

    fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        let path = self.path();
        let is_same = |own: &str| own == path || segments(own).eq(segments(path));
        self.settings.endpoints.iter().find(|endpoint| is_same(&endpoint.path))
    }

    fn origin(&self) -> RequestOrigin {
        let config::Http { proxy_header, trusted_proxies, .. } = &self.settings.http;
        let peer = self.peer.address;
        client_address::origin(peer, &self.head.headers, proxy_header.as_ref(), trusted_proxies)
    }

    fn read_parameters(&self, given: Parameters<'_>) -> ReadCall {
        let origin = self.origin();
        let headers = &self.head.headers;
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let login =
            credentials::login(authorization, given.username.as_deref(), given.password.as_deref());
        let is_address_given =
            [&given.ipv4, &given.ipv6, &given.prefix6].iter().any(|given| given.is_some());
        let request = Arc::new(UpdateRequest {
            client: origin.address(),
            user_agent: headers.get(USER_AGENT).and_then(|value| user_agent(value.as_bytes())),
            key: ClientKey::from(origin.address()),
            login,
            notify: notify(given.notify_change.as_deref()),
            update: RequestedUpdate {
                hosts: given.hostname.map(Cow::into_owned),
                ipv4: given.ipv4.map(Cow::into_owned),
                ipv6: given.ipv6.map(Cow::into_owned),
                prefix6: given.prefix6.map(Cow::into_owned),
                unfilled: given.unfilled,
                is_offline: given.is_offline,
                origin,
            },
        });
        ReadCall {
            request,
            format: ReplyFormat::accepted(headers),
            unknown_address: given.unknown_address.filter(|_| !is_address_given),
            start: self.start,
            deadline: self.deadline,
            peer: self.peer.clone(),
            answering: (self.head.method == Method::POST).then(|| self.peer.connection.answer()),
        }
    }
}

/// A connection whose last login was good is among the last that make room for others.
fn set_known(peer: &HttpPeer, code: ReturnCode) {
    match code {
        ReturnCode::Badauth => peer.connection.set_known(false),
        // neither says whether the password was right
        ReturnCode::Abuse | ReturnCode::ServerError => {}
        _ => peer.connection.set_known(true),
    }
}

/// The segments of a path. Repeated slashes and one at the end do not count.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Without a known address the connection's own was published: perhaps not what was meant.
fn warn_of_address(request: &UpdateRequest, unknown: Option<&str>) {
    let client = request.client;
    // a loopback address can only be that of the connection: given ones are refused
    if request.update.is_loopback() {
        log_repeated!(warn,
            %client,
            "the address of this machine itself was published (behind a proxy, set daemon.proxy_header and trusted_proxies)"
        );
    }
    if let Some(parameter) = unknown {
        log_repeated!(warn,
            %client,
            ?parameter,
            "an address in an unknown parameter was ignored, and the client's own was used (add the name to ipv4 or ipv6 in endpoints.params, or change it in the client)"
        );
    }
}
