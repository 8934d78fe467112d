//! The stories that publish, run against a model of a name server and killed again and again: random
//! interleavings of update, expiry, deletion and republishing with lost, late and refused messages.
//!
//! What is driven are the real stories, database, queues and transport, because the mistakes that matter are
//! made where they meet. That costs real time (a database's threads and sockets do not live in a simulated
//! clock), so a world is a seed and a fate rather than one fixed interleaving, and there are a hundred of
//! them. The thousands are in `rules/final_word.rs`, over the pure rule that decides when an acknowledgement is the
//! last word, in simulated time.
//!
//! Looked for: `good` that was not applied; `nochg`, or a deletion, that something older undoes; a host half
//! replaced; an accepted change that is lost; a mail that is lost, or about what never was; DNS and database that differ when all has settled.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test, with a clock of its own"
)]

mod daemon;
mod refused;
mod removal;
mod server;

use daemon::{Daemon, ZONE};
use ddnsd::model::address::Addresses;
use ddnsd::model::host::Host;
use ddnsd::model::name::Fqdn;
use ddnsd::model::user::PasswordHash;
use ddnsd::rules::outcome::Word;
use ddnsd::rules::request::Asked;
use ddnsd_tests::chance::Chance;
use server::{Held, Server};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

/// Worlds, of which so many live at a time.
const WORLDS: u64 = 96;
const TOGETHER: usize = 16;
/// Lives of the daemon in a world: all but the last end by a kill.
const LIVES: u64 = 4;
/// `dns_timeout`.
const TIMEOUT: Duration = Duration::from_millis(100);
/// The last number of the host that falls silent; clients count otherwise up to 1,000.
const LAST: u32 = 1_001;
/// For all to settle at the end.
const SETTLED: Duration = Duration::from_secs(20);

/// The numbers that a host was told, over all lives.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    sent: u32,
    /// The last one that the daemon took (`good`, `nochg` or `dnserr`).
    taken: u32,
}

/// What the clients of a world share.
#[derive(Clone)]
struct Client {
    server: Server,
    daemon: Daemon,
    wrong: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<[Told; 3]>>,
}

fn name(label: &str) -> String {
    format!("{label}.{ZONE}")
}

fn both(n: u32) -> Addresses {
    Addresses { v4: Some(v4(n)), v6: Some(v6(n)) }
}

fn v4(n: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) + n)
}

fn v6(n: u32) -> Ipv6Addr {
    Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(n))
}

fn numbers(host: &Host) -> Held {
    let wanted = host.wanted.addresses();
    let v6 = wanted.v6.map(|v6| u32::try_from(u128::from(v6) & 0xff_ffff).unwrap());
    (wanted.v4.map(|v4| u32::from(v4) & 0xff_ffff), v6)
}

impl Client {
    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Hosts that always count upwards, some together in one request.
    async fn count(self, hosts: &'static [usize], mut chance: Chance) {
        let names: Vec<_> = hosts.iter().map(|host| name(&format!("h{host}"))).collect();
        loop {
            let n = {
                let mut told = self.told.lock().unwrap();
                let next = told[hosts[0]].sent + u32::from(!chance.once_in(4));
                for host in hosts {
                    told[*host].sent = next;
                }
                next
            };
            let from = Instant::now();
            let words = self.daemon.update(&names, Asked::Set(both(n))).await;
            let to = Instant::now();
            for ((host, name), word) in hosts.iter().zip(&names).zip(&words) {
                self.judge(name, n, *word, (from, to));
                if matches!(word, Word::Good | Word::Nochg | Word::Dnserr) {
                    self.told.lock().unwrap()[*host].taken = n;
                }
            }
            sleep(chance.millis(0, 40)).await;
            for (name, word) in names.iter().zip(words) {
                if word == Word::Nochg {
                    // nothing that is still on its way may undo it
                    let later = self.server.applied(name, to, Instant::now());
                    if later.iter().any(|held| *held != (Some(n), Some(n))) {
                        self.wrong(format!("{name}: nochg of {n}, and then {later:?}"));
                    }
                }
            }
        }
    }

    fn judge(&self, name: &str, n: u32, word: Word, (from, to): (Instant, Instant)) {
        let is = |held: &Held| *held == (Some(n), Some(n));
        let fine = match word {
            Word::Good => self.server.applied(name, from, to).iter().any(is),
            Word::Nochg => self.server.between(name, from, to).iter().any(is),
            Word::Dnserr | Word::ServerError => true,
            _ => false,
        };
        if !fine {
            let held = self.server.between(name, from, to);
            self.wrong(format!("{name}: {word:?} of {n}, while DNS held {held:?}"));
        }
    }

    /// A host of one family or the other, on and off.
    async fn mix(self, mut chance: Chance) {
        let names = [name("mixed")];
        loop {
            let n = u32::try_from(chance.below(1000)).unwrap();
            let asked = match chance.below(4) {
                0 => Asked::TakeDown,
                1 => Asked::Set(Addresses { v4: Some(v4(n)), v6: None }),
                2 => Asked::Set(Addresses { v4: None, v6: Some(v6(n)) }),
                _ => Asked::Set(both(n)),
            };
            self.daemon.update(&names, asked).await;
            sleep(chance.millis(0, 60)).await;
        }
    }

    /// A host that falls silent now and then; a CNAME comes in its way, too.
    async fn brief(self, mut chance: Chance) {
        let names = [name("brief")];
        loop {
            let n = u32::try_from(chance.below(1000)).unwrap();
            self.server.alias(&names[0], chance.once_in(4));
            self.daemon.update(&names, Asked::Set(both(n))).await;
            sleep(chance.millis(0, 200)).await;
        }
    }

    /// A host that is deleted and added again.
    async fn come_and_go(self, mut chance: Chance) {
        let names = [name("guest")];
        loop {
            self.daemon.add_host("guest", None).await;
            for _ in 0..chance.below(4) {
                let n = u32::try_from(chance.below(1000)).unwrap();
                self.daemon.update(&names, Asked::Set(both(n))).await;
            }
            if self.daemon.hosts.delete("guest", ZONE, false).await.is_err() {
                continue;
            }
            let from = Instant::now();
            sleep(chance.millis(0, 150)).await;
            let since = self.server.between(&names[0], from, Instant::now());
            if since.iter().any(|held| *held != (None, None)) {
                self.wrong(format!("{} is deleted, and DNS holds {since:?}", names[0]));
            }
        }
    }

    fn start(&self, chance: &mut Chance) {
        let mut seed = || Chance::new(chance.number());
        tokio::spawn(self.clone().count(&[0], seed()));
        tokio::spawn(self.clone().count(&[1, 2], seed()));
        tokio::spawn(self.clone().mix(seed()));
        tokio::spawn(self.clone().brief(seed()));
        tokio::spawn(self.clone().come_and_go(seed()));
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// One world from beginning to end: what was wrong with it, and how long the machine kept its name server
/// waiting.
fn live(seed: u64, hash: &PasswordHash, server_of: &Runtime) -> (Result<(), String>, Duration) {
    let mut chance = Chance::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server =
        server_of.block_on(server_of.spawn(Server::start(TIMEOUT, Chance::new(chance.number()))));
    let server = server.unwrap();
    let ended = lives(&mut chance, &file, &server, hash);
    (ended, server.slowest())
}

fn lives(
    chance: &mut Chance,
    file: &Path,
    server: &Server,
    hash: &PasswordHash,
) -> Result<(), String> {
    let began = Instant::now();
    let (wrong, told) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
    for life in 1..=LIVES {
        let ends = chance.millis(20, 500);
        let run = async {
            let daemon = Daemon::start(file, server.address, TIMEOUT).await;
            daemon.add_user(hash).await;
            for (label, expiry_ttl) in
                [("h0", None), ("h1", None), ("h2", None), ("mixed", None), ("brief", Some(1))]
            {
                daemon.add_host(label, expiry_ttl).await;
            }
            daemon.run_timers();
            if life < LIVES {
                let client = Client {
                    server: server.clone(),
                    daemon,
                    wrong: Arc::clone(&wrong),
                    told: Arc::clone(&told),
                };
                client.start(chance);
                sleep(ends).await;
                return Ok(()); // dropped where it stands
            }
            server.calm_down();
            let told = *told.lock().unwrap();
            settle(&daemon, server, told).await?;
            mails(file, server, began).await
        };
        runtime().block_on(run)?;
    }
    let mut wrong = wrong.lock().unwrap().clone();
    wrong.extend(server.wrong());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// A message that waits in a socket is later than the network makes it: what a world finds whose server was
/// kept from running proves nothing, and it is lived again.
fn live_in_time(seed: u64, hash: &PasswordHash, servers: &Runtime) -> Result<(), String> {
    for _ in 0..4 {
        let (ended, kept_waiting) = live(seed, hash, servers);
        if ended.is_ok() || kept_waiting < TIMEOUT / 3 {
            return ended;
        }
    }
    eprintln!("world {seed} is left out: this machine is too busy");
    Ok(())
}

/// Waits until nothing is left to publish, then compares.
async fn settle(daemon: &Daemon, server: &Server, told: [Told; 3]) -> Result<(), String> {
    let settled = timeout(SETTLED, async {
        while daemon.db.counts().await.unwrap().unpublished > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    });
    settled.await.map_err(|_| "something stays unpublished".to_owned())?;
    // nothing that was lost may come now
    sleep(2 * TIMEOUT).await;
    for label in ["h0", "h1", "h2", "mixed", "brief", "guest"] {
        let name = name(label);
        let host = daemon.db.host(&Fqdn::parse(&name).unwrap()).await.unwrap();
        let wanted = host.as_deref().map_or((None, None), numbers);
        let held = server.held(&name);
        if held != wanted && label != "brief" {
            return Err(format!("{name}: DNS holds {held:?}, the database {wanted:?}"));
        }
    }
    for (host, told) in told.iter().enumerate() {
        let (n, _) = server.held(&name(&format!("h{host}")));
        if !(told.taken..=told.sent).contains(&n.unwrap_or(0)) {
            return Err(format!("h{host} ends at {n:?}, and was told {told:?}"));
        }
    }
    brief_expires(daemon, server).await
}

/// The host with a second to live is taken down in the end.
async fn brief_expires(daemon: &Daemon, server: &Server) -> Result<(), String> {
    let words = daemon.update(&[name("brief")], Asked::Set(both(LAST))).await;
    if words != [Word::Good] {
        return Err(format!("the last update of the silent host is told {words:?}"));
    }
    let gone = async {
        loop {
            let counts = daemon.db.counts().await.unwrap();
            if server.held(&name("brief")) == (None, None) && counts.unpublished == 0 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SETTLED, gone).await.map_err(|_| "the silent host is never taken down".to_owned())
}

/// Every mail is about something that DNS held; only who fell silent got one about it; none is owed any more.
async fn mails(file: &Path, server: &Server, began: Instant) -> Result<(), String> {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let owed = "SELECT COUNT(*) FROM hosts WHERE notice IS NOT NULL";
    let owed: i64 = sqlx::query_scalar(owed).fetch_one(&mut conn).await.unwrap();
    if owed > 0 {
        return Err(format!("{owed} hosts owe a mail for ever"));
    }
    let queued = "SELECT kind, variables FROM outbox ORDER BY id";
    let queued: Vec<(String, String)> = sqlx::query_as(queued).fetch_all(&mut conn).await.unwrap();
    for (kind, variables) in &queued {
        let mail: serde_json::Value = serde_json::from_str(variables).unwrap();
        let name = mail["fqdn"].as_str().unwrap();
        let ever = server.between(name, began, Instant::now());
        let n = |variable: &str| {
            let address = mail[variable].as_str().map(|it| it.parse::<Ipv4Addr>().unwrap());
            address.map(|v4| u32::from(v4) & 0xff_ffff)
        };
        let is_true = match kind.as_str() {
            "change" => mail["ipv4_changed"] == false || ever.iter().any(|it| it.0 == n("ipv4")),
            _ => name == self::name("brief") && ever.contains(&(None, None)),
        };
        if !is_true {
            return Err(format!("a mail of {kind} about what never was: {mail}"));
        }
    }
    let last = format!("\"{}\"", v4(LAST));
    let about: Vec<_> = queued.iter().filter(|(_, it)| it.contains(&last)).collect();
    match about.as_slice() {
        [(change, _), (expiry, _)] if change == "change" && expiry == "expiry" => Ok(()),
        other => Err(format!("a change and its expiry are told as {other:?}")),
    }
}

#[test]
fn whatever_is_lost_late_refused_or_killed_good_is_good_and_all_ends_in_step() {
    let mut chance = Chance::seeded();
    let seeds: Vec<_> = (0..WORLDS).map(|_| chance.number()).collect();
    let hash = runtime().block_on(daemon::hash());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..TOGETHER {
            threads.spawn(|| {
                let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let servers = servers.unwrap();
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(wrong) = live_in_time(*seed, &hash, &servers) {
                        failed.lock().unwrap().push(format!("world {seed}: {wrong}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {WORLDS} worlds: {}", failed.len(), failed.join("\n"));
}
