//! One world: several runs of the daemon on one database and one name server, each but the last
//! ended by a kill, then the final comparison. In: a seed. Out: the problems found.

use super::clients::Client;
use super::daemon::Daemon;
use super::mails::check_mails;
use super::server::{Held, Server};
use super::{TIMEOUT, both, lan, name, number4, number6, row_checks, runtime};
use crate::clock::SET_AHEAD;
use crate::model::host::Host;
use crate::model::name::Fqdn;
use crate::model::user::PasswordHash;
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::chance::Chance;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

/// Runs of the daemon in a world.
const RUNS: u64 = 9;
/// The run that is long enough for the host with a short expiry TTL to expire before the end.
const LONG_RUN: u64 = 3;
/// The expiry TTL of host `brief`, seconds. Every other host has an hour.
pub(super) const BRIEF_TTL: u32 = 1;
/// The last number of host `brief`; clients count otherwise up to 1,000.
pub(super) const LAST: u32 = 1_001;
/// For everything to settle at the end.
const SETTLED: Duration = Duration::from_secs(20);

/// A promise that a world breaks.
#[derive(Clone, Debug)]
pub(super) enum Problem {
    Certain(String),
    /// A defect, unless the machine delayed a message after this time for longer than the network
    /// can.
    UnlessDelayed(Instant, String),
}
use Problem::{Certain, UnlessDelayed};

impl Problem {
    /// What happened just now: only messages of the last moments can be its cause.
    pub(super) fn unless_just_delayed(what: String) -> Self {
        let now = Instant::now();
        UnlessDelayed(now.checked_sub(5 * TIMEOUT).unwrap_or(now), what)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Certain(what) | UnlessDelayed(_, what) => f.write_str(what),
        }
    }
}

/// The numbers of a host that counts upwards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) sent: u32,
    /// The last one that the daemon accepted (`good`, `nochg` or `dnserr`).
    pub(super) accepted: u32,
}

/// What a world knows over all runs of its daemon; clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) server: Server,
    began: Instant,
    pub(super) problems: Arc<Mutex<Vec<Problem>>>,
    pub(super) counted: Arc<Mutex<[Counted; 3]>>,
    /// The networks of the router's prefix.
    pub(super) lan: Arc<Mutex<Counted>>,
    /// Names and numbers that were answered `good`.
    pub(super) good: Arc<Mutex<HashSet<(String, u32)>>>,
    /// When the last accepted update of host `brief` was sent.
    pub(super) brief_updated: Arc<Mutex<Option<Instant>>>,
}

/// Runs a world again if its name server was delayed, because a message that waits in a socket is
/// later than the network makes it. `None` if it was delayed each time.
pub(super) fn live_in_time(seed: u64, hash: &PasswordHash) -> Option<Vec<Problem>> {
    for _ in 0..4 {
        let (problems, excused) = live(seed, hash);
        if !problems.is_empty() || excused == 0 {
            return Some(problems);
        }
    }
    None
}

/// The problems of a world, and how many others a delay excuses.
fn live(seed: u64, hash: &PasswordHash) -> (Vec<Problem>, usize) {
    let mut chance = Chance::new(seed);
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server = Server::start(TIMEOUT, Chance::new(chance.number()));
    let world = World {
        server: servers.block_on(servers.spawn(server)).unwrap(),
        began: Instant::now(),
        problems: Arc::default(),
        counted: Arc::default(),
        lan: Arc::default(),
        good: Arc::default(),
        brief_updated: Arc::default(),
    };
    SET_AHEAD.set(0);
    servers.spawn(row_checks::run(file.clone(), world.clone()));
    for run in 1..=RUNS {
        if chance.once_in(2) {
            set_clock(&mut chance);
        }
        let ended = if run < RUNS {
            world.run_until_killed(run, &file, hash, &mut chance);
            Ok(())
        } else {
            runtime().block_on(world.run_and_settle(&file, hash))
        };
        world.problems.lock().unwrap().extend(ended.err());
    }
    servers.shutdown_background();
    let problems = world.problems.lock().unwrap().clone();
    let is_excused = |problem: &Problem| match problem {
        Certain(_) => false,
        UnlessDelayed(since, _) => world.server.was_delayed(*since),
    };
    let (excused, mut problems): (Vec<_>, Vec<_>) = problems.into_iter().partition(is_excused);
    problems.extend(world.server.problems().into_iter().map(Certain));
    (problems, excused.len())
}

/// Sets the wall clock back or ahead, by up to three days.
pub(super) fn set_clock(chance: &mut Chance) {
    let by = 61_000 + i64::try_from(chance.below(3 * 24 * 3_600_000)).unwrap();
    let by = if chance.once_in(2) { 61_000 + by % 60_000 } else { by };
    SET_AHEAD.set(SET_AHEAD.get() + if chance.once_in(2) { by } else { -by });
}

impl World {
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.lock().unwrap().push(problem);
    }

    async fn start(&self, file: &Path, hash: &PasswordHash) -> Daemon {
        let daemon = Daemon::start(file, self.server.address, TIMEOUT).await;
        daemon.add_user(hash).await;
        let brief = ("brief", Some(BRIEF_TTL));
        for (label, expiry_ttl) in
            [("h0", None), ("h1", None), ("h2", None), ("mixed", None), brief]
        {
            daemon.add_host(label, expiry_ttl).await;
        }
        lan::add_hosts(&daemon).await;
        daemon.run_timers();
        daemon
    }

    /// Dropping the runtime kills the daemon: every task ends where it waits.
    fn run_until_killed(&self, run: u64, file: &Path, hash: &PasswordHash, chance: &mut Chance) {
        let is_long = run == LONG_RUN;
        let length = if is_long { chance.millis(1_500, 2_500) } else { chance.millis(20, 300) };
        // messages of the last moments may be applied in the next run
        let burst = if chance.once_in(4) { Duration::ZERO } else { chance.millis(20, 150) };
        runtime().block_on(async {
            let daemon = self.start(file, hash).await;
            Client { world: self.clone(), daemon }.start(chance);
            sleep(length).await;
            self.server.begin_burst(burst);
            sleep(burst).await;
        });
    }

    /// A problem that any message of this world may have caused.
    pub(super) fn unless_delayed(&self, what: String) -> Problem {
        UnlessDelayed(self.began, what)
    }

    async fn run_and_settle(&self, file: &Path, hash: &PasswordHash) -> Result<(), Problem> {
        let daemon = self.start(file, hash).await;
        self.server.make_reliable();
        lan::bring_back(&daemon).await;
        let everything_published = async {
            while daemon.db.counts().await.unwrap().unpublished > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let settled = timeout(SETTLED, everything_published).await;
        settled.map_err(|_| self.unless_delayed("something stays unpublished".to_owned()))?;
        // no late message can arrive after this
        sleep(2 * TIMEOUT).await;
        self.dns_holds_what_the_database_wants(&daemon).await?;
        self.no_accepted_number_is_lost()?;
        lan::is_in_one_network(&daemon, self).await?;
        let unserved = daemon.db.unserved_zones().await.unwrap();
        if !unserved.is_empty() {
            return Err(Certain(format!("the server drops nothing: {unserved:?}")));
        }
        self.brief_expires(&daemon).await?;
        let good = self.good.lock().unwrap().clone();
        check_mails(file, &self.server, self.began, &good).await.map_err(Certain)
    }

    async fn dns_holds_what_the_database_wants(&self, daemon: &Daemon) -> Result<(), Problem> {
        for label in ["h0", "h1", "h2", "mixed", "temporary"].into_iter().chain(lan::LABELS) {
            let name = name(label);
            let host = daemon.db.host(&Fqdn::parse(&name).unwrap()).await.unwrap();
            let wanted = host.as_deref().map_or((None, None), numbers);
            let held = self.server.held(&name);
            if held != wanted {
                let what = format!("{name}: DNS holds {held:?}, the database {wanted:?}");
                return Err(self.unless_delayed(what));
            }
        }
        Ok(())
    }

    fn no_accepted_number_is_lost(&self) -> Result<(), Problem> {
        for (host, counted) in self.counted.lock().unwrap().iter().enumerate() {
            let (n, _) = self.server.held(&name(&format!("h{host}")));
            if !(counted.accepted..=counted.sent).contains(&n.unwrap_or(0)) {
                return Err(Certain(format!("h{host} ends at {n:?}, after {counted:?}")));
            }
        }
        Ok(())
    }

    async fn brief_expires(&self, daemon: &Daemon) -> Result<(), Problem> {
        let codes = daemon.update(&[name("brief")], Change::Set(both(LAST))).await;
        if codes != [ReturnCode::Good] {
            let what = format!("the last update of host `brief` is answered {codes:?}");
            return Err(self.unless_delayed(what));
        }
        let gone = async {
            loop {
                // in this order: the removal is stored before it is held, and settled after it
                let is_removed = self.server.held(&name("brief")) == (None, None);
                if is_removed && daemon.db.counts().await.unwrap().unpublished == 0 {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let gone = timeout(SETTLED, gone).await;
        gone.map_err(|_| self.unless_delayed("host `brief` never expires".to_owned()))
    }
}

/// The numbers that the database wants DNS to hold.
pub(super) fn numbers(host: &Host) -> Held {
    let wanted = host.wanted.addresses();
    (wanted.v4.map(number4), wanted.v6.map(number6))
}
