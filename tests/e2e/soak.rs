//! A mixed load for a while, routers and attackers side by side: routers get their replies, and
//! memory stays flat. `tests/run --long` runs it for ten minutes (`DDNSD_SOAK_SECONDS`).

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::http::{basic, connect_from, lines, quick_get, raw_from};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// Seconds in the usual run.
const SHORT: u64 = 12;

#[test]
fn memory_stays_flat_under_a_mixed_load() {
    let seconds = std::env::var("DDNSD_SOAK_SECONDS").map_or(SHORT, |text| text.parse().unwrap());
    let scene = Scene::with(|setup| {
        let setup = setup.set("rate_limit.enabled", true).set("daemon.log_requests", false);
        setup.set("rate_limit.good_max_requests", 10_000_000)
    });
    scene.add_hosts(&["keeps", "changes"]);
    scene.update("hostname=keeps.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    let start = Instant::now();
    let third = Duration::from_secs(seconds) / 3;
    let goes_on = || start.elapsed() < third * 3;
    let [middle, last] = std::thread::scope(|threads| {
        for number in 0..3 {
            let scene = &scene;
            threads.spawn(move || {
                (number..)
                    .step_by(3)
                    .take_while(|_| goes_on())
                    .for_each(|round| attack(scene, round));
            });
        }
        threads.spawn(|| (0..).take_while(|_| goes_on()).for_each(|round| router(&scene, round)));
        threads.spawn(|| {
            while goes_on() {
                scene.ctl().run(&["status"]).ok();
                scene.ctl().run(&["hostname", "list"]).ok();
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        [1, 2].map(|after| {
            std::thread::sleep((third * after).saturating_sub(start.elapsed()));
            (0..10).map(|_| resident(&scene, third / 10)).max().unwrap()
        })
    });
    println!("resident: {middle} MiB in the second third of {seconds} s, {last} MiB in the last");
    assert!(last <= middle + middle / 10 + 4, "it grew from {middle} to {last} MiB");
}

/// What the owner of two hosts sends, and must get.
fn router(scene: &Scene, round: u32) {
    let address = Ipv4Addr::from(0xc633_6400 | round & 0xff);
    for (label, address, good) in
        [("keeps", Ipv4Addr::new(192, 0, 2, 1), "nochg"), ("changes", address, "good")]
    {
        let path = format!("/update?hostname={label}.dyn.example&myip={address}");
        let reply = quick_get(scene.daemon.address(), &path, "alice", PASSWORD).unwrap();
        assert_eq!(reply.body, format!("{good} {address}\n"));
    }
}

/// What others send, from 4,096 addresses. Its reply does not matter.
fn attack(scene: &Scene, round: u32) {
    let server = scene.daemon.address();
    let source = Ipv4Addr::from(0x7f01_0000 | round & 0xfff);
    let update = "GET /update?hostname=pc.dyn.example&myip=192.0.2.9";
    let guess = basic("alice", &format!("guess {round}"));
    let form = "a&".repeat(4_000);
    let request = match round % 8 {
        0 => lines(update, &[&guess], ""),
        1 => lines(update, &[&basic(&format!("user{round}"), "x")], ""),
        2 => lines(update, &[], ""),
        3 => lines("POST /update", &["Content-Type: application/x-www-form-urlencoded"], &form),
        4 => "GET /update HTTP/1.1\r\nX: ".to_owned() + &"y".repeat(20_000),
        5 => lines(&format!("GET /{round}?{}", "z".repeat(9_000)), &[], ""),
        6 => "\0\u{1}\u{2}garbage\r\n\r\n".to_owned(),
        _ => return half_a_head(source, server),
    };
    let _ = raw_from(source, server, request.as_bytes());
}

/// Hangs up in the middle.
fn half_a_head(source: Ipv4Addr, server: &str) {
    let Ok(mut stream): std::io::Result<TcpStream> = connect_from(source, server) else { return };
    let _ = stream.write_all(b"POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\na=");
    std::thread::sleep(Duration::from_millis(50));
}

/// MiB, after a while.
fn resident(scene: &Scene, wait: Duration) -> u64 {
    std::thread::sleep(wait);
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
