//! A world: simulated time, what happens in it, and what must hold after each step of it.

use super::daemon::Memory;
use super::disk::Disk;
use super::name_server::NameServer;
use super::network::Fate;
use crate::clock::Clock;
use crate::model::change::RecordChange;
use crate::model::host::{Defaults, Host, HostId};
use crate::model::time::{Millis, Now};
use crate::rules::decide;
use crate::rules::expiry::Downtime;
use ddnsd_tests::chance::Chance;
use hickory_proto::op::ResponseCode;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long it storms, milliseconds.
const STORM: u64 = 150_000;
/// After it, by when DNS must hold everything.
const RECOVERY: u64 = 30_000;
/// After it, by when everybody silent is gone.
const QUIET: u64 = 260_000;
/// The wall clock at the beginning, milliseconds.
const BEGINNING: i64 = 1_800_000_000_000;

pub(super) const DEFAULTS: Defaults = Defaults { dns_ttl: 60, expiry_ttl: 3600 };
/// What the silent host has to live, seconds.
pub(super) const BRIEF: u32 = 40;

#[derive(Debug)]
pub(super) enum Event {
    /// A copy of a message comes to the server; which delivery of which life hears of it.
    Arrives { changes: Vec<RecordChange>, refuses: bool, answers: Option<(u64, u64)> },
    /// A delivery ends, or its next part goes out.
    Heard { life: u64, delivery: u64 },
    /// A deletion that was doubtful is tried again.
    TakesDown { life: u64, task: u64 },
    /// A timer of the daemon.
    Due { life: u64, timer: Timer },
    /// A client, an administrator or fate.
    Acts,
    /// The daemon is started again.
    Starts,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Republish,
    Tend,
    Sweep,
}

impl Timer {
    fn every(self) -> u64 {
        match self {
            Timer::Republish => 5_000,
            Timer::Tend => 2_000,
            // longer than between two heartbeats
            Timer::Sweep => 90_000,
        }
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) good: u64,
    pub(super) nochg: u64,
    pub(super) dnserr: u64,
    pub(super) not_final: u64,
    pub(super) crashes: u64,
    pub(super) expired: u64,
    pub(super) deleted: u64,
    pub(super) not_deleted: u64,
    pub(super) superseded_by_late: u64,
    pub(super) change_mails: u64,
    pub(super) expiry_mails: u64,
    pub(super) jumps: u64,
}

impl Tally {
    fn all(&self) -> [u64; 12] {
        let Self { good, nochg, dnserr, not_final, crashes, expired, .. } = *self;
        let Self { deleted, not_deleted, superseded_by_late, .. } = *self;
        let Self { change_mails, expiry_mails, jumps, .. } = *self;
        [
            good,
            nochg,
            dnserr,
            not_final,
            crashes,
            expired,
            deleted,
            not_deleted,
            superseded_by_late,
            change_mails,
            expiry_mails,
            jumps,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.good += other.good;
        self.nochg += other.nochg;
        self.dnserr += other.dnserr;
        self.not_final += other.not_final;
        self.crashes += other.crashes;
        self.expired += other.expired;
        self.deleted += other.deleted;
        self.not_deleted += other.not_deleted;
        self.superseded_by_late += other.superseded_by_late;
        self.change_mails += other.change_mails;
        self.expiry_mails += other.expiry_mails;
        self.jumps += other.jumps;
    }

    pub(super) fn everything_often(&self, worlds: u64) -> bool {
        self.all().iter().all(|count| *count > worlds / 20)
    }
}

pub(super) struct World {
    pub(super) tells: bool,
    pub(super) tally: Tally,
    pub(super) chance: Chance,
    pub(super) server: NameServer,
    pub(super) disk: Disk,
    pub(super) memory: Memory,
    /// Until when the server hears nothing.
    pub(super) silent_until: u64,
    /// How far the wall clock was set.
    pub(super) clock_set: i64,
    pub(super) killed_at: u64,
    /// When the daemon was up, in all.
    pub(super) uptime: u64,
    pub(super) hosts: Vec<HostId>,
    /// By the uptime at its last update.
    pub(super) alive: BTreeMap<HostId, [u64; 2]>,
    /// Of eight messages, so many meet chance.
    harm: u64,
    seed: u64,
    millis: u64,
    zero: Instant,
    storms: bool,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        let zero = *ZERO.get_or_init(|| Clock.now().mono);
        let started = Now { wall: Millis(BEGINNING), mono: zero };
        Self {
            tells: false,
            tally: Tally::default(),
            chance: Chance::new(seed),
            server: NameServer::default(),
            disk: Disk::default(),
            memory: Memory::new(0, started, Downtime::default()),
            silent_until: 0,
            clock_set: 0,
            killed_at: 0,
            uptime: 0,
            hosts: Vec::new(),
            alive: BTreeMap::new(),
            harm: 1 + seed % 8,
            seed,
            millis: 0,
            zero,
            storms: true,
            events: BTreeMap::new(),
            numbered: 0,
        }
    }

    /// From beginning to end.
    pub(super) fn live(&mut self) {
        self.settle_in();
        self.start();
        self.after(1, Event::Acts);
        self.run(STORM);
        self.storms = false;
        self.silent_until = 0;
        self.server.aliases.clear();
        self.server.denied.clear();
        if self.memory.life == 0 {
            self.start();
        }
        self.tell(|| "the storm is over".to_owned());
        self.run(STORM + RECOVERY);
        self.dns_is_the_database();
        self.run(STORM + QUIET);
        self.dns_is_the_database();
        self.all_is_quiet();
    }

    fn run(&mut self, until: u64) {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= until) {
            let ((at, _), event) = next.remove_entry();
            self.pass(at);
            let is_timer = matches!(event, Event::Due { .. });
            self.happens(event);
            self.pump();
            self.finish_tasks();
            if !is_timer || !self.memory.tasks.is_empty() {
                self.what_is_published_holds();
            }
        }
        self.pass(until);
    }

    fn pass(&mut self, at: u64) {
        if self.memory.life > 0 {
            self.uptime += at - self.millis;
        }
        self.millis = at;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives { changes, refuses, answers } => {
                let is_heard = self.millis >= self.silent_until || answers.is_some();
                self.arrives(&changes, refuses, answers, is_heard);
            }
            Event::Heard { life, delivery } if life == self.memory.life => self.heard(delivery),
            Event::TakesDown { life, task } if life == self.memory.life => {
                self.take_down_again(task);
            }
            Event::Due { life, timer } if life == self.memory.life => {
                self.after(timer.every(), Event::Due { life, timer });
                match timer {
                    Timer::Republish => self.republish(),
                    Timer::Tend => self.tend(),
                    Timer::Sweep => self.sweep(),
                }
            }
            Event::Starts if self.memory.life == 0 => self.start(),
            Event::Acts if self.storms => {
                let pause = 20 + self.chance.below(1_500);
                self.after(pause, Event::Acts);
                self.act();
            }
            // of a life that is over
            _ => {}
        }
    }

    fn arrives(
        &mut self,
        changes: &[RecordChange],
        refuses: bool,
        answers: Option<(u64, u64)>,
        is_heard: bool,
    ) {
        if !is_heard {
            return;
        }
        let said = if refuses {
            Err(ResponseCode::ServFail)
        } else {
            let undone = changes.iter().any(|change| {
                let held = self.server.held(change.fqdn.as_str());
                answers.is_none() && held != held.after(change)
            });
            self.tally.superseded_by_late += u64::from(undone);
            self.server.apply(changes, self.millis)
        };
        self.tell(|| format!("arrives {changes:?}: {said:?}"));
        if said.is_ok() {
            self.nobody_is_half_replaced(changes);
        }
        if let Some(delivery) = answers {
            self.said(delivery, said);
        }
    }

    //----- Time and chance -----

    pub(super) fn now(&self) -> Now {
        let millis = i64::try_from(self.millis).unwrap();
        Now {
            wall: Millis(BEGINNING + millis + self.clock_set),
            mono: self.zero + Duration::from_millis(self.millis),
        }
    }

    pub(super) fn millis(&self) -> u64 {
        self.millis
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) {
        let place = (self.millis + millis, self.number());
        self.events.insert(place, event);
    }

    pub(super) fn start_timers(&mut self) {
        let life = self.memory.life;
        for timer in [Timer::Republish, Timer::Tend, Timer::Sweep] {
            self.after(0, Event::Due { life, timer });
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    pub(super) fn fate(&mut self) -> Fate {
        if !self.storms {
            Fate::calm()
        } else if self.millis < self.silent_until {
            Fate::down()
        } else if self.chance.below(8) >= self.harm {
            Fate::calm()
        } else {
            Fate::draw(&mut self.chance)
        }
    }

    /// Whether the daemon is killed here.
    pub(super) fn dies_here(&mut self) -> bool {
        let dies = self.storms && self.chance.once_in(200);
        if dies {
            self.kill();
        }
        dies
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>9} {}", self.millis, what());
        }
    }

    #[track_caller]
    pub(super) fn wrong(&self, what: &str) -> ! {
        panic!("seed {} at {} ms: {what}", self.seed, self.millis);
    }

    //----- What must hold -----

    /// What is under way to names.
    fn late(&self) -> Vec<&RecordChange> {
        let late = self.events.values().filter_map(|event| match event {
            Event::Arrives { changes, refuses: false, .. } => Some(changes),
            _ => None,
        });
        late.flatten().collect()
    }

    /// DNS holds what is wanted, and nothing that is still on its way undoes it.
    pub(super) fn dns_holds(&self, host: &Host, because: &str) {
        let held = self.server.held(host.fqdn.as_str());
        if held != held.with(&host.wanted, decide::dns_ttl(host, &DEFAULTS)) {
            self.wrong(&format!("{because} of {host:?}, and DNS holds {held:?}"));
        }
        let late = self.late();
        let mut late = late.iter().filter(|it| it.fqdn == host.fqdn);
        if let Some(late) = late.find(|it| held != held.after(it)) {
            self.wrong(&format!("{because} of {host:?}, and {late:?} comes yet"));
        }
    }

    fn what_is_published_holds(&self) {
        for row in self.disk.rows.values() {
            let host = &row.host;
            if host.unpublished_since.is_none() && !host.wanted.is_untouched() {
                self.dns_holds(host, "it counts as published");
            }
        }
        let late = self.late();
        let guest = "guest.a.example";
        let is_there = self.disk.rows.values().any(|row| row.host.fqdn.as_str() == guest);
        let held = self.server.held(guest);
        let mut late = late.iter().filter(|it| it.fqdn.as_str() == guest);
        let late = late.find(|change| !held.after(change).is_nothing());
        if !is_there && (!held.is_nothing() || late.is_some()) {
            self.wrong(&format!("the guest is deleted; DNS holds {held:?}, and gets {late:?}"));
        }
    }

    fn nobody_is_half_replaced(&self, changes: &[RecordChange]) {
        for change in changes.iter().filter(|change| !change.fqdn.as_str().starts_with("mixed")) {
            let held = self.server.held(change.fqdn.as_str());
            let numbers = (held.v4.map(u32::from), held.v6.map(u128::from));
            if numbers.0.map(|v4| u128::from(v4 & 0xff_ffff)) != numbers.1.map(|v6| v6 & 0xff_ffff)
            {
                self.wrong(&format!("half replaced: {held:?}"));
            }
        }
    }

    /// What is wanted is there, whether that is the last word or not.
    fn dns_is_the_database(&self) {
        let idle = |host: &HostId| !self.memory.turns.contains(host);
        for row in self.disk.rows.values().filter(|row| idle(&row.host.id)) {
            let change = decide::change(&row.host, &DEFAULTS);
            let held = self.server.held(row.host.fqdn.as_str());
            if held != held.after(&change) {
                self.wrong(&format!("{:?} is wanted, and DNS holds {held:?}", row.host));
            }
        }
    }

    fn all_is_quiet(&self) {
        for row in self.disk.rows.values() {
            let host = &row.host;
            if host.unpublished_since.is_some() || host.owed.is_some() {
                self.wrong(&format!("it never settles: {host:?}"));
            }
            // who was updated while a jump was not noticed yet may live for longer
            let is_brief = host.expiry_ttl == Some(BRIEF) && self.tally.jumps == 0;
            if is_brief && !host.wanted.addresses().is_empty() {
                self.wrong(&format!("it never expires: {row:?}"));
            }
        }
        for (place, mail) in self.disk.mails.iter().enumerate() {
            if self.disk.mails.iter().skip(place + 1).any(|other| other == mail) {
                self.wrong(&format!("told twice: {mail:?}"));
            }
        }
    }
}
