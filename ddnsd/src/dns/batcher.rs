//! What is queued for one zone, and which of it goes next. In: changes as they come, and how
//! messages ended. Out: batches. Pure: no I/O, the time is an argument.

use super::message::{MAX_BYTES, MAX_NAMES, size_limit};
use super::{Lane, Published};
use crate::model::change::RecordChange;
use crate::model::name::Fqdn;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The most changes in each lane, and in `held`.
const MAX_QUEUED: usize = 10_000;
/// The most interactive messages in flight. With BIND each message has a fixed cost, so few large
/// messages are cheaper. Knot delays each answer by 10 ms, so full messages run in parallel.
const MAX_IN_FLIGHT: usize = 4;
/// The fewest queued hosts that start a second interactive message. The server works on it while
/// ddnsd reads the answer to the first one.
const MIN_SECOND: usize = 16;
/// The most hosts in `isolated` and in `unanswered_alone`. Halving finds a forgotten one again.
const MAX_ISOLATED: usize = 100_000;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15);

/// A change to send, and the caller that waits for its result.
pub(super) struct Job {
    pub(super) change: RecordChange,
    pub(super) lane: Lane,
    pub(super) reply: oneshot::Sender<Published>,
}

impl Job {
    /// Sends the result to the caller. A caller that is gone loses nothing: the row stays
    /// unpublished, and the republisher sends it again.
    pub(super) fn reply(self, result: Published) {
        let _unsent = self.reply.send(result);
    }
}

/// Whether a change was queued.
#[must_use]
pub(super) enum Pushed {
    Queued,
    /// Not queued: the zone is down.
    Down(Job),
    /// Not queued: the lane is full, or `held` is.
    Full(Job),
}

/// All that is queued for a zone.
#[derive(Default)]
pub(super) struct Batcher {
    interactive: LaneQueue,
    background: LaneQueue,
    /// Changes of hosts that already have one in a lane or in flight.
    held: VecDeque<Job>,
    /// Hosts with a change in a lane or in flight.
    busy: HashSet<Fqdn>,
    /// Hosts that failed by themselves. Each is sent in a message of its own until it succeeds.
    isolated: HashSet<Fqdn>,
    /// Hosts that got no answer when sent alone, with `answered_messages` at the first time.
    unanswered_alone: HashMap<Fqdn, u64>,
    /// How many messages the server has answered.
    answered_messages: u64,
    batch_limit: BatchLimit,
    down: Option<ZoneDown>,
}

#[derive(Default)]
struct LaneQueue {
    jobs: VecDeque<Job>,
    /// Messages of this lane.
    in_flight: usize,
}

/// The most hosts in the next message. A message without an answer lowers it to half that message's
/// size, in case one host is the cause. Each full message with an answer doubles it.
struct BatchLimit(usize);

impl Default for BatchLimit {
    fn default() -> Self {
        Self(MAX_NAMES)
    }
}

/// A zone whose server does not answer.
struct ZoneDown {
    since: Instant,
    backoff: Duration,
    retry_at: Instant,
}

impl Batcher {
    pub(super) fn push(&mut self, job: Job, now: Instant) -> Pushed {
        if matches!(job.lane, Lane::Interactive) && !self.takes_interactive(now) {
            return Pushed::Down(job);
        }
        if self.lane(job.lane).jobs.len() >= MAX_QUEUED || self.held.len() >= MAX_QUEUED {
            return Pushed::Full(job);
        }
        self.enqueue(job);
        Pushed::Queued
    }

    /// While the zone is down, takes one interactive change after the back-off, if nothing is
    /// queued or in flight. Background changes do not wait for the back-off.
    fn takes_interactive(&self, now: Instant) -> bool {
        let Some(down) = &self.down else { return true };
        down.retry_at <= now && self.is_idle()
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneQueue {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Background => &mut self.background,
        }
    }

    fn in_flight(&self) -> usize {
        self.interactive.in_flight + self.background.in_flight
    }

    fn enqueue(&mut self, job: Job) {
        if self.busy.insert(job.change.fqdn.clone()) {
            self.lane(job.lane).jobs.push_back(job);
        } else {
            self.held.push_back(job);
        }
    }

    /// Whether a message may start.
    pub(super) fn is_ready(&self) -> bool {
        self.next_lane().is_some()
    }

    /// The lane of the next message. The lanes do not wait for each other, because halving a
    /// refused background message takes long. In a zone that is down, one message is in flight.
    fn next_lane(&self) -> Option<Lane> {
        if self.down.is_some() && self.in_flight() > 0 {
            return None;
        }
        let interactive = &self.interactive;
        let background = &self.background;
        let least = match interactive.in_flight {
            0 => 1,
            1 => MIN_SECOND,
            _ => MAX_NAMES,
        };
        if interactive.jobs.len() >= least && interactive.in_flight < MAX_IN_FLIGHT {
            Some(Lane::Interactive)
        } else if !background.jobs.is_empty() && background.in_flight == 0 {
            Some(Lane::Background)
        } else {
            None
        }
    }

    /// The next message's changes, each of another host; none if no message may start now. An
    /// isolated host goes alone, and so does the try of a zone that is down. Each batch is ended
    /// by [`Self::message_ended`] with its lane.
    pub(super) fn take(&mut self) -> Vec<Job> {
        let mut batch = Vec::new();
        let Some(lane) = self.next_lane() else { return batch };
        let limit = if self.down.is_some() { 1 } else { self.batch_limit.0 };
        let mut bytes = 0;
        while batch.len() < limit {
            let Some(job) = self.lane(lane).jobs.pop_front() else { break };
            bytes += size_limit(&job.change);
            let is_isolated = self.isolated.contains(&job.change.fqdn);
            if !batch.is_empty() && (is_isolated || bytes > MAX_BYTES) {
                self.lane(lane).jobs.push_front(job);
                break;
            }
            batch.push(job);
            if is_isolated {
                break;
            }
        }
        self.lane(lane).in_flight += 1;
        batch
    }

    /// A host's change has its result: what was held for the host may follow.
    pub(super) fn host_ended(&mut self, name: &Fqdn) {
        self.busy.remove(name);
        let next = self.held.iter().position(|job| job.change.fqdn == *name);
        if let Some(job) = next.and_then(|at| self.held.remove(at)) {
            self.enqueue(job);
        }
    }

    /// Every change of a batch has its result.
    pub(super) fn message_ended(&mut self, lane: Lane) {
        let lane = self.lane(lane);
        lane.in_flight = lane.in_flight.saturating_sub(1);
    }

    /// The host failed alone while others did not.
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

    /// The server answered a message with these changes: a batch, or a part of a refused batch.
    /// Returns whether the zone was down until now.
    pub(super) fn answered(&mut self, part: &[Job]) -> bool {
        self.answered_messages += 1;
        if part.len() >= self.batch_limit.0 {
            self.batch_limit.0 = (self.batch_limit.0 * 2).min(MAX_NAMES);
        }
        // a refusal of several hosts proves nothing about each: servers stop at the first bad one
        if let [job] = part {
            self.unanswered_alone.remove(&job.change.fqdn);
        }
        self.down.take().is_some()
    }

    /// A message got no answer; `sent` is when it started. The zone goes down, or its back-off
    /// doubles, and all queued changes are returned. If one host is at fault, the zone stays up.
    pub(super) fn unanswered(&mut self, part: &[Job], sent: Instant, now: Instant) -> Vec<Job> {
        if part.len() > 1 {
            self.batch_limit.0 = self.batch_limit.0.min(part.len() / 2);
        }
        let is_at_fault = self.record_unanswered_alone(part);
        if is_at_fault && self.down.is_none() {
            return Vec::new();
        }
        match &mut self.down {
            // sent before the zone was known to be down, so it must not lengthen the back-off
            Some(down) if sent < down.since => {}
            Some(down) => {
                down.backoff = (down.backoff * 2).min(LAST_BACKOFF);
                down.retry_at = now + down.backoff;
            }
            None => {
                let retry_at = now + FIRST_BACKOFF;
                self.down = Some(ZoneDown { since: now, backoff: FIRST_BACKOFF, retry_at });
            }
        }
        self.drain()
    }

    /// Records that a host got no answer alone. Isolates it if that happened before and the server
    /// has answered another message since. Returns whether it did so.
    fn record_unanswered_alone(&mut self, part: &[Job]) -> bool {
        let [job] = part else { return false };
        if self.unanswered_alone.len() >= MAX_ISOLATED {
            self.unanswered_alone.clear();
        }
        let name = &job.change.fqdn;
        let answers_then =
            self.unanswered_alone.entry(name.clone()).or_insert(self.answered_messages);
        let is_at_fault = self.answered_messages > *answers_then;
        if is_at_fault {
            self.isolate(name.clone());
        }
        is_at_fault
    }

    fn drain(&mut self) -> Vec<Job> {
        let mut queued: Vec<_> = self.interactive.jobs.drain(..).collect();
        queued.extend(self.background.jobs.drain(..));
        for job in &queued {
            self.busy.remove(&job.change.fqdn);
        }
        queued.extend(self.held.drain(..));
        queued
    }

    /// Whether nothing is queued or in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.len() == 0
    }

    /// Whether the zone's server does not answer at the moment.
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// Changes queued.
    pub(super) fn len(&self) -> usize {
        self.interactive.jobs.len() + self.background.jobs.len() + self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::name::Zone;
    use crate::model::record::WantedRecords;

    fn job(host: i64, lane: Lane) -> Job {
        let change = RecordChange {
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

    fn is_queued(batcher: &mut Batcher, host: i64, lane: Lane) -> bool {
        matches!(batcher.push(job(host, lane), now()), Pushed::Queued)
    }

    fn hosts(batch: &[Job]) -> Vec<i64> {
        let number = |name: &Fqdn| {
            let label = name.as_str().strip_suffix(".example.org")?;
            label.strip_prefix('h')?.parse().ok()
        };
        batch.iter().map(|job| number(&job.change.fqdn).unwrap()).collect()
    }

    fn end(batcher: &mut Batcher, batch: &[Job]) {
        for job in batch {
            batcher.host_ended(&job.change.fqdn);
        }
        batcher.message_ended(batch[0].lane);
    }

    #[test]
    fn what_arrives_while_a_message_is_in_flight_goes_with_the_next_of_its_lane() {
        let mut batcher = Batcher::default();
        assert!(is_queued(&mut batcher, 1, Lane::Interactive));
        let first = batcher.take();
        for (host, lane) in [(2, Lane::Background), (3, Lane::Interactive), (4, Lane::Interactive)]
        {
            assert!(is_queued(&mut batcher, host, lane));
        }
        assert_eq!(hosts(&batcher.take()), [2], "a lane waits for its own only");
        assert!(batcher.take().is_empty(), "one of each is in flight, and no full one waits");
        assert!(is_queued(&mut batcher, 5, Lane::Background));
        end(&mut batcher, &first);
        assert_eq!(hosts(&batcher.take()), [3, 4]);
        assert!(batcher.take().is_empty());
    }

    #[test]
    fn an_interactive_message_passes_background_ones_and_carries_none_of_them() {
        let mut batcher = Batcher::default();
        for host in 0..201 {
            assert!(is_queued(&mut batcher, host, Lane::Background));
        }
        let slow = batcher.take();
        assert_eq!(slow.len(), MAX_NAMES);
        assert!(batcher.take().is_empty());
        assert!(is_queued(&mut batcher, 300, Lane::Interactive));
        assert!(batcher.is_ready());
        let first = batcher.take();
        assert_eq!(hosts(&first), [300]);
        // one of them at a time: what comes meanwhile goes together
        assert!(is_queued(&mut batcher, 301, Lane::Interactive));
        assert!(!batcher.is_ready());
        assert!(batcher.take().is_empty());
        end(&mut batcher, &first);
        assert_eq!(hosts(&batcher.take()), [301]);
        assert!(batcher.take().is_empty(), "one of each is in flight");
        end(&mut batcher, &slow);
        assert_eq!(hosts(&batcher.take()), [200], "nor do they wait for interactive ones");
    }

    #[test]
    fn a_full_message_joins_those_in_flight_up_to_four() {
        let mut batcher = Batcher::default();
        for host in 0..1001 {
            assert!(is_queued(&mut batcher, host, Lane::Interactive));
        }
        for _ in 0..MAX_IN_FLIGHT {
            assert_eq!(batcher.take().len(), MAX_NAMES);
        }
        assert!(batcher.take().is_empty());
        batcher.message_ended(Lane::Interactive);
        assert_eq!(batcher.take().len(), MAX_NAMES);
        assert!(batcher.take().is_empty(), "one change is queued, which is no full message");
    }

    #[test]
    fn sixteen_hosts_start_a_second_message_and_no_third() {
        let mut batcher = Batcher::default();
        assert!(is_queued(&mut batcher, 0, Lane::Interactive));
        let first = batcher.take();
        for host in 1..16 {
            assert!(is_queued(&mut batcher, host, Lane::Interactive));
        }
        assert!(!batcher.is_ready());
        assert!(is_queued(&mut batcher, 16, Lane::Interactive));
        assert!(batcher.is_ready());
        assert_eq!(batcher.take().len(), MIN_SECOND);
        for host in 17..99 {
            assert!(is_queued(&mut batcher, host, Lane::Interactive));
        }
        assert!(!batcher.is_ready());
        end(&mut batcher, &first);
        assert_eq!(batcher.take().len(), 82);
    }

    #[test]
    fn two_changes_of_a_host_are_neither_in_one_message_nor_out_of_order() {
        let mut batcher = Batcher::default();
        assert!(is_queued(&mut batcher, 1, Lane::Background));
        assert!(is_queued(&mut batcher, 1, Lane::Interactive));
        assert!(is_queued(&mut batcher, 2, Lane::Interactive));
        let other = batcher.take();
        assert_eq!(hosts(&other), [2]);
        let first = batcher.take();
        assert_eq!((hosts(&first), first[0].lane), (vec![1], Lane::Background));
        end(&mut batcher, &other);
        assert!(batcher.take().is_empty(), "its second change waits for its first");
        end(&mut batcher, &first);
        let second = batcher.take();
        assert_eq!((hosts(&second), second[0].lane), (vec![1], Lane::Interactive));
    }

    #[test]
    fn an_isolated_host_goes_alone_until_it_succeeds() {
        let mut batcher = Batcher::default();
        batcher.isolate(job(2, Lane::Interactive).change.fqdn);
        for host in 1..=3 {
            assert!(is_queued(&mut batcher, host, Lane::Interactive));
        }
        for expected in [1, 2, 3] {
            let batch = batcher.take();
            assert_eq!(hosts(&batch), [expected]);
            end(&mut batcher, &batch);
        }
        batcher.succeeded(&job(2, Lane::Interactive).change.fqdn);
        for host in 1..=3 {
            assert!(is_queued(&mut batcher, host, Lane::Interactive));
        }
        assert_eq!(hosts(&batcher.take()), [1, 2, 3]);
    }

    #[test]
    fn a_zone_that_is_down_rejects_interactive_changes_except_one_try() {
        let mut batcher = Batcher::default();
        assert!(is_queued(&mut batcher, 1, Lane::Interactive));
        let batch = batcher.take();
        assert!(is_queued(&mut batcher, 2, Lane::Interactive));
        let start = now();
        assert_eq!(
            hosts(&batcher.unanswered(&batch, start, start)),
            [2],
            "what was queued is given back"
        );
        end(&mut batcher, &batch);

        assert!(matches!(batcher.push(job(3, Lane::Interactive), start), Pushed::Down(_)));
        let later = start + FIRST_BACKOFF;
        assert!(matches!(batcher.push(job(3, Lane::Interactive), later), Pushed::Queued));
        assert!(batcher.is_ready());
        assert!(matches!(batcher.push(job(4, Lane::Interactive), later), Pushed::Down(_)));
        let attempt = batcher.take();
        assert_eq!(hosts(&attempt), [3]);
        assert!(batcher.answered(&attempt), "it was down");
        end(&mut batcher, &attempt);
        assert!(matches!(batcher.push(job(4, Lane::Interactive), later), Pushed::Queued));
        assert!(batcher.is_ready());
    }

    #[test]
    fn background_changes_wait_while_one_of_them_tries_a_zone_that_is_down() {
        let mut batcher = Batcher::default();
        assert!(batcher.unanswered(&[], now(), now()).is_empty());
        for host in 1..=3 {
            assert!(is_queued(&mut batcher, host, Lane::Background));
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
            assert!(!batcher.takes_interactive(early), "{pause}");
            assert!(batcher.takes_interactive(retry_at), "{pause}");
        }
    }

    #[test]
    fn messages_that_fail_together_are_one_outage() {
        let mut batcher = Batcher::default();
        let sent = now();
        let ended = sent + Duration::from_secs(5);
        for millis in 0..4 {
            let ended = ended + Duration::from_millis(millis);
            assert!(batcher.unanswered(&[], sent, ended).is_empty());
        }
        let retried = ended + FIRST_BACKOFF;
        assert!(batcher.takes_interactive(retried));
        assert!(batcher.unanswered(&[], retried, retried).is_empty());
        assert!(!batcher.takes_interactive(retried + FIRST_BACKOFF), "a try of its own");
        assert!(batcher.takes_interactive(retried + 2 * FIRST_BACKOFF));
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
    fn a_host_that_repeatedly_gets_no_answer_alone_takes_no_zone_down_while_others_get_one() {
        let mut batcher = Batcher::default();
        let mut send = |host, is_answered| {
            assert!(is_queued(&mut batcher, host, Lane::Background));
            let batch = batcher.take();
            end(&mut batcher, &batch);
            if is_answered {
                batcher.answered(&batch);
            } else {
                assert!(batcher.unanswered(&batch, now(), now()).is_empty());
            }
            batcher.is_down()
        };
        assert!(send(1, false), "the server may be the reason");
        assert!(send(1, false), "it still may be");
        assert!(!send(2, true));
        for _ in 0..2 {
            assert!(!send(1, false));
        }
        assert!(send(2, false), "another host is a first time");
        assert!(send(1, false), "while the zone is down every message is a try");
        assert!(!send(1, true));
        assert!(send(1, false), "it got an answer in between");
    }

    #[test]
    fn a_full_lane_rejects_changes_and_the_other_takes_them() {
        let mut batcher = Batcher::default();
        let count = i64::try_from(MAX_QUEUED).unwrap();
        for host in 0..count {
            assert!(is_queued(&mut batcher, host, Lane::Background));
        }
        assert!(matches!(batcher.push(job(count, Lane::Background), now()), Pushed::Full(_)));
        assert!(is_queued(&mut batcher, count, Lane::Interactive));
    }

    #[test]
    fn a_batcher_is_idle_only_when_nothing_is_queued_or_in_flight() {
        let mut batcher = Batcher::default();
        assert!(batcher.is_idle());
        assert!(is_queued(&mut batcher, 1, Lane::Interactive));
        assert!(!batcher.is_idle());
        let batch = batcher.take();
        assert!(!batcher.is_idle());
        end(&mut batcher, &batch);
        assert!(batcher.is_idle());
    }
}
