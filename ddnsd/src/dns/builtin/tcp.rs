//! Answers connections (RFC 7766). In: messages, each with its length before it. Out: answers and
//! zone transfers, in the same order. Each wait has a limit; when all places are taken, the
//! connection that has waited longest, for its next query or for its client to read, makes room.

use super::BuiltinServer;
use super::respond::{Response, Transport, respond};
use super::transfer::Transfer;
use crate::log_budget::log_repeated;
use crate::model::client::ClientKey;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections in all.
const MAX_CONNECTIONS: usize = 512;
/// Connections of one client (IPv6: of one /64).
const MAX_PER_CLIENT: usize = 32;
/// From the end of an answer to the last byte of the next query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);
/// For a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a query.
const MAX_QUERY: usize = 4_096;
/// Transfers at a time; others wait.
const MAX_TRANSFERS: usize = 8;
/// After an error of the listener itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves connections of all listeners. Clones share the limits.
#[derive(Clone)]
pub(super) struct TcpServer {
    server: BuiltinServer,
    places: Arc<Semaphore>,
    clients: Arc<Mutex<HashMap<ClientKey, usize>>>,
    transfers: Arc<Semaphore>,
    /// Ends the connection that has waited longest.
    room: Arc<Notify>,
    stop: CancellationToken,
    work: TaskTracker,
}

/// A connection's place, until it is dropped.
struct Place {
    _any: OwnedSemaphorePermit,
    client: ClientKey,
    clients: Arc<Mutex<HashMap<ClientKey, usize>>>,
}

impl TcpServer {
    pub(super) fn new(server: BuiltinServer, stop: CancellationToken, work: TaskTracker) -> Self {
        Self {
            server,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            clients: Arc::default(),
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
            room: Arc::default(),
            stop,
            work,
        }
    }

    /// Accepts connections until `stop`.
    pub(super) async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&listener)).await {
            match accepted {
                Ok(Some((stream, client, place))) => {
                    let connection = self.clone().connection(stream, client, place);
                    self.work.spawn(connection);
                }
                Ok(None) => self.server.counters().connections_refused.add_one(),
                Err(error) => {
                    log_repeated!(warn, "name server: cannot accept a TCP connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// `None` if the client has too many connections.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<Option<(TcpStream, SocketAddr, Place)>> {
        let (stream, client) = listener.accept().await?;
        if self.places.available_permits() == 0 {
            self.room.notify_one();
        }
        let any = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        Ok(self.place(any, client.ip()).map(|place| (stream, client, place)))
    }

    fn place(&self, any: OwnedSemaphorePermit, client: IpAddr) -> Option<Place> {
        let client = ClientKey::from(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= MAX_PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(Place { _any: any, client, clients: Arc::clone(&self.clients) })
    }

    async fn connection(self, mut stream: TcpStream, client: SocketAddr, _place: Place) {
        // an answer is one write
        let _ = stream.set_nodelay(true);
        let stop = self.stop.clone();
        while let Some(Ok(query)) = stop.run_until_cancelled(self.query(&mut stream)).await {
            if let Err(error) = self.answer(&query, &mut stream, client.ip()).await {
                tracing::debug!(%client, "name server: a TCP connection ended: {error}");
                return;
            }
        }
    }

    /// The next query. Ends if there is none in time, or if its place is needed.
    async fn query(&self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        tokio::select! {
            read = timeout(QUERY_TIMEOUT, read(stream)) => read?,
            () = self.room.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn answer(&self, query: &[u8], stream: &mut TcpStream, client: IpAddr) -> io::Result<()> {
        let counters = self.server.counters();
        counters.tcp.add_one();
        let response = respond(query, client, Transport::Tcp, &self.server.zone_set());
        match response {
            Response::Message(reply) => {
                self.server.count(&reply);
                // a client that does not read makes room, too
                tokio::select! {
                    biased;
                    written = write(stream, &reply.bytes) => written,
                    () = self.room.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
                }
            }
            Response::Transfer(request) => {
                let _permit = self.transfers.acquire().await;
                counters.transfers.add_one();
                let zone = request.zone.zone.clone();
                let mut transfer = Transfer::new(request);
                while let Some(message) = transfer.next_message() {
                    write(stream, &message).await?;
                }
                tracing::debug!(%zone, %client, "zone transferred");
                Ok(())
            }
            // not a query: no answer would be understood
            Response::Nothing => {
                counters.dropped.add_one();
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_QUERY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

/// In one write, so that no half of a message waits for an ACK.
async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(message.len() + 2);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    timeout(WRITE_TIMEOUT, stream.write_all(&frame)).await?
}
