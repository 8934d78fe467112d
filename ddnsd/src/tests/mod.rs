//! A simulation of the stories that publish. Random worlds interleave updates, expiry, deletion and
//! republishing, while the name server loses, delays and refuses messages and the daemon is killed.
//!
//! The stories, the database, the queues and the transport are the real ones, because mistakes
//! occur where these meet. Their threads and sockets need real time, so a seed does not fix the
//! interleaving.
//!
//! A world fails if `good` was not applied; if something older undoes `nochg` or a deletion; if
//! only one family of a host is replaced; if an accepted change is lost; if a mail is lost, sent
//! twice or wrong; if a host is called unserved; if a follower is not in the prefix of its leader;
//! or if DNS and database differ when all has settled. `served` is about a server that acknowledges
//! and does not apply, `several` about two daemons on one database.

#![expect(clippy::disallowed_methods, reason = "a test, with a clock of its own")]

mod clients;
mod daemon;
mod lan;
mod mails;
mod refused;
mod removal;
mod row_checks;
mod served;
mod server;
mod several;
mod uptime;
mod world;

use crate::model::address::Addresses;
use crate::model::name::{HostNames, Label, Zone};
use daemon::ZONE;
use ddnsd_tests::chance::Chance;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use world::live_in_time;

/// Worlds, unless `DDNSD_MODEL_WORLDS` gives another number.
const WORLDS: usize = 96;
/// Worlds that run at the same time.
const TOGETHER: usize = 16;
/// `dns_timeout`.
const TIMEOUT: Duration = Duration::from_millis(150);
/// One in so many worlds may be left out, because the machine was too busy each time.
const LEFT_OUT: usize = 24;

fn name(label: &str) -> String {
    format!("{label}.{ZONE}")
}

fn host_names(label: &str) -> HostNames {
    HostNames::new(Label::parse(label).unwrap(), Zone::parse(ZONE).unwrap()).unwrap()
}

/// Addresses of both families that carry the same number.
fn both(n: u32) -> Addresses {
    Addresses { v4: Some(v4(n)), v6: Some(v6(n)) }
}

fn v4(n: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) + n)
}

/// The last eight bits of the number are the suffix; the others stand in the prefix.
fn v6(n: u32) -> Ipv6Addr {
    let [net, suffix] = [n >> 8, n & 0xff].map(u128::from);
    Ipv6Addr::from((0x2001_0db8_u128 << 96) + (net << 64) + suffix)
}

fn number4(v4: Ipv4Addr) -> u32 {
    u32::from(v4) & 0xff_ffff
}

fn number6(v6: Ipv6Addr) -> u32 {
    let bits = u128::from(v6);
    u32::try_from(((bits >> 64) & 0xffff) << 8 | bits & 0xff).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn worlds() -> usize {
    let text = std::env::var("DDNSD_MODEL_WORLDS");
    text.map_or(WORLDS, |text| text.parse().expect("DDNSD_MODEL_WORLDS is a number"))
}

#[test]
fn dns_and_database_agree_whatever_is_lost_late_refused_or_killed() {
    let mut chance = Chance::seeded();
    let seeds: Vec<_> = (0..worlds()).map(|_| chance.number()).collect();
    let hash = runtime().block_on(daemon::hash());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let left_out = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..TOGETHER {
            threads.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match live_in_time(*seed, &hash) {
                        Some(problems) if problems.is_empty() => {}
                        Some(problems) => {
                            let problems: Vec<_> =
                                problems.iter().map(ToString::to_string).collect();
                            let line = format!("world {seed}: {}", problems.join("; "));
                            failed.lock().unwrap().push(line);
                        }
                        None => left_out.lock().unwrap().push(*seed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} worlds: {}", failed.len(), worlds(), failed.join("\n"));
    let left_out = left_out.into_inner().unwrap();
    eprintln!("left out, because this machine was too busy each time: {left_out:?}");
    assert!(left_out.len() <= worlds() / LEFT_OUT, "{left_out:?} proved nothing");
}
