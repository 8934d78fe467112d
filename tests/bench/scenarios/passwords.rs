//! Passwords: the first request of a credential, and a flood of wrong ones.

use crate::load::{self, Plan, Replies, Server, drive};
use crate::process_tree::memory;
use crate::report::{Report, Row};
use crate::request::{Hosts, Order, guesses};
use crate::{Effort, servers};
use argon2::{Algorithm, Argon2, Params, Version};
use ddnsd_tests::named::Named;
use ddnsd_tests::setup::Setup;
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Users whose first requests one round measures.
const FIRST: Hosts = Hosts { hosts: 32, users: 32 };
const KNOWN: Hosts = Hosts { hosts: 64, users: 64 };
/// Clients that know their password, during a flood.
const KNOWN_CLIENTS: u32 = 8;
/// Guesses in flight at once, and the addresses that they come from.
const GUESSES: u32 = 64;
const ADDRESSES: u32 = 100_000;
/// Memory that a flood may take beside that of the hashes, and that of one hash, MiB.
const FLOOD_ROOM: f64 = 20.0;
const HASH: f64 = 19.0;

pub(crate) fn first_request(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let mut daemon = servers::start(&named, FIRST, |setup| setup);
    let mut row =
        Row::new("first request of a credential, p50", "ms").beside("one Argon2 hash").at_most(1.2);
    for _ in 0..effort.rounds {
        row.floor_sample(one_hash());
        let plan = super::http::nochg(&servers::server(&daemon), 1, Duration::from_secs(60));
        row.ddnsd.push(drive(&plan, &FIRST.each_user_once()).percentile(0.5));
        // it forgets what it verified
        daemon.restart();
    }
    report.add(row);
}

/// The median of hashes with the cost of a new password, milliseconds.
fn one_hash() -> f64 {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).expect("a cost");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut memory = vec![argon2::Block::default(); params.block_count()];
    let mut output = [0; 32];
    let latencies = (0..FIRST.users).map(|_| {
        let start = Instant::now();
        let hashed = argon2.hash_password_into_with_memory(
            b"a password",
            b"sixteen octets..",
            &mut output,
            &mut memory,
        );
        hashed.expect("a hash");
        start.elapsed()
    });
    Replies { latencies: latencies.collect(), took: Duration::ZERO }.percentile(0.5)
}

pub(crate) fn flood(effort: Effort, report: &mut Report) {
    let named = Named::start();
    let daemon = servers::start(&named, KNOWN, good_limit_only);
    let server = servers::server(&daemon);
    let idle = memory(daemon.pid());
    super::http::warm_up(&server, KNOWN);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut rate = Row::new("known clients during a flood", "req/s").beside("without the flood");
    rate = rate.at_least(0.5);
    let mut p99 = Row::new("known clients during a flood, p99", "ms").at_most(50.0);
    let mut wrong = Row::new("wrong passwords answered", "req/s");
    let mut peak = Row::new("memory, flooded (peak)", "MiB");
    peak = peak.at_most(idle + cores * HASH + FLOOD_ROOM);
    let known = super::http::nochg(&server, KNOWN_CLIENTS, effort.each);
    for _ in 0..effort.rounds {
        let quiet = drive(&known, &KNOWN.nochg(Order::InTurn, true));
        rate.floor_sample(quiet.rate());
        let (replies, guessed, most) = flooded(&server, &known, daemon.pid());
        rate.ddnsd.push(replies.rate());
        p99.ddnsd.push(replies.percentile(0.99));
        wrong.ddnsd.push(guessed.rate());
        peak.ddnsd.push(most);
    }
    [rate, p99, wrong, peak].into_iter().for_each(|row| report.add(row));
}

/// Limits good requests, at a number that no client here reaches, and not the bad ones.
fn good_limit_only(setup: Setup) -> Setup {
    setup
        .set("rate_limit.enabled", true)
        .set("rate_limit.good_max_requests", 1_000_000)
        .set("rate_limit.bad_max_requests", 1_000_000)
}

/// Replies to known clients and to guesses at the same time, and the daemon's highest memory, MiB.
fn flooded(server: &Server, known: &Plan, daemon: Pid) -> (Replies, Replies, f64) {
    let wrong = Plan {
        server: server.clone(),
        clients: GUESSES,
        kept: false,
        time: known.time,
        expected: &["badauth", "911"],
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(memory(daemon));
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        let known = load::replies(known.clone(), KNOWN.nochg(Order::InTurn, true));
        let wrong = load::replies(wrong, guesses(ADDRESSES, KNOWN.users));
        let both = load::run(async { tokio::join!(known, wrong) });
        over.store(true, Ordering::Relaxed);
        (both.0, both.1, peak.join().expect("the peak"))
    })
}
