//! The request log. In: a request and its reply. Out: one line of parsed fields, never the raw
//! query and never a credential.

use super::reply::RefusalText;
use super::{Call, segments};
use crate::clock::Clock;
use crate::rules::reply::{Reply, ReturnCode};
use crate::rules::request::{Change, GivenAddresses, Login, RequestedHost, UpdateRequest};
use crate::serve::Response;
use http::Method;
use std::net::IpAddr;
use std::time::Instant;
use tracing::field;

/// nginx' status for a client that hung up before the reply.
const HUNG_UP: u16 = 499;

/// Paths that update clients use by default, whatever is configured.
const WELL_KNOWN: [&str; 4] = ["/update", "/nic/update", "/v3/update", "/api/update"];

/// The line of one request. It is written when this is dropped, so that a client that hangs up has
/// its line too.
pub(super) struct RequestRecord {
    clock: Clock,
    start: Instant,
    client: IpAddr,
    method: Method,
    path: String,
    update: Option<LoggedUpdate>,
    return_code: Option<ReturnCode>,
    status: u16,
    refusal: Option<&'static str>,
}

struct LoggedUpdate {
    user: String,
    hosts: String,
    addresses: String,
}

impl RequestRecord {
    pub(super) fn new(call: &Call, clock: Clock) -> Self {
        Self {
            clock,
            start: clock.now().mono,
            client: call.origin().address(),
            method: call.head.method.clone(),
            path: path(call),
            update: None,
            return_code: None,
            status: HUNG_UP,
            refusal: None,
        }
    }

    pub(super) fn set_update(&mut self, request: &UpdateRequest) {
        let user = match &request.login {
            Login::Given { user, .. } => user.to_string(),
            Login::Unreadable { name } => name.clone(),
            Login::Missing => String::new(),
        };
        let hosts = request.update.read_hosts().unwrap_or_default();
        let hosts: Vec<_> = hosts.iter().map(host).collect();
        let addresses = match request.update.read_change() {
            Ok(GivenAddresses { change: Change::Offline, .. }) => "offline".into(),
            Ok(GivenAddresses { change: Change::Set(addresses), prefix: None, .. }) => {
                addresses.to_string()
            }
            Ok(GivenAddresses { change: Change::Set(addresses), prefix: Some(given), .. }) => {
                format!("{addresses} prefix {}", given.prefix).trim_start().to_owned()
            }
            Err(bad) => bad.to_string(),
        };
        self.update = Some(LoggedUpdate { user, hosts: hosts.join(","), addresses });
    }

    pub(super) fn set_return_code(&mut self, reply: &Reply) {
        self.return_code = Some(reply.summary());
    }

    pub(super) fn set_reply(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.refusal = response.extensions().get().map(|RefusalText(text)| *text);
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
            word = self.return_code.map(ReturnCode::as_str),
            status = self.status,
            ms = ms.as_ref().map(field::display),
            reason = self.refusal,
            "request"
        );
    }
}

/// A host name as it was sent. What is no host name may be the password: a router's template can
/// have its parameters swapped.
fn host(host: &RequestedHost) -> String {
    match &host.name {
        Some(_) => host.sent.clone(),
        None => format!("({} characters that are no name)", host.sent.chars().count()),
    }
}

/// An endpoint's path as it was sent. Of any other path only its known start, because clients of
/// other services have their token in the rest (`/update/NAME/TOKEN`).
fn path(call: &Call) -> String {
    let sent = call.path();
    if call.endpoint().is_some() {
        return sent.to_owned();
    }
    let configured = call.settings.endpoints.iter().map(|endpoint| endpoint.path.as_str());
    let starts = configured.chain(WELL_KNOWN).filter(|start| {
        let mut sent = segments(sent);
        segments(start).all(|segment| sent.next() == Some(segment))
    });
    let known = starts.map(|start| segments(start).count()).max().unwrap_or(0);
    let mut path: String = segments(sent).take(known).flat_map(|segment| ["/", segment]).collect();
    if segments(sent).nth(known).is_some() {
        path.push_str("/…");
    }
    if path.is_empty() { "/".to_owned() } else { path }
}
