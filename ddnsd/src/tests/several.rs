//! Two daemons on one MariaDB. Each is killed and started again at any time, while clients reach
//! now one, now the other. No acknowledged update is undone, whichever daemon took it, no change
//! has two mails, and in the end DNS holds what the database wants.

use super::daemon::{Daemon, hash};
use super::server::{Held, Server};
use super::world::{Counted, Problem, numbers};
use super::{both, name, number4, runtime};
use crate::config::{Database, DatabaseTls, MariaDb};
use crate::model::name::Fqdn;
use crate::model::secret::Secret;
use crate::model::user::PasswordHash;
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::chance::Chance;
use ddnsd_tests::mariadb::{Account, Mariadb};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

/// Worlds of the usual run; a tenth of `DDNSD_MODEL_WORLDS` if it is given.
const WORLDS: usize = 3;
/// Worlds that run at the same time.
const TOGETHER: usize = 3;
const DAEMONS: [&str; 2] = ["a", "b"];
/// Runs of each daemon before the last; each is ended by a kill.
const RUNS: u64 = 4;
/// Hosts that count upwards.
const HOSTS: usize = 3;
/// `dns_timeout`: longer than in the other worlds, because a database server needs the machine too.
const TIMEOUT: Duration = Duration::from_millis(250);
/// For everything to settle. A lease of a killed daemon lasts 10 s.
const SETTLED: Duration = Duration::from_mins(1);

struct Shared {
    server: Server,
    account: Account,
    /// Locked during an update and shortly after it, so that a host's numbers rise in one order,
    /// whichever daemon takes them.
    counted: [tokio::sync::Mutex<Counted>; HOSTS],
    /// Updates that were answered `good`, by each daemon.
    good: [AtomicU32; 2],
    problems: Mutex<Vec<Problem>>,
}

impl Shared {
    async fn start(&self, daemon: usize, hash: &PasswordHash) -> Daemon {
        let (database, address) = (configured(&self.account), self.server.address);
        let daemon = Daemon::start_on(&database, DAEMONS[daemon], address, TIMEOUT).await;
        daemon.add_user(hash).await;
        for host in 0..HOSTS {
            daemon.add_host(&format!("h{host}"), None).await;
        }
        daemon.add_host("mixed", None).await;
        daemon.run_timers();
        daemon
    }

    fn problem(&self, since: Instant, what: String) {
        // a delay of any message of the last moments excuses it
        let since = since.checked_sub(5 * TIMEOUT).unwrap_or(since);
        self.problems.lock().unwrap().push(Problem::UnlessDelayed(since, what));
    }

    /// Runs a daemon and its clients several times, each time until it is killed: dropping the
    /// runtime ends every task where it waits.
    fn run_and_kill(self: &Arc<Self>, daemon: usize, hash: &PasswordHash, mut chance: Chance) {
        for _ in 0..RUNS {
            runtime().block_on(async {
                let running = self.start(daemon, hash).await;
                for host in 0..HOSTS {
                    let (world, running) = (Arc::clone(self), running.clone());
                    let chance = Chance::new(chance.number());
                    tokio::spawn(world.count(running, daemon, host, chance));
                }
                tokio::spawn(mix(running, Chance::new(chance.number())));
                sleep(chance.millis(400, 1_400)).await;
            });
        }
    }

    /// Sends rising numbers for a host; repeats some of them.
    async fn count(
        self: Arc<Self>,
        running: Daemon,
        daemon: usize,
        host: usize,
        mut chance: Chance,
    ) {
        let name = name(&format!("h{host}"));
        loop {
            let mut counted = self.counted[host].lock().await;
            let n = (counted.sent + u32::from(!chance.once_in(3))).max(1);
            counted.sent = n;
            let from = Instant::now();
            let codes = running.update(std::slice::from_ref(&name), Change::Set(both(n))).await;
            let to = Instant::now();
            let code = codes[0];
            self.judge(&name, n, code, [from, to]);
            if matches!(code, ReturnCode::Good | ReturnCode::Nochg | ReturnCode::Dnserr) {
                counted.accepted = n;
            }
            if code == ReturnCode::Good {
                self.good[daemon].fetch_add(1, Ordering::Relaxed);
            }
            sleep(chance.millis(0, 30)).await;
            let later = self.server.applied(&name, to, Instant::now());
            if code == ReturnCode::Nochg && later.iter().any(|held| *held != (Some(n), Some(n))) {
                self.problem(from, format!("{name}: nochg of {n}, and then {later:?}"));
            }
            drop(counted);
            sleep(chance.millis(0, 10)).await;
        }
    }

    fn judge(&self, name: &str, n: u32, code: ReturnCode, [from, to]: [Instant; 2]) {
        let is = |held: &Held| *held == (Some(n), Some(n));
        let is_right = match code {
            ReturnCode::Good => self.server.applied(name, from, to).iter().any(is),
            ReturnCode::Nochg => self.server.between(name, from, to).iter().any(is),
            ReturnCode::Dnserr | ReturnCode::ServerError => true,
            _ => false,
        };
        if !is_right {
            let held = self.server.between(name, from, to);
            self.problem(from, format!("{name}: {code:?} of {n}, while DNS held {held:?}"));
        }
    }

    /// Starts both daemons once more, over a name server that loses nothing any more.
    async fn settle(&self, hash: &PasswordHash) {
        let (one, other) = (self.start(0, hash).await, self.start(1, hash).await);
        self.server.make_reliable();
        let began = Instant::now();
        let everything_published = async {
            while one.db.counts().await.unwrap().unpublished > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(SETTLED, everything_published).await.is_err() {
            self.problem(began, "something stays unpublished".to_owned());
        }
        // no late message can arrive after this
        sleep(2 * TIMEOUT).await;
        for label in ["h0", "h1", "h2", "mixed"] {
            let name = name(label);
            let host = other.db.host(&Fqdn::parse(&name).unwrap()).await.unwrap().unwrap();
            let (wanted, held) = (numbers(&host), self.server.held(&name));
            if wanted != held {
                let what = format!("{name}: DNS holds {held:?}, the database {wanted:?}");
                self.problem(began, what);
            }
        }
        for (host, counted) in self.counted.iter().enumerate() {
            let counted = counted.lock().await;
            let (n, _) = self.server.held(&name(&format!("h{host}")));
            if !(counted.accepted..=counted.sent).contains(&n.unwrap_or(0)) {
                let what = format!("h{host} ends at {n:?}, after {counted:?}");
                self.problems.lock().unwrap().push(Problem::Certain(what));
            }
        }
    }

    /// No change of a counting host has two mails, and the last one of each host has one. A mail of
    /// an earlier one may be superseded: its result is not stored if the other daemon was sending
    /// the host too.
    fn check_mails(&self) {
        let queued = self.account.sql_raw("SELECT variables FROM outbox WHERE kind = 'change'");
        let mut mails: HashMap<(String, u32), u32> = HashMap::new();
        for line in queued.lines() {
            let mail: serde_json::Value = serde_json::from_str(line).unwrap();
            let n = mail["ipv4"].as_str().map(|it| number4(it.parse().unwrap()));
            let name = mail["fqdn"].as_str().unwrap().to_owned();
            *mails.entry((name, n.unwrap_or(0))).or_default() += 1;
        }
        let mut problems = self.problems.lock().unwrap();
        for host in 0..HOSTS {
            let name = name(&format!("h{host}"));
            let (n, _) = self.server.held(&name);
            let of_host = mails.iter().filter(|((of, _), _)| *of == name);
            if let Some((of, _)) = of_host.clone().find(|(_, count)| **count > 1) {
                problems.push(Problem::Certain(format!("{of:?} is mailed twice")));
            }
            // on a busy machine each daemon may be killed before its first update
            let Some(n) = n else { continue };
            if !of_host.clone().any(|((_, of), _)| *of == n) {
                problems.push(Problem::Certain(format!("the mail of {name}, {n} is lost")));
            }
        }
    }
}

/// Updates host `mixed` while the other daemon does, or takes it offline.
async fn mix(daemon: Daemon, mut chance: Chance) {
    let names = [name("mixed")];
    loop {
        let n = u32::try_from(chance.below(1000)).unwrap();
        let wanted = if chance.once_in(4) { Change::Offline } else { Change::Set(both(n)) };
        daemon.update(&names, wanted).await;
        sleep(chance.millis(0, 40)).await;
    }
}

fn configured(account: &Account) -> Database {
    Database::Mariadb(MariaDb {
        host: "127.0.0.1".to_owned(),
        port: account.port,
        socket: None,
        user: account.user.clone(),
        password: Secret::new(account.password.clone()),
        name: account.database.clone(),
        tls: DatabaseTls::Disabled,
        tls_ca_file: None,
        pool_size: 4,
    })
}

/// The problems of a world that no delay of the machine excuses, whether one excuses others, and
/// how many updates each daemon answered `good`.
fn live(seed: u64, hash: &PasswordHash) -> (Vec<String>, bool, [u32; 2]) {
    let mut chance = Chance::new(seed);
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = Server::start(TIMEOUT, Chance::new(chance.number()));
    let world = Arc::new(Shared {
        server: servers.block_on(servers.spawn(server)).unwrap(),
        account: Mariadb::shared().account(),
        counted: Default::default(),
        good: Default::default(),
        problems: Mutex::default(),
    });
    std::thread::scope(|threads| {
        for daemon in 0..DAEMONS.len() {
            let (world, chance) = (&world, Chance::new(chance.number()));
            threads.spawn(move || world.run_and_kill(daemon, hash, chance));
        }
    });
    runtime().block_on(world.settle(hash));
    world.check_mails();
    servers.shutdown_background();
    let problems = world.problems.lock().unwrap().clone();
    let is_excused = |problem: &Problem| match problem {
        Problem::Certain(_) => false,
        Problem::UnlessDelayed(since, _) => world.server.was_delayed(*since),
    };
    let (excused, problems): (Vec<_>, Vec<_>) = problems.iter().partition(|it| is_excused(it));
    let mut problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.extend(world.server.problems());
    let good = world.good.each_ref().map(|good| good.load(Ordering::Relaxed));
    (problems, !excused.is_empty(), good)
}

fn worlds() -> usize {
    let text = std::env::var("DDNSD_MODEL_WORLDS");
    text.map_or(WORLDS, |text| text.parse::<usize>().expect("a number").div_ceil(10))
}

#[test]
fn two_daemons_on_one_database_undo_no_acknowledged_update_of_each_other() {
    let mut chance = Chance::seeded();
    let hash = runtime().block_on(hash());
    let (mut left_out, mut all_good) = (Vec::new(), [0; 2]);
    let seeds: Vec<_> = (0..worlds()).map(|_| chance.number()).collect();
    for some in seeds.chunks(TOGETHER) {
        let lived = std::thread::scope(|threads| {
            let live = |seed: &u64| (*seed, live(*seed, &hash));
            let worlds: Vec<_> =
                some.iter().map(|seed| threads.spawn(move || live(seed))).collect();
            worlds.into_iter().map(|world| world.join().unwrap()).collect::<Vec<_>>()
        });
        for (seed, (problems, is_excused, good)) in lived {
            assert!(problems.is_empty(), "world {seed}: {}", problems.join("; "));
            all_good.iter_mut().zip(good).for_each(|(all, good)| *all += good);
            if is_excused {
                left_out.push(seed);
            }
        }
    }
    eprintln!("left out, because this machine was too busy: {left_out:?}");
    assert!(left_out.len() < seeds.len(), "no world proved anything");
    assert!(all_good.iter().all(|good| *good > 0), "{all_good:?} were good");
}
