//! The worker of one zone. In: changes of many callers. Out: messages that carry all that was
//! queued, and the result of each change. While a message is in flight, what arrives is queued for
//! the next one, which starts once the batcher finds enough hosts: no timer, no delay when idle. A
//! refused message is halved until the host that is refused is alone.

use super::batcher::{Batcher, Job, Pushed};
use super::error::{DnsError, Refusal};
use super::late_messages::LateMessages;
use super::update::{UpdateResult, UpdateSender};
use super::{Lane, Published, ZoneHealth, message};
use crate::clock::Clock;
use crate::model::name::{Fqdn, Zone};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{info, warn};

/// A worker without work ends after this long.
const IDLE: Duration = Duration::from_mins(1);
/// A refused batch up to this size is halved without asking first whether the zone is refused.
const MAX_HALVED_AT_ONCE: usize = 4;

/// A zone's batcher, and what sends its batches.
pub(super) struct ZoneWorker {
    zone: Zone,
    sender: UpdateSender,
    clock: Clock,
    late_messages: Arc<LateMessages>,
    batcher: Mutex<Batcher>,
    arrived: Notify,
}

impl ZoneWorker {
    /// Nothing is sent before [`Self::run`].
    pub(super) fn new(
        zone: Zone,
        sender: UpdateSender,
        clock: Clock,
        late_messages: Arc<LateMessages>,
    ) -> Self {
        let batcher = Mutex::default();
        let arrived = Notify::new();
        Self { zone, sender, clock, late_messages, batcher, arrived }
    }

    fn batcher(&self) -> MutexGuard<'_, Batcher> {
        self.batcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Queues changes before the worker sees the first of them. What is not taken has its result
    /// at once.
    pub(super) fn push(&self, jobs: Vec<Job>) {
        let now = self.clock.now().mono;
        let mut batcher = self.batcher();
        for job in jobs {
            match batcher.push(job, now) {
                Pushed::Queued => {}
                Pushed::Down(job) => job.reply(Published::Unconfirmed(self.down())),
                Pushed::Full(job) => {
                    let zone = self.zone.clone();
                    job.reply(Published::Unconfirmed(DnsError::Overloaded { zone }));
                }
            }
        }
        if batcher.is_ready() {
            self.arrived.notify_one();
        }
    }

    pub(super) fn health(&self) -> ZoneHealth {
        let batcher = self.batcher();
        ZoneHealth { zone: self.zone.clone(), down: batcher.is_down(), queued: batcher.len() }
    }

    pub(super) fn is_down(&self) -> bool {
        self.batcher().is_down()
    }

    /// Whether nothing is queued or in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.batcher().is_idle()
    }

    /// Sends what is queued, until nothing has arrived for a while.
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
                // tasks that are ready queue their changes first
                () = self.arrived.notified() => tokio::task::yield_now().await,
                () = tokio::time::sleep(IDLE), if in_flight.is_empty() => return,
            }
        }
    }

    /// Sends a batch, in halves if it is refused, until each of its hosts has a result. Returns
    /// its lane.
    async fn deliver(&self, batch: Vec<Job>) -> Lane {
        let lane = batch.first().map_or(Lane::Background, |first| first.lane);
        let refused_alone = self.deliver_parts(batch).await;
        let mut batcher = self.batcher();
        for name in refused_alone {
            batcher.isolate(name);
        }
        lane
    }

    /// Returns the hosts that were refused alone while others were not: they make others' messages
    /// fail. If every host was refused, the reason may be the server's.
    async fn deliver_parts(&self, batch: Vec<Job>) -> Vec<Fqdn> {
        let mut parts = vec![batch];
        let mut is_undivided = true;
        let mut refused_alone = Vec::new();
        let mut any_succeeded = false;
        while let Some(mut part) = parts.pop() {
            let is_whole_batch = std::mem::take(&mut is_undivided);
            let sent = self.clock.now().mono;
            let Err(error) = self.send(&part).await else {
                any_succeeded = true;
                self.acknowledge(part);
                continue;
            };
            let Some(refusal) = error.refusal() else {
                if self.unanswered(&error, &part, sent) {
                    // the other parts would get no answer either
                    part.extend(parts.drain(..).flatten());
                    self.reply_all(part, &Published::Unconfirmed(error));
                } else {
                    self.reply_all(part, &Published::Unconfirmed(self.host_unanswered()));
                }
                continue;
            };
            if part.len() == 1 {
                refused_alone.extend(part.iter().map(|job| job.change.fqdn.clone()));
                self.reply_all(part, &refused(error));
            } else if is_whole_batch && self.concerns_zone(refusal, part.len()).await {
                self.reply_all(part, &refused(error));
            } else {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
        }
        if any_succeeded { refused_alone } else { Vec::new() }
    }

    async fn send(&self, part: &[Job]) -> Result<(), DnsError> {
        let unsigned = message::build(&self.zone, part.iter().map(|job| &job.change));
        let UpdateResult { outcome, is_unanswered } = self.sender.send(&unsigned, part.len()).await;
        if is_unanswered {
            let names = part.iter().map(|job| &job.change.fqdn);
            let now = self.clock.now().mono;
            self.late_messages.unanswered(names, self.sender.timeout(), now);
        }
        let is_answered = match &outcome {
            Ok(()) => true,
            Err(error) => error.refusal().is_some(),
        };
        let mut batcher = self.batcher();
        if is_answered && batcher.answered(part) {
            info!(zone = %self.zone, "the name server answers again");
        }
        outcome
    }

    /// Whether the server refuses every update of the zone: then halving would only repeat the
    /// refusal. An update without changes shows it.
    async fn concerns_zone(&self, refusal: &Refusal, hosts: usize) -> bool {
        if refusal.concerns_every_host() {
            return true;
        }
        if hosts <= MAX_HALVED_AT_ONCE {
            return false;
        }
        let without_changes = message::build(&self.zone, std::iter::empty());
        let result = self.sender.send(&without_changes, 0).await;
        result.outcome.is_err_and(|error| error.refusal() == Some(refusal))
    }

    fn acknowledge(&self, part: Vec<Job>) {
        let changes = part.iter().map(|job| &job.change);
        let now = self.clock.now().mono;
        let final_from = self.late_messages.acknowledged(changes, self.sender.timeout(), now);
        let results = final_from.into_iter();
        let results = results.map(|final_from| Published::Acknowledged { final_from });
        self.end(part.into_iter().zip(results));
    }

    /// Returns whether the zone is down now; else only the part's one host gets no answer.
    fn unanswered(&self, error: &DnsError, part: &[Job], sent: Instant) -> bool {
        let now = self.clock.now().mono;
        let mut batcher = self.batcher();
        let was_down = batcher.is_down();
        for job in batcher.unanswered(part, sent, now) {
            job.reply(Published::Unconfirmed(self.down()));
        }
        if batcher.is_down() && !was_down {
            warn!(zone = %self.zone, error = error as &dyn std::error::Error, "zone is down");
        }
        batcher.is_down()
    }

    fn host_unanswered(&self) -> DnsError {
        DnsError::HostUnanswered { server: self.sender.server(), zone: self.zone.clone() }
    }

    fn down(&self) -> DnsError {
        DnsError::Down { server: self.sender.server(), zone: self.zone.clone() }
    }

    fn reply_all(&self, part: Vec<Job>, result: &Published) {
        self.end(part.into_iter().map(|job| (job, result.clone())));
    }

    /// Replies. What was held for these hosts may follow while the rest of the batch is in flight.
    fn end(&self, ended: impl Iterator<Item = (Job, Published)>) {
        let mut batcher = self.batcher();
        for (job, result) in ended {
            if matches!(result, Published::Acknowledged { .. }) {
                batcher.succeeded(&job.change.fqdn);
            }
            batcher.host_ended(&job.change.fqdn);
            job.reply(result);
        }
        if batcher.is_ready() {
            self.arrived.notify_one();
        }
    }
}

/// An unsigned response proves nothing; a signed one that the change is not in DNS.
fn refused(error: DnsError) -> Published {
    match error {
        DnsError::Refused { .. } => Published::Refused(error),
        error => Published::Unconfirmed(error),
    }
}
