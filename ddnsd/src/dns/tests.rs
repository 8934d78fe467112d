//! The whole way of a change in simulated time: thousands of worlds, each a seed and nothing else, in seconds.
//!
//! What is real: what waits and what is in doubt here, every rule (decide, wanting, notice, expiry, final
//! word), what each step makes of a row, and what becomes of what was sent. What is modelled: the rows, the
//! name server with its network, and the order of steps, which the stories keep with a database and sockets.
//!
//! A world that fails prints its seed; `DDNSD_TEST_SEED=N cargo test -p ddnsd simulated -- --nocapture` lives that one
//! alone and tells what happens in it.

mod daemon;
mod disk;
mod name_server;
mod network;
mod stories;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Tally, World};

/// Worlds.
const WORLDS: u64 = 2_000;

#[test]
fn in_simulated_worlds_whatever_is_lost_late_refused_or_killed_dns_ends_as_promised() {
    if let Some(seed) = std::env::var("DDNSD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let mut world = World::new(seed);
        world.tells = true;
        return world.live();
    }
    let (next, lived) = (AtomicU64::new(0), Mutex::new((Vec::new(), Tally::default())));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= WORLDS {
                        return;
                    }
                    let mut world = World::new(seed);
                    let ended = catch_unwind(AssertUnwindSafe(|| world.live()));
                    let (wrong, tally) = &mut *lived.lock().unwrap();
                    match ended {
                        Ok(()) => tally.add(&world.tally),
                        Err(_) => wrong.push(seed),
                    }
                }
            });
        }
    });
    let (wrong, tally) = lived.into_inner().unwrap();
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {WORLDS} worlds go wrong: {wrong:?}", wrong.len());
    // what never happens is not tested
    assert!(tally.everything_often(WORLDS), "{tally:?}");
}
