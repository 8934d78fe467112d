//! One end of a connection and its time. In: when it connected, and each head of a request. Out: until when
//! the request must be answered: one time-out for the handshake, the head, the body and the work.

use crate::clock::Clock;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Who is on the other end, and how long they wait; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionPeer {
    /// The address; IPv4-mapped ones as IPv4.
    pub address: IpAddr,
    /// When the request must be answered.
    pub deadline: Instant,
}

/// Who is on the other end of a connection, and since when.
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) timeout: Duration,
    /// When the first request must be answered: its time began with the connection.
    first: Instant,
    has_asked: AtomicBool,
    /// When the request began whose head has not come yet; its time began with it.
    began: Mutex<Option<Instant>>,
}

impl Client {
    /// Someone who has just connected.
    pub(super) fn new(address: IpAddr, timeout: Duration) -> Self {
        let (first, has_asked) = (now() + timeout, AtomicBool::new(false));
        Self { address, timeout, first, has_asked, began: Mutex::default() }
    }

    /// Something has come while no request was under way.
    pub(super) fn speaks(&self) {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(now);
    }

    /// The head of a request has come.
    pub(super) fn asks(&self) -> ConnectionPeer {
        let is_first = !self.has_asked.swap(true, Ordering::Relaxed);
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner).take();
        let deadline = if is_first { self.first } else { began.unwrap_or_else(now) + self.timeout };
        ConnectionPeer { address: self.address, deadline }
    }

    /// Returns when it should have asked and has not.
    pub(super) async fn silent(&self) {
        tokio::time::sleep_until(self.first).await;
        if self.has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

fn now() -> Instant {
    Instant::from_std(Clock.now().mono)
}
