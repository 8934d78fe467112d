//! Equal attempts share one run. In: an attempt's digest. Out: what its run finds out, and for the
//! first who asks the ticket to start that run. A ticket that is lost, by a panic too, tells all who
//! wait that nothing was found out.

use super::Match;
use super::verdict_cache::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The runs that are queued or under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, watch::Sender<Option<Match>>>>);

/// The right to carry out one run.
pub(super) struct Ticket {
    flights: Arc<Flights>,
    digest: Digest,
    used: bool,
}

impl Flights {
    /// Waits for the run of this attempt; with a ticket if the caller has to start it.
    pub(super) fn board(
        self: &Arc<Self>,
        digest: Digest,
    ) -> (watch::Receiver<Option<Match>>, Option<Ticket>) {
        let mut flights = self.lock();
        if let Some(sender) = flights.get(&digest) {
            return (sender.subscribe(), None);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(digest, sender);
        (receiver, Some(Ticket { flights: Arc::clone(self), digest, used: false }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, watch::Sender<Option<Match>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whose run this is.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Nobody waits any more. That ends the flight: who asks now starts a new one.
    pub(super) fn is_abandoned(&mut self) -> bool {
        let mut flights = self.flights.lock();
        let waiting = flights.get(&self.digest).map_or(0, watch::Sender::receiver_count);
        if waiting == 0 {
            flights.remove(&self.digest);
            self.used = true;
        }
        waiting == 0
    }

    /// Tells all who wait.
    pub(super) fn settle(mut self, finding: Match) {
        let sender = self.flights.lock().remove(&self.digest);
        self.used = true;
        if let Some(sender) = sender {
            sender.send_replace(Some(finding));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.flights.lock().remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_board_a_flight_learn_what_it_found() {
        let flights = Arc::new(Flights::default());
        let (first, ticket) = flights.board([1; 16]);
        let (second, none) = flights.board([1; 16]);
        assert!(none.is_none());
        ticket.unwrap().settle(Match::Wrong);
        assert_eq!((*first.borrow(), *second.borrow()), (Some(Match::Wrong), Some(Match::Wrong)));
        assert!(flights.board([1; 16]).1.is_some(), "the next one flies anew");
    }

    #[test]
    fn a_lost_ticket_tells_who_waits_and_frees_the_way() {
        let flights = Arc::new(Flights::default());
        let (waiting, ticket) = flights.board([1; 16]);
        drop(ticket);
        assert!(waiting.has_changed().is_err());
        assert!(flights.board([1; 16]).1.is_some());
    }

    #[test]
    fn an_abandoned_flight_is_not_flown_and_hinders_no_later_one() {
        let flights = Arc::new(Flights::default());
        let (waiting, ticket) = flights.board([1; 16]);
        let mut ticket = ticket.unwrap();
        assert!(!ticket.is_abandoned());
        drop(waiting);
        assert!(ticket.is_abandoned());
        let (later, second) = flights.board([1; 16]);
        drop(ticket);
        second.unwrap().settle(Match::Wrong);
        assert_eq!(*later.borrow(), Some(Match::Wrong));
    }
}
