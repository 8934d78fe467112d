//! The stories, step by step, with a kill possible between any two: update, expiry, deletion, other TTLs,
//! republishing. Out: what clients are told, each word judged at once.

use super::daemon::Memory;
use super::network::LATENESS;
use super::world::{BRIEF, DEFAULTS, Event, World};
use crate::db::Settle;
use crate::dns::{Lane, Published};
use crate::model::address::Addresses;
use crate::model::change::Want;
use crate::model::host::{Host, HostId};
use crate::model::notice::Kind;
use crate::model::time::Now;
use crate::rules::decide::{self, Verdict};
use crate::rules::expiry::{self, ClockStep, Expiry};
use crate::rules::notice;
use crate::rules::request::Asked;
use crate::rules::retry::When;
use crate::stories::publisher::{REMOVALS, what_became};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

const ZONES: [&str; 2] = ["a.example", "b.example"];
/// Hosts and their zones; the guest comes and goes.
const LABELS: [(&str, &str); 5] = [
    ("count", ZONES[0]),
    ("one", ZONES[0]),
    ("other", ZONES[0]),
    ("mixed", ZONES[1]),
    ("brief", ZONES[1]),
];

/// A change that was sent. It has its host's turn.
pub(super) struct Task {
    host: Arc<Host>,
    sent_at: u64,
    for_whom: For,
    outcome: Option<Receiver<Published>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// A client, who is owed a mail about it.
    Client { owed: bool },
    /// Nobody waits.
    Nobody,
    /// An administrator deletes the host; it is the nth removal.
    Deletion { round: u32 },
}

fn both(n: u64) -> Addresses {
    let v4 = u32::try_from(n).unwrap() + (10 << 24);
    Addresses {
        v4: Some(Ipv4Addr::from(v4)),
        v6: Some(Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(n))),
    }
}

impl World {
    pub(super) fn settle_in(&mut self) {
        for (label, zone) in LABELS {
            let expiry_ttl = (label == "brief").then_some(BRIEF);
            let host = self.disk.add(label, zone, expiry_ttl);
            self.hosts.push(host);
        }
    }

    //----- Life and death -----

    /// As `Republish::aim_at` and `Expire::start`.
    pub(super) fn start(&mut self) {
        let now = self.now();
        self.disk.pending_before(now.wall);
        let mut gaps = self.disk.gaps.clone();
        let down = self.disk.heartbeat.map_or(0, |last| now.wall.since(last));
        if down < 0 {
            self.disk.no_later_than(now.wall);
            gaps.set_back(now.wall, -down);
        } else if down > 0 {
            let true_down = i64::try_from(self.millis() - self.killed_at).unwrap();
            if self.tally.jumps == 0 && down > true_down + 63_000 {
                self.wrong("uptime counts as downtime");
            }
            gaps.add(now.wall, down);
        }
        self.disk.gaps = gaps.clone();
        self.disk.heartbeat = Some(now.wall);
        let life = self.number();
        self.memory = Memory::new(life, now, gaps);
        self.start_timers();
        self.tell(|| "started".to_owned());
    }

    /// Memory is gone; what was sent is still under way.
    pub(super) fn kill(&mut self) {
        self.tell(|| "killed".to_owned());
        self.tally.crashes += 1;
        self.killed_at = self.millis();
        self.memory = Memory::new(0, self.now(), self.disk.gaps.clone());
        let pause = if self.chance.once_in(5) { 60_000 } else { 3_000 };
        let pause = self.chance.below(pause);
        if self.chance.once_in(12) {
            self.set_clock();
        }
        self.after(pause, Event::Starts);
    }

    fn set_clock(&mut self) {
        // what differs by less is no jump
        let by = 61_000 + i64::try_from(self.chance.below(3 * 24 * 3_600_000)).unwrap();
        let by = if self.chance.once_in(2) { 61_000 + by % 60_000 } else { by };
        let by = if self.chance.once_in(2) { by } else { -by };
        self.clock_set += by;
        self.tally.jumps += 1;
        self.tell(|| format!("the clock is set by {by}"));
    }

    //----- What happens -----

    pub(super) fn act(&mut self) {
        let [count, one, other, mixed, brief] = self.hosts[..5] else {
            self.wrong("hosts are missing")
        };
        let n = match self.chance.below(3) {
            0 => 1 + self.chance.below(2),
            _ => 1 + self.chance.below(40),
        };
        match self.chance.below(32) {
            0..=6 => self.update(&[count], Asked::Set(both(n))),
            7..=10 => self.update(&[one, other], Asked::Set(both(n))),
            11..=13 => self.update(&[brief], Asked::Set(both(n))),
            14..=17 => {
                let Addresses { v4, v6 } = both(n);
                let asked = match self.chance.below(4) {
                    0 => Asked::TakeDown,
                    1 => Asked::Set(Addresses { v4, v6: None }),
                    2 => Asked::Set(Addresses { v4: None, v6 }),
                    _ => Asked::Set(both(n)),
                };
                self.update(&[mixed], asked);
            }
            18..=22 => self.guest(n),
            23 => {
                let host = self.hosts[usize::try_from(n % 5).unwrap()];
                self.other_ttl(host);
            }
            24 | 25 => self.alias_or_denial(n),
            26 if self.chance.once_in(4) => {
                self.silent_until = self.millis() + self.chance.below(40_000);
            }
            27 if self.chance.once_in(16) => self.set_clock(),
            28 if self.chance.once_in(3) => self.dies_now(),
            _ => {}
        }
    }

    fn dies_now(&mut self) {
        if self.memory.life > 0 {
            self.kill();
        }
    }

    fn alias_or_denial(&mut self, n: u64) {
        let host = self.hosts[usize::try_from(n % 5).unwrap()];
        let name = self.disk.rows[&host].host.fqdn.to_string();
        let server = &mut self.server;
        if self.chance.once_in(2) {
            if !server.denied.remove(&name) {
                server.denied.insert(name);
            }
        } else if !server.aliases.remove(&name) && server.held(&name).is_nothing() {
            server.aliases.insert(name);
        }
    }

    /// A host that is added, updated and deleted.
    fn guest(&mut self, n: u64) {
        let there =
            self.disk.rows.keys().next_back().copied().filter(|id| !self.hosts.contains(id));
        match there {
            None => drop(self.disk.add("guest", ZONES[0], None)),
            Some(guest) if self.chance.once_in(3) => self.delete(guest),
            Some(guest) => self.update(&[guest], Asked::Set(both(n))),
        }
    }

    //----- Update -----

    /// As `Update::change`. A host that somebody else is at is left alone: its client hears `911`.
    fn update(&mut self, ids: &[HostId], asked: Asked) {
        if self.memory.life == 0 || ids.iter().any(|id| self.memory.turns.contains(id)) {
            return;
        }
        let now = self.now().wall;
        let notifies = self.chance.once_in(2);
        let mut wants = Vec::new();
        for id in ids {
            let row = &self.disk.rows[id];
            let (host, seen) = (Arc::clone(&row.host), row.seen);
            match decide::decide(asked, &host, &DEFAULTS) {
                Verdict::Keep => self.keep(*id, asked),
                Verdict::Change(records) => {
                    let seen = notifies.then(|| decide::seen(asked, now).or(seen));
                    let owed = notice::of_update(&host, asked, records, seen, &DEFAULTS).if_any();
                    wants.push(decide::want_for_update(
                        host,
                        asked,
                        (records, owed),
                        &DEFAULTS,
                        now,
                    ));
                }
            }
        }
        if self.dies_here() {
            return;
        }
        let wanted: Vec<_> = wants.into_iter().map(|want| self.want(&want)).collect();
        if self.dies_here() {
            return;
        }
        for host in wanted {
            if self.memory.life == 0 {
                return;
            }
            self.lives(&host, asked);
            let owed = host.owed.is_some_and(|owed| owed.change.is_some());
            self.send(host, Lane::Interactive, For::Client { owed });
        }
    }

    fn keep(&mut self, id: HostId, asked: Asked) {
        self.tally.nochg += 1;
        let host = self.disk.host(id).unwrap();
        self.dns_holds(&host, "nochg is told");
        let seen = decide::seen(asked, self.now().wall);
        let row = self.disk.rows.get_mut(&id).unwrap();
        row.seen = seen.or(row.seen);
        let host = Arc::clone(&row.host);
        self.lives(&host, asked);
    }

    fn lives(&mut self, host: &Host, asked: Asked) {
        let Asked::Set(addresses) = asked else { return };
        let alive = self.alive.entry(host.id).or_default();
        if addresses.v4.is_some() {
            alive[0] = self.uptime;
        }
        if addresses.v6.is_some() {
            alive[1] = self.uptime;
        }
    }

    fn want(&mut self, want: &Want) -> Arc<Host> {
        self.tell(|| format!("wants {} {:?} {:?}", want.host.fqdn, want.records, want.owed));
        self.disk.want(want).unwrap_or_else(|| self.wrong("the turn keeps others out"))
    }

    //----- Sending, and what becomes of it -----

    fn send(&mut self, host: Arc<Host>, lane: Lane, for_whom: For) {
        let mut change = decide::change(&host, &DEFAULTS);
        if matches!(for_whom, For::Deletion { .. }) {
            change.records = decide::down(change.records, true, true);
        }
        self.memory.turns.insert(host.id);
        let (outcome, refused) = match self.publish(change, lane) {
            Ok(outcome) => (Some(outcome), None),
            Err(error) => (None, Some(Published::Unconfirmed(error))),
        };
        let (id, sent_at) = (self.number(), self.millis());
        self.memory.tasks.insert(id, Task { host, sent_at, for_whom, outcome });
        if let Some(refused) = refused {
            self.finish(id, refused);
        }
    }

    /// Those whose outcome is there.
    pub(super) fn finish_tasks(&mut self) {
        let ids: Vec<_> = self.memory.tasks.keys().copied().collect();
        for id in ids {
            let Some(task) = self.memory.tasks.get_mut(&id) else { continue };
            let Some(outcome) = &mut task.outcome else { continue };
            match outcome.try_recv() {
                Ok(sent) => self.finish(id, sent),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => self.wrong("a change got no outcome"),
            }
        }
        self.pump();
    }

    fn finish(&mut self, id: u64, sent: Published) {
        if self.dies_here() {
            return;
        }
        let task = self.memory.tasks.remove(&id).unwrap();
        if let For::Deletion { round } = task.for_whom {
            return self.took_down(id, task, round, &sent);
        }
        self.memory.turns.remove(&task.host.id);
        let (ttl, now) = (decide::dns_ttl(&task.host, &DEFAULTS), self.now());
        let host = Arc::clone(&task.host);
        let (settle, result) = what_became(host, ttl, sent, &mut self.memory.refused, now);
        self.tell(|| format!("{} for {:?}: {result:?}", task.host.fqdn, task.for_whom));
        if let Some(settle) = settle {
            if matches!(settle, Settle::Acknowledged { is_final: false, .. }) {
                self.tally.not_final += 1;
            }
            self.disk.settle(settle);
        }
        self.judge_mails(&task);
        if self.dies_here() {
            return;
        }
        if let For::Client { owed } = task.for_whom {
            self.judge(&task, owed, result.is_ok());
        }
    }

    /// The word to a client.
    fn judge(&mut self, task: &Task, owed: bool, is_good: bool) {
        let row = &self.disk.rows[&task.host.id];
        if row.host.wanted != task.host.wanted {
            self.wrong("what is taken from a client is stored");
        }
        if !is_good {
            self.tally.dnserr += 1;
            return;
        }
        self.tally.good += 1;
        let change = decide::change(&task.host, &DEFAULTS);
        if !self.server.applied(&change, task.sent_at) {
            self.wrong(&format!("good of what was not applied: {change:?}"));
        }
        let about = self.disk.mails.iter().filter(|mail| {
            (mail.kind, mail.host, mail.version) == (Kind::Change, task.host.id, task.host.version)
        });
        if about.count() != usize::from(owed) {
            self.wrong(&format!(
                "good of {:?}, and its mail is missing or one too many",
                task.host
            ));
        }
    }

    /// A mail tells of what DNS has taken.
    fn judge_mails(&mut self, task: &Task) {
        let fresh = self.disk.mails.iter().rev();
        let fresh =
            fresh.take_while(|mail| (mail.host, mail.version) == (task.host.id, task.host.version));
        let kinds: Vec<_> = fresh.map(|mail| mail.kind).collect();
        let change = decide::change(&task.host, &DEFAULTS);
        if !kinds.is_empty() && !self.server.applied(&change, 0) {
            self.wrong("a mail about what never was");
        }
        let (records, owed) = (task.host.wanted, task.host.owed.unwrap_or_default());
        let is_true = owed.change.is_none_or(|it| {
            let (v4, v6) = (records.v4.address(), records.v6.address());
            (!it.v4.is_meant || it.v4.address == v4) && (!it.v6.is_meant || it.v6.address == v6)
        }) && owed.expiry.is_none_or(|it| {
            let (v4, v6) = (records.v4.address(), records.v6.address());
            (!it.v4.is_meant || v4.is_none()) && (!it.v6.is_meant || v6.is_none())
        });
        if !kinds.is_empty() && !is_true {
            self.wrong(&format!("a mail says what is not so: {:?}", task.host));
        }
        let count = |kind| u64::try_from(kinds.iter().filter(|it| **it == kind).count()).unwrap();
        self.tally.change_mails += count(Kind::Change);
        self.tally.expiry_mails += count(Kind::Expiry);
    }

    //----- Deletion -----

    /// As `Hosts::delete`.
    fn delete(&mut self, id: HostId) {
        if self.memory.life == 0 || self.memory.turns.contains(&id) {
            return;
        }
        let host = self.disk.host(id).unwrap();
        if host.wanted.addresses().is_empty() && host.unpublished_since.is_none() {
            self.disk.rows.remove(&id);
            return;
        }
        let at = self.now().wall;
        let host = self.disk.doubt(&host, at);
        if self.dies_here() {
            return;
        }
        self.send(host, Lane::Interactive, For::Deletion { round: 1 });
    }

    fn took_down(&mut self, id: u64, task: Task, round: u32, sent: &Published) {
        if let Published::Acknowledged { final_from } = sent {
            if final_from.is_none() {
                self.tell(|| "deleted".to_owned());
                self.tally.deleted += 1;
                self.memory.turns.remove(&task.host.id);
                self.disk.rows.remove(&task.host.id);
                return;
            }
            if round < REMOVALS {
                let life = self.memory.life;
                let for_whom = For::Deletion { round: round + 1 };
                self.memory.tasks.insert(id, Task { for_whom, outcome: None, ..task });
                return self.after(LATENESS, Event::TakesDown { life, task: id });
            }
        }
        self.tell(|| "not deleted".to_owned());
        self.tally.not_deleted += 1;
        self.memory.turns.remove(&task.host.id);
    }

    pub(super) fn take_down_again(&mut self, id: u64) {
        let Some(task) = self.memory.tasks.remove(&id) else { return };
        self.send(task.host, Lane::Interactive, task.for_whom);
    }

    //----- Other TTLs -----

    /// As `Hosts::modify`.
    fn other_ttl(&mut self, id: HostId) {
        if self.memory.life == 0 || self.memory.turns.contains(&id) {
            return;
        }
        let ttl = [None, Some(30), Some(60)][usize::try_from(self.chance.below(3)).unwrap()];
        let (host, now) = (self.disk.host(id).unwrap(), self.now().wall);
        if ttl == host.dns_ttl {
            return;
        }
        let publish = decide::must_publish_ttl(ttl, &host, &DEFAULTS);
        let host = self.disk.set_ttl(&host, ttl, publish.then_some(now));
        if publish && !self.dies_here() {
            self.send(host, Lane::Interactive, For::Nobody);
        }
    }

    //----- Timers -----

    /// As `Republish::run`.
    pub(super) fn republish(&mut self) {
        let now = self.now().mono;
        let (mut asked, mut hosts, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for host in self.disk.unpublished() {
            let is_busy = self.memory.turns.contains(&host.id);
            if is_busy || self.memory.late_messages.is_waiting(&host.fqdn, now) {
                continue;
            }
            let has_failed = self.disk.rows[&host.id].last_error.is_some();
            match self.memory.refused.when(host.id, (host.version, has_failed), now) {
                When::First => hosts.push(host),
                When::Last(_) => refused.push(host),
                When::NotYet => {}
            }
        }
        for host in hosts.into_iter().chain(refused) {
            // a zone that is silent is asked with one host
            if self.memory.is_down(&host.zone) {
                if asked.contains(&host.zone) {
                    continue;
                }
                asked.push(host.zone.clone());
            }
            self.send(host, Lane::Background, For::Nobody);
            if self.memory.life == 0 {
                return;
            }
        }
    }

    /// As `Expire::flush_keepalives`.
    pub(super) fn tend(&mut self) {
        let now = self.now();
        match expiry::clock_step(self.memory.last, now) {
            ClockStep::Steady => {}
            ClockStep::Ahead { end, length } => {
                self.memory.gaps.add(end, length);
                self.disk.gaps = self.memory.gaps.clone();
                self.beat(now);
            }
            ClockStep::Back { length } => {
                self.disk.no_later_than(now.wall);
                self.beat(now);
                self.memory.gaps.set_back(now.wall, length);
                self.disk.gaps = self.memory.gaps.clone();
            }
        }
        self.memory.last = now;
        if expiry::is_beat_due(self.memory.beat.mono, now.mono) {
            self.beat(now);
        }
    }

    fn beat(&mut self, now: Now) {
        self.disk.heartbeat = Some(now.wall);
        self.memory.beat = now;
    }

    /// As `Expire::sweep`.
    pub(super) fn sweep(&mut self) {
        self.tend();
        let now = self.now().wall;
        let ids: Vec<_> = self.disk.rows.keys().copied().collect();
        for id in ids {
            let row = self.disk.rows.get_mut(&id).unwrap();
            if row.check_at.is_none_or(|at| at > now) {
                continue;
            }
            let (host, seen, last) = (Arc::clone(&row.host), row.seen, row.last);
            match expiry::evaluate(&host, seen, &self.memory.gaps, &DEFAULTS, now) {
                Expiry::Never => row.check_at = None,
                Expiry::CheckAt(at) => row.check_at = Some(at),
                Expiry::Due { v4, v6 } if !self.memory.turns.contains(&id) => {
                    self.nobody_alive_expires(&host, v4, v6);
                    let owed = notice::of_expiry(&host, (v4, v6), seen, Some(last), &DEFAULTS);
                    let expired = ((v4, v6), owed.if_any());
                    let gaps = self.memory.gaps.clone();
                    let want =
                        decide::want_for_expiry(host, expired, (seen, &gaps), &DEFAULTS, now);
                    let wanted = self.want(&want);
                    if self.dies_here() {
                        return;
                    }
                    if !self.memory.is_down(&wanted.zone) {
                        self.send(wanted, Lane::Background, For::Nobody);
                    }
                    if self.memory.life == 0 {
                        return;
                    }
                }
                Expiry::Due { .. } => {}
            }
        }
        self.beat(self.now());
    }

    fn nobody_alive_expires(&mut self, host: &Host, v4: bool, v6: bool) {
        self.tally.expired += 1;
        let alive = self.alive.get(&host.id).copied().unwrap_or_default();
        let ttl = u64::from(expiry::ttl(host, &DEFAULTS)) * 1000;
        for (expires, alive) in [(v4, alive[0]), (v6, alive[1])] {
            if expires && self.uptime - alive < ttl {
                let age = self.uptime - alive;
                self.wrong(&format!("{} expires {age} ms after its update", host.fqdn));
            }
        }
    }
}
