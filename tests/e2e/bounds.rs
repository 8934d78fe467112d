//! Bounds that hold in sum: many clients that send too much, or nothing, take no one's service, and
//! the daemon gives back what they took.

use crate::Scene;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::eventually::eventually;
use ddnsd_tests::http::{basic, connect_from, lines, quick_get, raw_got};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const MIB: u64 = 1024 * 1024;
/// What clients without a password may add: two hashing threads, and 64 MiB.
pub(crate) const MAX_ADDED: u64 = (2 * 19 + 64) * MIB;
/// 256 passwords that wait are hashed first, with the priority of what no one waits for.
pub(crate) const SOON: Duration = Duration::from_mins(2);

/// Of the daemon, bytes.
pub(crate) fn resident(scene: &Scene) -> u64 {
    let path = format!("/proc/{}/status", scene.daemon.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Opens as many connections as the system allows.
pub(crate) fn raise_open_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// Has sent these bytes and waits.
fn waiting(source: [u8; 4], server: &str, bytes: &str) -> TcpStream {
    let mut stream = connect_from(Ipv4Addr::from(source), server).unwrap();
    // the daemon may have closed it already
    let _ = stream.write_all(bytes.as_bytes());
    stream
}

fn guess(number: usize) -> String {
    let credentials = basic("alice", &format!("wrong {number}"));
    lines("GET /update?hostname=pc.dyn.example", &[&credentials], "")
}

/// Alice's update is answered in time.
#[track_caller]
fn assert_served(scene: &Scene, code: &str) {
    let start = Instant::now();
    let path = "/update?hostname=pc.dyn.example&myip=192.0.2.1";
    let reply = quick_get(scene.daemon.address(), path, "alice", PASSWORD).expect("an answer");
    reply.is(200, &format!("{code} 192.0.2.1\n"));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[test]
fn forms_that_do_not_end_and_passwords_that_wait_take_little_memory_and_give_it_back() {
    raise_open_files();
    let scene = Scene::new();
    assert_served(&scene, "good");
    let (server, idle) = (scene.daemon.address(), resident(&scene));
    let head = "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    let unfinished = format!("{head}{}", "a&".repeat(7_500));
    let forms: Vec<_> = (0..12 * 100)
        .map(|number| {
            waiting([127, 20, u8::try_from(number / 100).unwrap(), 1], server, &unfinished)
        })
        .collect();
    assert_served(&scene, "nochg");
    let with_forms = resident(&scene) - idle;
    assert!(with_forms < MAX_ADDED, "{} MiB", with_forms / MIB);
    drop(forms);
    let long = format!("hostname={}", "a".repeat(15_000));
    let guesses: Vec<_> = (0..6 * 60)
        .map(|number| {
            let form = format!("user=alice&pass={number}&{long}");
            let head = head.replace("16000", &form.len().to_string());
            let source = [127, 21, u8::try_from(number / 60).unwrap(), 1];
            waiting(source, server, &format!("{head}{form}"))
        })
        .collect();
    assert_served(&scene, "nochg");
    let with_guesses = resident(&scene).saturating_sub(idle);
    assert!(with_guesses < MAX_ADDED, "{} MiB", with_guesses / MIB);
    drop(guesses);
    eventually(SOON, "the memory to be given back", || {
        let more = resident(&scene).saturating_sub(idle) / MIB;
        // a second hashing thread keeps its 19 MiB
        if more < 19 + 21 { Ok(()) } else { Err(format!("{more} MiB more than before")) }
    });
}

#[test]
fn connections_that_send_half_a_request_make_room_for_others() {
    let scene = Scene::with(|setup| {
        // 44 connections beside the files for everything else
        setup.wrapped_in(&["sh", "-c", "ulimit -n 300; exec \"$0\" \"$@\""])
    });
    let server = scene.daemon.address();
    let half: Vec<_> = (0..60)
        .map(|number| waiting([127, 30, number % 5, 1], server, "GET /update?hostname="))
        .collect();
    assert_served(&scene, "good");
    for _ in 0..10 {
        assert_served(&scene, "nochg");
    }
    drop(half);
}

#[test]
fn connections_that_clients_without_credentials_keep_take_little_memory() {
    raise_open_files();
    let scene = Scene::new();
    assert_served(&scene, "good");
    let (server, idle) = (scene.daemon.address(), resident(&scene));
    let request = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let kept: Vec<_> = (0..6_000)
        .map(|number| {
            let network = u8::try_from(number % 100).unwrap();
            let mut stream = waiting([127, 31, network, 1], server, request);
            // it may have made room for others already
            let _ = stream.read(&mut [0; 512]);
            stream
        })
        .collect();
    assert_served(&scene, "nochg");
    let added = resident(&scene).saturating_sub(idle);
    println!("{} MiB more than before", added / MIB);
    assert!(added < MAX_ADDED, "{} MiB", added / MIB);
    drop(kept);
}

#[test]
fn a_first_login_is_answered_while_one_network_guesses() {
    let scene = Scene::new();
    let server = scene.daemon.address();
    let guesses: Vec<_> = (0..500)
        .map(|number| {
            let source = [127, 40, 1, u8::try_from(number % 10).unwrap() + 1];
            waiting(source, server, &guess(number))
        })
        .collect();
    assert_served(&scene, "good");
    drop(guesses);
}

#[test]
fn a_user_whose_host_was_updated_from_the_same_address_logs_in_first_after_a_restart_too() {
    let mut scene = Scene::new();
    assert_served(&scene, "good");
    scene.daemon.restart();
    let server = scene.daemon.address();
    // more networks than may wait
    let guesses: Vec<_> = (0..400)
        .map(|number| {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            waiting([127, 50 + high, low, 1], server, &guess(number))
        })
        .collect();
    assert_served(&scene, "nochg");
    drop(guesses);
}

#[test]
fn more_than_256_parameters_are_refused_with_a_text_and_count_as_nothing() {
    let scene = Scene::with(|setup| setup.without("rate_limit.enabled"));
    let server = scene.daemon.address();
    for _ in 0..4 {
        let query = "a&".repeat(256);
        let target = format!("GET /update?{query}hostname=pc.dyn.example");
        let request = lines(&target, &[&basic("alice", "wrong")], "");
        let reply = raw_got(server, request.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        assert!(reply.ends_with("there are more than 256 parameters\n"), "{reply}");
    }
    assert_served(&scene, "good");
}

#[test]
fn more_than_64_requests_of_one_address_at_once_are_911_at_once() {
    let scene = Scene::new();
    let server = scene.daemon.address();
    let mut guesses: Vec<_> =
        (0..120).map(|number| waiting([127, 60, 1, 1], server, &guess(number))).collect();
    let answers = guesses.iter_mut().map(|stream| {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map(|()| answer)
    });
    let busy = answers.filter(|answer| answer.as_ref().is_ok_and(|text| text.ends_with(b"503")));
    assert!(busy.count() > 0);
    assert_served(&scene, "good");
}
