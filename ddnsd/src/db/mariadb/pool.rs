//! Connections to a MariaDB server for reading. A connection returns to the pool only after a
//! complete answer; otherwise (no answer, an error, a caller that went away) it is dropped at once.
//!
//! sqlx' own pool pings each connection when it is returned, without a timeout and with its place
//! held: it doubles the round trips, and a network cut at that moment takes the place for good.

use super::server::MariaDbServer;
use crate::db::error::{DbError, mariadb_number};
use crate::db::statement::STATEMENT_TIMEOUT;
use futures::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::mysql::MySqlConnection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest wait for a free connection.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// At most as many connections as configured, made when they are needed.
pub(in crate::db) struct MariaDbPool {
    server: Arc<MariaDbServer>,
    permits: Semaphore,
    idle: Mutex<Vec<MySqlConnection>>,
}

impl MariaDbPool {
    pub(in crate::db) fn new(server: Arc<MariaDbServer>, size: u32) -> Self {
        let size = usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS);
        Self { server, permits: Semaphore::new(size), idle: Mutex::default() }
    }

    /// Runs a query on a connection of the pool. Where an idle connection turns out to be closed by
    /// the server, it runs once more on a new one.
    pub(in crate::db) async fn run<T>(
        &self,
        query: impl for<'c> Fn(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<T, DbError> {
        let permit = timeout(PERMIT_TIMEOUT, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| DbError::NoAnswer)?.map_err(|_| DbError::Closed)?;
        let idle = self.idle().pop();
        if let Some(conn) = idle {
            match self.run_on(conn, &query).await? {
                // the other idle connections are closed, too
                Err(error) if was_closed(&error) => self.idle().clear(),
                done => return Ok(done?),
            }
        }
        // boxed, because this large future would be part of every story's
        let conn = Box::pin(self.server.connect()).await?;
        Ok(self.run_on(conn, &query).await??)
    }

    async fn run_on<T>(
        &self,
        mut conn: MySqlConnection,
        query: impl for<'c> Fn(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<sqlx::Result<T>, DbError> {
        let done = timeout(STATEMENT_TIMEOUT, query(&mut conn)).await;
        let done = done.map_err(|_| DbError::NoAnswer)?;
        if done.is_ok() {
            self.idle().push(conn);
        }
        Ok(done)
    }

    /// Rejects further queries and closes the idle connections.
    pub(in crate::db) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for conn in idle {
            // a connection that cannot be closed in time is dropped
            let _ = timeout(STATEMENT_TIMEOUT, conn.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MySqlConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server had closed the connection: it broke, or the server shuts down, killed it or
/// found it idle for too long.
fn was_closed(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none() || matches!(mariadb_number(error), Some(1053 | 1927 | 4031))
}
