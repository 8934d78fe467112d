//! From what happened to the reply's words, and what a request counts as. The words' HTTP statuses are
//! `http/reply.rs`'s.

use super::request::{NoHosts, RequestedHost};
use super::sliding_window::Counted;
use crate::model::address::Addresses;
use std::time::Duration;

/// A word of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnCode {
    /// DNS acknowledged the change.
    Good,
    /// DNS holds it already.
    Nochg,
    /// Wrong or no credentials.
    Badauth,
    /// Unknown host, or another user's.
    Nohost,
    /// No host, or not a legal name.
    Notfqdn,
    /// Too many hosts.
    Numhost,
    /// An address that cannot be used.
    Badip,
    /// The name server refused, failed or did not answer; the change is kept.
    Dnserr,
    /// Over a limit.
    Abuse,
    /// The daemon itself could not.
    ServerError,
}

impl ReturnCode {
    /// As it stands in a reply.
    pub fn as_str(self) -> &'static str {
        match self {
            ReturnCode::Good => "good",
            ReturnCode::Nochg => "nochg",
            ReturnCode::Badauth => "badauth",
            ReturnCode::Nohost => "nohost",
            ReturnCode::Notfqdn => "notfqdn",
            ReturnCode::Numhost => "numhost",
            ReturnCode::Badip => "badip",
            ReturnCode::Dnserr => "dnserr",
            ReturnCode::Abuse => "abuse",
            ReturnCode::ServerError => "911",
        }
    }

    /// What a request with this word counts as; credentials were given.
    pub fn counts_as(self) -> Counted {
        match self {
            ReturnCode::Good | ReturnCode::Nochg | ReturnCode::Badip | ReturnCode::Dnserr => {
                Counted::Good
            }
            ReturnCode::Badauth
            | ReturnCode::Nohost
            | ReturnCode::Notfqdn
            | ReturnCode::Numhost => Counted::Bad,
            ReturnCode::Abuse | ReturnCode::ServerError => Counted::Nothing,
        }
    }

    fn is_success(self) -> bool {
        matches!(self, ReturnCode::Good | ReturnCode::Nochg)
    }
}

/// One host's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLine {
    /// The name as it was sent.
    pub hostname: String,
    /// Its word.
    pub code: ReturnCode,
}

/// The whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// One word about the request as a whole.
    Whole {
        /// The word.
        code: ReturnCode,
        /// When to come back, for the words that say so.
        retry_after: Option<Duration>,
    },
    /// A line per host, one at least; good and nochg lines show these addresses of the request.
    Hosts {
        /// In the order asked.
        lines: Vec<HostLine>,
        /// What the request asked for.
        addresses: Addresses,
    },
}

impl Reply {
    /// One word, without a time to come back.
    pub fn whole(code: ReturnCode) -> Self {
        Reply::Whole { code, retry_after: None }
    }

    /// The word whose status the reply has: a success if any line is one, else the first line's.
    pub fn decisive_code(&self) -> ReturnCode {
        match self {
            Reply::Whole { code, .. } => *code,
            Reply::Hosts { lines, .. } => lines
                .iter()
                .find(|line| line.code.is_success())
                .or(lines.first())
                .map_or(ReturnCode::ServerError, |line| line.code),
        }
    }

    /// Whether DNS took a change of any host.
    pub fn has_changed_any(&self) -> bool {
        match self {
            Reply::Whole { code, .. } => *code == ReturnCode::Good,
            Reply::Hosts { lines, .. } => lines.iter().any(|line| line.code == ReturnCode::Good),
        }
    }

    /// The word that stands for a list: the first that is not `nochg`, else `nochg`.
    pub fn summary(&self) -> ReturnCode {
        match self {
            Reply::Whole { code, .. } => *code,
            Reply::Hosts { lines, .. } => {
                let telling = lines.iter().find(|line| line.code != ReturnCode::Nochg);
                telling.map_or(ReturnCode::Nochg, |line| line.code)
            }
        }
    }
}

/// The word for a request that names no hosts.
pub fn no_hosts(why: NoHosts) -> ReturnCode {
    match why {
        NoHosts::None => ReturnCode::Notfqdn,
        NoHosts::TooMany => ReturnCode::Numhost,
    }
}

/// The lines of a request: each asked host with its word.
pub fn lines(asked: &[RequestedHost], codes: Vec<ReturnCode>) -> Vec<HostLine> {
    let named = asked.iter().zip(codes);
    named.map(|(host, code)| HostLine { hostname: host.sent.clone(), code }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(codes: &[ReturnCode]) -> Reply {
        let line = |code: &ReturnCode| HostLine { hostname: "a.example".into(), code: *code };
        Reply::Hosts { lines: codes.iter().map(line).collect(), addresses: Addresses::default() }
    }

    #[test]
    fn a_list_with_one_success_is_a_success() {
        let mixed = hosts(&[ReturnCode::Nohost, ReturnCode::Nochg]);
        assert_eq!(mixed.decisive_code().counts_as(), Counted::Good);
        assert_eq!(
            hosts(&[ReturnCode::Nohost, ReturnCode::Dnserr]).decisive_code(),
            ReturnCode::Nohost
        );
        assert_eq!(
            hosts(&[ReturnCode::Dnserr, ReturnCode::Nohost]).decisive_code(),
            ReturnCode::Dnserr
        );
    }

    #[test]
    fn a_lists_summary_is_its_first_word_that_tells_something() {
        assert_eq!(
            hosts(&[ReturnCode::Nochg, ReturnCode::Nohost, ReturnCode::Good]).summary(),
            ReturnCode::Nohost
        );
        assert_eq!(hosts(&[ReturnCode::Nochg, ReturnCode::Nochg]).summary(), ReturnCode::Nochg);
    }

    #[test]
    fn a_list_changed_something_wherever_good_stands_in_it() {
        assert!(
            hosts(&[ReturnCode::Nochg, ReturnCode::Nohost, ReturnCode::Good]).has_changed_any()
        );
        assert!(!hosts(&[ReturnCode::Nochg, ReturnCode::Dnserr]).has_changed_any());
    }
}
