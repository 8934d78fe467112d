//! Counts the return codes of a reply.

use super::Update;
use crate::counters::Counter;
use crate::rules::reply::{Reply, ReturnCode};

impl Update {
    pub(super) fn count(&self, reply: &Reply) {
        match reply {
            Reply::Whole { code, .. } => self.counter(*code).add_one(),
            Reply::Hosts { lines, .. } => {
                for line in lines {
                    self.counter(line.code).add_one();
                }
            }
        }
    }

    fn counter(&self, code: ReturnCode) -> &Counter {
        let counters = &self.0.counters;
        match code {
            ReturnCode::Good => &counters.good,
            ReturnCode::Nochg => &counters.nochg,
            ReturnCode::Badauth => &counters.badauth,
            ReturnCode::Nohost => &counters.nohost,
            ReturnCode::Notfqdn => &counters.notfqdn,
            ReturnCode::Numhost => &counters.numhost,
            ReturnCode::Badip => &counters.badip,
            ReturnCode::Dnserr => &counters.dnserr,
            ReturnCode::Abuse => &counters.abuse,
            ReturnCode::ServerError => &counters.server_error,
        }
    }
}
