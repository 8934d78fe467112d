//! Metrics and health for monitoring. In: GET requests on `metrics.listen`. Out: `/metrics` in the
//! Prometheus text format, `/healthz` and `/readyz`. The numbers are those of `ddnsctl status`.

mod exposition;
mod metrics;
mod process;

use crate::clock::Clock;
use crate::serve::{ConnectionLimits, ConnectionSettings, HttpServer, Response, Service};
use crate::stories::status::{Snapshot, Status};
use arc_swap::ArcSwap;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once: a few monitors and an administrator.
const MAX_CONNECTIONS: usize = 64;
/// For the head of a request and for an idle connection, each.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests within this time share a snapshot, so that they cannot load the database.
const SNAPSHOT_AGE: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const NOTHING_HERE: &str = "there is nothing here; see /metrics, /healthz and /readyz\n";

/// When to stop, and where connections run.
pub struct ObserverTasks {
    pub stop: CancellationToken,
    pub cut: CancellationToken,
    pub work: TaskTracker,
}

/// Answers requests; clones share the last snapshot.
#[derive(Clone)]
struct Observer {
    status: Status,
    clock: Clock,
    stop: CancellationToken,
    recent: Arc<Mutex<Option<RecentSnapshot>>>,
}

struct RecentSnapshot {
    at: Instant,
    snapshot: Arc<Snapshot>,
}

/// Serves a listener.
pub fn server(status: Status, clock: Clock, tasks: ObserverTasks) -> HttpServer {
    let ObserverTasks { stop, cut, work } = tasks;
    let observer = Observer { status, clock, stop: stop.clone(), recent: Arc::default() };
    HttpServer {
        service: observer.service(),
        settings: Arc::new(ArcSwap::from_pointee(ConnectionSettings::plain(TIMEOUT))),
        // counted apart from the front end's
        limits: ConnectionLimits::new(MAX_CONNECTIONS, Arc::default()),
        stop,
        cut,
        tasks: work,
    }
}

impl Observer {
    fn service(self) -> Service {
        Arc::new(move |request, _| {
            let observer = self.clone();
            Box::pin(async move { observer.answer(request.method(), request.uri().path()).await })
        })
    }

    async fn answer(&self, method: &Method, path: &str) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        match path {
            "/metrics" => {
                let process = process::read().await;
                let text = metrics::render(&*self.snapshot().await, process.as_ref());
                reply(StatusCode::OK, PROMETHEUS, text)
            }
            "/healthz" => reply(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => self.readiness().await,
            _ => reply(StatusCode::NOT_FOUND, TEXT, NOTHING_HERE),
        }
    }

    /// The last snapshot if it is recent, otherwise a new one, which all that wait share.
    async fn snapshot(&self) -> Arc<Snapshot> {
        let mut recent = self.recent.lock().await;
        let age = |at| self.clock.now().mono.saturating_duration_since(at);
        if let Some(last) = &*recent
            && age(last.at) < SNAPSHOT_AGE
        {
            return Arc::clone(&last.snapshot);
        }
        let snapshot = Arc::new(self.status.snapshot().await);
        let at = self.clock.now().mono;
        *recent = Some(RecentSnapshot { at, snapshot: Arc::clone(&snapshot) });
        snapshot
    }

    /// A zone that is down does not count: its updates are stored and published later.
    async fn readiness(&self) -> Response {
        let snapshot = self.snapshot().await;
        let stopping = self.stop.is_cancelled().then(|| "ddnsd is stopping".to_owned());
        let read = snapshot.database.as_ref().map(|why| format!("the database is down: {why}"));
        let write = snapshot.writing.as_ref();
        let write = write.map(|why| format!("the database takes no changes: {why}"));
        let reasons: String = stopping
            .into_iter()
            .chain(read)
            .chain(write)
            .flat_map(|reason| [reason, "\n".to_owned()])
            .collect();
        if reasons.is_empty() {
            reply(StatusCode::OK, TEXT, "ready\n")
        } else {
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons)
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
