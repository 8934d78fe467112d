//! Wrong passwords from ever new networks, through a trusted proxy: they lock out no one else.

use crate::Scene;
use crate::bounds::raise_open_files;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{ask, basic, lines};
use ddnsd_tests::named::ZONE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a client of this address sends to the daemon through a trusted proxy.
fn proxied(client: &str, user: &str, password: &str, label: &str) -> String {
    let forwarded = format!("X-Forwarded-For: {client}");
    let target = format!("GET /update?hostname={label}.{ZONE}&myip=192.0.2.1");
    lines(&target, &[&basic(user, password), &forwarded], "")
}

/// Sends requests on one connection for as long as there are any.
async fn send_all(server: SocketAddr, next: impl Fn() -> Option<String>) {
    let mut kept = None;
    while let Some(request) = next() {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => tokio::net::TcpStream::connect(server).await.unwrap(),
        };
        let request = request.replace("Connection: close\r\n", "");
        // each reply is short, and ends with the line of its return code
        let mut answer = vec![0; 1024];
        if stream.write_all(request.as_bytes()).await.is_ok()
            && let Ok(1..) = stream.read(&mut answer).await
        {
            kept = Some(stream);
        }
    }
}

/// A guess from each of `count` /64s, `at_once` of them in parallel.
fn guess_from(
    server: &str,
    count: usize,
    at_once: usize,
    guess: impl Fn(usize) -> String + Send + Sync + 'static,
) {
    let server = server.parse().unwrap();
    let number = AtomicUsize::new(0);
    let next = Arc::new(move || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        (number < count).then(|| guess(number))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let next = Arc::clone(&next);
            clients.spawn(send_all(server, move || next()));
        }
        clients.join_all().await;
    });
}

/// `tests/run --long` sends 300,000 (`DDNSD_GUESSES`).
#[test]
fn guesses_from_ever_new_networks_lock_out_no_one() {
    raise_open_files();
    const SUBNETS: usize = 400;
    let count = std::env::var("DDNSD_GUESSES").map_or(12_000, |text| text.parse().unwrap());
    let scene = Scene::with(|setup| {
        let setup = setup.set("rate_limit.enabled", true).set("daemon.log_requests", false);
        setup
            .set("daemon.proxy_header", "X-Forwarded-For")
            .set("daemon.trusted_proxies", vec!["127.0.0.1"])
    });
    for number in 0..4 {
        scene.ctl().add_user(&format!("new{number}"));
        scene.ctl().add_host(&format!("new{number}"), &format!("host{number}"), ZONE, &[]);
    }
    let server = scene.daemon.address();
    ask(server, proxied("2001:db8:0:1::1", "alice", PASSWORD, "pc")).is(200, "good 192.0.2.1\n");
    let start = Instant::now();
    guess_from(server, count, 400, |number| {
        let (site, subnet) = (number / SUBNETS, number % SUBNETS);
        let client = format!("2001:db8:{site:x}:{subnet:x}::1");
        proxied(&client, "alice", &format!("wrong {number}"), "pc")
    });
    println!("{count} guesses took {:?}", start.elapsed());
    // first logins from attacked networks, and from one of the other family: while many wait for a
    // hashing thread they may be 911, and no one is abuse
    let served = |client: &str, user: &str, password: &str, label: &str, expected: &str| {
        eventually(Duration::from_secs(120), "a first login to be answered", || {
            let reply = ask(server, proxied(client, user, password, label));
            assert_ne!(reply.body, "abuse\n", "{client}");
            if reply.body == expected { Ok(()) } else { Err(reply.to_string()) }
        });
    };
    let good = "good 192.0.2.1\n";
    served("2001:db8:0:fff1::1", "new0", PASSWORD, "host0", good);
    served("2001:db8:1:fff1::1", "new1", PASSWORD, "host1", good);
    served("2001:db8:fff1:1::1", "new2", PASSWORD, "host2", good);
    served("198.51.100.7", "new3", PASSWORD, "host3", good);
    // a wrong password that is remembered fills the /48 of alice, and then its shared counters
    served("2001:db8:fff2:1::1", "alice", "wrong again", "pc", "badauth\n");
    // at most 256 wait for an equal password; one more would be 911, and count as nothing
    guess_from(server, SUBNETS, 200, |subnet| {
        proxied(&format!("2001:db8:0:{subnet:x}::1"), "alice", "wrong again", "pc")
    });
    let unknown = proxied("2001:db8:0:fff2::1", "alice", "another one", "pc");
    ask(server, unknown).is(503, "abuse\n");
    let nochg = "nochg 192.0.2.1\n";
    for (client, user, label) in
        [("2001:db8:0:fff3::1", "alice", "pc"), ("2001:db8:0:fff4::1", "new0", "host0")]
    {
        ask(server, proxied(client, user, PASSWORD, label)).is(200, nochg);
    }
}
