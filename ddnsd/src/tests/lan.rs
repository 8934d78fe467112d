//! A router and the hosts that follow it. In: chance. Out: updates with a prefix, changes of single
//! followers meanwhile, and problems: a follower that is not in the prefix of its leader.

use super::clients::Client;
use super::daemon::Daemon;
use super::world::Problem::{self, Certain};
use super::world::{Counted, World, numbers};
use super::{host_names, name, number6, v4, v6};
use crate::model::address::Addresses;
use crate::model::host::Host;
use crate::model::name::Fqdn;
use crate::model::prefix::{Ipv6Prefix, Ipv6Suffix};
use crate::rules::reply::ReturnCode;
use crate::rules::request::Change;
use crate::stories::hosts::modify::{Modify, NewValue};
use ddnsd_tests::chance::Chance;
use std::time::Instant;
use tokio::time::sleep;

const ROUTER: &str = "lan-router";
/// A follower whose suffix changes.
const MOVED: &str = "lan-moved";
/// A follower that an administrator suspends and resumes.
pub(super) const SUSPENDED: &str = "lan-suspended";
/// A follower with updates of its own, which goes offline by itself.
pub(super) const ALONE: &str = "lan-alone";
/// Followers that only the router changes.
const QUIET: [(&str, u32); 2] = [("lan-a", 6), ("lan-b", 7)];
pub(super) const LABELS: [&str; 6] = [ROUTER, MOVED, SUSPENDED, ALONE, QUIET[0].0, QUIET[1].0];

fn suffix(number: u32) -> Ipv6Suffix {
    Ipv6Suffix::parse(&format!("::{number:x}")).unwrap()
}

fn prefix(net: u32) -> Ipv6Prefix {
    Ipv6Prefix::new(v6(net << 8), 64).unwrap()
}

/// The number of the address with this suffix in a network.
fn number(net: u32, suffix: u32) -> u32 {
    (net << 8) + suffix
}

/// Adds the router and its followers if they do not exist.
pub(super) async fn add_hosts(daemon: &Daemon) {
    daemon.add_placed(ROUTER, suffix(1), None).await;
    let own = [(MOVED, 2), (SUSPENDED, 4), (ALONE, 5)];
    for (label, number) in own.into_iter().chain(QUIET) {
        daemon.add_placed(label, suffix(number), Some(ROUTER)).await;
    }
}

impl Client {
    pub(super) fn start_lan(&self, mut seed: impl FnMut() -> Chance) {
        tokio::spawn(self.clone().renew(seed()));
        tokio::spawn(self.clone().move_follower(seed()));
        tokio::spawn(self.clone().suspend_follower(seed()));
        tokio::spawn(self.clone().update_alone(seed()));
    }

    /// Sends rising prefixes of the router; repeats some of them.
    async fn renew(self, mut chance: Chance) {
        loop {
            let repeats = chance.once_in(3);
            let net = {
                let mut lan = self.world.lan.lock().unwrap();
                lan.sent += u32::from(!repeats || lan.sent == 0);
                lan.sent
            };
            let wanted = Change::Set(Addresses { v4: Some(v4(net)), v6: None });
            let from = Instant::now();
            let codes = self.daemon.update_in(&[name(ROUTER)], wanted, Some(prefix(net))).await;
            let to = Instant::now();
            let [code] = codes[..] else { continue };
            if matches!(code, ReturnCode::Good | ReturnCode::Nochg | ReturnCode::Dnserr) {
                self.world.lan.lock().unwrap().accepted = net;
            }
            if matches!(code, ReturnCode::Good | ReturnCode::Nochg) {
                self.judge_lan(net, code, repeats, [from, to]);
            }
            sleep(chance.millis(0, 60)).await;
        }
    }

    /// Whether each follower that only the router changes was there at the reply.
    fn judge_lan(&self, net: u32, code: ReturnCode, repeats: bool, [from, to]: [Instant; 2]) {
        for (label, suffix) in QUIET.into_iter().chain([(ROUTER, 1)]) {
            let held = self.world.server.between(&name(label), from, to);
            if held.iter().any(|held| held.1 == Some(number(net, suffix))) {
                continue;
            }
            let what = format!("{label}: {code:?} of network {net}, while DNS held {held:?}");
            let is_new = code == ReturnCode::Good && !repeats;
            let problem = if is_new { Certain(what) } else { Problem::unless_just_delayed(what) };
            self.world.problem(problem);
        }
    }

    async fn move_follower(self, mut chance: Chance) {
        loop {
            let to = if chance.once_in(2) { 2 } else { 3 };
            let modify = Modify {
                names: host_names(MOVED),
                dns_ttl: NewValue::Keep,
                expiry_ttl: NewValue::Keep,
                suffix: NewValue::Set(Some(suffix(to))),
                leader: NewValue::Keep,
            };
            // refused while another change is in progress
            let _ = self.daemon.hosts.modify(modify).await;
            sleep(chance.millis(0, 100)).await;
        }
    }

    async fn suspend_follower(self, mut chance: Chance) {
        let names = host_names(SUSPENDED);
        loop {
            let _ = self.daemon.hosts.suspend(&names, chance.once_in(3)).await;
            sleep(chance.millis(0, 100)).await;
            let _ = self.daemon.hosts.resume(&names).await;
            sleep(chance.millis(0, 100)).await;
        }
    }

    async fn update_alone(self, mut chance: Chance) {
        loop {
            let n = u32::try_from(chance.below(1000)).unwrap();
            let wanted = match chance.below(3) {
                0 => Change::Offline,
                _ => Change::Set(Addresses { v4: Some(v4(n)), v6: None }),
            };
            self.daemon.update(&[name(ALONE)], wanted).await;
            sleep(chance.millis(0, 100)).await;
        }
    }
}

/// Brings followers back that are left alone.
pub(super) async fn bring_back(daemon: &Daemon) {
    daemon.hosts.resume(&host_names(SUSPENDED)).await.unwrap();
    let change = Change::Set(Addresses { v4: Some(v4(1)), v6: None });
    daemon.update(&[name(ALONE)], change).await;
}

/// Every follower is in the network of the last accepted update, or of a later one that was not
/// answered.
pub(super) async fn is_in_one_network(daemon: &Daemon, world: &World) -> Result<(), Problem> {
    let Counted { sent, accepted } = *world.lan.lock().unwrap();
    let of_router = host(daemon, ROUTER).await.lan.prefix;
    let net = (0..=sent).find(|net| of_router == Some(prefix(*net)));
    if !(accepted..=sent).contains(&net.unwrap_or(0)) {
        let what = format!("the router ends with {of_router:?}, after {accepted} of {sent}");
        return Err(Certain(what));
    }
    for label in LABELS {
        let host = host(daemon, label).await;
        let own = number6(host.lan.suffix.unwrap().as_address());
        let (wanted, held) = (numbers(&host).1, world.server.held(&name(label)).1);
        let expected = net.map(|net| number(net, own));
        if wanted != expected {
            return Err(Certain(format!("{label} wants {wanted:?}, not {expected:?}")));
        }
        if held != expected {
            let what = format!("{label}: DNS holds {held:?}, not {expected:?}");
            return Err(world.unless_delayed(what));
        }
    }
    Ok(())
}

async fn host(daemon: &Daemon, label: &str) -> std::sync::Arc<Host> {
    daemon.db.host(&Fqdn::parse(&name(label)).unwrap()).await.unwrap().unwrap()
}
