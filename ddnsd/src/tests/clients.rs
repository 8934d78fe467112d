//! Clients and administrators of one run of the daemon. In: chance. Out: requests, and problems
//! with their replies.

use super::daemon::Daemon;
use super::server::Held;
use super::world::Problem::{self, Certain};
use super::world::{World, set_clock};
use super::{both, host_names, name, v4, v6};
use crate::model::address::Addresses;
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use crate::stories::hosts::modify::{Modify, NewValue};
use ddnsd_tests::chance::Chance;
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[derive(Clone)]
pub(super) struct Client {
    pub(super) world: World,
    pub(super) daemon: Daemon,
}

impl Client {
    /// Starts all clients of a run as tasks.
    pub(super) fn start(&self, chance: &mut Chance) {
        let mut seed = || Chance::new(chance.number());
        tokio::spawn(self.clone().count(&[0], seed()));
        tokio::spawn(self.clone().count(&[1, 2], seed()));
        tokio::spawn(self.clone().mix(seed()));
        tokio::spawn(self.clone().update_brief(seed()));
        tokio::spawn(self.clone().modify(seed()));
        tokio::spawn(self.clone().add_and_delete(seed()));
        tokio::spawn(jump(seed()));
        self.start_lan(seed);
    }

    /// Sends rising numbers for hosts, together in one request; repeats some of them.
    async fn count(self, hosts: &'static [usize], mut chance: Chance) {
        let names: Vec<_> = hosts.iter().map(|host| name(&format!("h{host}"))).collect();
        let mut failed = false;
        loop {
            let repeats = chance.once_in(if failed { 2 } else { 4 });
            let n = self.next_number(hosts, repeats);
            let from = Instant::now();
            let codes = self.daemon.update(&names, Change::Set(both(n))).await;
            let to = Instant::now();
            failed = codes.contains(&ReturnCode::Dnserr);
            for ((host, name), code) in hosts.iter().zip(&names).zip(&codes) {
                self.judge(name, n, *code, [from, to]);
                if matches!(code, ReturnCode::Good | ReturnCode::Nochg | ReturnCode::Dnserr) {
                    self.world.counted.lock().unwrap()[*host].accepted = n;
                }
                if *code == ReturnCode::Good {
                    self.world.good.lock().unwrap().insert((name.clone(), n));
                }
            }
            if failed && chance.once_in(2) {
                continue;
            }
            sleep(chance.millis(0, 40)).await;
            for (name, _) in
                names.iter().zip(&codes).filter(|(_, code)| **code == ReturnCode::Nochg)
            {
                self.nothing_older_undoes(name, n, to);
            }
        }
    }

    fn next_number(&self, hosts: &[usize], repeats: bool) -> u32 {
        let mut counted = self.world.counted.lock().unwrap();
        let next = counted[hosts[0]].sent + u32::from(!repeats);
        for host in hosts {
            counted[*host].sent = next;
        }
        next
    }

    fn nothing_older_undoes(&self, name: &str, n: u32, since: Instant) {
        let later = self.world.server.applied(name, since, Instant::now());
        if later.iter().any(|held| *held != (Some(n), Some(n))) {
            let what = format!("{name}: nochg of {n}, and then {later:?}");
            self.world.problem(Problem::unless_just_delayed(what));
        }
    }

    fn judge(&self, name: &str, n: u32, code: ReturnCode, [from, to]: [Instant; 2]) {
        let server = &self.world.server;
        let is = |held: &Held| *held == (Some(n), Some(n));
        let is_right = match code {
            ReturnCode::Good => server.applied(name, from, to).iter().any(is),
            ReturnCode::Nochg => server.between(name, from, to).iter().any(is),
            ReturnCode::Dnserr | ReturnCode::ServerError => true,
            _ => false,
        };
        if !is_right {
            let held = server.between(name, from, to);
            let what = format!("{name}: {code:?} of {n}, while DNS held {held:?}");
            let is_nochg = code == ReturnCode::Nochg;
            let problem = if is_nochg { Problem::unless_just_delayed(what) } else { Certain(what) };
            self.world.problem(problem);
        }
    }

    /// Updates one family or both of host `mixed`, or takes it offline.
    async fn mix(self, mut chance: Chance) {
        let names = [name("mixed")];
        loop {
            let n = u32::try_from(chance.below(1000)).unwrap();
            let wanted = match chance.below(4) {
                0 => Change::Offline,
                1 => Change::Set(Addresses { v4: Some(v4(n)), v6: None }),
                2 => Change::Set(Addresses { v4: None, v6: Some(v6(n)) }),
                _ => Change::Set(both(n)),
            };
            self.daemon.update(&names, wanted).await;
            sleep(chance.millis(0, 60)).await;
        }
    }

    /// Updates host `brief`, now and then too late; sometimes a CNAME is in the way.
    async fn update_brief(self, mut chance: Chance) {
        let names = [name("brief")];
        loop {
            let n = u32::try_from(chance.below(1000)).unwrap();
            self.world.server.alias(&names[0], chance.once_in(4));
            let sent = Instant::now();
            let codes = self.daemon.update(&names, Change::Set(both(n))).await;
            if matches!(codes[..], [ReturnCode::Good | ReturnCode::Nochg | ReturnCode::Dnserr]) {
                *self.world.brief_updated.lock().unwrap() = Some(sent);
            }
            let pause = if chance.once_in(4) { 1_200 } else { 0 };
            sleep(chance.millis(pause, pause + 200)).await;
        }
    }

    /// Gives hosts other TTLs.
    async fn modify(self, mut chance: Chance) {
        loop {
            let label = ["h1", "mixed"][usize::try_from(chance.below(2)).unwrap()];
            let dns_ttl = NewValue::Set(Some(60 + u32::try_from(chance.below(3)).unwrap()));
            let (names, expiry_ttl) = (host_names(label), NewValue::Keep);
            // refused while another change is in progress
            let (suffix, leader) = (NewValue::Keep, NewValue::Keep);
            let modify = Modify { names, dns_ttl, expiry_ttl, suffix, leader };
            let _ = self.daemon.hosts.modify(modify).await;
            sleep(chance.millis(20, 200)).await;
        }
    }

    /// Adds host `temporary`, updates it and deletes it again.
    async fn add_and_delete(self, mut chance: Chance) {
        let names = [name("temporary")];
        loop {
            self.daemon.add_host("temporary", None).await;
            for _ in 0..chance.below(4) {
                let n = u32::try_from(chance.below(1000)).unwrap();
                self.daemon.update(&names, Change::Set(both(n))).await;
            }
            if self.daemon.hosts.delete(&host_names("temporary"), false).await.is_err() {
                continue;
            }
            let from = Instant::now();
            sleep(chance.millis(0, 200)).await;
            let since = self.world.server.between(&names[0], from, Instant::now());
            if since.iter().any(|held| *held != (None, None)) {
                let what = format!("{} is deleted, and DNS holds {since:?}", names[0]);
                self.world.problem(Problem::unless_just_delayed(what));
            }
        }
    }
}

/// Sets the wall clock once, in some runs.
async fn jump(mut chance: Chance) {
    sleep(chance.millis(0, 1_000)).await;
    set_clock(&mut chance);
    sleep(Duration::MAX).await;
}
