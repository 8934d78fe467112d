//! What waits for one zone, and which of it goes next. In: changes as they come, and how messages
//! ended. Out: batches. Pure: no I/O, the time is an argument.

use super::error::DnsError;
use super::message::{MAX_BYTES, MAX_NAMES, size_limit};
use super::{Lane, Published};
use crate::model::change::RecordChange;
use crate::model::name::Fqdn;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Changes that may wait in a lane.
const MAX_WAITING: usize = 10_000;
/// Fresh messages in flight. Only a full one joins another: BIND pays per message, so waiting for more
/// names is cheaper; Knot answers 10 ms late whatever the size, so full ones need not wait.
const MAX_OUT: usize = 4;
/// Hosts that are remembered as travelling alone. Beyond, one more split finds the next one again.
const MAX_ISOLATED: usize = 100_000;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15);

/// A change on its way, and who waits for its end.
pub(super) struct Job {
    /// What to assert.
    pub(super) change: RecordChange,
    /// Which lane it came by.
    pub(super) lane: Lane,
    /// Where the outcome goes; nobody may be left to hear it.
    pub(super) reply: oneshot::Sender<Published>,
}

/// What became of a change that was to wait.
#[must_use]
pub(super) enum Pushed {
    /// It waits; the worker has something to do if `ready`.
    Waits {
        /// A message may start now.
        ready: bool,
    },
    /// The zone is down; it was not taken.
    Down,
    /// The lane is full; it was not taken.
    Full,
    /// The worker has ended; here it is for the next one.
    Closed(Job),
}

/// All that waits for a zone.
#[derive(Default)]
pub(super) struct Batcher {
    fresh: LaneQueue,
    background: LaneQueue,
    /// Changes of names that have an earlier one waiting or in flight.
    held: VecDeque<Job>,
    /// Names that have a change in a lane or in flight.
    names: HashSet<Fqdn>,
    /// Those that were refused or at fault alone, and so travel alone until they succeed.
    isolated: HashSet<Fqdn>,
    /// Those that had no answer alone, and how many messages had been answered the first time.
    unanswered_alone: HashMap<Fqdn, u64>,
    /// Messages answered.
    answers: u64,
    batch_limit: BatchLimit,
    down: Option<ZoneDown>,
    closed: bool,
    /// The last failure.
    pub(super) last_error: Option<DnsError>,
}

/// A lane.
#[derive(Default)]
struct LaneQueue {
    jobs: VecDeque<Job>,
    /// Its messages in flight.
    out: usize,
}

/// Names that the next message may hold.
struct BatchLimit(usize);

impl Default for BatchLimit {
    fn default() -> Self {
        Self(MAX_NAMES)
    }
}

struct ZoneDown {
    since: Instant,
    backoff: Duration,
    retry_at: Instant,
}

impl Batcher {
    /// Takes a change in, if it may wait.
    pub(super) fn push(&mut self, job: Job, now: Instant) -> Pushed {
        if self.closed {
            return Pushed::Closed(job);
        }
        if matches!(job.lane, Lane::Interactive) && !self.takes_fresh(now) {
            return Pushed::Down;
        }
        if self.lane(job.lane).jobs.len() >= MAX_WAITING || self.held.len() >= MAX_WAITING {
            return Pushed::Full;
        }
        self.enqueue(job);
        Pushed::Waits { ready: self.is_ready() }
    }

    /// While the zone is down, one fresh change may try it, when the back-off is over. Background
    /// changes always wait: for the try that is out, or to be the next.
    fn takes_fresh(&self, now: Instant) -> bool {
        let Some(down) = &self.down else { return true };
        down.retry_at <= now && self.out() == 0 && self.len() == 0
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneQueue {
        match lane {
            Lane::Interactive => &mut self.fresh,
            Lane::Background => &mut self.background,
        }
    }

    fn out(&self) -> usize {
        self.fresh.out + self.background.out
    }

    fn enqueue(&mut self, job: Job) {
        if self.names.insert(job.change.fqdn.clone()) {
            self.lane(job.lane).jobs.push_back(job);
        } else {
            self.held.push_back(job);
        }
    }

    /// Whether a message may start.
    pub(super) fn is_ready(&self) -> bool {
        self.next_lane().is_some()
    }

    /// Which lane the next message is of. A message is of one lane, and neither waits for the other: those
    /// in the background may be halved for long. There is one of them at a time.
    fn next_lane(&self) -> Option<Lane> {
        if self.down.is_some() && self.out() > 0 {
            return None;
        }
        let (fresh, background) = (&self.fresh, &self.background);
        let joins = fresh.jobs.len() >= MAX_NAMES && fresh.out < MAX_OUT;
        if !fresh.jobs.is_empty() && (fresh.out == 0 || joins) {
            Some(Lane::Interactive)
        } else if !background.jobs.is_empty() && background.out == 0 {
            Some(Lane::Background)
        } else {
            None
        }
    }

    /// The next message's changes, each of another host; none if nothing may start now. A host that was
    /// refused goes alone; so does a try of a zone that is down. Each batch is ended by
    /// [`Self::message_ended`] with its lane.
    pub(super) fn take(&mut self) -> Vec<Job> {
        let mut batch = Vec::new();
        let Some(lane) = self.next_lane() else { return batch };
        let batch_limit = if self.down.is_some() { 1 } else { self.batch_limit.0 };
        let mut bytes = 0;
        while batch.len() < batch_limit {
            let Some(job) = self.lane(lane).jobs.pop_front() else { break };
            bytes += size_limit(&job.change);
            let alone = self.isolated.contains(&job.change.fqdn);
            if !batch.is_empty() && (alone || bytes > MAX_BYTES) {
                self.lane(lane).jobs.push_front(job);
                break;
            }
            batch.push(job);
            if alone {
                break;
            }
        }
        self.lane(lane).out += 1;
        batch
    }

    /// A host's change is over: what was held for it may follow.
    pub(super) fn host_ended(&mut self, name: &Fqdn) {
        self.names.remove(name);
        let next = self.held.iter().position(|job| job.change.fqdn == *name);
        if let Some(job) = next.and_then(|at| self.held.remove(at)) {
            self.enqueue(job);
        }
    }

    /// A batch that was taken is over.
    pub(super) fn message_ended(&mut self, lane: Lane) {
        let lane = self.lane(lane);
        lane.out = lane.out.saturating_sub(1);
    }

    /// The host failed with nobody beside it, and others do not.
    pub(super) fn isolate(&mut self, name: Fqdn) {
        if self.isolated.len() < MAX_ISOLATED {
            self.isolated.insert(name);
        }
    }

    /// The host's change is in DNS.
    pub(super) fn succeeded(&mut self, name: &Fqdn) {
        self.isolated.remove(name);
        self.unanswered_alone.remove(name);
    }

    /// The server answered a message about these; says whether the zone had been down.
    pub(super) fn answered(&mut self, part: &[Job]) -> bool {
        self.answers += 1;
        if part.len() >= self.batch_limit.0 {
            self.batch_limit.0 = (self.batch_limit.0 * 2).min(MAX_NAMES);
        }
        // a refusal of several may be of one, before the others were looked at
        if let [job] = part {
            self.unanswered_alone.remove(&job.change.fqdn);
        }
        self.down.take().is_some()
    }

    /// A message about these, sent then, was not answered. The zone is down, for longer each time it is
    /// tried; unless it is a host that was silent before, alone, when others were not: that one is at
    /// fault itself. Out: all that waited, if the zone is down.
    pub(super) fn unanswered(&mut self, part: &[Job], sent: Instant, now: Instant) -> Vec<Job> {
        // smaller ones find out if it is one host's fault
        if part.len() > 1 {
            self.batch_limit.0 = self.batch_limit.0.min(part.len() / 2);
        }
        if self.is_at_fault(part) && self.down.is_none() {
            return Vec::new();
        }
        match &mut self.down {
            // sent before it was known
            Some(down) if sent < down.since => {}
            Some(down) => {
                down.backoff = (down.backoff * 2).min(LAST_BACKOFF);
                down.retry_at = now + down.backoff;
            }
            None => {
                let (backoff, retry_at) = (FIRST_BACKOFF, now + FIRST_BACKOFF);
                self.down = Some(ZoneDown { since: now, backoff, retry_at });
            }
        }
        self.drain()
    }

    /// Notes that a host was silent alone. Whether it was before, and others answered since: then it
    /// travels alone from now on.
    fn is_at_fault(&mut self, part: &[Job]) -> bool {
        let [job] = part else { return false };
        if self.unanswered_alone.len() >= MAX_ISOLATED {
            self.unanswered_alone.clear();
        }
        let name = &job.change.fqdn;
        let is_at_fault =
            self.answers > *self.unanswered_alone.entry(name.clone()).or_insert(self.answers);
        if is_at_fault {
            self.isolate(name.clone());
        }
        is_at_fault
    }

    fn drain(&mut self) -> Vec<Job> {
        let waited: Vec<_> = {
            let (fresh, background) = (&mut self.fresh.jobs, &mut self.background.jobs);
            fresh.drain(..).chain(background.drain(..)).collect()
        };
        for job in &waited {
            self.names.remove(&job.change.fqdn);
        }
        waited.into_iter().chain(self.held.drain(..)).collect()
    }

    /// Ends the queue if it has nothing to do; says whether it did.
    pub(super) fn close_if_idle(&mut self) -> bool {
        self.closed = self.out() == 0 && self.len() == 0;
        self.closed
    }

    /// Ends the queue; whoever waits learns of it by the end of the reply channel.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.fresh.jobs.clear();
        self.background.jobs.clear();
        self.held.clear();
    }

    /// Whether the zone does not answer at the moment.
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// Changes that wait.
    pub(super) fn len(&self) -> usize {
        self.fresh.jobs.len() + self.background.jobs.len() + self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::host::HostId;
    use crate::model::name::Zone;
    use crate::model::record::WantedRecords;

    fn job(host: i64, lane: Lane) -> Job {
        let change = RecordChange {
            host: HostId(host),
            fqdn: Fqdn::parse(&format!("h{host}.example.org")).unwrap(),
            zone: Zone::parse("example.org").unwrap(),
            ttl: 60,
            records: WantedRecords::default(),
            unpublished_since: None,
        };
        Job { change, lane, reply: oneshot::channel().0 }
    }

    fn now() -> Instant {
        Clock.now().mono
    }

    fn waits(batcher: &mut Batcher, host: i64, lane: Lane) -> bool {
        matches!(batcher.push(job(host, lane), now()), Pushed::Waits { .. })
    }

    fn hosts(batch: &[Job]) -> Vec<i64> {
        batch.iter().map(|job| job.change.host.0).collect()
    }

    fn end(batcher: &mut Batcher, batch: &[Job]) {
        for job in batch {
            batcher.host_ended(&job.change.fqdn);
        }
        batcher.message_ended(batch[0].lane);
    }

    #[test]
    fn what_arrives_while_a_message_is_out_goes_with_the_next_of_its_lane() {
        let mut batcher = Batcher::default();
        assert!(waits(&mut batcher, 1, Lane::Interactive));
        let first = batcher.take();
        for (host, lane) in [(2, Lane::Background), (3, Lane::Interactive), (4, Lane::Interactive)]
        {
            assert!(waits(&mut batcher, host, lane));
        }
        assert_eq!(hosts(&batcher.take()), [2], "a lane waits for its own only");
        assert!(batcher.take().is_empty(), "one of each is out, and no full one waits");
        assert!(waits(&mut batcher, 5, Lane::Background));
        end(&mut batcher, &first);
        assert_eq!(hosts(&batcher.take()), [3, 4]);
        assert!(batcher.take().is_empty());
    }

    #[test]
    fn a_fresh_message_passes_background_ones_and_takes_none_of_them_along() {
        let mut batcher = Batcher::default();
        for host in 0..201 {
            assert!(waits(&mut batcher, host, Lane::Background));
        }
        let slow = batcher.take();
        assert_eq!(slow.len(), MAX_NAMES);
        assert!(batcher.take().is_empty());
        assert!(matches!(
            batcher.push(job(300, Lane::Interactive), now()),
            Pushed::Waits { ready: true }
        ));
        let first = batcher.take();
        assert_eq!(hosts(&first), [300]);
        // one of them at a time: what comes meanwhile travels together
        assert!(matches!(
            batcher.push(job(301, Lane::Interactive), now()),
            Pushed::Waits { ready: false }
        ));
        assert!(batcher.take().is_empty());
        end(&mut batcher, &first);
        assert_eq!(hosts(&batcher.take()), [301]);
        assert!(batcher.take().is_empty(), "one of each is out");
        end(&mut batcher, &slow);
        assert_eq!(hosts(&batcher.take()), [200], "nor do they wait for fresh ones");
    }

    #[test]
    fn a_full_message_joins_those_in_flight_up_to_four() {
        let mut batcher = Batcher::default();
        for host in 0..1001 {
            assert!(waits(&mut batcher, host, Lane::Interactive));
        }
        for _ in 0..MAX_OUT {
            assert_eq!(batcher.take().len(), MAX_NAMES);
        }
        assert!(batcher.take().is_empty());
        batcher.message_ended(Lane::Interactive);
        assert_eq!(batcher.take().len(), MAX_NAMES);
        assert!(batcher.take().is_empty(), "one change waits, which is no full message");
    }

    #[test]
    fn two_changes_of_a_host_are_neither_in_one_message_nor_out_of_order() {
        let mut batcher = Batcher::default();
        assert!(waits(&mut batcher, 1, Lane::Background));
        assert!(waits(&mut batcher, 1, Lane::Interactive));
        assert!(waits(&mut batcher, 2, Lane::Interactive));
        let other = batcher.take();
        assert_eq!(hosts(&other), [2]);
        let first = batcher.take();
        assert_eq!((hosts(&first), first[0].lane), (vec![1], Lane::Background));
        end(&mut batcher, &other);
        assert!(batcher.take().is_empty(), "its second waits for its first");
        end(&mut batcher, &first);
        let second = batcher.take();
        assert_eq!((hosts(&second), second[0].lane), (vec![1], Lane::Interactive));
    }

    #[test]
    fn a_host_that_was_refused_travels_alone_until_it_succeeds() {
        let mut batcher = Batcher::default();
        batcher.isolate(job(2, Lane::Interactive).change.fqdn);
        for host in 1..=3 {
            assert!(waits(&mut batcher, host, Lane::Interactive));
        }
        for expected in [1, 2, 3] {
            let batch = batcher.take();
            assert_eq!(hosts(&batch), [expected]);
            end(&mut batcher, &batch);
        }
        batcher.succeeded(&job(2, Lane::Interactive).change.fqdn);
        for host in 1..=3 {
            assert!(waits(&mut batcher, host, Lane::Interactive));
        }
        assert_eq!(hosts(&batcher.take()), [1, 2, 3]);
    }

    #[test]
    fn a_zone_that_is_down_turns_fresh_changes_away_but_for_one_try() {
        let mut batcher = Batcher::default();
        assert!(waits(&mut batcher, 1, Lane::Interactive));
        let batch = batcher.take();
        assert!(waits(&mut batcher, 2, Lane::Interactive));
        let start = now();
        assert_eq!(hosts(&batcher.unanswered(&batch, start, start)), [2], "who waited is told");
        end(&mut batcher, &batch);

        assert!(matches!(batcher.push(job(3, Lane::Interactive), start), Pushed::Down));
        let later = start + FIRST_BACKOFF;
        assert!(matches!(
            batcher.push(job(3, Lane::Interactive), later),
            Pushed::Waits { ready: true }
        ));
        assert!(matches!(batcher.push(job(4, Lane::Interactive), later), Pushed::Down));
        let attempt = batcher.take();
        assert_eq!(hosts(&attempt), [3]);
        assert!(batcher.answered(&attempt), "it was down");
        end(&mut batcher, &attempt);
        assert!(matches!(
            batcher.push(job(4, Lane::Interactive), later),
            Pushed::Waits { ready: true }
        ));
    }

    #[test]
    fn background_changes_wait_for_the_try_of_a_zone_that_is_down() {
        let mut batcher = Batcher::default();
        assert!(batcher.unanswered(&[], now(), now()).is_empty());
        for host in 1..=3 {
            assert!(waits(&mut batcher, host, Lane::Background));
        }
        let attempt = batcher.take();
        assert_eq!(hosts(&attempt), [1]);
        assert!(batcher.take().is_empty());
        assert!(batcher.answered(&attempt));
        end(&mut batcher, &attempt);
        assert_eq!(hosts(&batcher.take()), [2, 3]);
    }

    #[test]
    fn the_pause_of_a_zone_that_is_down_grows_to_fifteen_seconds() {
        let mut batcher = Batcher::default();
        let start = now();
        for pause in [1, 2, 4, 8, 15, 15] {
            assert!(batcher.unanswered(&[], start, start).is_empty());
            let retry_at = start + Duration::from_secs(pause);
            let early = retry_at.checked_sub(Duration::from_millis(1)).unwrap();
            assert!(!batcher.takes_fresh(early), "{pause}");
            assert!(batcher.takes_fresh(retry_at), "{pause}");
        }
    }

    #[test]
    fn messages_that_fail_together_are_one_outage() {
        let mut batcher = Batcher::default();
        let (sent, ended) = (now(), now() + Duration::from_secs(5));
        for millis in 0..4 {
            let ended = ended + Duration::from_millis(millis);
            assert!(batcher.unanswered(&[], sent, ended).is_empty());
        }
        let retried = ended + FIRST_BACKOFF;
        assert!(batcher.takes_fresh(retried));
        assert!(batcher.unanswered(&[], retried, retried).is_empty());
        assert!(!batcher.takes_fresh(retried + FIRST_BACKOFF), "a try of its own");
        assert!(batcher.takes_fresh(retried + 2 * FIRST_BACKOFF));
    }

    #[test]
    fn a_message_without_an_answer_makes_the_next_ones_smaller_until_they_have_one() {
        let mut batcher = Batcher::default();
        let mut next = |expected: usize, is_answered: bool| {
            for host in 0..200 {
                let _full = batcher.push(job(host, Lane::Background), now());
            }
            if batcher.is_down() {
                let attempt = batcher.take();
                assert_eq!(attempt.len(), 1);
                end(&mut batcher, &attempt);
                assert!(batcher.answered(&attempt));
            }
            let batch = batcher.take();
            assert_eq!(batch.len(), expected);
            end(&mut batcher, &batch);
            if is_answered {
                batcher.answered(&batch);
            } else {
                drop(batcher.unanswered(&batch, now(), now()));
            }
        };
        for (expected, is_answered) in [
            (200, false),
            (100, false),
            (50, true),
            (100, false),
            (50, false),
            (25, true),
            (50, true),
            (100, true),
            (200, true),
        ] {
            next(expected, is_answered);
        }
    }

    #[test]
    fn a_host_that_is_silent_alone_while_others_are_not_takes_no_zone_down_again() {
        let mut batcher = Batcher::default();
        let mut send = |host, is_answered| {
            assert!(waits(&mut batcher, host, Lane::Background));
            let batch = batcher.take();
            end(&mut batcher, &batch);
            if is_answered {
                batcher.answered(&batch);
            } else {
                assert!(batcher.unanswered(&batch, now(), now()).is_empty());
            }
            batcher.is_down()
        };
        assert!(send(1, false), "it may be the server");
        assert!(send(1, false), "it still may");
        assert!(!send(2, true));
        for _ in 0..2 {
            assert!(!send(1, false));
        }
        assert!(send(2, false), "another one is news");
        assert!(send(1, false), "and while it is down everything is a try");
        assert!(!send(1, true));
        assert!(send(1, false), "it had an answer in between");
    }

    #[test]
    fn a_full_lane_takes_no_more_and_leaves_the_other_alone() {
        let mut batcher = Batcher::default();
        let count = i64::try_from(MAX_WAITING).unwrap();
        for host in 0..count {
            assert!(waits(&mut batcher, host, Lane::Background));
        }
        assert!(matches!(batcher.push(job(count, Lane::Background), now()), Pushed::Full));
        assert!(waits(&mut batcher, count, Lane::Interactive));
    }

    #[test]
    fn a_queue_closes_only_when_it_has_nothing_to_do() {
        let mut batcher = Batcher::default();
        assert!(waits(&mut batcher, 1, Lane::Interactive));
        assert!(!batcher.close_if_idle());
        let batch = batcher.take();
        assert!(!batcher.close_if_idle());
        end(&mut batcher, &batch);
        assert!(batcher.close_if_idle());
        assert!(matches!(batcher.push(job(2, Lane::Interactive), now()), Pushed::Closed(_)));
    }
}
