//! The requests that clients send: each for the next host of those in turn, or for one at random.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ddnsd_tests::chance::Chance;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::primary::ZONE;
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

/// A request as it goes over the wire.
pub(crate) struct Prepared {
    /// The client's address; unspecified for any.
    pub(crate) source: Ipv4Addr,
    pub(crate) bytes: Vec<u8>,
}

/// Makes requests until there are no more; clones share what was made.
#[derive(Clone)]
pub(crate) struct MakeRequest(Rc<RefCell<dyn FnMut() -> Option<Prepared>>>);

impl MakeRequest {
    pub(crate) fn new(make: impl FnMut() -> Option<Prepared> + 'static) -> Self {
        Self(Rc::new(RefCell::new(make)))
    }

    pub(crate) fn next(&self) -> Option<Prepared> {
        (self.0.borrow_mut())()
    }
}

/// The hosts `h0`, `h1` … of the users `u0`, `u1` …: host `i` is of user `i % users`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hosts {
    pub(crate) hosts: u32,
    pub(crate) users: u32,
}

/// Which host a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    InTurn,
    AtRandom,
}

impl Hosts {
    /// Updates that change nothing.
    pub(crate) fn nochg(self, order: Order, kept: bool) -> MakeRequest {
        let mut next = self.next(order);
        MakeRequest::new(move || {
            let host = next();
            Some(anywhere(self.update(host, first_address(host), kept)))
        })
    }

    /// Updates that each change the address, by numbers that a later call must not repeat.
    pub(crate) fn good(self, order: Order, numbers: &Numbers) -> MakeRequest {
        let (mut next, numbers) = (self.next(order), numbers.clone());
        MakeRequest::new(move || Some(anywhere(self.update(next(), numbers.next_address(), true))))
    }

    /// The first request of each credential.
    pub(crate) fn each_user_once(self) -> MakeRequest {
        self.first(self.users)
    }

    /// An update of each host that changes nothing.
    pub(crate) fn each_host_once(self) -> MakeRequest {
        self.first(self.hosts)
    }

    fn first(self, hosts: u32) -> MakeRequest {
        let mut host = 0;
        MakeRequest::new(move || {
            host += 1;
            let made = || anywhere(self.update(host - 1, first_address(host - 1), true));
            (host <= hosts).then(made)
        })
    }

    /// The host of each request.
    pub(crate) fn next(self, order: Order) -> impl FnMut() -> u32 {
        let mut chance = Chance::new(1);
        let mut turn = 0;
        move || match order {
            Order::AtRandom => chance.below(self.hosts.into()) as u32,
            Order::InTurn => {
                turn = (turn + 1) % self.hosts;
                turn
            }
        }
    }

    /// An update of a host by its owner.
    pub(crate) fn update(self, host: u32, address: Ipv4Addr, kept: bool) -> String {
        let close = if kept { "" } else { "Connection: close\r\n" };
        let user = host % self.users;
        let credentials = STANDARD.encode(format!("u{user}:{PASSWORD}"));
        format!(
            "GET /update?hostname=h{host}.{ZONE}&myip={address} HTTP/1.1\r\nHost: localhost\r\n\
             User-Agent: bench/1\r\nAuthorization: Basic {credentials}\r\n{close}"
        )
    }
}

/// Guesses of the password of the first of these users, each from an address of its own. With a
/// proxy's header or, for loopback addresses, by the connection itself.
pub(crate) fn guesses(addresses: u32, users: u32) -> MakeRequest {
    let mut number = 0;
    MakeRequest::new(move || {
        number += 1;
        let address = Ipv4Addr::from(0x7f40_0000 + number % addresses);
        let wrong = STANDARD.encode(format!("u{}:guess {number}", number % users));
        let text = format!(
            "GET /update?hostname=h0.{ZONE}&myip=10.0.0.1 HTTP/1.1\r\nHost: localhost\r\n\
             User-Agent: bench/1\r\nAuthorization: Basic {wrong}\r\nConnection: close\r\n\r\n"
        );
        Some(Prepared { source: address, bytes: text.into_bytes() })
    })
}

/// A request from any address: its head without the last empty line.
pub(crate) fn anywhere(head: String) -> Prepared {
    Prepared { source: Ipv4Addr::UNSPECIFIED, bytes: (head + "\r\n").into_bytes() }
}

/// Where a host stands at first.
pub(crate) fn first_address(host: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + host)
}

/// Counts upwards; clones share the count.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Rc<RefCell<u32>>);

impl Numbers {
    /// An address that no host has.
    pub(crate) fn next_address(&self) -> Ipv4Addr {
        let mut number = self.0.borrow_mut();
        *number += 1;
        Ipv4Addr::from(0x0b00_0000 + (*number & 0x00ff_ffff))
    }
}
