//! Connections to a MariaDB server for reading. One goes back only after a complete answer; whatever else
//! happens to a question (no answer, a lost connection, an asker that went away) drops its connection at once,
//! so that no silence of the network holds a place for ever.

use super::open::MariaDbServer;
use crate::db::connection::STATEMENT_TIMEOUT;
use crate::db::error::{DbError, mariadb_number};
use sqlx::Connection as _;
use sqlx::mysql::MySqlConnection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// For a place; what waits longer is answered that the database does not.
const WAIT: Duration = Duration::from_secs(2);

/// At most as many connections as configured, made when they are needed.
pub(in crate::db) struct MariaDbPool {
    server: Arc<MariaDbServer>,
    places: Semaphore,
    idle: Mutex<Vec<MySqlConnection>>,
}

/// A connection for one question.
pub(in crate::db) struct Lease<'r> {
    readers: &'r MariaDbPool,
    _place: SemaphorePermit<'r>,
    conn: MySqlConnection,
    /// It lay idle, and the server may have closed it since.
    was_idle: bool,
}

/// What to do after a question that failed.
pub(in crate::db) enum After {
    /// Ask again: only the old connection was at fault.
    AskAgain,
    /// That is the answer.
    GiveUp(DbError),
}

impl MariaDbPool {
    pub(in crate::db) fn new(server: Arc<MariaDbServer>, places: u32) -> Self {
        let places = usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS);
        Self { server, places: Semaphore::new(places), idle: Mutex::default() }
    }

    /// A connection for one question.
    pub(in crate::db) async fn lease(&self) -> Result<Lease<'_>, DbError> {
        let place = timeout(WAIT, self.places.acquire()).await.map_err(|_| DbError::NoAnswer)?;
        let place = place.map_err(|_| DbError::Closed)?;
        let idle = self.idle().pop();
        let was_idle = idle.is_some();
        let conn = match idle {
            Some(conn) => conn,
            None => self.server.session().await?,
        };
        Ok(Lease { readers: self, _place: place, conn, was_idle })
    }

    /// Takes no more questions, and says goodbye to those that listen.
    pub(in crate::db) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for conn in idle {
            // one that does not listen is dropped
            let _ = timeout(STATEMENT_TIMEOUT, conn.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MySqlConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    pub(in crate::db) fn conn(&mut self) -> &mut MySqlConnection {
        &mut self.conn
    }

    /// After a complete answer.
    pub(in crate::db) fn give_back(self) {
        self.readers.idle().push(self.conn);
    }

    /// After an error. A new connection takes the place of one that the server had closed meanwhile.
    pub(in crate::db) async fn after(&mut self, error: sqlx::Error) -> After {
        let closed = error.as_database_error().is_none()
            || matches!(mariadb_number(&error), Some(1053 | 1927 | 4031));
        if !(self.was_idle && closed) {
            return After::GiveUp(error.into());
        }
        // others that lay idle are no better
        self.readers.idle().clear();
        self.was_idle = false;
        match self.readers.server.session().await {
            Ok(conn) => {
                self.conn = conn;
                After::AskAgain
            }
            Err(error) => After::GiveUp(error),
        }
    }
}
