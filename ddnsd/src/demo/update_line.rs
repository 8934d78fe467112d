//! A log event as the demo prints it: each request in one short line, and whatever went wrong.

use crate::logging;
use crate::rules::reply::ReturnCode;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// `None` for events that the demo does not show.
pub(super) fn text(event: &Event<'_>, has_colour: bool) -> Option<String> {
    let mut request = EventFields::default();
    event.record(&mut request);
    if request.is_request {
        return Some(request.line(has_colour));
    }
    let level = *event.metadata().level();
    (level <= Level::WARN).then(|| format!("{level} {}", logging::text(event)))
}

/// The fields of a line of the request log.
#[derive(Default)]
struct EventFields {
    is_request: bool,
    return_code: Option<String>,
    path: String,
    user: Option<String>,
    hosts: Option<String>,
    addresses: Option<String>,
    status: String,
    ms: String,
}

impl EventFields {
    fn line(&self, has_colour: bool) -> String {
        let Some(return_code) = &self.return_code else {
            return format!("HTTP status {} for {}", self.status, self.path);
        };
        let is_success = [ReturnCode::Good, ReturnCode::Nochg].map(ReturnCode::as_str);
        let colour = if is_success.contains(&return_code.as_str()) { 32 } else { 31 };
        let code = format!("{return_code:<7}");
        let code = if has_colour { format!("\x1b[{colour}m{code}\x1b[0m") } else { code };
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let user = text(&self.user);
        let hosts = text(&self.hosts);
        let addresses = text(&self.addresses);
        format!("{code} {hosts} → {addresses}  ({user}, {} ms)", self.ms)
    }

    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.is_request = value == "request",
            "word" => self.return_code = Some(value),
            "path" => self.path = value,
            "user" => self.user = Some(value),
            "hosts" => self.hosts = Some(value),
            "addresses" => self.addresses = Some(value),
            "status" => self.status = value,
            "ms" => self.ms = value,
            _ => {}
        }
    }
}

impl Visit for EventFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // quoted and escaped if it comes from outside
        self.set(field, format!("{value:?}").trim_matches('"').to_owned());
    }
}
