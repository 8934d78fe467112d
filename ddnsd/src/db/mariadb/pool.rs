//! Connections to a MariaDB server for reading. A connection returns to the pool only after a
//! complete answer; otherwise (no answer, an error, a caller that went away) it is dropped at once.
//!
//! sqlx' own pool pings each connection when it is returned, without a timeout and with its place
//! held: it doubles the round trips, and a network cut at that moment takes the place for good.

use super::server::MariaDbServer;
use crate::clock::Clock;
use crate::db::error::{DbError, mariadb_number};
use crate::db::statement::STATEMENT_TIMEOUT;
use futures::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::mysql::MySqlConnection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for a free connection.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two tries to connect while the server allows no more connections.
const RETRY: Duration = Duration::from_millis(200);
/// Between two warnings that the server allows no more.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// Connections that are made when they are needed, as many as the server has places for.
pub(in crate::db) struct MariaDbPool {
    server: Arc<MariaDbServer>,
    clock: Clock,
    warned: Mutex<Option<Instant>>,
}

impl MariaDbPool {
    pub(in crate::db) fn new(server: Arc<MariaDbServer>, clock: Clock) -> Self {
        Self { server, clock, warned: Mutex::default() }
    }

    /// Runs a query on a connection of the pool. Where an idle connection turns out to be closed by
    /// the server, it runs once more on a new one.
    pub(in crate::db) async fn run<T>(
        &self,
        query: impl for<'c> Fn(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<T, DbError> {
        let permit = timeout(PERMIT_TIMEOUT, self.server.places.acquire()).await;
        let _permit = permit.map_err(|_| DbError::NoAnswer)?.map_err(|_| DbError::Closed)?;
        let idle = self.server.idle().pop();
        if let Some(conn) = idle {
            match self.run_on(conn, &query).await? {
                // the other idle connections are closed, too
                Err(error) if was_closed(&error) => self.server.idle().clear(),
                done => return Ok(done?),
            }
        }
        let conn = match self.server.connect().await {
            Err(DbError::NoConnection(why)) => Box::pin(self.another(&why)).await?,
            connected => connected?,
        };
        Ok(self.run_on(conn, &query).await??)
    }

    /// A connection once another query has ended, or once the server accepts one again.
    async fn another(&self, why: &str) -> Result<MySqlConnection, DbError> {
        self.warn(why);
        let end = self.clock.now().mono + PERMIT_TIMEOUT;
        loop {
            let freed = self.server.freed.notified();
            let idle = self.server.idle().pop();
            if let Some(conn) = idle {
                return Ok(conn);
            }
            let _ = timeout(RETRY, freed).await;
            let is_over = self.clock.now().mono >= end;
            match self.server.connect().await {
                Err(DbError::NoConnection(_)) if !is_over => {}
                connected => return connected,
            }
        }
    }

    fn warn(&self, why: &str) {
        let now = self.clock.now().mono;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY) {
            *warned = Some(now);
            let problem = DbError::NoConnection(why.to_owned());
            tracing::warn!("requests wait for a connection: {problem}");
        }
    }

    async fn run_on<T>(
        &self,
        mut conn: MySqlConnection,
        query: impl for<'c> Fn(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<sqlx::Result<T>, DbError> {
        let done = timeout(STATEMENT_TIMEOUT, query(&mut conn)).await;
        if matches!(done, Ok(Ok(_))) {
            self.server.idle().push(conn);
        } else {
            drop(conn);
        }
        self.server.freed.notify_one();
        done.map_err(|_| DbError::NoAnswer)
    }

    /// Rejects further queries and closes the idle connections.
    pub(in crate::db) async fn close(&self) {
        self.server.places.close();
        let idle = std::mem::take(&mut *self.server.idle());
        for conn in idle {
            // a connection that cannot be closed in time is dropped
            let _ = timeout(STATEMENT_TIMEOUT, conn.close()).await;
        }
    }
}

/// Whether a new connection may work: this one broke, or the server shuts down, killed it, found it
/// idle for too long, or left its Galera cluster.
fn was_closed(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none()
        || matches!(mariadb_number(error), Some(1047 | 1053 | 1927 | 4031))
}
