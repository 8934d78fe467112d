//! Slow clients and floods of wrong passwords: others are served meanwhile, and slow connections
//! are closed in time.

use crate::Scene;
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{Reply, basic, connect_from, lines, quick_get, raw_from};
use ddnsd_tests::named::ZONE;
use ddnsd_tests::process::{Running, program};
use ddnsd_tests::setup::Setup;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `request_timeout`, seconds.
const TIMEOUT: u64 = 2;
/// How late a slow connection may be cut on a busy machine.
const LATE: Duration = Duration::from_secs(10);
/// Connections that are slow at once.
const SLOW: usize = 500;
/// The pause of those that drip.
const DRIP: Duration = Duration::from_millis(100);

fn short_timed(setup: Setup) -> Setup {
    setup
        .set("daemon.request_timeout", i64::try_from(TIMEOUT).unwrap())
        .set("dns_service.dns_timeout", 1)
}

/// The source address of a slow client; no address has more than a few of them.
fn source(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number % 200).unwrap())
}

/// What a connection sends before it sends no more, or drips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Nothing,
    DripHead,
    DripBody,
    /// It has its reply, and is kept.
    Idle,
    HalfPreface,
}

const MANNERS: [Manner; 5] =
    [Manner::Nothing, Manner::DripHead, Manner::DripBody, Manner::Idle, Manner::HalfPreface];

struct Slow {
    stream: TcpStream,
    manner: Manner,
}

impl Slow {
    fn start(number: usize, server: &str) -> Self {
        let manner = MANNERS[number % MANNERS.len()];
        let mut stream = connect_from(source(number), server).unwrap();
        let start = match manner {
            Manner::Nothing => "",
            Manner::DripHead => "GET /update HTTP/1.1\r\nX-Slow: ",
            Manner::DripBody => {
                "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nhostname="
            }
            Manner::Idle => "GET /update HTTP/1.1\r\nHost: x\r\n\r\n",
            Manner::HalfPreface => "PRI * HTTP/2.0\r\n\r\n",
        };
        stream.write_all(start.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, manner }
    }

    /// Drips, and reads what there is; `false` once it is closed.
    fn is_open(&mut self) -> bool {
        if matches!(self.manner, Manner::DripHead | Manner::DripBody) {
            // that it is closed is seen by reading
            let _ = self.stream.write(b"a");
        }
        loop {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }
}

/// Stops threads when a test is over, or has failed: their scope waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends requests until stopped. Out: how long each reply took.
fn served_until(stop: &AtomicBool, mut ask: impl FnMut()) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) || times.is_empty() {
        let start = Instant::now();
        ask();
        times.push(start.elapsed());
    }
    times.sort();
    times
}

/// Served in under a second. A machine that is busy with other tests may hold up one in twenty for
/// longer, and none for long.
#[track_caller]
fn assert_served(times: &[Duration]) {
    let late = times.iter().filter(|time| **time >= Duration::from_secs(1)).count();
    let slowest = times.iter().max().expect("an answer");
    assert!(late <= 1 + times.len() / 20, "{late} of {} took a second or more", times.len());
    assert!(*slowest < Duration::from_secs(5), "one of {} took {slowest:?}", times.len());
}

#[test]
fn five_hundred_slow_connections_delay_no_one_and_are_closed_in_time() {
    let scene = Scene::with(short_timed);
    let server = scene.daemon.address();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let over = Stop(&stop);
        let start = Instant::now();
        let mut slow: Vec<_> = (0..SLOW).map(|number| Slow::start(number, server)).collect();
        let normal = threads.spawn(|| {
            let mut last = 0;
            served_until(&stop, || {
                last = last % 200 + 1;
                let path = format!("/update?hostname=pc.dyn.example&myip=192.0.2.{last}");
                let reply = quick_get(server, &path, "alice", PASSWORD).expect("an answer");
                reply.is(200, &format!("good 192.0.2.{last}\n"));
            })
        });
        // with the last of them connected all but the rubbish is open; that is refused at once
        slow.retain_mut(|one| one.is_open() || one.manner != Manner::HalfPreface);
        if start.elapsed() < Duration::from_secs(1) {
            assert!(slow.len() >= SLOW - SLOW / MANNERS.len(), "{} are open", slow.len());
        }
        eventually(Duration::from_secs(TIMEOUT) + LATE, "the slow ones to be cut", || {
            std::thread::sleep(DRIP);
            slow.retain_mut(Slow::is_open);
            let left: Vec<_> = slow.iter().map(|one| one.manner).take(5).collect();
            if slow.is_empty() { Ok(()) } else { Err(format!("{} left: {left:?}", slow.len())) }
        });
        assert!(start.elapsed() > Duration::from_secs(TIMEOUT), "they had their time");
        drop(over);
        assert_served(&normal.join().unwrap());
    });
}

/// Opens connections of three kinds that offer TLS and never ask, and says how many are open.
const TLS_CLIENTS: &str = r#"
import socket, ssl, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
open_ones = []
for n in range(count):
    s = socket.create_connection((host, port), 30, ("127.0.2.%d" % (1 + n % 200), 0))
    if n % 4 == 0:
        pass                                                  # no ClientHello
    elif n % 4 == 1:
        s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")    # the start of one
    else:
        s = context.wrap_socket(s)
        assert s.selected_alpn_protocol() == "h2"
        s.sendall(PREFACE[:10] if n % 4 == 2 else PREFACE + SETTINGS)
    open_ones.append(s)
print("connected", flush=True)
for s in open_ones:
    s.settimeout(30)
    try:
        while s.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
print("closed", flush=True)
"#;

#[test]
fn tls_clients_that_send_nothing_and_half_prefaces_delay_no_one_and_are_closed_in_time() {
    let authority = Authority::new();
    let signed = authority.sign("127.0.0.1");
    let scene = Scene::with(|setup| {
        short_timed(setup)
            .set("daemon.ssl", true)
            .set("daemon.ssl_cert_file", signed.certificate.to_str().unwrap())
            .set("daemon.ssl_key_file", signed.key.to_str().unwrap())
    });
    let (host, port) = scene.daemon.address().split_once(':').unwrap();
    let output = scene.daemon.setup().file("clients");
    // more would take longer to connect than their time is
    let file = File::create(&output).unwrap();
    let clients = Command::new(program("python3"))
        .args(["-c", TLS_CLIENTS, host, port, "200"])
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn();
    let mut clients = Running(clients.unwrap());
    let has_printed = |clients: &mut Running, word: &str| {
        let printed = std::fs::read_to_string(&output).unwrap();
        if printed.lines().any(|line| line == word) {
            return Ok(());
        }
        assert!(clients.ended().is_none(), "the clients ended: {printed}");
        Err(printed)
    };
    let stop = AtomicBool::new(false);
    let ca = authority.certificate();
    std::thread::scope(|threads| {
        let over = Stop(&stop);
        eventually(LATE, "the clients to connect", || has_printed(&mut clients, "connected"));
        let normal = threads.spawn(|| {
            served_until(&stop, || {
                let update = scene.daemon.get("/update?hostname=pc.dyn.example&myip=192.0.2.1");
                let update = update.with(&["--cacert", ca.to_str().unwrap()]);
                update.user("alice", PASSWORD).send().has_status(200);
            })
        });
        let within = Duration::from_secs(TIMEOUT) + LATE;
        eventually(within, "the clients to be cut", || has_printed(&mut clients, "closed"));
        drop(over);
        assert_served(&normal.join().unwrap());
    });
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
}

#[test]
fn head_and_handling_of_a_request_have_the_time_out_each() {
    let scene = Scene::with(|setup| {
        setup.set("daemon.request_timeout", 3).set("dns_service.dns_timeout", 1)
    });
    let connect = || {
        let stream = connect_from(Ipv4Addr::LOCALHOST, scene.daemon.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    };
    let answered = || {
        let mut stream = connect();
        stream.write_all(b"GET /update HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let length = stream.read(&mut [0; 4096]).unwrap();
        assert!(length > 0, "an answer");
        stream
    };
    std::thread::scope(|threads| {
        for stream in [connect(), answered()] {
            threads.spawn(|| form_times_out_after_a_slow_head(stream));
        }
        for stream in [connect(), answered()] {
            threads.spawn(|| head_times_out(stream));
        }
    });
}

/// Spends two of the three seconds on the head, and never completes the form.
#[track_caller]
fn form_times_out_after_a_slow_head(mut stream: TcpStream) {
    let start = Instant::now();
    let head = "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n";
    for part in head.as_bytes().chunks(head.len() / 4 + 1) {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    stream.write_all(b"\r\nhost").unwrap();
    let mut received = String::new();
    let _ = stream.read_to_string(&mut received);
    let took = start.elapsed();
    assert_eq!(Reply::parse(&received).expect("an answer").status, 408, "{received}");
    assert!((4900..8000).contains(&took.as_millis()), "answered after {took:?}");
}

/// Never completes the head.
#[track_caller]
fn head_times_out(mut stream: TcpStream) {
    let start = Instant::now();
    stream.write_all(b"GET /update HTTP/1.1\r\nX-Slow: ").unwrap();
    let mut received = String::new();
    let _ = stream.read_to_string(&mut received);
    let took = start.elapsed();
    assert_eq!(received, "", "a head that is not complete has no answer");
    assert!((2800..6000).contains(&took.as_millis()), "closed after {took:?}");
}

#[test]
fn a_flood_of_wrong_passwords_loses_nothing_of_known_clients_and_does_not_delay_them() {
    let scene = Scene::with(|setup| {
        setup.set("rate_limit.enabled", true).set("rate_limit.good_max_requests", 100_000)
    });
    scene.ctl().add_user("bob");
    scene.ctl().add_host("bob", "his", ZONE, &[]);
    let server = scene.daemon.address();
    let users = [("alice", "pc"), ("bob", "his")];
    // both are known from here on
    for (user, host) in users {
        let path = format!("/update?hostname={host}.dyn.example&myip=192.0.2.250");
        quick_get(server, &path, user, PASSWORD).unwrap().has_status(200);
    }
    let (stop, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    let guess = || {
        while !stop.load(Ordering::Relaxed) {
            let number = guesses.fetch_add(1, Ordering::Relaxed);
            let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
            let from = Ipv4Addr::new(127, 1, high, low.max(1));
            // known and unknown users, and never the same password twice
            let user = ["alice", "bob", "nobody"][number % 3];
            let wrong = basic(user, &format!("guess {number}"));
            let request = lines("GET /update?hostname=pc.dyn.example", &[&wrong], "");
            let received = raw_from(from, server, request.as_bytes()).unwrap_or_default();
            let status = Reply::parse(&received).map(|reply| reply.status);
            // 911 while too many wait
            assert!(matches!(status, Some(401 | 503)), "the answer to a guess: {received}");
            // the flood is of hashing: what is refused without it would flood the machine, us
            // included
            if status == Some(503) {
                std::thread::sleep(DRIP);
            }
        }
    };
    std::thread::scope(|threads| {
        let over = Stop(&stop);
        for _ in 0..300 {
            threads.spawn(guess);
        }
        eventually(Duration::from_secs(30), "the flood to be under way", || {
            let sent = guesses.load(Ordering::Relaxed);
            if sent > 600 { Ok(()) } else { Err(format!("{sent} guesses")) }
        });
        let mut times = Vec::new();
        for last in 1..=60 {
            for (user, host) in users {
                let path = format!("/update?hostname={host}.dyn.example&myip=192.0.2.{last}");
                let start = Instant::now();
                let reply = quick_get(server, &path, user, PASSWORD).expect("an answer");
                times.push(start.elapsed());
                reply.is(200, &format!("good 192.0.2.{last}\n"));
            }
        }
        drop(over);
        times.sort();
        assert_served(&times);
    });
    assert_eq!(
        (scene.a("pc"), scene.a("his")),
        (vec!["192.0.2.60".into()], vec!["192.0.2.60".into()])
    );
    let peak = peak_memory(&scene);
    assert!(peak < 150, "{peak} MiB of memory at its peak");
}

/// The most memory that the daemon ever had, MiB.
fn peak_memory(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
