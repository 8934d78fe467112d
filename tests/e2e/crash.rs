//! Killed anywhere: nothing that was promised is lost, and DNS ends equal to the database.

use crate::{RECOVERY, Scene};
use ddnsd_tests::chance::Chance;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::load::{Counting, in_database, in_dns};
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

/// Every client updates as fast as it can, until the daemon is killed that long after their first answers.
#[track_caller]
fn load_until_killed(scene: &mut Scene, clients: &mut [Counting], moment: Duration) {
    let server = scene.daemon.address().to_owned();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for client in clients {
            let (server, answered) = (&server, &answered);
            threads.spawn(move || {
                while let Some(word) = client.update(server) {
                    assert_eq!(word, "good", "under load: {client:?}");
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
