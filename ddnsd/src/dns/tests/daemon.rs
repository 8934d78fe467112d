//! What the daemon has in memory, gone with it, and the way of a message through a zone's queue: as
//! `zone_worker.rs`, with the network drawn by chance.

use super::network::{Fate, TIMEOUT};
use super::stories::Task;
use super::world::{Event, World};
use crate::dns::batcher::{Batcher, Job, Pushed};
use crate::dns::error::{DnsError, Refusal};
use crate::dns::late_messages::LateMessages;
use crate::dns::{Lane, Published};
use crate::model::change::RecordChange;
use crate::model::host::HostId;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Now;
use crate::rules::expiry::Downtime;
use crate::rules::retry::RetrySchedule;
use hickory_proto::op::ResponseCode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Batches of so few are halved whatever the refusal.
const FEW: usize = 4;

pub(super) struct Memory {
    /// Which life of the daemon it is; zero is none.
    pub(super) life: u64,
    pub(super) refused: RetrySchedule,
    pub(super) turns: BTreeSet<HostId>,
    pub(super) tasks: BTreeMap<u64, Task>,
    /// What the clock did so far.
    pub(super) last: Now,
    /// When the last heartbeat was written.
    pub(super) beat: Now,
    pub(super) gaps: Downtime,
    batcher: BTreeMap<Zone, Batcher>,
    pub(super) late_messages: LateMessages,
    deliveries: BTreeMap<u64, Delivery>,
}

/// A batch on its way, in parts.
struct Delivery {
    zone: Zone,
    lane: Lane,
    parts: Vec<Vec<Job>>,
    out: Vec<Job>,
    /// When that was sent.
    sent: Instant,
    fate: Fate,
    /// What the server made of the copy that is answered.
    said: Option<Result<(), ResponseCode>>,
    undivided: bool,
    refused: Vec<Fqdn>,
    any_succeeded: bool,
}

impl Memory {
    pub(super) fn new(life: u64, started: Now, gaps: Downtime) -> Self {
        Self {
            life,
            refused: RetrySchedule::default(),
            turns: BTreeSet::new(),
            tasks: BTreeMap::new(),
            last: started,
            beat: started,
            gaps,
            batcher: BTreeMap::new(),
            late_messages: LateMessages::new(started),
            deliveries: BTreeMap::new(),
        }
    }

    pub(super) fn is_down(&self, zone: &Zone) -> bool {
        self.batcher.get(zone).is_some_and(Batcher::is_down)
    }
}

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 53))
}

fn down(zone: &Zone) -> DnsError {
    DnsError::Down { server: server(), zone: zone.clone() }
}

fn reply(job: Job, outcome: Published) {
    let _nobody_left = job.reply.send(outcome);
}

impl World {
    /// Queues a change; where its outcome comes, or why it was not taken.
    pub(super) fn publish(
        &mut self,
        change: RecordChange,
        lane: Lane,
    ) -> Result<oneshot::Receiver<Published>, DnsError> {
        let (zone, now) = (change.zone.clone(), self.now().mono);
        let batcher = self.memory.batcher.entry(zone.clone()).or_default();
        let (reply, outcome) = oneshot::channel();
        match batcher.push(Job { change, lane, reply }, now) {
            Pushed::Waits { .. } => Ok(outcome),
            Pushed::Down => Err(down(&zone)),
            Pushed::Full | Pushed::Closed(_) => panic!("so few changes always find a place"),
        }
    }

    /// Sends what may start now.
    pub(super) fn pump(&mut self) {
        let zones: Vec<_> = self.memory.batcher.keys().cloned().collect();
        let sent = self.now().mono;
        for zone in zones {
            loop {
                let batch = self.memory.batcher.get_mut(&zone).unwrap().take();
                let Some(first) = batch.first() else { break };
                let delivery = Delivery {
                    zone: zone.clone(),
                    lane: first.lane,
                    parts: vec![batch],
                    out: Vec::new(),
                    sent,
                    fate: Fate::calm(),
                    said: None,
                    undivided: true,
                    refused: Vec::new(),
                    any_succeeded: false,
                };
                let id = self.number();
                self.memory.deliveries.insert(id, delivery);
                self.send_part(id);
            }
        }
    }

    fn send_part(&mut self, id: u64) {
        let (fate, now) = (self.fate(), self.now().mono);
        let delivery = self.memory.deliveries.get_mut(&id).unwrap();
        delivery.out = delivery.parts.pop().unwrap();
        (delivery.fate, delivery.said, delivery.sent) = (fate.clone(), None, now);
        let changes: Vec<_> = delivery.out.iter().map(|job| job.change.clone()).collect();
        let life = self.memory.life;
        let (refuses, heard_of) = (fate.refuses_all, fate.answered_copy);
        for after in fate.lost_copies {
            let changes = changes.clone();
            self.after(after, Event::Arrives { changes, refuses, answers: None });
        }
        if let Some(after) = heard_of {
            self.after(after, Event::Arrives { changes, refuses, answers: Some((life, id)) });
        }
        self.after(fate.heard, Event::Heard { life, delivery: id });
    }

    /// What the server made of a copy that is answered.
    pub(super) fn said(&mut self, (life, delivery): (u64, u64), said: Result<(), ResponseCode>) {
        if life == self.memory.life
            && let Some(delivery) = self.memory.deliveries.get_mut(&delivery)
        {
            delivery.said = Some(said);
        }
    }

    /// The answer has come, or the time is over.
    pub(super) fn heard(&mut self, id: u64) {
        let (now, timeout) = (self.now().mono, Duration::from_millis(TIMEOUT));
        let mut delivery = self.memory.deliveries.remove(&id).unwrap();
        let zone = delivery.zone.clone();
        let mut part = std::mem::take(&mut delivery.out);
        if delivery.fate.doubtful {
            let names = part.iter().map(|job| &job.change.fqdn);
            self.memory.late_messages.unanswered(names, timeout, now);
        }
        let batcher = self.memory.batcher.get_mut(&zone).unwrap();
        match delivery.said.take() {
            None => {
                for job in batcher.unanswered(&part, delivery.sent, now) {
                    reply(job, Published::Unconfirmed(down(&zone)));
                }
                let error = unanswered(zone.clone(), batcher.is_down());
                if error.is_unanswered() {
                    part.extend(delivery.parts.drain(..).flatten());
                }
                self.answer(&zone, part, &Published::Unconfirmed(error));
            }
            Some(Ok(())) => {
                batcher.answered(&part);
                delivery.any_succeeded = true;
                let changes = part.iter().map(|job| &job.change);
                let final_from = self.memory.late_messages.acknowledged(changes, timeout, now);
                for (job, final_from) in part.into_iter().zip(final_from) {
                    batcher.succeeded(&job.change.fqdn);
                    batcher.host_ended(&job.change.fqdn);
                    reply(job, Published::Acknowledged { final_from });
                }
            }
            Some(Err(rcode)) => {
                batcher.answered(&part);
                let refusal = Refusal { rcode, tsig: None, server_time: None, key: None };
                let error = DnsError::Refused { server: server(), zone: zone.clone(), refusal };
                let of_zone = delivery.fate.refuses_all && part.len() > FEW;
                if part.len() == 1 || delivery.undivided && of_zone {
                    if part.len() == 1 {
                        let names = part.iter().map(|job| job.change.fqdn.clone());
                        delivery.refused.extend(names);
                    }
                    self.answer(&zone, part, &Published::Refused(error));
                } else {
                    let second = part.split_off(part.len() / 2);
                    delivery.parts.extend([second, part]);
                }
            }
        }
        delivery.undivided = false;
        self.go_on(id, delivery);
    }

    fn go_on(&mut self, id: u64, delivery: Delivery) {
        if !delivery.parts.is_empty() {
            self.memory.deliveries.insert(id, delivery);
            return self.send_part(id);
        }
        let batcher = self.memory.batcher.get_mut(&delivery.zone).unwrap();
        for name in delivery.refused.into_iter().filter(|_| delivery.any_succeeded) {
            batcher.isolate(name);
        }
        batcher.message_ended(delivery.lane);
    }

    fn answer(&mut self, zone: &Zone, part: Vec<Job>, outcome: &Published) {
        let batcher = self.memory.batcher.get_mut(zone).unwrap();
        for job in part {
            batcher.host_ended(&job.change.fqdn);
            reply(job, outcome.clone());
        }
    }
}

fn unanswered(zone: Zone, is_down: bool) -> DnsError {
    let (server, timeout) = (server(), Duration::from_millis(TIMEOUT));
    if is_down {
        DnsError::NoAnswer { server, zone, timeout }
    } else {
        DnsError::HostUnanswered { server, zone }
    }
}
