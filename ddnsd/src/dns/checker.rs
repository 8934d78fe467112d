//! Checks of one zone by messages that hold prerequisites only. In: what names should hold. Out:
//! for each name, whether the primary holds it. Caches, wildcards and views do not distort it,
//! because the server compares its own data. A message that does not hold is halved, as the server
//! names no culprit.

use super::error::{DnsError, Refusal};
use super::message::{build_check, fitting};
use super::update::UpdateSender;
use crate::clock::Clock;
use crate::counters::CheckCounters;
use crate::model::change::RecordCheck;
use crate::model::name::Zone;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Least time between two messages: 20 a second.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Whether a name holds what it should.
#[derive(Clone, Debug)]
#[must_use]
pub enum CheckResult {
    Holds,
    /// The primary answered, authentically, that it does not.
    Differs,
    /// There was no answer that counts.
    Unknown(DnsError),
}

/// How far a message that does not hold is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halving {
    /// Until each name that differs is alone.
    ToTheEnd,
    /// As long as some name holds. After [`MAX_DIFFERING`] names that differ, and none that holds,
    /// a part that differs is taken to differ in each of its names: a server that lost a zone
    /// would cost two messages for each name. To publish a name again that holds changes nothing.
    WhileSomeHold,
}

/// Names that differ, one by one, before the rest is taken to differ.
pub const MAX_DIFFERING: usize = 16;

/// Spaces messages. Its lock is fair, so that no caller waits for another's whole batch.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits until one more message may be sent.
    async fn wait(&self, clock: Clock) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep_until((last + MIN_PAUSE).into()).await;
        }
        *last = Some(clock.now().mono);
    }
}

/// Sends the checks of one zone.
pub(super) struct ZoneChecker<'a> {
    pub(super) zone: &'a Zone,
    pub(super) sender: UpdateSender,
    pub(super) pace: &'a Pace,
    pub(super) counters: Arc<CheckCounters>,
    pub(super) clock: Clock,
    pub(super) halving: Halving,
}

impl ZoneChecker<'_> {
    /// The result of each check, in their order.
    pub(super) async fn check(&self, checks: &[RecordCheck]) -> Vec<CheckResult> {
        let mut results = Vec::with_capacity(checks.len());
        let mut rest = checks;
        while !rest.is_empty() {
            let (message, later) = rest.split_at(fitting(rest).min(rest.len()));
            results.extend(self.check_message(message).await);
            rest = later;
            if let Some(CheckResult::Unknown(error)) = results.last() {
                let error = error.clone();
                results.resize(checks.len(), CheckResult::Unknown(error));
                break;
            }
        }
        results
    }

    /// What fits one message, in halves if it does not hold.
    async fn check_message(&self, checks: &[RecordCheck]) -> Vec<CheckResult> {
        let mut results = Vec::with_capacity(checks.len());
        let mut parts = vec![checks];
        let mut is_undivided = true;
        while let Some(part) = parts.pop() {
            let is_whole = std::mem::take(&mut is_undivided);
            let Err(error) = self.send(part).await else {
                results.extend(part.iter().map(|_| CheckResult::Holds));
                continue;
            };
            let refusal = error.refusal();
            // only a signed answer says anything about the records
            let is_refused = matches!(error, DnsError::Refused { .. });
            let differs = is_refused && refusal.is_some_and(Refusal::is_of_prerequisite);
            let has_holding = results.iter().any(|result| matches!(result, CheckResult::Holds));
            let all_differ = self.halving == Halving::WhileSomeHold
                && results.len() >= MAX_DIFFERING
                && !has_holding;
            let is_halved = part.len() > 1
                && !(differs && all_differ)
                && (differs || refusal.is_some() && !(is_whole && self.refuses_zone().await));
            if is_halved {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            } else if differs {
                results.extend(part.iter().map(|_| CheckResult::Differs));
            } else {
                let is_answered = refusal.is_some() && !is_whole;
                results.extend(part.iter().map(|_| CheckResult::Unknown(error.clone())));
                if !is_answered {
                    // the other parts would get the same
                    results.resize(checks.len(), CheckResult::Unknown(error));
                    break;
                }
            }
        }
        results
    }

    /// Whether the server refuses every check of the zone. A message without any shows it.
    async fn refuses_zone(&self) -> bool {
        self.send(&[]).await.is_err()
    }

    async fn send(&self, checks: &[RecordCheck]) -> Result<(), DnsError> {
        self.pace.wait(self.clock).await;
        self.counters.messages.add_one();
        self.counters.hosts.add(u64::try_from(checks.len()).unwrap_or(u64::MAX));
        self.sender.check(&build_check(self.zone, checks.iter())).await
    }
}
