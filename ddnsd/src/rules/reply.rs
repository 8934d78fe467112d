//! The reply to an update. In: return codes. Out: lines, and what the request counts as. Their HTTP
//! statuses are in `http/reply.rs`.

use super::request::NoHosts;
use super::sliding_window::Counted;
use crate::model::address::Addresses;
use std::time::Duration;

/// A return code of the DynDNS2 protocol.
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
    /// In the order in which they are shown.
    pub const ALL: [ReturnCode; 10] = [
        ReturnCode::Good,
        ReturnCode::Nochg,
        ReturnCode::Badauth,
        ReturnCode::Nohost,
        ReturnCode::Notfqdn,
        ReturnCode::Numhost,
        ReturnCode::Badip,
        ReturnCode::Dnserr,
        ReturnCode::Abuse,
        ReturnCode::ServerError,
    ];

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

    /// What a request with this code counts as, if credentials were given.
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

/// The line of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLine {
    /// The name as it was sent.
    pub hostname: String,
    pub code: ReturnCode,
    /// Whether it is the caller's and suspended. The client cannot know that.
    pub is_suspended: bool,
    /// Shown with a good or nochg code.
    pub addresses: Addresses,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// One return code for the request as a whole.
    Whole {
        code: ReturnCode,
        /// Until the client may try again, for the codes that say so.
        retry_after: Option<Duration>,
    },
    /// A line per host, one at least.
    Hosts {
        /// In the order of the request.
        lines: Vec<HostLine>,
    },
}

impl Reply {
    /// One return code, without a time to try again.
    pub fn whole(code: ReturnCode) -> Self {
        Reply::Whole { code, retry_after: None }
    }

    /// The code that decides the HTTP status: a success if any line is one, else that of the first
    /// line.
    pub fn decisive_code(&self) -> ReturnCode {
        match self {
            Reply::Whole { code, .. } => *code,
            Reply::Hosts { lines } => {
                decisive_line(lines).map_or(ReturnCode::ServerError, |line| line.code)
            }
        }
    }

    /// What the request counts as, if credentials were given.
    pub fn counts_as(&self) -> Counted {
        match self {
            Reply::Hosts { lines }
                if decisive_line(lines).is_some_and(|line| line.is_suspended) =>
            {
                Counted::Nothing
            }
            _ => self.decisive_code().counts_as(),
        }
    }

    /// Whether DNS took a change of any host.
    pub fn has_changed_any(&self) -> bool {
        match self {
            Reply::Whole { code, .. } => *code == ReturnCode::Good,
            Reply::Hosts { lines } => lines.iter().any(|line| line.code == ReturnCode::Good),
        }
    }

    /// The code that stands for a list: the first that is not `nochg`, else `nochg`.
    pub fn summary(&self) -> ReturnCode {
        match self {
            Reply::Whole { code, .. } => *code,
            Reply::Hosts { lines } => {
                let first = lines.iter().find(|line| line.code != ReturnCode::Nochg);
                first.map_or(ReturnCode::Nochg, |line| line.code)
            }
        }
    }
}

fn decisive_line(lines: &[HostLine]) -> Option<&HostLine> {
    lines.iter().find(|line| line.code.is_success()).or(lines.first())
}

/// The code for a request that names no hosts.
pub fn no_hosts(why: NoHosts) -> ReturnCode {
    match why {
        NoHosts::None => ReturnCode::Notfqdn,
        NoHosts::TooMany => ReturnCode::Numhost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: ReturnCode, is_suspended: bool) -> HostLine {
        let addresses = Addresses::default();
        HostLine { hostname: "a.example".into(), code, is_suspended, addresses }
    }

    fn hosts(codes: &[ReturnCode]) -> Reply {
        let line = |code: &ReturnCode| line(*code, false);
        Reply::Hosts { lines: codes.iter().map(line).collect() }
    }

    #[test]
    fn a_list_with_one_success_is_a_success() {
        let mixed = hosts(&[ReturnCode::Nohost, ReturnCode::Nochg]);
        assert_eq!(mixed.counts_as(), Counted::Good);
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
    fn a_suspended_host_counts_as_nothing_unless_another_host_is_a_success() {
        let counts_as = |lines: Vec<HostLine>| Reply::Hosts { lines }.counts_as();
        let suspended = || line(ReturnCode::Nohost, true);
        let unknown = || line(ReturnCode::Nohost, false);
        assert_eq!(counts_as(vec![suspended(), unknown()]), Counted::Nothing);
        assert_eq!(counts_as(vec![unknown(), suspended()]), Counted::Bad);
        let good = line(ReturnCode::Good, false);
        assert_eq!(counts_as(vec![suspended(), good]), Counted::Good);
    }

    #[test]
    fn a_lists_summary_is_its_first_code_other_than_nochg() {
        assert_eq!(
            hosts(&[ReturnCode::Nochg, ReturnCode::Nohost, ReturnCode::Good]).summary(),
            ReturnCode::Nohost
        );
        assert_eq!(hosts(&[ReturnCode::Nochg, ReturnCode::Nochg]).summary(), ReturnCode::Nochg);
    }

    #[test]
    fn a_list_with_good_at_any_position_changed_something() {
        assert!(
            hosts(&[ReturnCode::Nochg, ReturnCode::Nohost, ReturnCode::Good]).has_changed_any()
        );
        assert!(!hosts(&[ReturnCode::Nochg, ReturnCode::Dnserr]).has_changed_any());
    }
}
