//! Logins as stories make them.

use super::*;
use crate::model::time::Millis;
use std::net::IpAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// "correct horse", at a cost that tests can afford; made with argon2-cffi.
const CHEAP: &str = "$argon2d$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Ip49LU+1KPMhxnua75o+f4iiJfwbptgIZEgKHaMzglc";

#[expect(clippy::disallowed_methods, reason = "any start does, time is stepped from here")]
fn now() -> Now {
    Now { wall: Millis(0), mono: Instant::now() }
}

struct Login {
    passwords: Passwords,
    counters: Arc<PasswordCounters>,
    now: Now,
}

fn login(cache_ttl: Duration) -> Login {
    let counters = Arc::new(PasswordCounters::default());
    let config = config::Auth { cache_ttl, threads: 10 };
    let passwords = Passwords::new(config, Arc::clone(&counters)).unwrap();
    Login { passwords, counters, now: now() }
}

impl Login {
    async fn by(&self, address: &str, account: Option<&Account>, password: &str) -> Verification {
        let user = UserName::parse("alice").unwrap();
        let client = address.parse::<IpAddr>().unwrap().into();
        let password = &secret(password);
        let attempt = Attempt { user: &user, account, password, client };
        self.passwords.verify(attempt, Hashing::Allowed(async || false), self.now).await
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn account(phc: &str) -> Account {
    Account { id: UserId(17), hash: PasswordHash(phc.into()), is_suspended: false }
}

fn right(rehash_due: bool) -> Verification {
    Verification::Right(Caller { user: UserId(17), rehash_due })
}

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_verified_password_is_cached_for_every_client() {
    let login = login(DAY);
    let alice = account(CHEAP);
    assert_eq!(login.by("192.0.2.1", Some(&alice), "correct horse").await, right(true));
    assert_eq!(login.by("192.0.2.2", Some(&alice), "correct horse").await, right(false));
    assert_eq!(login.counters.hashed.get(), 1);
    assert_eq!(login.counters.cached_right.get(), 1);
}

#[tokio::test]
async fn another_hash_or_a_deleted_user_ends_a_cached_verdict_at_once() {
    let login = login(DAY);
    let alice = account(CHEAP);
    assert_eq!(login.by("192.0.2.1", Some(&alice), "correct horse").await, right(true));
    let changed = Account { hash: login.passwords.hash(secret("new")).await.unwrap(), ..alice };
    assert_eq!(login.by("192.0.2.1", Some(&changed), "correct horse").await, Verification::Wrong);
    assert_eq!(login.by("192.0.2.1", None, "correct horse").await, Verification::Wrong);
    assert_eq!(login.by("192.0.2.1", Some(&changed), "new").await, right(false));
}

#[tokio::test]
async fn a_user_who_is_added_later_is_not_refused_from_the_cache() {
    let login = login(DAY);
    assert_eq!(login.by("192.0.2.1", None, "correct horse").await, Verification::Wrong);
    let alice = account(CHEAP);
    assert_eq!(login.by("192.0.2.1", Some(&alice), "correct horse").await, right(true));
}

#[tokio::test]
async fn the_same_wrong_password_from_the_same_client_is_hashed_once() {
    for account in [Some(account(CHEAP)), None] {
        let login = login(DAY);
        for _ in 0..5 {
            let verdict = login.by("192.0.2.1", account.as_ref(), "wrong").await;
            assert_eq!(verdict, Verification::Wrong);
        }
        assert_eq!(login.counters.hashed.get(), 1);
        assert_eq!(login.counters.cached_wrong.get(), 4);
        let elsewhere = login.by("192.0.2.9", account.as_ref(), "wrong").await;
        assert_eq!((elsewhere, login.counters.hashed.get()), (Verification::Wrong, 2));
    }
}

#[tokio::test]
async fn a_cache_ttl_of_zero_hashes_every_time() {
    let login = login(Duration::ZERO);
    let alice = account(CHEAP);
    for password in ["correct horse", "correct horse", "wrong", "wrong"] {
        let verdict = login.by("192.0.2.1", Some(&alice), password).await;
        assert_eq!(verdict == Verification::Wrong, password == "wrong");
    }
    assert_eq!(login.counters.hashed.get(), 4);
}

#[tokio::test]
async fn equal_attempts_in_flight_share_one_run() {
    let login = login(DAY);
    let alice = account(CHEAP);
    let attempts = (0..64).map(|_| login.by("192.0.2.1", Some(&alice), "correct horse"));
    let verdicts = futures::future::join_all(attempts).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verification::Right(_))));
    assert_eq!(login.counters.hashed.get(), 1);
}

/// Keeps every hashing thread busy until the sender is dropped.
fn occupy_threads(login: &Login) -> mpsc::Sender<()> {
    let threads = login.passwords.0.threads.load();
    let (release, wait) = mpsc::channel();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    for _ in 0..threads.count() {
        let wait = Arc::clone(&wait);
        let work = move |_: &mut HashMemory| {
            let _: Result<(), _> = wait.lock().unwrap().recv();
        };
        threads.submit(Priority::Administration, 8, work).unwrap();
    }
    release
}

/// The verdicts on the same wrong password, sent by 64 clients at once.
async fn wrong_from_64_clients(login: &Login) -> Vec<Verification> {
    let alice = account(CHEAP);
    let addresses: Vec<String> = (0..64).map(|last| format!("192.0.2.{last}")).collect();
    let attempts = addresses.iter().map(|address| login.by(address, Some(&alice), "wrong"));
    futures::future::join_all(attempts).await
}

#[tokio::test]
async fn equal_wrong_passwords_of_many_clients_share_one_run() {
    let login = login(DAY);
    let release = occupy_threads(&login);
    let mut verdicts = Box::pin(wrong_from_64_clients(&login));
    assert!(futures::poll!(&mut verdicts).is_pending());
    drop(release);
    assert_eq!(verdicts.await, [Verification::Wrong; 64]);
    assert_eq!(login.counters.hashed.get(), 1);
    assert_eq!(wrong_from_64_clients(&login).await, [Verification::Wrong; 64]);
    assert_eq!(login.counters.hashed.get(), 1, "each client is known");
}

#[tokio::test]
async fn equal_attempts_get_a_verdict_when_the_first_is_given_up() {
    let login = login(DAY);
    let alice = account(CHEAP);
    let release = occupy_threads(&login);
    let mut first = Box::pin(login.by("198.51.100.1", Some(&alice), "wrong"));
    assert!(futures::poll!(&mut first).is_pending());
    let mut others = Box::pin(wrong_from_64_clients(&login));
    assert!(futures::poll!(&mut others).is_pending());
    drop(first);
    drop(release);
    assert_eq!(others.await, [Verification::Wrong; 64]);
    assert_eq!(login.counters.hashed.get(), 1, "the first is not hashed");
}

#[tokio::test]
async fn beyond_256_waiting_equal_attempts_are_busy() {
    let login = login(DAY);
    let alice = account(CHEAP);
    let release = occupy_threads(&login);
    let attempts = (0..300).map(|_| login.by("192.0.2.1", Some(&alice), "wrong"));
    let mut verdicts = Box::pin(futures::future::join_all(attempts));
    assert!(futures::poll!(&mut verdicts).is_pending());
    drop(release);
    let verdicts = verdicts.await;
    let (waited, refused) = verdicts.split_at(1 + 256);
    assert!(waited.iter().all(|verdict| *verdict == Verification::Wrong));
    assert!(refused.iter().all(|verdict| *verdict == Verification::Busy));
    assert_eq!(login.counters.hashed.get(), 1);
    assert_eq!(login.counters.busy.get(), 43);
    let after = login.by("192.0.2.1", Some(&alice), "correct horse").await;
    assert_eq!(after, right(true), "other passwords are hashed");
}

#[tokio::test]
async fn beyond_the_bound_of_the_queue_logins_are_busy() {
    let login = login(DAY);
    let guesses: Vec<String> = (0..1000).map(|number| format!("guess {number}")).collect();
    let alice = account(CHEAP);
    let attempts = guesses.iter().map(|guess| login.by("192.0.2.1", Some(&alice), guess));
    let verdicts = futures::future::join_all(attempts).await;
    let busy = verdicts.iter().filter(|verdict| **verdict == Verification::Busy).count();
    let wrong = verdicts.iter().filter(|verdict| **verdict == Verification::Wrong).count();
    assert_eq!(busy + wrong, 1000);
    assert!(wrong >= 256 && busy > 0, "{wrong} wrong, {busy} busy");
    assert_eq!(login.counters.busy.get(), busy as u64);
    let after = login.by("192.0.2.1", Some(&alice), "correct horse").await;
    assert_eq!(after, right(true), "the queue is free again");
}

#[tokio::test]
async fn an_unusable_hash_matches_no_password_and_costs_a_run() {
    let login = login(DAY);
    for phc in [
        "",
        "plain text",
        "$argon2id$v=19$m=4294967295,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g",
    ] {
        let broken = account(phc);
        assert_eq!(login.by("192.0.2.1", Some(&broken), phc).await, Verification::Wrong);
    }
    assert_eq!(login.counters.hashed.get(), 3);
}

#[test]
fn an_unknown_user_costs_what_a_new_hash_costs() {
    assert_eq!(dummy_hash().cost(), NEW_HASH_COST);
}

#[tokio::test]
async fn new_threads_replace_the_old_ones_and_no_attempt_is_lost() {
    let login = login(DAY);
    let alice = account(CHEAP);
    let guesses: Vec<String> = (0..100).map(|number| format!("guess {number}")).collect();
    let attempts = guesses.iter().map(|guess| login.by("192.0.2.1", Some(&alice), guess));
    let mut attempts = Box::pin(futures::future::join_all(attempts));
    assert!(futures::poll!(&mut attempts).is_pending(), "they are queued");
    let config = |threads| config::Auth { cache_ttl: DAY, threads };
    login.passwords.prepare(config(1)).unwrap().commit();
    assert_eq!(login.passwords.0.threads.load().count(), 1);
    assert!(attempts.await.iter().all(|verdict| *verdict == Verification::Wrong));
    assert_eq!(login.by("192.0.2.1", Some(&alice), "correct horse").await, right(true));
    drop(login.passwords.prepare(config(2)).unwrap());
    assert_eq!(login.passwords.0.threads.load().count(), 1, "dropped, nothing changes");
}

#[tokio::test]
async fn a_verification_can_move_between_threads() {
    let login = login(DAY);
    let task = tokio::spawn(async move { login.by("192.0.2.1", None, "x").await });
    assert_eq!(task.await.unwrap(), Verification::Wrong);
}
