//! The connections that are open, and the bounds on all of them in sum. In: the client of each, and
//! when it had a whole request. Out: a permit or none, and which connection makes room when all
//! places are taken. So clients that send nothing keep no one out.

use super::eviction::{Candidate, subtract_one, victims};
use super::open_files;
use crate::clock::Clock;
use crate::counters::ConnectionCounters;
use crate::model::client::{ClientKey, NetworkKey};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections in all, if the limit of open files allows.
const MAX_CONNECTIONS: usize = 8_192;
/// Connections of one client address (IPv6: of one /64).
const MAX_PER_CLIENT: usize = 256;
/// Connections of one network (IPv4: a /24, IPv6: a /48).
const MAX_PER_NETWORK: usize = 4 * MAX_PER_CLIENT;
/// Bytes of all heads and forms that are not whole, and of what clients without credentials keep.
const MAX_UNFINISHED: usize = 32 * 1024 * 1024;
/// Bytes of one connection that count toward no bound: nearly every head fits.
const FREE_BYTES: usize = 2 * 1024;
/// Bytes of a head, or of a TLS handshake, that TLS and HTTP keep at most.
const MAX_HEAD_KEPT: usize = 64 * 1024;
/// Bytes of a TLS handshake beside what came in.
pub(super) const TLS_BYTES: usize = 8 * 1024;
/// Bytes of a connection in HTTP/2, or that is kept after a request, beside what came in.
pub(super) const KEPT_BYTES: usize = 24 * 1024;
/// Of so many places one makes room at a time, because choosing takes time.
const PLACES_PER_VICTIM: usize = 512;
/// How long until another connection is asked to make room.
const EVICT_AGAIN: Duration = Duration::from_millis(100);
/// Added to the requests that are answered, once a connection is chosen to make room.
const EVICTED: usize = usize::MAX / 2;

/// Clones share the limits.
#[derive(Clone)]
pub struct ConnectionLimits(Arc<Bounds>);

struct Bounds {
    places: Arc<Semaphore>,
    max: usize,
    start: Instant,
    open: Mutex<ConnectionTable>,
    unfinished: AtomicUsize,
    counters: Arc<ConnectionCounters>,
}

#[derive(Default)]
struct ConnectionTable {
    clients: HashMap<ClientKey, usize>,
    networks: HashMap<NetworkKey, usize>,
    connections: HashMap<u64, Arc<OpenConnection>>,
    next: u64,
}

/// One connection, as its requests see it.
pub struct OpenConnection {
    bounds: Arc<Bounds>,
    /// `None` is a trusted proxy, which speaks for many clients.
    client: Option<ClientKey>,
    /// Whole requests that have no reply yet.
    answering: AtomicUsize,
    /// Of the last whole request or of the start, milliseconds since the start of the daemon.
    since: AtomicU64,
    is_known: AtomicBool,
    /// `KEPT_BYTES` count for it.
    is_kept: AtomicBool,
    is_closed: AtomicBool,
    /// Bytes since the last whole request.
    head: AtomicUsize,
    /// Bytes of forms that are not whole.
    forms: AtomicUsize,
    evicted: Notify,
}

/// Counts as one connection of its client until it is dropped.
pub(super) struct ClientPlace {
    bounds: Arc<Bounds>,
    address: IpAddr,
    client: Option<ClientKey>,
}

/// Counts as one connection until it is dropped.
pub(super) struct ConnectionPermit {
    id: u64,
    connection: Arc<OpenConnection>,
    place: ClientPlace,
    _any: OwnedSemaphorePermit,
}

/// A whole request is being answered until this is dropped.
pub struct Answering(Arc<OpenConnection>);

/// The bytes of a form that is not whole, until this is dropped.
pub struct UnfinishedForm {
    connection: Arc<OpenConnection>,
    bytes: usize,
}

impl ConnectionLimits {
    /// As many connections as the limit of open files allows, after raising it as far as possible.
    pub fn of_all_files(counters: Arc<ConnectionCounters>) -> Self {
        Self::new(open_files::connections(MAX_CONNECTIONS), counters)
    }

    /// This many connections.
    pub fn new(max: usize, counters: Arc<ConnectionCounters>) -> Self {
        counters.max.set(max as u64);
        Self(Arc::new(Bounds {
            places: Arc::new(Semaphore::new(max)),
            max,
            start: Clock.mono(),
            open: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            counters,
        }))
    }

    /// `None` if the client or its network has too many connections. A trusted proxy is not
    /// counted.
    pub(super) fn of_client(&self, client: IpAddr, trusted: &[IpNet]) -> Option<ClientPlace> {
        let address = client.to_canonical();
        let bounds = Arc::clone(&self.0);
        if trusted.iter().any(|network| network.contains(&address)) {
            return Some(ClientPlace { bounds, address, client: None });
        }
        let client = ClientKey::from(address);
        let mut open = self.0.open();
        let ConnectionTable { clients, networks, .. } = &mut *open;
        let network = NetworkKey::from(client);
        let of = |count: Option<&usize>| count.copied().unwrap_or(0);
        if of(clients.get(&client)) >= MAX_PER_CLIENT
            || of(networks.get(&network)) >= MAX_PER_NETWORK
        {
            self.0.counters.refused.add_one();
            return None;
        }
        *clients.entry(client).or_insert(0) += 1;
        *networks.entry(network).or_insert(0) += 1;
        Some(ClientPlace { bounds, address, client: Some(client) })
    }

    /// Takes one of all places. When none is free, another connection makes room.
    pub(super) async fn place(&self, place: ClientPlace) -> ConnectionPermit {
        let places = Arc::clone(&self.0.places);
        let any = if let Ok(any) = Arc::clone(&places).try_acquire_owned() {
            any
        } else {
            loop {
                self.0.evict(|_| true);
                let free = Arc::clone(&places).acquire_owned();
                // the semaphore is never closed
                if let Ok(Ok(any)) = tokio::time::timeout(EVICT_AGAIN, free).await {
                    break any;
                }
            }
        };
        self.0.permit(place, any)
    }
}

impl Bounds {
    fn open(&self) -> MutexGuard<'_, ConnectionTable> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, place: ClientPlace, any: OwnedSemaphorePermit) -> ConnectionPermit {
        self.counters.accepted.add_one();
        self.counters.open.add_one();
        let connection = Arc::new(OpenConnection {
            bounds: Arc::clone(self),
            client: place.client,
            answering: AtomicUsize::new(0),
            since: AtomicU64::new(self.now()),
            is_known: AtomicBool::new(false),
            is_kept: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            head: AtomicUsize::new(0),
            forms: AtomicUsize::new(0),
            evicted: Notify::new(),
        });
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Arc::clone(&connection));
        drop(open);
        ConnectionPermit { id, connection, place, _any: any }
    }

    fn now(&self) -> u64 {
        let since = Clock.mono().saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Closes some connections, of those that may make room.
    fn evict(&self, may: impl Fn(&OpenConnection) -> bool) {
        let count = (self.max / PLACES_PER_VICTIM).max(1);
        let open = self.open();
        let candidates = open.connections.iter().filter_map(|(id, connection)| {
            let may = may(connection) && connection.answering.load(Ordering::Relaxed) == 0;
            may.then(|| connection.candidate(*id))
        });
        for id in victims(candidates.collect(), count) {
            if let Some(connection) = open.connections.get(&id)
                && connection.make_room()
            {
                self.counters.evicted.add_one();
            }
        }
    }

    fn add_unfinished(&self, bytes: usize) {
        if self.unfinished.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_UNFINISHED {
            // one that holds nothing would give nothing back
            self.evict(|connection| connection.charged() > 0);
        }
    }

    fn remove_unfinished(&self, bytes: usize) {
        self.unfinished.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl OpenConnection {
    fn candidate(&self, id: u64) -> Candidate {
        Candidate {
            id,
            network: self.client.map(NetworkKey::from),
            is_last: self.client.is_none() || self.is_known.load(Ordering::Relaxed),
            since: self.since.load(Ordering::Relaxed),
        }
    }

    /// Whether it was chosen to make room, and had no request.
    fn make_room(&self) -> bool {
        let chosen = self
            .answering
            .compare_exchange(0, EVICTED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if chosen {
            self.evicted.notify_one();
        }
        chosen
    }

    /// Returns once it has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The bytes of an unfinished head that count in sum.
    fn charged_head(head: usize) -> usize {
        head.min(MAX_HEAD_KEPT).saturating_sub(FREE_BYTES)
    }

    fn charged(&self) -> usize {
        let kept = if self.is_kept.load(Ordering::Relaxed) { KEPT_BYTES } else { 0 };
        let head = Self::charged_head(self.head.load(Ordering::Relaxed));
        head + self.forms.load(Ordering::Relaxed) + kept
    }

    /// More bytes came in.
    pub(super) fn received(&self, bytes: usize) {
        let before = self.head.fetch_add(bytes, Ordering::Relaxed);
        let more = Self::charged_head(before + bytes) - Self::charged_head(before);
        if more > 0 {
            self.bounds.add_unfinished(more);
        }
    }

    /// It holds this, which counts as a part of a head until the next whole request.
    pub(super) fn hold(&self, bytes: usize) {
        self.received(FREE_BYTES + bytes);
    }

    /// It is kept after a request. A stream of HTTP/2 may outlive its connection.
    fn keep(&self) {
        // first, so that no one subtracts it before
        self.bounds.add_unfinished(KEPT_BYTES);
        if self.is_kept.swap(true, Ordering::SeqCst) {
            self.bounds.remove_unfinished(KEPT_BYTES);
        }
        if self.is_closed.load(Ordering::SeqCst) {
            self.forget_kept();
        }
    }

    fn forget_kept(&self) {
        if self.is_kept.swap(false, Ordering::SeqCst) {
            self.bounds.remove_unfinished(KEPT_BYTES);
        }
    }

    fn forget_head(&self) {
        let charged = Self::charged_head(self.head.swap(0, Ordering::Relaxed));
        if charged > 0 {
            self.bounds.remove_unfinished(charged);
        }
    }

    /// A request is whole: it keeps the connection open until it is answered.
    pub fn answer(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::AcqRel);
        self.forget_head();
        self.forget_kept();
        Answering(Arc::clone(self))
    }

    /// A form begins.
    pub fn form(self: &Arc<Self>) -> UnfinishedForm {
        UnfinishedForm { connection: Arc::clone(self), bytes: 0 }
    }

    /// The last request had these credentials.
    pub fn set_known(&self, is_known: bool) {
        self.is_known.store(is_known, Ordering::Relaxed);
    }
}

impl UnfinishedForm {
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.connection.forms.fetch_add(bytes, Ordering::Relaxed);
        self.connection.bounds.add_unfinished(bytes);
    }
}

impl Drop for UnfinishedForm {
    fn drop(&mut self) {
        self.connection.forms.fetch_sub(self.bytes, Ordering::Relaxed);
        self.connection.bounds.remove_unfinished(self.bytes);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Self(connection) = self;
        connection.since.store(connection.bounds.now(), Ordering::Relaxed);
        let is_idle = connection.answering.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_known = connection.is_known.load(Ordering::Relaxed);
        if is_idle && !is_known && connection.client.is_some() {
            connection.keep();
        }
    }
}

impl ConnectionPermit {
    /// An IPv4-mapped address is IPv4.
    pub(super) fn client(&self) -> IpAddr {
        self.place.address
    }

    pub(super) fn connection(&self) -> &Arc<OpenConnection> {
        &self.connection
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connection.is_closed.store(true, Ordering::SeqCst);
        self.connection.forget_head();
        self.connection.forget_kept();
        let bounds = &self.place.bounds;
        bounds.counters.open.subtract_one();
        bounds.open().connections.remove(&self.id);
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut open = self.bounds.open();
        subtract_one(&mut open.clients, client);
        subtract_one(&mut open.networks, NetworkKey::from(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(limits: &ConnectionLimits, address: &str, trusted: &[IpNet]) -> Option<ClientPlace> {
        limits.of_client(address.parse().unwrap(), trusted)
    }

    async fn open(limits: &ConnectionLimits, address: &str) -> ConnectionPermit {
        limits.place(place(limits, address, &[]).unwrap()).await
    }

    fn is_evicted(permit: &ConnectionPermit) -> bool {
        permit.connection.answering.load(Ordering::Relaxed) >= EVICTED
    }

    #[tokio::test]
    async fn a_client_gets_256_connections_its_network_1024_and_a_trusted_proxy_more() {
        let limits = ConnectionLimits::new(2_000, Arc::default());
        let mut held = Vec::new();
        for last in 1..=4 {
            for _ in 0..MAX_PER_CLIENT {
                held.push(open(&limits, &format!("192.0.2.{last}")).await);
            }
        }
        assert!(place(&limits, "192.0.2.1", &[]).is_none());
        assert!(place(&limits, "192.0.2.5", &[]).is_none(), "its network has too many");
        assert!(place(&limits, "192.0.3.1", &[]).is_some());
        let proxy = ["192.0.2.0/24".parse().unwrap()];
        held.push(limits.place(place(&limits, "192.0.2.1", &proxy).unwrap()).await);
        let counters = &limits.0.counters;
        assert_eq!((counters.open.get(), counters.refused.get()), (1_025, 2));
        drop(held);
        assert_eq!(counters.open.get(), 0);
        let open = limits.0.open();
        assert!(open.clients.is_empty() && open.networks.is_empty());
        assert!(open.connections.is_empty());
        assert_eq!(limits.0.places.available_permits(), 2_000);
    }

    #[tokio::test]
    async fn the_one_longest_without_a_whole_request_makes_room() {
        let limits = ConnectionLimits::new(3, Arc::default());
        let answering = open(&limits, "192.0.2.1").await;
        let request = answering.connection.answer();
        let known = open(&limits, "192.0.2.2").await;
        known.connection.set_known(true);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let slow = open(&limits, "192.0.2.3").await;
        let new = limits.place(place(&limits, "192.0.2.4", &[]).unwrap());
        let evicted = async {
            slow.connection.evicted().await;
            assert!(is_evicted(&slow) && !is_evicted(&known) && !is_evicted(&answering));
            drop(slow);
        };
        let (new, ()) = tokio::join!(new, evicted);
        assert_eq!(limits.0.counters.evicted.get(), 1);
        // those whose last login was good go last, and before one that is being answered
        let _request = new.connection.answer();
        let next = limits.place(place(&limits, "192.0.2.5", &[]).unwrap());
        let evicted = async {
            known.connection.evicted().await;
            drop(known);
        };
        tokio::join!(next, evicted);
        assert!(!is_evicted(&answering));
        drop(request);
    }

    #[tokio::test]
    async fn what_clients_without_credentials_keep_counts_as_heads_do() {
        let limits = ConnectionLimits::new(MAX_CONNECTIONS, Arc::default());
        let known = open(&limits, "192.0.2.1").await;
        let answering = known.connection.answer();
        known.connection.set_known(true);
        drop(answering);
        let mut others = Vec::new();
        for number in 0..=MAX_UNFINISHED / KEPT_BYTES {
            let permit = open(&limits, &format!("10.{}.0.1", number % 200)).await;
            if number % 2 == 0 {
                permit.connection.hold(KEPT_BYTES);
            } else {
                let answering = [permit.connection.answer(), permit.connection.answer()];
                drop(answering);
            }
            others.push(permit);
        }
        let evicted = others.iter().filter(|permit| is_evicted(permit)).count();
        assert_eq!(evicted, MAX_CONNECTIONS / PLACES_PER_VICTIM);
        assert!(!is_evicted(&known), "it would give nothing back");
        // a stream of HTTP/2 that outlives its connection
        let outlives = others[1].connection.answer();
        drop((known, others));
        drop(outlives);
        assert_eq!(limits.0.unfinished.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn unfinished_heads_and_forms_share_a_bound() {
        let limits = ConnectionLimits::new(2_000, Arc::default());
        let mut held = Vec::new();
        let mut forms = Vec::new();
        while limits.0.unfinished.load(Ordering::Relaxed) + MAX_HEAD_KEPT <= MAX_UNFINISHED {
            let number = held.len();
            let permit = open(&limits, &format!("10.{}.0.1", number % 200)).await;
            permit.connection.received(FREE_BYTES + 16 * 1024);
            let mut form = permit.connection.form();
            form.add(16 * 1024);
            forms.push(form);
            held.push(permit);
        }
        assert!(held.iter().all(|permit| !is_evicted(permit)));
        let greedy = open(&limits, "192.0.2.1").await;
        greedy.connection.received(MAX_HEAD_KEPT + FREE_BYTES);
        let mut form = greedy.connection.form();
        form.add(MAX_HEAD_KEPT);
        // the head and the form both exceeded it
        let victims = 2 * (2_000 / PLACES_PER_VICTIM);
        assert_eq!(held.iter().filter(|permit| is_evicted(permit)).count(), victims);
        // what has become whole counts no more
        let answering = greedy.connection.answer();
        assert_eq!(OpenConnection::charged_head(greedy.connection.head.load(Ordering::Relaxed)), 0);
        drop(answering);
        drop((forms, form, held, greedy));
        assert_eq!(limits.0.unfinished.load(Ordering::Relaxed), 0);
    }
}
