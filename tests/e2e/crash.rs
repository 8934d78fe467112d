//! Killed anywhere: nothing that was promised is lost, and DNS ends equal to the database.

use crate::{RECOVERY, Scene};
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::quick_get;
use ddnsd_tests::named::ZONE;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Hosts under load while the daemon is killed.
const HOSTS: usize = 8;

/// What one client of the load saw.
struct Seen {
    fqdn: String,
    acknowledged: Option<String>,
    in_flight: String,
}

#[test]
fn kill_9_amid_a_load_keeps_everything_and_dns_ends_equal_to_the_database() {
    let mut scene = Scene::new();
    let labels: Vec<_> = (0..HOSTS).map(|i| format!("h{i}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");

    let acknowledged = AtomicUsize::new(0);
    let server = scene.daemon.address().to_owned();
    let seen: Vec<Seen> = std::thread::scope(|threads| {
        let clients: Vec<_> = (0..HOSTS)
            .map(|host| {
                let (server, acknowledged) = (&server, &acknowledged);
                threads.spawn(move || update_until_it_breaks(server, host, acknowledged))
            })
            .collect();
        eventually(Duration::from_secs(30), "a load of 100 acknowledged updates", || {
            let so_far = acknowledged.load(Ordering::Relaxed);
            if so_far >= 100 { Ok(()) } else { Err(format!("{so_far}")) }
        });
        scene.daemon.kill9();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(scene.daemon.setup().socket().exists(), "the killed daemon left its socket behind");
    scene.daemon.start_again();

    eventually_equals(RECOVERY, "every host to be published again", &Vec::<String>::new(), || {
        let hosts = scene.ctl().hosts().into_iter();
        hosts.filter(|host| !host.published).map(|host| host.fqdn).collect()
    });
    let hosts = scene.ctl().hosts();
    assert_eq!(hosts.len(), HOSTS + 1, "hosts that survived: {hosts:?}");
    for host in &hosts {
        assert_eq!(
            scene.named.lookup(&host.fqdn, "A"),
            host.a(),
            "DNS and database for {}",
            host.fqdn
        );
    }
    for Seen { fqdn, acknowledged, in_flight } in seen {
        let now = scene.named.data(&fqdn, "A").into_iter().next();
        let kept = now == acknowledged || now.as_ref() == Some(&in_flight);
        assert!(
            kept,
            "{fqdn} is {now:?}; good was said for {acknowledged:?}, then {in_flight} was sent"
        );
    }
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
}

/// One client: the next address as soon as the last was answered, until the daemon is gone.
fn update_until_it_breaks(server: &str, host: usize, acknowledged: &AtomicUsize) -> Seen {
    let fqdn = format!("h{host}.{ZONE}");
    let mut last = None;
    for i in 0_usize.. {
        let address = format!("198.{}.{}.{}", 18 + i / 65_536 % 2, i / 256 % 256, i % 256);
        let path = format!("/update?hostname={fqdn}&myip={address}");
        match quick_get(server, &path, "alice", PASSWORD) {
            None => {
                return Seen { fqdn, acknowledged: last, in_flight: address };
            }
            Some(reply) => {
                assert_eq!(reply.body, format!("good {address}\n"), "under load: {reply}");
                last = Some(address);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    unreachable!("the daemon is killed long before")
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
