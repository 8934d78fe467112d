//! The HTTP front end: routes, and one update request from bytes to a checked request and back. In: what
//! hyper read. Out: what it writes. Nothing behind this folder knows HTTP.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_checks;

mod client_address;
mod credentials;
mod query;
mod reply;
mod request_log;

use crate::clock::Clock;
use crate::config::{self, Endpoint, Params};
use crate::model::client::ClientKey;
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{self, Change, RequestOrigin, UpdateRequest};
use crate::serve::{PeerAddress, Service};
use crate::stories::update::Update;
use arc_swap::ArcSwap;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use query::Parameters;
use reply::ReplyFormat;
use request_log::RequestRecord;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tower::util::BoxCloneSyncService;
use warp::Filter;
use warp::filters::path::FullPath;
use warp::reply::Response;

/// A query string, at most, bytes.
const QUERY: usize = 8 * 1024;
/// A form body, at most, bytes.
const FORM: usize = 16 * 1024;
/// How long one that is declared to be longer is read for.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// What the front end works by; swapped whole when the configuration is loaded anew.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// The paths that take updates.
    pub endpoints: Arc<[Endpoint]>,
    /// `[daemon]`.
    pub http: config::Http,
}

/// The front end; clones share everything.
#[derive(Clone)]
pub struct Front(Arc<FrontInner>);

struct FrontInner {
    update: Update,
    clock: Clock,
    settings: Arc<ArcSwap<FrontSettings>>,
}

/// One request as hyper and warp hand it over.
struct Call {
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    peer: PeerAddress,
    /// When it must be answered.
    deadline: Instant,
}

impl Front {
    /// A front end for the story.
    pub fn new(update: Update, clock: Clock, settings: Arc<ArcSwap<FrontSettings>>) -> Self {
        Self(Arc::new(FrontInner { update, clock, settings }))
    }

    /// What answers the requests of a connection.
    pub fn service(&self) -> Service {
        let front = self.clone();
        // paths come from the configuration, so one filter takes all and they are looked up in `route`
        let routes = warp::any()
            .map(move || front.clone())
            .and(warp::method())
            .and(warp::path::full())
            .and(warp::query::raw().or(warp::any().map(String::new)).unify())
            .and(warp::header::headers_cloned())
            .and(warp::ext::get::<PeerAddress>())
            .and(warp::body::stream())
            .then(|front: Self, method, path, query, headers, peer, body| async move {
                let deadline = front.deadline();
                front.answer(Call { method, path, query, headers, peer, deadline }, body).await
            });
        BoxCloneSyncService::new(tower::ServiceBuilder::new().service(warp::service(routes)))
    }

    /// `request_timeout` bounds the handling of a request, from the end of its head on.
    fn deadline(&self) -> Instant {
        let now = Instant::from_std(self.0.clock.now().mono);
        now + self.0.settings.load().http.request_timeout
    }

    /// Answers one request by the settings of its start.
    async fn answer<B: Buf>(
        &self,
        call: Call,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        let settings = self.0.settings.load_full();
        let logs = settings.http.log_requests;
        let mut line = logs.then(|| RequestRecord::of(&settings, &call, self.0.clock));
        let response = match asked(&settings, &call, body).await {
            Ok(asked) => self.update(&settings, asked, &call, line.as_mut()).await,
            Err(refused) => refused,
        };
        if let Some(line) = &mut line {
            line.answered(response.status());
        }
        response
    }

    async fn update(
        &self,
        settings: &FrontSettings,
        (names, form): (&Params, Bytes),
        call: &Call,
        mut line: Option<&mut RequestRecord>,
    ) -> Response {
        let parameters = Parameters::read(&call.query, &form);
        let request = checked(settings, names, call, &parameters);
        let is_local =
            matches!(request.change, Ok(Change::Set(addresses)) if addresses.is_loopback());
        let client = request.client;
        if let Some(line) = &mut line {
            line.asks(&request);
        }
        // over its time an update goes on, but nobody is kept waiting for it
        let answer = timeout_at(call.deadline, self.0.update.run(request)).await;
        let answer = answer.unwrap_or(Reply::whole(ReturnCode::ServerError));
        // only the connection gives a loopback address: given ones are refused
        if is_local && answer.has_changed_any() {
            tracing::warn!(%client, "the address of this machine itself was published; behind a proxy set daemon.proxy_header and trusted_proxies");
        }
        if let Some(line) = line {
            line.hears(&answer);
        }
        reply::response(&answer, ReplyFormat::accepted(&call.headers))
    }
}

/// The parameters' names and the form of what asks for an update; else what it hears.
async fn asked<'a, B: Buf>(
    settings: &'a FrontSettings,
    call: &Call,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<(&'a Params, Bytes), Response> {
    // RFC 9112, 3.2: a proxy in front may have gone by the other one
    if call.headers.get_all(http::header::HOST).iter().nth(1).is_some() {
        return Err(reply::sentence(StatusCode::BAD_REQUEST, "there is more than one Host line\n"));
    }
    let Some(endpoint) = endpoint(&settings.endpoints, call.path.as_str()) else {
        return Err(reply::sentence(StatusCode::NOT_FOUND, "there is nothing here\n"));
    };
    if call.query.len() > QUERY {
        return Err(reply::sentence(StatusCode::URI_TOO_LONG, "the query is over 8 KiB\n"));
    }
    let form = match call.method {
        Method::GET => Bytes::new(),
        Method::POST => form_body(call, body).await?,
        _ => return Err(reply::method_not_allowed()),
    };
    Ok((&endpoint.params, form))
}

/// Whose request it is.
fn origin(settings: &FrontSettings, call: &Call) -> RequestOrigin {
    let config::Http { proxy_header, trusted_proxies, .. } = &settings.http;
    let peer = call.peer.0;
    client_address::origin(peer, &call.headers, proxy_header.as_ref(), trusted_proxies)
}

/// The endpoint of a path; repeated slashes and one at the end do not count.
fn endpoint<'a>(endpoints: &'a [Endpoint], path: &str) -> Option<&'a Endpoint> {
    endpoints.iter().find(|endpoint| segments(&endpoint.path).eq(segments(path)))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Everything about the request that names, addresses and credentials can be read from.
fn checked(
    settings: &FrontSettings,
    names: &Params,
    call: &Call,
    given: &Parameters<'_>,
) -> UpdateRequest {
    let origin = origin(settings, call);
    let header = call.headers.get(http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let login =
        credentials::login(header, given.value(&names.username), given.value(&names.password));
    let is_offline = || given.named("offline").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    let change = if !is_alias(names, "offline") && is_offline() {
        Ok(Change::Offline)
    } else {
        let (ipv4, ipv6) = (given.list(&names.ipv4), given.list(&names.ipv6));
        request::addresses(ipv4, ipv6, origin).map(Change::Set)
    };
    let user_agent = call.headers.get(http::header::USER_AGENT);
    UpdateRequest {
        client: origin.address(),
        user_agent: user_agent.and_then(|value| request::user_agent(value.as_bytes())),
        key: ClientKey::from(origin.address()),
        login,
        hosts: request::hosts(given.list(&names.hostname)),
        change,
        notify: request::notify(given.value(&names.notify_change)),
    }
}

/// Whether the endpoint gives this parameter name a meaning of its own.
fn is_alias(names: &Params, name: &str) -> bool {
    let Params { hostname, ipv4, ipv6, username, password, notify_change } = names;
    let all = [hostname, ipv4, ipv6, username, password, notify_change];
    all.into_iter().flatten().any(|alias| alias == name)
}

/// Reads a form body, bounded in time and size. What is no form is read as far, so that its sender hears
/// the answer, and not kept.
async fn form_body<B: Buf>(
    call: &Call,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, Response> {
    let mut body = std::pin::pin!(body);
    let is_form = is_form(&call.headers);
    if declared_length(&call.headers).is_some_and(|length| length > FORM as u64) {
        // who waits to be told to go on (RFC 9110, 10.1.1) has sent nothing and is told nothing else
        if !call.headers.contains_key(http::header::EXPECT) {
            let _ = timeout(ON_ITS_WAY, skip(body)).await;
        }
        return Err(no_form(is_form));
    }
    let (mut length, mut read) = (0, BytesMut::new());
    loop {
        let Ok(part) = timeout_at(call.deadline, body.next()).await else {
            let text = "the form did not come in time\n";
            return Err(reply::sentence(StatusCode::REQUEST_TIMEOUT, text));
        };
        let Some(part) = part else { break };
        let Ok(mut part) = part else {
            return Err(reply::sentence(StatusCode::BAD_REQUEST, "the body broke off\n"));
        };
        length += part.remaining();
        if length > FORM {
            break;
        }
        if is_form {
            read.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
    }
    if length > FORM || length > 0 && !is_form {
        return Err(no_form(is_form));
    }
    Ok(read.freeze())
}

/// How long the body is that follows, by the head. hyper has refused what is no number.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads what is on its way, bounded in size: a connection that is closed over unread bytes takes the answer
/// with it.
async fn skip<B: Buf>(mut body: std::pin::Pin<&mut impl Stream<Item = Result<B, warp::Error>>>) {
    let mut length = 0;
    while let Some(Ok(part)) = body.next().await {
        length += part.remaining();
        if length > FORM {
            break;
        }
    }
}

/// What hears who sends something else than a form, or too much of one.
fn no_form(is_form: bool) -> Response {
    let (status, text) = if is_form {
        (StatusCode::PAYLOAD_TOO_LARGE, "the form is over 16 KiB\n")
    } else {
        let text = "send parameters as application/x-www-form-urlencoded\n";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    };
    reply::sentence(status, text)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}
