//! The request log. In: a request and what it was answered. Out: one line of parsed fields, never the raw
//! query and never a credential.

use super::Call;
use crate::rules::outcome::Reply;
use crate::rules::request::{Asked, Login, Origin, UpdateRequest};
use http::{Method, StatusCode};
use std::time::Duration;

/// The line for what was no update, and for what was refused before it was read.
pub(super) fn refused(origin: Origin, call: &Call, status: StatusCode) {
    tracing::info!(
        client = %origin.address(),
        method = %call.method,
        path = ?call.path.as_str(),
        status = status.as_u16(),
        "request"
    );
}

/// What the line says of an update.
pub(super) struct Line {
    method: Method,
    path: String,
    user: String,
    hosts: String,
    addresses: String,
}

impl Line {
    /// Reads it from the request.
    pub(super) fn of(call: &Call, request: &UpdateRequest) -> Self {
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

    /// Writes the line, with what came of the request.
    pub(super) fn log(&self, origin: Origin, answer: &Reply, status: StatusCode, took: Duration) {
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
