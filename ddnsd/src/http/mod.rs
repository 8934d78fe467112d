//! The HTTP front end: routes, and one update request from bytes to a checked request and back. In: what
//! hyper read. Out: what it writes. Nothing behind this folder knows HTTP.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

mod client_address;
mod credentials;
mod query;
mod reply;

use crate::clock::Clock;
use crate::config::{self, Endpoint, Params};
use crate::model::client::ClientKey;
use crate::rules::outcome::{Reply, Word};
use crate::rules::request::{self, Asked, Login, Origin, UpdateRequest};
use crate::serve::{Peer, Service};
use crate::stories::update::Update;
use arc_swap::ArcSwap;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use query::Parameters;
use reply::Form;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use warp::Filter;
use warp::filters::path::FullPath;
use warp::reply::Response;

/// A query string, at most, bytes.
const QUERY: usize = 8 * 1024;
/// A form body, at most, bytes.
const FORM: usize = 16 * 1024;

/// What the front end works by; swapped whole when the configuration is loaded anew.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The paths that take updates.
    pub endpoints: Arc<[Endpoint]>,
    /// `[daemon]`.
    pub http: config::Http,
}

/// The front end; clones share everything.
#[derive(Clone)]
pub struct Front(Arc<Parts>);

struct Parts {
    update: Update,
    clock: Clock,
    settings: Arc<ArcSwap<Settings>>,
}

/// One request as hyper and warp hand it over.
struct Call {
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    peer: Peer,
}

impl Front {
    /// A front end for the story.
    pub fn new(update: Update, clock: Clock, settings: Arc<ArcSwap<Settings>>) -> Self {
        Self(Arc::new(Parts { update, clock, settings }))
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
            .and(warp::ext::get::<Peer>())
            .and(warp::body::stream())
            .then(|front: Self, method, path, query, headers, peer, body| async move {
                front.answer(Call { method, path, query, headers, peer }, body).await
            });
        BoxCloneSyncService::new(tower::ServiceBuilder::new().service(warp::service(routes)))
    }

    /// Answers one request by the settings of its start.
    async fn answer<B: Buf>(
        &self,
        call: Call,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        let settings = self.0.settings.load_full();
        let form = Form::accepted(&call.headers);
        self.route(&settings, call, body, form).await
    }

    async fn route<B: Buf>(
        &self,
        settings: &Settings,
        call: Call,
        body: impl Stream<Item = Result<B, warp::Error>>,
        form: Form,
    ) -> Response {
        let limit = settings.http.request_timeout;
        let Some(endpoint) = endpoint(&settings.endpoints, call.path.as_str()) else {
            return reply::sentence(StatusCode::NOT_FOUND, "there is nothing here\n");
        };
        if call.query.len() > QUERY {
            return reply::sentence(StatusCode::URI_TOO_LONG, "the query is over 8 KiB\n");
        }
        let body = match call.method {
            Method::GET => Bytes::new(),
            Method::POST => match timeout(limit, form_body(&call.headers, body)).await {
                Ok(Ok(body)) => body,
                Ok(Err(response)) => return response,
                Err(_) => {
                    let text = "the form did not come in time\n";
                    return reply::sentence(StatusCode::REQUEST_TIMEOUT, text);
                }
            },
            _ => return reply::method_not_allowed(),
        };
        let parameters = Parameters::read(&call.query, &body);
        let (origin, request) = checked(settings, &endpoint.params, &call, &parameters);
        let is_local =
            matches!(request.asked, Ok(Asked::Set(addresses)) if addresses.is_loopback());
        let log = settings.http.log_requests.then(|| Line::of(&call, &request));
        let start = self.0.clock.now().mono;
        // over its time an update goes on, but nobody is kept waiting for it
        let answer = timeout(limit, self.0.update.run(request)).await;
        let answer = answer.unwrap_or(Reply::whole(Word::ServerError));
        // only the connection gives a loopback address: given ones are refused
        if is_local && answer.decisive_word() == Word::Good {
            let client = origin.address();
            tracing::warn!(%client, "the address of this machine itself was published; behind a proxy set daemon.proxy_header and trusted_proxies");
        }
        let response = reply::response(&answer, form);
        if let Some(line) = log {
            let took = self.0.clock.now().mono.saturating_duration_since(start);
            line.log(origin, &answer, response.status(), took);
        }
        response
    }
}

/// The endpoint of a path; repeated slashes and one at the end do not count.
fn endpoint<'a>(endpoints: &'a [Endpoint], path: &str) -> Option<&'a Endpoint> {
    fn segments(path: &str) -> impl Iterator<Item = &str> {
        path.split('/').filter(|segment| !segment.is_empty())
    }
    endpoints.iter().find(|endpoint| segments(&endpoint.path).eq(segments(path)))
}

/// Everything about the request that names, addresses and credentials can be read from.
fn checked(
    settings: &Settings,
    names: &Params,
    call: &Call,
    given: &Parameters<'_>,
) -> (Origin, UpdateRequest) {
    let origin = client_address::origin(
        call.peer.address,
        &call.headers,
        settings.http.proxy_header.as_ref(),
        &settings.http.trusted_proxies,
    );
    let header = call.headers.get(http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let login =
        credentials::login(header, given.value(&names.username), given.value(&names.password));
    let is_offline = || given.named("offline").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    let asked = if !is_alias(names, "offline") && is_offline() {
        Ok(Asked::TakeDown)
    } else {
        let (ipv4, ipv6) = (given.list(&names.ipv4), given.list(&names.ipv6));
        request::addresses(ipv4, ipv6, origin).map(Asked::Set)
    };
    let agent = call.headers.get(http::header::USER_AGENT);
    let request = UpdateRequest {
        client: origin.address(),
        agent: agent.and_then(|agent| request::agent(agent.as_bytes())),
        key: ClientKey::from(origin.address()),
        login,
        hosts: request::hosts(given.list(&names.hostname)),
        asked,
    };
    (origin, request)
}

/// Whether the endpoint gives this parameter name a meaning of its own.
fn is_alias(names: &Params, name: &str) -> bool {
    let Params { hostname, ipv4, ipv6, username, password, notify_change } = names;
    let all = [hostname, ipv4, ipv6, username, password, notify_change];
    all.into_iter().flatten().any(|alias| alias == name)
}

/// Reads a form body, bounded.
async fn form_body<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, Response> {
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    while let Some(part) = body.next().await {
        let Ok(mut part) = part else {
            return Err(reply::sentence(StatusCode::BAD_REQUEST, "the body broke off\n"));
        };
        if read.len() + part.remaining() > FORM {
            let text = "the form is over 16 KiB\n";
            return Err(reply::sentence(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        read.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    if read.is_empty() || is_form(headers) {
        return Ok(read.freeze());
    }
    let text = "send parameters as application/x-www-form-urlencoded\n";
    Err(reply::sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// What the request log says of a request: parsed fields only, never the query or a credential.
struct Line {
    method: Method,
    path: String,
    user: String,
    hosts: String,
    addresses: String,
}

impl Line {
    fn of(call: &Call, request: &UpdateRequest) -> Self {
        let user = match &request.login {
            Login::Given { user, .. } => user.to_string(),
            Login::Unreadable { name } => name.clone(),
            Login::Missing => String::new(),
        };
        let hosts = request.hosts.as_deref().unwrap_or_default();
        let hosts: Vec<_> = hosts.iter().map(|host| host.sent.as_str()).collect();
        let addresses = match &request.asked {
            Ok(Asked::Set(addresses)) => addresses.to_string(),
            Ok(Asked::TakeDown) => "offline".into(),
            Err(bad) => bad.to_string(),
        };
        let path = call.path.as_str().to_owned();
        Self { method: call.method.clone(), path, user, hosts: hosts.join(","), addresses }
    }

    fn log(&self, origin: Origin, answer: &Reply, status: StatusCode, took: Duration) {
        tracing::info!(
            client = %origin.address(),
            method = %self.method,
            path = ?self.path,
            user = ?self.user,
            hosts = ?self.hosts,
            addresses = ?self.addresses,
            word = answer.summary().as_str(),
            status = status.as_u16(),
            ms = %format_args!("{:.1}", took.as_secs_f64() * 1000.0),
            "request"
        );
    }
}
