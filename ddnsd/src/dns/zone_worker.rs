//! One zone's queue and the worker that empties it. In: changes of many callers. Out: messages that
//! carry all that waited, and each caller's own outcome.
//! While a message is in flight, what arrives waits and goes with the next: no timer, and no delay
//! when idle. A refused message is halved until the culprit stands alone.

use super::batcher::{Batcher, Job, Pushed};
use super::error::{DnsError, Refusal};
use super::late_messages::LateMessages;
use super::transport::{Transport, UpdateResult};
use super::{Lane, Published, ZoneHealth, message};
use crate::clock::Clock;
use crate::model::change::RecordChange;
use crate::model::name::{Fqdn, Zone};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

/// A worker without work ends after this long.
const IDLE: Duration = Duration::from_mins(1);
/// Refused batches up to this size are halved without asking what of the whole zone.
const FEW: usize = 4;

/// A zone's queue. Callers push; one worker runs it.
pub(super) struct ZoneWorker {
    zone: Zone,
    transport: Transport,
    clock: Clock,
    late_messages: Arc<LateMessages>,
    batcher: Mutex<Batcher>,
    arrived: Notify,
}

/// A change that waits: where its outcome comes, and whether a message may start now.
type Taken = Result<(oneshot::Receiver<Published>, bool), NotTaken>;

/// Why a change was not taken.
pub(super) enum NotTaken {
    /// The worker has ended; the next one's queue takes it.
    Closed(RecordChange),
    /// Nothing was sent, and this is what to tell.
    Failed(DnsError),
}

impl ZoneWorker {
    /// An empty queue; nothing happens before [`Self::run`].
    pub(super) fn new(
        zone: Zone,
        transport: Transport,
        clock: Clock,
        late_messages: Arc<LateMessages>,
    ) -> Self {
        Self {
            zone,
            transport,
            clock,
            late_messages,
            batcher: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    fn batcher(&self) -> MutexGuard<'_, Batcher> {
        self.batcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change in. Its outcome comes by the channel, which ends without one if the worker
    /// breaks off.
    ///
    /// # Errors
    /// Says why it may not wait here.
    pub(super) fn push(
        &self,
        change: RecordChange,
        lane: Lane,
    ) -> Result<oneshot::Receiver<Published>, NotTaken> {
        let now = self.clock.now().mono;
        let pushed = self.push_one(&mut self.batcher(), change, lane, now);
        self.tell_worker([&pushed]);
        pushed.map(|(outcome, _)| outcome)
    }

    /// Takes changes in, before the worker sees the first of them.
    pub(super) fn push_all(
        &self,
        changes: Vec<RecordChange>,
        lane: Lane,
    ) -> Vec<Result<oneshot::Receiver<Published>, NotTaken>> {
        let now = self.clock.now().mono;
        let mut batcher = self.batcher();
        let push = |change| self.push_one(&mut batcher, change, lane, now);
        let pushed: Vec<_> = changes.into_iter().map(push).collect();
        drop(batcher);
        self.tell_worker(&pushed);
        pushed.into_iter().map(|pushed| pushed.map(|(outcome, _)| outcome)).collect()
    }

    fn push_one(
        &self,
        batcher: &mut Batcher,
        change: RecordChange,
        lane: Lane,
        now: Instant,
    ) -> Taken {
        let (reply, outcome) = oneshot::channel();
        match batcher.push(Job { change, lane, reply }, now) {
            Pushed::Waits { ready } => Ok((outcome, ready)),
            Pushed::Down => Err(NotTaken::Failed(self.down())),
            Pushed::Full => Err(NotTaken::Failed(DnsError::Overloaded { zone: self.zone.clone() })),
            Pushed::Closed(job) => Err(NotTaken::Closed(job.change)),
        }
    }

    fn tell_worker<'a>(&self, pushed: impl IntoIterator<Item = &'a Taken>) {
        if pushed.into_iter().any(|taken| matches!(taken, Ok((_, true)))) {
            self.arrived.notify_one();
        }
    }

    /// How the zone goes.
    pub(super) fn health(&self) -> ZoneHealth {
        let batcher = self.batcher();
        ZoneHealth {
            zone: self.zone.clone(),
            down: batcher.is_down(),
            last_error: batcher.last_error.clone(),
            queued: batcher.len(),
        }
    }

    /// Takes nothing more; whoever waits learns that it was broken off.
    pub(super) fn close(&self) {
        self.batcher().close();
    }

    /// Sends what comes, until nothing has come for a while.
    pub(super) async fn run(&self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            loop {
                let batch = self.batcher().take();
                if batch.is_empty() {
                    break;
                }
                in_flight.push(self.deliver(batch));
            }
            tokio::select! {
                Some(lane) = in_flight.next() => self.batcher().message_ended(lane),
                () = self.arrived.notified() => {}
                () = tokio::time::sleep(IDLE), if in_flight.is_empty() => {
                    if self.batcher().close_if_idle() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends a batch, in halves if it is refused, until each of its hosts has an outcome. Says which lane
    /// it came by.
    async fn deliver(&self, batch: Vec<Job>) -> Lane {
        let lane = batch.first().map_or(Lane::Background, |first| first.lane);
        let alone = self.deliver_parts(batch).await;
        let mut batcher = self.batcher();
        for name in alone {
            batcher.isolate(name);
        }
        lane
    }

    /// Returns the hosts that spoil a message for others: they travel alone from now on. If all were
    /// refused it may be for a reason of the server's, and then none of them is known to.
    async fn deliver_parts(&self, batch: Vec<Job>) -> Vec<Fqdn> {
        let mut parts = vec![batch];
        let mut undivided = true;
        let (mut refused, mut any_succeeded) = (Vec::new(), false);
        while let Some(mut part) = parts.pop() {
            let sent = self.clock.now().mono;
            let Err(error) = self.send(&part).await else {
                any_succeeded = true;
                self.acknowledge(part);
                continue;
            };
            let Some(refusal) = error.refusal() else {
                if self.unanswered(&error, &part, sent) {
                    part.extend(parts.drain(..).flatten());
                    self.answer(part, &Published::Unconfirmed(error));
                } else {
                    // its neighbours are none the worse for it
                    self.answer(part, &Published::Unconfirmed(self.host_unanswered()));
                }
                undivided = false;
                continue;
            };
            if part.len() == 1 {
                refused.extend(part.iter().map(|job| job.change.fqdn.clone()));
                self.answer(part, &failed(error));
            } else if undivided && self.concerns_zone(refusal, part.len()).await {
                self.answer(part, &failed(error));
            } else {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            undivided = false;
        }
        if any_succeeded { refused } else { Vec::new() }
    }

    async fn send(&self, part: &[Job]) -> Result<(), DnsError> {
        let unsigned = message::build(&self.zone, part.iter().map(|job| &job.change));
        let UpdateResult { outcome, is_unanswered } =
            self.transport.send(&unsigned, part.len()).await;
        if is_unanswered {
            let names = part.iter().map(|job| &job.change.fqdn);
            let now = self.clock.now().mono;
            self.late_messages.unanswered(names, self.transport.timeout(), now);
        }
        let mut batcher = self.batcher();
        if outcome.as_ref().map_or_else(|error| error.refusal().is_some(), |()| true)
            && batcher.answered(part)
        {
            info!(zone = %self.zone, "the name server answers again");
        }
        if let Err(error) = &outcome {
            batcher.last_error = Some(error.clone());
        }
        outcome
    }

    /// Whether the server refuses whatever we ask of the zone: then halving would only repeat it.
    /// An update that changes nothing finds out.
    async fn concerns_zone(&self, refusal: &Refusal, hosts: usize) -> bool {
        if refusal.concerns_every_host() {
            return true;
        }
        if hosts <= FEW {
            return false;
        }
        let nothing = message::build(&self.zone, std::iter::empty());
        let asked = self.transport.send(&nothing, 0).await;
        asked.outcome.is_err_and(|error| error.refusal() == Some(refusal))
    }

    fn acknowledge(&self, part: Vec<Job>) {
        let changes = part.iter().map(|job| &job.change);
        let now = self.clock.now().mono;
        let final_from = self.late_messages.acknowledged(changes, self.transport.timeout(), now);
        let outcomes = final_from.into_iter();
        let outcomes = outcomes.map(|final_from| Published::Acknowledged { final_from });
        self.end(part.into_iter().zip(outcomes));
    }

    /// Says whether the zone is down now; else it is the only host of the part that is at fault.
    fn unanswered(&self, error: &DnsError, part: &[Job], sent: Instant) -> bool {
        let now = self.clock.now().mono;
        let mut batcher = self.batcher();
        let was_down = batcher.is_down();
        for job in batcher.unanswered(part, sent, now) {
            reply(job, Published::Unconfirmed(self.down()));
        }
        if batcher.is_down() && !was_down {
            warn!(zone = %self.zone, error = error as &dyn std::error::Error, "zone is down");
        }
        batcher.is_down()
    }

    fn host_unanswered(&self) -> DnsError {
        DnsError::HostUnanswered { server: self.transport.server(), zone: self.zone.clone() }
    }

    fn down(&self) -> DnsError {
        DnsError::Down { server: self.transport.server(), zone: self.zone.clone() }
    }

    fn answer(&self, part: Vec<Job>, outcome: &Published) {
        self.end(part.into_iter().map(|job| (job, outcome.clone())));
    }

    /// Tells callers. What was held back for their hosts may follow, while the rest of the batch is out.
    fn end(&self, ended: impl Iterator<Item = (Job, Published)>) {
        let mut batcher = self.batcher();
        for (job, outcome) in ended {
            if matches!(outcome, Published::Acknowledged { .. }) {
                batcher.succeeded(&job.change.fqdn);
            }
            batcher.host_ended(&job.change.fqdn);
            reply(job, outcome);
        }
        if batcher.is_ready() {
            self.arrived.notify_one();
        }
    }
}

/// An unsigned answer proves nothing; a signed one that the change is not in DNS.
fn failed(error: DnsError) -> Published {
    match error {
        DnsError::Refused { .. } => Published::Refused(error),
        error => Published::Unconfirmed(error),
    }
}

/// Nobody left to hear it is as good as told: the caller reads DNS's state again later.
fn reply(job: Job, outcome: Published) {
    let _nobody_left = job.reply.send(outcome);
}
