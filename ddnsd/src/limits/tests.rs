//! Limits as stories use them: reserve, record, purge.

use super::*;
use std::net::IpAddr;

const CONFIG: config::LimitsConfig = config::LimitsConfig {
    enabled: true,
    good_window: Duration::from_mins(1),
    good_max: 5,
    bad_window: Duration::from_mins(1),
    bad_max: 3,
    cleanup_interval: Duration::from_mins(1),
};

#[expect(clippy::disallowed_methods, reason = "any start does, time is stepped from here")]
fn now() -> Instant {
    Instant::now()
}

fn limits(config: config::LimitsConfig) -> (Limits, Instant) {
    let now = now();
    (Limits::new(config, Arc::default(), now), now)
}

fn small(clients: usize, of_site: usize, shared: usize) -> (Limits, Instant) {
    let now = now();
    let max = MaxTracked { clients, of_site, shared };
    (Limits::bounded(CONFIG, Arc::default(), now, max), now)
}

fn client(address: &str) -> ClientKey {
    address.parse::<IpAddr>().unwrap().into()
}

fn later(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

/// A slot, or why there is none: `None` if the request has to wait.
fn reserve(limits: &Limits, address: &str, now: Instant) -> Result<Slot, Option<LimitExceeded>> {
    match limits.reserve_bad(client(address), now) {
        Admission::Granted(slot) => Ok(slot),
        Admission::Wait(_) => Err(None),
        Admission::Exceeded(abuse) | Admission::KnownPasswordOnly(_, abuse) => Err(Some(abuse)),
    }
}

/// Whether a password may be hashed; `None` if even a known one is refused.
fn may_hash(limits: &Limits, address: &str, now: Instant) -> Option<bool> {
    match limits.reserve_bad(client(address), now) {
        Admission::Granted(_) => Some(true),
        Admission::KnownPasswordOnly(..) => Some(false),
        Admission::Wait(_) | Admission::Exceeded(_) => None,
    }
}

fn fail(limits: &Limits, address: &str, now: Instant) {
    let slot = reserve(limits, address, now).unwrap();
    limits.record(slot, Counted::Bad, now).unwrap();
}

fn succeed(limits: &Limits, address: &str, now: Instant) -> Result<(), LimitExceeded> {
    let mut slot = reserve(limits, address, now).map_err(|refused| refused.unwrap())?;
    limits.reserve_good(&mut slot, now)?;
    limits.record(slot, Counted::Good, now)
}

#[test]
fn after_three_bad_requests_a_client_is_refused_until_the_window_frees() {
    let (limits, now) = limits(CONFIG);
    for seconds in [0, 10, 20] {
        fail(&limits, "192.0.2.1", later(now, seconds));
    }
    let refused = reserve(&limits, "192.0.2.1", later(now, 30)).err();
    assert_eq!(refused, Some(Some(LimitExceeded { retry_after: Duration::from_secs(30) })));
    assert!(reserve(&limits, "192.0.2.2", later(now, 30)).is_ok());
    assert!(reserve(&limits, "192.0.2.1", later(now, 60)).is_ok());
    assert_eq!(limits.0.counters.bad_refused.get(), 1);
}

#[test]
fn of_a_thousand_parallel_guesses_three_are_admitted() {
    let (limits, now) = limits(CONFIG);
    let slots: Vec<_> = (0..1000).filter_map(|_| reserve(&limits, "192.0.2.1", now).ok()).collect();
    assert_eq!(slots.len(), 3);
    drop(slots);
    assert!(reserve(&limits, "192.0.2.1", now).is_ok(), "a dropped slot is free again");
}

#[tokio::test]
async fn a_request_that_could_exceed_the_limit_waits_for_those_in_flight() {
    let (limits, now) = limits(CONFIG);
    let mut slots: Vec<_> =
        (0..3).map(|_| reserve(&limits, "192.0.2.1", now).ok().unwrap()).collect();
    let wait = || match limits.reserve_bad(client("192.0.2.1"), now) {
        Admission::Wait(waiting) => Box::pin(waiting.wait()),
        _ => panic!("it has to wait"),
    };
    let (mut first, mut second) = (wait(), wait());
    assert!(futures::poll!(&mut first).is_pending());
    // the password was right: one of them gets a slot
    limits.reserve_good(&mut slots[0], now).unwrap();
    assert!(futures::poll!(&mut first).is_ready() && futures::poll!(&mut second).is_ready());
    let slot = reserve(&limits, "192.0.2.1", now).ok().unwrap();
    let mut third = wait();
    for slot in slots.drain(1..).chain([slot]) {
        limits.record(slot, Counted::Bad, now).unwrap();
    }
    assert!(futures::poll!(&mut third).is_ready());
    assert!(matches!(reserve(&limits, "192.0.2.1", now), Err(Some(_))), "three were bad");
}

#[test]
fn at_most_256_requests_of_a_client_wait() {
    let (limits, now) = limits(CONFIG);
    let _slots: Vec<_> = (0..3).map(|_| limits.reserve_bad(client("192.0.2.1"), now)).collect();
    let admissions: Vec<_> =
        (0..300).map(|_| limits.reserve_bad(client("192.0.2.1"), now)).collect();
    let waiting =
        admissions.iter().filter(|admission| matches!(admission, Admission::Wait(_))).count();
    assert_eq!(waiting, 256);
}

#[test]
fn good_and_bad_are_counted_apart() {
    let (limits, now) = limits(CONFIG);
    for _ in 0..5 {
        succeed(&limits, "192.0.2.1", now).unwrap();
    }
    let refused = succeed(&limits, "192.0.2.1", later(now, 1));
    assert_eq!(refused, Err(LimitExceeded { retry_after: Duration::from_secs(59) }));
    assert_eq!(limits.0.counters.good_refused.get(), 1);
    for _ in 0..3 {
        fail(&limits, "192.0.2.1", now);
    }
    assert!(reserve(&limits, "192.0.2.1", now).is_err());
}

#[test]
fn a_refused_request_is_not_counted_again() {
    let (limits, now) = limits(CONFIG);
    for _ in 0..3 {
        fail(&limits, "192.0.2.1", now);
    }
    for seconds in 1..60 {
        assert!(reserve(&limits, "192.0.2.1", later(now, seconds)).is_err());
    }
    assert!(reserve(&limits, "192.0.2.1", later(now, 60)).is_ok());
}

#[test]
fn a_verified_request_holds_no_bad_reservation() {
    let (limits, now) = limits(CONFIG);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut slot = reserve(&limits, "192.0.2.1", now).unwrap();
        limits.reserve_good(&mut slot, now).unwrap();
        waiting.push(slot);
    }
    let mut sixth = reserve(&limits, "192.0.2.1", now).unwrap();
    assert!(limits.reserve_good(&mut sixth, now).is_err());
    drop(sixth);
    drop(waiting);
    assert!(succeed(&limits, "192.0.2.1", now).is_ok());
}

#[test]
fn a_request_can_turn_out_bad_after_its_password_was_right() {
    let (limits, now) = limits(CONFIG);
    for _ in 0..3 {
        let mut slot = reserve(&limits, "192.0.2.1", now).unwrap();
        limits.reserve_good(&mut slot, now).unwrap();
        limits.record(slot, Counted::Bad, now).unwrap();
    }
    assert!(reserve(&limits, "192.0.2.1", now).is_err());
}

#[test]
fn parallel_requests_that_turn_out_bad_stay_within_the_limit() {
    let (limits, now) = limits(CONFIG);
    let guess = reserve(&limits, "192.0.2.1", now).unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut slot = reserve(&limits, "192.0.2.1", now).unwrap();
            limits.reserve_good(&mut slot, now).unwrap();
            slot
        })
        .collect();
    let closed: Vec<_> =
        waiting.into_iter().map(|slot| limits.record(slot, Counted::Bad, now).is_ok()).collect();
    assert_eq!(closed, [true, true, false, false, false], "a guess in flight has the third slot");
    limits.record(guess, Counted::Bad, now).unwrap();
    assert!(reserve(&limits, "192.0.2.1", now).is_err());
    for _ in 0..5 {
        succeed(&limits, "192.0.2.1", later(now, 60)).unwrap();
    }
}

#[test]
fn disabled_limits_refuse_no_client_and_track_none() {
    let (limits, now) = limits(config::LimitsConfig { enabled: false, ..CONFIG });
    for _ in 0..100 {
        fail(&limits, "192.0.2.1", now);
        succeed(&limits, "192.0.2.1", now).unwrap();
    }
    assert_eq!(limits.0.clients.tracked(), 0);
}

#[test]
fn new_limits_apply_to_what_was_counted_already() {
    let (limits, now) = limits(CONFIG);
    fail(&limits, "192.0.2.1", now);
    limits.reconfigure(config::LimitsConfig { bad_max: 1, ..CONFIG });
    assert!(reserve(&limits, "192.0.2.1", now).is_err());
}

#[test]
fn a_purge_removes_idle_clients_only() {
    let (limits, now) = limits(CONFIG);
    fail(&limits, "192.0.2.1", now);
    fail(&limits, "192.0.2.2", later(now, 30));
    let held = reserve(&limits, "192.0.2.3", now).unwrap();
    assert_eq!(limits.0.clients.tracked(), 3);
    limits.purge(later(now, 61));
    assert_eq!(limits.0.clients.tracked(), 2);
    drop(held);
    limits.purge(later(now, 91));
    assert_eq!(limits.0.clients.tracked(), 0);
}

#[test]
fn an_entry_that_counts_nothing_is_removed_at_once() {
    let (limits, now) = limits(CONFIG);
    for (address, outcome, tracked) in [
        ("192.0.2.1", Counted::Nothing, 0),
        ("2001:db8::1", Counted::Nothing, 0),
        ("192.0.2.1", Counted::Bad, 1),
    ] {
        let slot = reserve(&limits, address, now).unwrap();
        assert_eq!(limits.0.clients.tracked(), 1);
        limits.record(slot, outcome, now).unwrap();
        assert_eq!(limits.0.clients.tracked(), tracked, "{address}");
    }
    drop(reserve(&limits, "192.0.2.2", now));
    assert_eq!(limits.0.clients.tracked(), 1);
}

#[test]
fn beyond_the_bound_new_clients_share_the_counters_of_their_network() {
    let (limits, now) = small(2, 256, 2);
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:1::1", "2001:db8:2::1"] {
        fail(&limits, address, now);
    }
    for last in 1..=3 {
        fail(&limits, &format!("203.0.113.{last}"), now);
        fail(&limits, &format!("2001:db8:f{last}::1"), now);
    }
    assert_eq!(may_hash(&limits, "203.0.113.9", now), Some(false));
    assert_eq!(may_hash(&limits, "2001:db8:9::1", now), Some(false));
    assert_eq!(may_hash(&limits, "192.0.2.1", now), Some(true), "it has its own counters");
    for first in 50..53 {
        fail(&limits, &format!("{first}.0.0.1"), now);
    }
    assert_eq!(may_hash(&limits, "60.0.0.1", now), Some(false), "the rest of the world is one");
    assert_eq!(limits.0.clients.tracked(), 6);
}

#[test]
fn one_family_takes_no_room_of_the_other() {
    let (limits, now) = small(2, 256, 2);
    for number in 0..9 {
        let slot = limits.reserve_bad(client(&format!("2001:db8:{number}::1")), now);
        if let Admission::Granted(slot) = slot {
            limits.record(slot, Counted::Bad, now).unwrap();
        }
    }
    for _ in 0..2 {
        fail(&limits, "192.0.2.1", now);
    }
    assert_eq!(may_hash(&limits, "192.0.2.1", now), Some(true));
    assert_eq!(may_hash(&limits, "192.0.2.2", now), Some(true));
}

#[test]
fn a_few_clients_of_an_ipv6_site_are_counted_apart_and_the_rest_together() {
    let (limits, now) = small(9, 2, 9);
    for subnet in 1..=5 {
        fail(&limits, &format!("2001:db8:1:{subnet}::1"), now);
    }
    assert_eq!(may_hash(&limits, "2001:db8:1:9::1", now), Some(false));
    assert_eq!(may_hash(&limits, "2001:db8:1:1::1", now), Some(true), "it has its own counters");
    assert_eq!(may_hash(&limits, "2001:db8:2:1::1", now), Some(true), "it is another site");
    limits.purge(later(now, 60));
    assert_eq!(limits.0.clients.tracked(), 0);
    fail(&limits, "2001:db8:1:9::1", later(now, 60));
    assert_eq!(may_hash(&limits, "2001:db8:1:9::1", later(now, 60)), Some(true));
}

#[test]
fn shared_counters_refuse_no_known_password() {
    let (limits, now) = small(0, 256, 9);
    for last in 1..=3 {
        fail(&limits, &format!("192.0.2.{last}"), now);
    }
    for _ in 0..20 {
        let admission = limits.reserve_bad(client("192.0.2.9"), now);
        let Admission::KnownPasswordOnly(mut slot, _) = admission else {
            panic!("a known password goes on")
        };
        limits.reserve_good(&mut slot, now).unwrap();
        limits.record(slot, Counted::Bad, now).unwrap();
    }
    assert_eq!(may_hash(&limits, "192.0.2.9", later(now, 60)), Some(true));
}

#[test]
fn a_flood_of_addresses_stays_within_the_bound_and_a_purge_releases_the_memory() {
    let (limits, now) = limits(CONFIG);
    for number in 0..300_000_u32 {
        let admission = limits.reserve_bad(IpAddr::from(number.to_be_bytes()).into(), now);
        if let Admission::Granted(slot) = admission {
            limits.record(slot, Counted::Bad, now).unwrap();
        }
    }
    assert!(limits.0.clients.tracked() <= table::MAX_CLIENTS + 1 + 300_000 / 65_536);
    limits.purge(later(now, 60));
    assert_eq!(limits.0.clients.tracked(), 0);
    assert!(limits.0.clients.capacity() < 64 * table::SHARDS);
}
