//! The scenarios: each starts its servers, measures in rounds and reports rows.

mod good;
mod http;
mod many;
mod passwords;
mod several;

use crate::Effort;
use crate::report::Report;
use std::time::Duration;

/// A group of measurements on the same servers.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Longest time in seconds: for the servers and what is measured once, and for each second of
    /// each round.
    longest: (u32, u32),
    pub(crate) run: fn(Effort, &mut Report),
}

impl Scenario {
    /// Longest time that all of it may take on a busy machine.
    pub(crate) fn longest(&self, effort: Effort) -> Duration {
        let (once, each) = self.longest;
        Duration::from_secs(once.into()) + effort.each * effort.rounds * each
    }
}

/// In the order of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nochg",
        about: "updates that change nothing, plain HTTP, kept and new connections",
        longest: (30, 16),
        run: http::plain,
    },
    Scenario {
        name: "tls",
        about: "the same over TLS 1.3, kept connections and a full handshake each",
        longest: (30, 16),
        run: http::tls,
    },
    Scenario {
        name: "good-bind",
        about: "updates that change the address, on BIND",
        longest: (30, 8),
        run: good::bind,
    },
    Scenario { name: "good-knot", about: "the same on Knot", longest: (30, 8), run: good::knot },
    Scenario {
        name: "good-own",
        about: "the same on the built-in name server",
        longest: (30, 4),
        run: good::builtin,
    },
    Scenario {
        name: "several",
        about: "the same on BIND through one, two and three daemons on one MariaDB",
        longest: (42, 6),
        run: several::on_one_mariadb,
    },
    Scenario {
        name: "first",
        about: "the first request of a credential, beside one password hash",
        longest: (60, 10),
        run: passwords::first_request,
    },
    Scenario {
        name: "flood",
        about: "wrong passwords from 100,000 addresses while known clients update",
        longest: (60, 6),
        run: passwords::flood,
    },
    Scenario {
        name: "memory",
        about: "start-up, and memory idle and after load",
        longest: (60, 10),
        run: many::idle,
    },
    Scenario {
        name: "million",
        about: "1,000,000 hosts beside 1,000: start, status, memory, nochg and good",
        longest: (240, 12),
        run: many::million,
    },
    Scenario {
        name: "sweep",
        about: "list and expiry of 100,000 hosts",
        longest: (120, 10),
        run: many::sweep,
    },
    Scenario {
        name: "limiter",
        about: "a client address of its own for each of 1,000,000 requests",
        longest: (150, 0),
        run: many::limiter,
    },
];
