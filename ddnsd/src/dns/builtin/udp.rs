//! Answers datagrams. No task, timer or queue per query: what is received is answered before the
//! next one is received, and the kernel drops what comes faster.

use super::BuiltinServer;
use super::rate_limit::Limited;
use super::respond::{Response, Transport, ask_again_by_tcp, respond};
use super::udp_port::{UdpPeer, UdpPort};
use crate::counters::Counter;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// No query is longer; of one that is, the end is cut off, so it is malformed.
const MAX_QUERY: usize = 4_096;
/// Datagrams in a row, before other tasks of the daemon may run.
const BURST: usize = 32;
/// After an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(50);
/// Services that answer anything (echo, daytime, chargen, time): with one of them, an answer could
/// loop for ever. 0 is no port.
const NO_CLIENTS: [u16; 5] = [0, 7, 13, 19, 37];

/// Answers until `stop`.
pub(super) async fn serve(port: Arc<UdpPort>, server: BuiltinServer, stop: CancellationToken) {
    let mut buffer = vec![0; MAX_QUERY];
    let mut burst = 0;
    while !stop.is_cancelled() {
        match port.try_receive(&mut buffer) {
            Ok((length, peer)) => {
                answer(&port, buffer.get(..length).unwrap_or_default(), &peer, &server);
                burst += 1;
                if burst >= BURST {
                    burst = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                burst = 0;
                tokio::select! {
                    ready = port.readable() => pause_after(ready.err()).await,
                    () = stop.cancelled() => {}
                }
            }
            Err(error) => pause_after(Some(error)).await,
        }
    }
}

fn answer(port: &UdpPort, bytes: &[u8], peer: &UdpPeer, server: &BuiltinServer) {
    let client = peer.client;
    let counters = server.counters();
    counters.udp.add_one();
    if NO_CLIENTS.contains(&client.port()) {
        return counters.dropped.add_one();
    }
    let zones = server.zone_set();
    if !client.ip().to_canonical().is_loopback() && !zones.may_transfer(client.ip()) {
        match server.count_query(client.ip()) {
            Limited::Answer => {}
            Limited::AskByTcp => {
                counters.limited.add_one();
                if let Some(answer) = ask_again_by_tcp(bytes) {
                    count_error(&port.try_send(&answer, peer), &counters.dropped);
                }
                return;
            }
            Limited::Nothing => return counters.limited.add_one(),
        }
    }
    match respond(bytes, client.ip(), Transport::Udp, &zones) {
        Response::Message(reply) => {
            server.count(&reply);
            // a full send buffer drops the answer, as a network may
            count_error(&port.try_send(&reply.bytes, peer), &counters.dropped);
        }
        Response::Nothing | Response::Transfer(_) => counters.dropped.add_one(),
    }
}

fn count_error(sent: &Result<(), Error>, dropped: &Counter) {
    if sent.is_err() {
        dropped.add_one();
    }
}

async fn pause_after(error: Option<Error>) {
    if let Some(error) = error {
        tracing::debug!("UDP socket of the name server: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}
