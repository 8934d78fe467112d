//! A server that acknowledges changes and does not apply them, and a hand that deletes and changes
//! records. In the end every host is served as it is wanted, or called unserved.

use super::daemon::{Daemon, hash};
use super::server::Server;
use super::world::numbers;
use super::{TIMEOUT, both, name, runtime};
use crate::model::name::Fqdn;
use crate::model::user::PasswordHash;
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use ddnsd_tests::chance::Chance;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

const WORLDS: usize = 12;
const HOSTS: u64 = 6;
/// Runs of the daemon before the last; each is ended by a kill.
const RUNS: u64 = 4;
/// For everything to settle.
const SETTLED: Duration = Duration::from_secs(30);

fn names() -> Vec<String> {
    (0..HOSTS).map(|host| name(&format!("d{host}"))).collect()
}

async fn start(file: &Path, server: &Server, hash: &PasswordHash) -> Daemon {
    let daemon = Daemon::start(file, server.address, TIMEOUT).await;
    daemon.add_user(hash).await;
    for host in 0..HOSTS {
        daemon.add_host(&format!("d{host}"), None).await;
    }
    daemon.run_timers();
    daemon
}

/// Updates random hosts, with few numbers, so that some updates change nothing.
async fn update(daemon: Daemon, mut chance: Chance) {
    let names = names();
    loop {
        let some = &names[usize::try_from(chance.below(HOSTS)).unwrap()];
        let wanted = match chance.below(6) {
            0 => Change::Offline,
            n => Change::Set(both(u32::try_from(n).unwrap())),
        };
        daemon.update(std::slice::from_ref(some), wanted).await;
        sleep(chance.millis(0, 80)).await;
    }
}

/// Drops the changes of random names for a while, and deletes or changes records.
async fn disturb(server: Server, mut chance: Chance) {
    let names = names();
    loop {
        let some = &names[usize::try_from(chance.below(HOSTS)).unwrap()];
        match chance.below(4) {
            0 => server.change_by_hand(some, (None, None)),
            1 => server.change_by_hand(some, (Some(77), Some(77))),
            _ => server.drop_changes(some, chance.once_in(2)),
        }
        sleep(chance.millis(10, 100)).await;
    }
}

/// Whether each host is served as wanted, or unserved and the server to blame; the first that is
/// neither.
async fn wrong(daemon: &Daemon, server: &Server) -> Option<String> {
    for name in names() {
        let host = daemon.db.host(&Fqdn::parse(&name).unwrap()).await.unwrap().unwrap();
        if host.wanted.is_untouched() {
            continue;
        }
        let (held, wanted) = (server.held(&name), numbers(&host));
        if host.unpublished_since.is_some() || host.unserved_since.is_none() && held != wanted {
            return Some(format!("{name}: DNS holds {held:?}, and the row is {host:?}"));
        }
    }
    None
}

async fn settles(daemon: &Daemon, server: &Server) -> Result<(), String> {
    let since = Instant::now();
    while let Some(wrong) = wrong(daemon, server).await {
        if since.elapsed() > SETTLED {
            return Err(wrong);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn last_run(daemon: Daemon, server: Server) -> Result<(), String> {
    server.make_reliable();
    settles(&daemon, &server).await?;
    // an update of a host whose changes are applied is served in the end, the others never are
    for name in names() {
        let change = Change::Set(both(99));
        daemon.update(std::slice::from_ref(&name), change).await;
        let host = Fqdn::parse(&name).unwrap();
        let is_served = async {
            loop {
                let host = daemon.db.host(&host).await.unwrap().unwrap();
                let is_unserved = host.unserved_since.is_some();
                if host.unpublished_since.is_none() && is_unserved == server.drops(&name) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let held =
            || format!("{name}: dropped {}, held {:?}", server.drops(&name), server.held(&name));
        timeout(SETTLED, is_served).await.map_err(|_| held())?;
        let code = daemon.update(std::slice::from_ref(&name), change).await;
        let expected = if server.drops(&name) { ReturnCode::Dnserr } else { ReturnCode::Nochg };
        if code != [expected] {
            return Err(format!("{} is answered {code:?}", held()));
        }
    }
    settles(&daemon, &server).await
}

fn live(seed: u64, hash: &PasswordHash) -> Result<(), String> {
    let mut chance = Chance::new(seed);
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddnsd.sqlite");
    let server = Server::start(TIMEOUT, Chance::new(chance.number()));
    let server = servers.block_on(servers.spawn(server)).unwrap();
    // half of the worlds lose and delay messages, too
    if chance.once_in(2) {
        server.make_reliable();
    }
    for _ in 0..RUNS {
        runtime().block_on(async {
            let daemon = start(&file, &server, hash).await;
            tokio::spawn(update(daemon, Chance::new(chance.number())));
            tokio::spawn(disturb(server.clone(), Chance::new(chance.number())));
            sleep(chance.millis(200, 1_500)).await;
        });
    }
    let done = runtime().block_on(async {
        let daemon = start(&file, &server, hash).await;
        last_run(daemon, server.clone()).await
    });
    servers.shutdown_background();
    done
}

#[test]
fn in_the_end_everything_is_served_or_unserved_and_nothing_is_silently_wrong() {
    let hash = runtime().block_on(hash());
    let mut chance = Chance::seeded();
    let seeds: Vec<_> = (0..WORLDS).map(|_| chance.number()).collect();
    std::thread::scope(|threads| {
        let hash = &hash;
        let worlds: Vec<_> =
            seeds.iter().map(|seed| (seed, threads.spawn(move || live(*seed, hash)))).collect();
        let failed: Vec<_> = worlds
            .into_iter()
            .filter_map(|(seed, world)| {
                Some(format!("world {seed}: {}", world.join().unwrap().err()?))
            })
            .collect();
        assert!(failed.is_empty(), "{} of {WORLDS} worlds: {}", failed.len(), failed.join("\n"));
    });
}
