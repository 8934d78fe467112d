//! Who is connected, 32 at most. In: a newcomer. Out: a place for it; if all are taken, the guest that
//! has been idle longest is asked to leave, so that connections nobody uses keep nobody out.

use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections at a time; the next ones wait in the kernel's backlog.
pub(super) const CONNECTIONS: usize = 32;

/// Nobody is sent away who was busy or came so shortly ago: greeting and a client's first call take
/// less, so that a crowd of silent connections cannot push out a client that is about to speak.
const GRACE: Duration = Duration::from_millis(100);

/// Hands out places; clones share them.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    free: Arc<Semaphore>,
    guests: Mutex<Guests>,
    /// A guest has become idle.
    idle: Notify,
}

#[derive(Default)]
struct Guests {
    by_number: BTreeMap<u64, Seat>,
    next: u64,
}

struct Seat {
    /// `None` while a call is under way.
    idle_since: Option<Instant>,
    leave: CancellationToken,
}

/// One connection's place, given back when dropped.
pub(super) struct Guest {
    places: Places,
    number: u64,
    leave: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Places {
    /// All free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            guests: Mutex::default(),
            idle: Notify::new(),
        }))
    }

    /// A place for a connection, as soon as there is one or somebody idle has left. `stop` is for
    /// everybody.
    pub(super) async fn take(&self, stop: &CancellationToken) -> Guest {
        let place = tokio::select! {
            biased;
            place = Arc::clone(&self.0.free).acquire_owned() => place,
            never = self.make_room() => match never {},
        };
        let Ok(place) = place else {
            // the semaphore is never closed
            return std::future::pending().await;
        };
        let leave = stop.child_token();
        let mut guests = self.guests();
        let number = guests.next;
        guests.next += 1;
        let seat = Seat { idle_since: Some(Clock.now().mono), leave: leave.clone() };
        guests.by_number.insert(number, seat);
        drop(guests);
        Guest { places: self.clone(), number, leave, _place: place }
    }

    /// Sends idle guests away one by one, until there is room and this is dropped.
    async fn make_room(&self) -> std::convert::Infallible {
        loop {
            let became_idle = self.0.idle.notified();
            match self.idle_longest() {
                None => became_idle.await,
                Some((number, since)) => {
                    tokio::time::sleep_until((since + GRACE).into()).await;
                    if self.send_away(number, since) {
                        // it goes at once, and only if it does not is it the next one's turn
                        tokio::time::sleep(GRACE).await;
                    }
                }
            }
        }
    }

    fn idle_longest(&self) -> Option<(u64, Instant)> {
        let guests = self.guests();
        let staying = guests.by_number.iter().filter(|(_, seat)| !seat.leave.is_cancelled());
        let idle = staying.filter_map(|(number, seat)| Some((*number, seat.idle_since?)));
        idle.min_by_key(|(_, since)| *since)
    }

    /// Asks a guest to leave if it has been idle since then.
    fn send_away(&self, number: u64, since: Instant) -> bool {
        let guests = self.guests();
        let seat = guests.by_number.get(&number);
        let seat = seat.filter(|seat| seat.idle_since == Some(since));
        seat.inspect(|seat| seat.leave.cancel()).is_some()
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Cancelled when the connection is to end as soon as its calls are answered.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.leave
    }

    /// Notes whether a call is under way.
    pub(super) fn note_busy(&self, busy: bool) {
        let mut guests = self.places.guests();
        let Some(seat) = guests.by_number.get_mut(&self.number) else {
            return;
        };
        if busy {
            seat.idle_since = None;
        } else if seat.idle_since.is_none() {
            seat.idle_since = Some(Clock.now().mono);
            drop(guests);
            self.places.0.idle.notify_one();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.places.guests().by_number.remove(&self.number);
    }
}
