//! Killed anywhere: nothing that was promised is lost, and DNS ends equal to the database.

use crate::{RECOVERY, Scene};
use ddnsd_tests::chance::Chance;
use ddnsd_tests::ctl::{Ctl, PASSWORD};
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::quick_get;
use ddnsd_tests::load::{Counting, in_database, in_dns};
use ddnsd_tests::named::ZONE;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Hosts under load while the daemon is killed.
const HOSTS: usize = 8;
/// How often it is killed.
const ROUNDS: usize = 30;
/// How long after a start DNS may differ from the database.
const EQUAL: Duration = Duration::from_secs(15);

#[test]
fn thirty_kills_amid_a_load_lose_nothing_and_dns_ends_equal_to_the_database() {
    let mut chance = Chance::seeded();
    let mut scene = Scene::new();
    let mut clients: Vec<_> = (0..HOSTS).map(|i| Counting::new(&format!("h{i}"))).collect();
    scene.add_hosts(&clients.iter().map(Counting::label).collect::<Vec<_>>());
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    for round in 0..ROUNDS {
        let moment = chance.millis(0, 400);
        load_until_killed(&mut scene, &mut clients, moment);
        assert!(scene.daemon.setup().socket().exists(), "the killed daemon left its socket behind");
        scene.daemon.start_again();
        let wanted = in_database(&scene.ctl(), &clients);
        eventually_equals(EQUAL, "DNS to be equal to the database", &wanted, || {
            in_dns(&scene.named, &clients)
        });
        for client in &clients {
            let stands = wanted.get(&client.fqdn()).copied().unwrap_or_default();
            client
                .judge(stands)
                .unwrap_or_else(|wrong| panic!("round {round}, {moment:?}: {wrong}"));
        }
    }
    let updates: u32 = clients.iter().map(Counting::updates).sum();
    assert!(updates > 500, "{updates} updates are no load");
    eventually_equals(RECOVERY, "every host to be published", &true, || {
        scene.ctl().hosts().iter().all(|host| host.published)
    });
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    scene.ctl().run(&["sync", "--check"]).ok();
}

/// Every client updates as fast as it can, until the daemon is killed that long after their first
/// answers.
#[track_caller]
fn load_until_killed(scene: &mut Scene, clients: &mut [Counting], moment: Duration) {
    let server = scene.daemon.address().to_owned();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for client in clients {
            let (server, answered) = (&server, &answered);
            threads.spawn(move || {
                while let Some(code) = client.update(server) {
                    assert_eq!(code, "good", "under load: {client:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually(Duration::from_secs(30), "the first answers", || {
            let so_far = answered.load(Ordering::Relaxed);
            if so_far >= HOSTS { Ok(()) } else { Err(format!("{so_far}")) }
        });
        std::thread::sleep(moment); // the random moment itself
        scene.daemon.kill9();
    });
}

/// Hosts that are added and deleted under load.
const TEMPORARY: [&str; 2] = ["temp0", "temp1"];
/// How often the daemon is killed meanwhile.
const CHURN_ROUNDS: usize = 10;

/// Names and addresses.
type Records = Vec<(String, String)>;

/// What DNS holds in the zone, and what it should hold.
fn both_sides(scene: &Scene) -> (Records, Records) {
    let mut wanted = Vec::new();
    for host in scene.ctl().hosts() {
        let addresses = [&host.ipv4, &host.ipv6].into_iter().flatten();
        wanted.extend(addresses.map(|address| (host.fqdn.clone(), address.clone())));
    }
    let records = scene.named.addresses(ZONE).into_iter();
    let mut held: Vec<_> = records.map(|record| (record.name, record.data)).collect();
    wanted.sort();
    held.sort();
    (held, wanted)
}

#[test]
fn kills_amid_expiries_offline_and_deletions_leave_dns_equal_to_the_database() {
    let mut chance = Chance::seeded();
    let mut scene = Scene::with(|setup| setup.set("dns_service.cleanup_interval", 1));
    scene.add_hosts(&["mixed"]);
    scene.ctl().add_host("alice", "brief", ZONE, &["--expiry-ttl", "1"]);
    let (mut changes, mut deletions) = (0, 0);
    for round in 0..CHURN_ROUNDS {
        let (server, ctl) = (scene.daemon.address().to_owned(), scene.ctl());
        let moment = chance.millis(200, 1_500);
        let seeds = [chance.number(), chance.number()];
        std::thread::scope(|threads| {
            let update = threads.spawn(|| update_on_and_off(&server, Chance::new(seeds[0])));
            let delete = threads.spawn(|| delete_again_and_again(&ctl, Chance::new(seeds[1])));
            std::thread::sleep(moment); // the random moment itself
            scene.daemon.kill9();
            changes += update.join().unwrap();
            deletions += delete.join().unwrap();
        });
        scene.daemon.start_again();
        eventually(EQUAL, "DNS to be equal to the database", || {
            let (held, wanted) = both_sides(&scene);
            let is_published = scene.ctl().hosts().iter().all(|host| host.published);
            if held == wanted && is_published {
                Ok(())
            } else {
                Err(format!("round {round}, {moment:?}: {held:?} instead of {wanted:?}"))
            }
        });
    }
    println!("{changes} changes, {deletions} deletions");
    assert!(changes > 100 && deletions > 5, "{changes} changes, {deletions} deletions");
}

/// Updates all hosts, offline and online, until no reply comes; returns how many were good.
fn update_on_and_off(server: &str, mut chance: Chance) -> usize {
    let mut good = 0;
    for n in 0.. {
        let label = ["mixed", "brief", TEMPORARY[0], TEMPORARY[1]][n % 4];
        let what = match chance.below(3) {
            0 => "offline=YES".to_owned(),
            1 => format!("myip=192.0.2.{}", 1 + n % 250),
            _ => format!("myip=192.0.2.{},2001:db8::{n:x}", 1 + n % 250),
        };
        let path = format!("/update?hostname={label}.{ZONE}&{what}");
        let Some(reply) = quick_get(server, &path, "alice", PASSWORD) else { break };
        let code = reply.body.split([' ', '\n']).next().unwrap_or_default();
        assert!(["good", "nochg", "nohost", "911"].contains(&code), "{reply}");
        good += usize::from(code == "good");
    }
    good
}

/// Deletes and adds the temporary hosts until the daemon is gone; returns how many were deleted.
fn delete_again_and_again(ctl: &Ctl, mut chance: Chance) -> usize {
    let mut deleted = 0;
    loop {
        let label = TEMPORARY[usize::try_from(chance.below(2)).unwrap()];
        let added = ctl.run(&["hostname", "add", "alice", label, ZONE]);
        if ![Some(0), Some(1)].contains(&added.code) {
            return deleted;
        }
        std::thread::sleep(chance.millis(0, 60));
        deleted += usize::from(ctl.run(&["hostname", "delete", label, ZONE]).code == Some(0));
    }
}

#[test]
fn what_was_unpublished_when_it_was_killed_is_sent_at_the_next_start() {
    let mut scene = Scene::with(|setup| setup.set("dns_service.dns_timeout", 1));
    scene.named.stop();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(503, "dnserr\n");
    scene.daemon.kill9();
    scene.named.start_again();
    scene.daemon.start_again();
    eventually_equals(
        RECOVERY,
        "the record after the start",
        &vec!["192.0.2.1".to_owned()],
        || scene.a("pc"),
    );
}
