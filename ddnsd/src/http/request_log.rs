//! The request log. In: a request and what it was answered. Out: one line of parsed fields, never the raw
//! query and never a credential.

use super::{Call, FrontSettings, endpoint, origin, segments};
use crate::clock::Clock;
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{Change, Login, RequestedHost, UpdateRequest};
use http::{Method, StatusCode};
use std::net::IpAddr;
use std::time::Instant;
use tracing::field;

/// What nginx calls a request whose client hung up before it was answered.
const HUNG_UP: u16 = 499;

/// Where update clients look for us, whatever is configured.
const WELL_KNOWN: [&str; 4] = ["/update", "/nic/update", "/v3/update", "/api/update"];

/// The line of a request. It is written when this is dropped, with what is known by then: a client that
/// hangs up has its line too.
pub(super) struct RequestRecord {
    clock: Clock,
    start: Instant,
    client: IpAddr,
    method: Method,
    path: String,
    update: Option<Asking>,
    word: Option<ReturnCode>,
    status: u16,
}

/// What an update asks for.
struct Asking {
    user: String,
    hosts: String,
    addresses: String,
}

impl RequestRecord {
    /// The line of a request of which only the head was read.
    pub(super) fn of(settings: &FrontSettings, call: &Call, clock: Clock) -> Self {
        Self {
            clock,
            start: clock.now().mono,
            client: origin(settings, call).address(),
            method: call.method.clone(),
            path: path(settings, call.path.as_str()),
            update: None,
            word: None,
            status: HUNG_UP,
        }
    }

    /// It turned out to be this update.
    pub(super) fn asks(&mut self, request: &UpdateRequest) {
        let user = match &request.login {
            Login::Given { user, .. } => user.to_string(),
            Login::Unreadable { name } => name.clone(),
            Login::Missing => String::new(),
        };
        let hosts = request.hosts.as_deref().unwrap_or_default();
        let hosts: Vec<_> = hosts.iter().map(shown).collect();
        let addresses = match &request.change {
            Ok(Change::Set(addresses)) => addresses.to_string(),
            Ok(Change::Offline) => "offline".into(),
            Err(bad) => bad.to_string(),
        };
        self.update = Some(Asking { user, hosts: hosts.join(","), addresses });
    }

    /// The update has this answer.
    pub(super) fn hears(&mut self, answer: &Reply) {
        self.word = Some(answer.summary());
    }

    /// The answer is on its way.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let update = self.update.as_ref();
        let took = self.clock.now().mono.saturating_duration_since(self.start);
        let ms = update.map(|_| format!("{:.1}", took.as_secs_f64() * 1000.0));
        tracing::info!(
            client = %self.client,
            method = %self.method,
            path = ?self.path,
            user = update.map(|update| field::debug(&update.user)),
            hosts = update.map(|update| field::debug(&update.hosts)),
            addresses = update.map(|update| field::debug(&update.addresses)),
            word = self.word.map(ReturnCode::as_str),
            status = self.status,
            ms = ms.as_ref().map(field::display),
            "request"
        );
    }
}

/// A name as it was sent. What is none may be the password, where a router's template has its parameters
/// swapped.
fn shown(host: &RequestedHost) -> String {
    match &host.name {
        Some(_) => host.sent.clone(),
        None => format!("({} characters that are no name)", host.sent.chars().count()),
    }
}

/// An endpoint's path as it was sent; of any other only the start that is known, because clients of other
/// services have their token in it (`/update/NAME/TOKEN`).
fn path(settings: &FrontSettings, sent: &str) -> String {
    if endpoint(&settings.endpoints, sent).is_some() {
        return sent.to_owned();
    }
    let configured = settings.endpoints.iter().map(|endpoint| endpoint.path.as_str());
    let known = configured.chain(WELL_KNOWN).filter_map(|known| {
        let mut sent = segments(sent);
        let is_start = segments(known).all(|segment| sent.next() == Some(segment));
        is_start.then(|| segments(known).count())
    });
    let known = known.max().unwrap_or(0);
    let mut shown: String = segments(sent).take(known).flat_map(|segment| ["/", segment]).collect();
    if segments(sent).nth(known).is_some() {
        shown.push_str("/…");
    }
    if shown.is_empty() { "/".to_owned() } else { shown }
}
