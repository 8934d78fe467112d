//! Many clients that will not agree where a few hosts are.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually_equals;
use ddnsd_tests::http::quick_get;
use ddnsd_tests::named::ZONE;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
const HOSTS: usize = 16;

#[test]
fn sixty_four_clients_that_flap_sixteen_hosts_cost_few_messages_and_dns_ends_correct() {
    let scene = Scene::new();
    let labels: Vec<_> = (0..HOSTS).map(|host| format!("f{host}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let (server, before) = (scene.daemon.address(), scene.named.serial(ZONE));
    let end = Instant::now() + Duration::from_secs(5);
    let flap = |client: usize| {
        let address = format!("198.51.100.{}", 1 + client);
        let path = format!("/update?hostname=f{}.{ZONE}&myip={address}", client % HOSTS);
        let mut changes = 0;
        while Instant::now() < end {
            let reply = quick_get(server, &path, "alice", PASSWORD).expect("a reply");
            let code = reply.body.split(' ').next().unwrap_or_default();
            assert!(["good", "nochg"].contains(&code), "client {client}: {reply}");
            changes += usize::from(code == "good");
        }
        changes
    };
    let changes: usize = std::thread::scope(|threads| {
        let start = |client| threads.spawn(move || flap(client));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let rose = usize::try_from(scene.named.serial(ZONE) - before).unwrap();
    println!("{changes} changes, the serial rose by {rose}");
    assert!(changes > 20 * HOSTS, "{changes} changes are no flapping");
    // a quarter or less where the machine has nothing else to do
    assert!(rose * 2 < changes, "the serial rose by {rose} for {changes} changes");
    eventually_equals(RECOVERY, "every host to be published", &true, || {
        scene.ctl().hosts().iter().all(|host| host.published)
    });
    scene.ctl().run(&["sync", "--check"]).ok().prints(&["17 compared, 0 differ"]);
}
