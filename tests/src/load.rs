//! Clients that send the next update as soon as one is answered. Each has a host and counts
//! upwards, both families in step, so that what stands in DNS says which update it is of, and
//! whether a host is half replaced.

use crate::ctl::{Ctl, PASSWORD};
use crate::http::quick_get;
use crate::primary::{Primary, ZONE};
use std::collections::BTreeMap;

/// One client and its host; lives on over restarts of the daemon.
#[derive(Clone, Debug)]
pub struct Counting {
    label: String,
    sent: u32,
    acknowledged: u32,
    accepted: u32,
    updates: u32,
}

/// Of a host in DNS: which update its A and its AAAA record are of; 0 for none.
pub type Stands = (u32, u32);

impl Counting {
    /// A client of alice's host of this label.
    pub fn new(label: &str) -> Self {
        Self { label: label.to_owned(), sent: 0, acknowledged: 0, accepted: 0, updates: 0 }
    }

    /// Its host's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its host's name.
    pub fn fqdn(&self) -> String {
        format!("{}.{ZONE}", self.label)
    }

    /// How many updates were answered.
    pub fn updates(&self) -> u32 {
        self.updates
    }

    /// Sends the next update; returns its return code, or `None` without a reply.
    pub fn update(&mut self, server: &str) -> Option<String> {
        self.sent += 1;
        let (v4, v6) = (v4(self.sent), v6(self.sent));
        let path = format!("/update?hostname={}&myip={v4},{v6}", self.fqdn());
        let reply = quick_get(server, &path, "alice", PASSWORD)?;
        self.updates += 1;
        let code = reply.body.split([' ', '\n']).next().unwrap_or_default().to_owned();
        match code.as_str() {
            "good" => (self.acknowledged, self.accepted) = (self.sent, self.sent),
            "dnserr" => self.accepted = self.sent,
            _ => {}
        }
        Some(code)
    }

    /// Checks what DNS holds: both families of one update, and none older than the last
    /// acknowledged one.
    pub fn judge(&self, stands: Stands) -> Result<(), String> {
        self.judge_from(stands, self.acknowledged)
    }

    /// As [`Self::judge`], once DNS had time for all that was answered `dnserr`.
    pub fn judge_settled(&self, stands: Stands) -> Result<(), String> {
        self.judge_from(stands, self.accepted)
    }

    fn judge_from(&self, (v4, v6): Stands, least: u32) -> Result<(), String> {
        let whole = v4 == v6;
        if whole && (least..=self.sent).contains(&v4) {
            return Ok(());
        }
        Err(format!("{}: A of update {v4}, AAAA of {v6}, in {self:?}", self.label))
    }
}

/// The nth address.
fn v4(n: u32) -> String {
    format!("198.{}.{}.{}", 18 + (n >> 16), n >> 8 & 255, n & 255)
}

/// The nth address.
fn v6(n: u32) -> String {
    format!("2001:db8::{:x}:{:x}", n >> 16, n & 0xffff)
}

fn of_v4(text: &str) -> Option<u32> {
    let octets = text.parse::<std::net::Ipv4Addr>().ok()?.octets();
    Some((u32::from(octets[1]) - 18) << 16 | u32::from(octets[2]) << 8 | u32::from(octets[3]))
}

fn of_v6(text: &str) -> Option<u32> {
    let number = u128::from(text.parse::<std::net::Ipv6Addr>().ok()?) & 0xffff_ffff;
    u32::try_from(number).ok()
}

/// What DNS holds for these hosts.
#[track_caller]
pub fn in_dns(server: &dyn Primary, clients: &[Counting]) -> BTreeMap<String, Stands> {
    let names: Vec<_> = clients.iter().map(Counting::fqdn).collect();
    let mut stands: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), (0, 0))).collect();
    for record in server.lookup_all(&names, "A") {
        stands.entry(record.name).or_default().0 = of_v4(&record.data).expect("an address of ours");
    }
    for record in server.lookup_all(&names, "AAAA") {
        stands.entry(record.name).or_default().1 = of_v6(&record.data).expect("an address of ours");
    }
    stands
}

/// What DNS should hold, from the database.
#[track_caller]
pub fn in_database(ctl: &Ctl, clients: &[Counting]) -> BTreeMap<String, Stands> {
    let hosts = ctl.hosts().into_iter();
    let ours = hosts.filter(|host| clients.iter().any(|client| client.fqdn() == host.fqdn));
    let stands = ours.map(|host| {
        let v4 = host.ipv4.as_deref().and_then(of_v4).unwrap_or(0);
        let v6 = host.ipv6.as_deref().and_then(of_v6).unwrap_or(0);
        (host.fqdn, (v4, v6))
    });
    stands.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_address_is_read_back() {
        for n in [0, 1, 255, 256, 65_535, 65_536, 131_071] {
            assert_eq!((of_v4(&v4(n)), of_v6(&v6(n))), (Some(n), Some(n)));
        }
    }

    #[test]
    fn addresses_older_than_acknowledged_or_of_two_updates_are_wrong() {
        let client = Counting { acknowledged: 4, accepted: 5, sent: 6, ..Counting::new("pc") };
        for (stands, settled, fine) in [
            ((4, 4), false, true),
            ((6, 6), false, true),
            ((3, 3), false, false),
            ((4, 5), false, false),
            ((7, 7), false, false),
            ((4, 4), true, false),
            ((5, 5), true, true),
        ] {
            let judged = if settled { client.judge_settled(stands) } else { client.judge(stands) };
            assert_eq!(judged.is_ok(), fine, "{stands:?} {settled}");
        }
    }
}
