//! How a MariaDB server is reached, and what each session is set to.

use crate::clock::Clock;
use crate::config::{DatabaseTls, MariaDb};
use crate::db::error::{DbError, is_limit_of_connections, mariadb_number, reason};
use futures::future::BoxFuture;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Longest wait for a new connection. Whoever waits for one has still to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Set in each session, whatever the server's defaults are: autocommit, reads that see all that is
/// committed and in full, no value cut to fit, a short wait for row locks. The wait for a locked
/// table is longer than our own timeout, so that it is reported as a database that does not answer,
/// and not much longer, so that abandoned statements do not pile up at the server.
const SESSION: &str = "SET SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', \
     SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,\
NO_ENGINE_SUBSTITUTION', \
     SESSION sql_select_limit = 18446744073709551615, SESSION sql_safe_updates = 0, \
     SESSION foreign_key_checks = 1, SESSION unique_checks = 1, \
     SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 5; \
     SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE";

/// A node of a Galera cluster reads once it has applied what other nodes committed before.
const CAUSAL_READS: &str = "SET SESSION wsrep_sync_wait = 1";

/// Longest wait for a place of the pool, for a long transaction.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The server, and the connections to it that share `database.pool_size`. The writer has one of
/// them; readers and long transactions take a place for each of the others.
pub(in crate::db) struct MariaDbServer {
    options: MySqlConnectOptions,
    tls: MySqlSslMode,
    pub(super) places: Arc<Semaphore>,
    idle: Mutex<Vec<MySqlConnection>>,
    /// Notified when a connection becomes idle or is closed.
    pub(super) freed: Notify,
}

impl MariaDbServer {
    pub(in crate::db) fn new(config: &MariaDb) -> Self {
        let mode = match config.tls {
            DatabaseTls::Disabled => MySqlSslMode::Disabled,
            // a socket of this machine cannot be overheard
            DatabaseTls::Preferred if config.socket.is_some() => MySqlSslMode::Disabled,
            DatabaseTls::Preferred => MySqlSslMode::Preferred,
            DatabaseTls::Required => MySqlSslMode::Required,
            DatabaseTls::Verify => MySqlSslMode::VerifyIdentity,
        };
        let mut options = MySqlConnectOptions::new()
            .host(&config.host)
            .port(config.port)
            .username(&config.user)
            .database(&config.name)
            .ssl_mode(mode)
            // SESSION sets the whole mode
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .disable_statement_logging();
        if !config.password.expose().is_empty() {
            options = options.password(config.password.expose());
        }
        if let Some(socket) = &config.socket {
            options = options.socket(socket);
        }
        if let (Some(file), DatabaseTls::Verify) = (&config.tls_ca_file, config.tls) {
            options = options.ssl_ca(file);
        }
        // one connection is the writer's, and reading needs one at least
        let places = usize::try_from(config.pool_size.saturating_sub(1).max(1));
        let places = Arc::new(Semaphore::new(places.unwrap_or(Semaphore::MAX_PERMITS)));
        Self { options, tls: mode, places, idle: Mutex::default(), freed: Notify::new() }
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<MySqlConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that is no reader's. An idle connection is closed for it.
    pub(in crate::db) async fn place(&self) -> Result<OwnedSemaphorePermit, DbError> {
        let place = timeout(PLACE_TIMEOUT, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| DbError::NoAnswer)?.map_err(|_| DbError::Closed)?;
        let idle = self.idle().pop();
        if let Some(conn) = idle {
            // a connection that cannot be closed in time is dropped
            let _ = timeout(CONNECT_TIMEOUT, conn.close()).await;
        }
        Ok(place)
    }

    /// A new connection, ready for statements. Boxed: it is large, and many stories may connect.
    pub(in crate::db) fn connect(&self) -> BoxFuture<'_, Result<MySqlConnection, DbError>> {
        Box::pin(async {
            let connected = timeout(CONNECT_TIMEOUT, self.connect_without_timeout()).await;
            Ok(connected.map_err(|_| DbError::NoAnswer)??)
        })
    }

    /// Without TLS before 1970, when rustls would panic, if TLS need not be.
    fn options(&self) -> sqlx::Result<MySqlConnectOptions> {
        let options = self.options.clone();
        match self.tls {
            MySqlSslMode::Disabled => Ok(options),
            _ if !Clock.is_before_1970() => Ok(options),
            MySqlSslMode::Preferred => Ok(options.ssl_mode(MySqlSslMode::Disabled)),
            _ => Err(sqlx::Error::Tls(
                "TLS needs the time, and the clock shows one before 1970".into(),
            )),
        }
    }

    pub(in crate::db) fn connect_without_timeout(
        &self,
    ) -> BoxFuture<'_, sqlx::Result<MySqlConnection>> {
        Box::pin(async {
            let mut conn = self.options()?.connect().await?;
            conn.execute(SESSION).await?;
            match conn.execute(CAUSAL_READS).await {
                // a server that cannot be part of a cluster does not know it
                Err(error) if mariadb_number(&error) != Some(1193) => Err(error),
                Ok(_) | Err(_) => Ok(conn),
            }
        })
    }
}

/// The server's message, with the settings to look at.
pub(in crate::db) fn advice(error: &sqlx::Error, config: &MariaDb) -> String {
    let message = reason(error);
    let hint = match (error, mariadb_number(error)) {
        (_, Some(1045 | 1044 | 1698)) => "see database.user, password and its grants",
        _ if is_limit_of_connections(error) => {
            "lower database.pool_size, which ddnsd's connections are in all, 2 at least; or raise the account's MAX_USER_CONNECTIONS or the server's max_connections"
        }
        (_, Some(1049)) => "make it first, or see database.name",
        (sqlx::Error::Protocol(text), _) if text.contains("authentication plugin") => {
            "make the account IDENTIFIED VIA mysql_native_password, or unix_socket beside database.socket"
        }
        (sqlx::Error::Tls(_), _) => "see database.tls and tls_ca_file",
        (sqlx::Error::Io(error), _) if is_tls(error) => "see database.tls and tls_ca_file",
        (sqlx::Error::Io(_), _) if config.socket.is_some() => {
            "is the server running? see database.socket"
        }
        (sqlx::Error::Io(_), _) => "is the server running? see database.host and port",
        _ => return message,
    };
    format!("{message} ({hint})")
}

/// Whether the server was reached, and the TLS handshake failed.
fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}
