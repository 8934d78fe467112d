//! From what happened to the reply's words, and what a request counts as. The words' HTTP statuses are
//! `http/reply.rs`'s.

use super::limit::Counted;
use super::request::{AskedHost, NoHosts};
use crate::model::address::Addresses;
use std::time::Duration;

/// A word of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
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

impl Word {
    /// As it stands in a reply.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Good => "good",
            Word::Nochg => "nochg",
            Word::Badauth => "badauth",
            Word::Nohost => "nohost",
            Word::Notfqdn => "notfqdn",
            Word::Numhost => "numhost",
            Word::Badip => "badip",
            Word::Dnserr => "dnserr",
            Word::Abuse => "abuse",
            Word::ServerError => "911",
        }
    }

    /// What a request with this word counts as; credentials were given.
    pub fn counts_as(self) -> Counted {
        match self {
            Word::Good | Word::Nochg | Word::Badip | Word::Dnserr => Counted::Good,
            Word::Badauth | Word::Nohost | Word::Notfqdn | Word::Numhost => Counted::Bad,
            Word::Abuse | Word::ServerError => Counted::Nothing,
        }
    }

    fn is_success(self) -> bool {
        matches!(self, Word::Good | Word::Nochg)
    }
}

/// One host's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The name as it was sent.
    pub hostname: String,
    /// Its word.
    pub word: Word,
}

/// The whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// One word about the request as a whole.
    Whole {
        /// The word.
        word: Word,
        /// When to come back, for the words that say so.
        retry_after: Option<Duration>,
    },
    /// A line per host, one at least; good and nochg lines show these addresses of the request.
    Hosts {
        /// In the order asked.
        lines: Vec<Line>,
        /// What the request asked for.
        addresses: Addresses,
    },
}

impl Reply {
    /// One word, without a time to come back.
    pub fn whole(word: Word) -> Self {
        Reply::Whole { word, retry_after: None }
    }

    /// The word whose status the reply has: a success if any line is one, else the first line's.
    pub fn decisive_word(&self) -> Word {
        match self {
            Reply::Whole { word, .. } => *word,
            Reply::Hosts { lines, .. } => lines
                .iter()
                .find(|line| line.word.is_success())
                .or(lines.first())
                .map_or(Word::ServerError, |line| line.word),
        }
    }

    /// Whether DNS took a change of any host.
    pub fn has_changed_any(&self) -> bool {
        match self {
            Reply::Whole { word, .. } => *word == Word::Good,
            Reply::Hosts { lines, .. } => lines.iter().any(|line| line.word == Word::Good),
        }
    }

    /// The word that stands for a list: the first that is not `nochg`, else `nochg`.
    pub fn summary(&self) -> Word {
        match self {
            Reply::Whole { word, .. } => *word,
            Reply::Hosts { lines, .. } => {
                let telling = lines.iter().find(|line| line.word != Word::Nochg);
                telling.map_or(Word::Nochg, |line| line.word)
            }
        }
    }
}

/// The word for a request that names no hosts.
pub fn no_hosts(why: NoHosts) -> Word {
    match why {
        NoHosts::None => Word::Notfqdn,
        NoHosts::TooMany => Word::Numhost,
    }
}

/// The lines of a request: each asked host with its word.
pub fn lines(asked: &[AskedHost], words: Vec<Word>) -> Vec<Line> {
    let named = asked.iter().zip(words);
    named.map(|(host, word)| Line { hostname: host.sent.clone(), word }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(words: &[Word]) -> Reply {
        let line = |word: &Word| Line { hostname: "a.example".into(), word: *word };
        Reply::Hosts { lines: words.iter().map(line).collect(), addresses: Addresses::default() }
    }

    #[test]
    fn a_list_with_one_success_is_a_success() {
        let mixed = hosts(&[Word::Nohost, Word::Nochg]);
        assert_eq!(mixed.decisive_word().counts_as(), Counted::Good);
        assert_eq!(hosts(&[Word::Nohost, Word::Dnserr]).decisive_word(), Word::Nohost);
        assert_eq!(hosts(&[Word::Dnserr, Word::Nohost]).decisive_word(), Word::Dnserr);
    }

    #[test]
    fn a_lists_summary_is_its_first_word_that_tells_something() {
        assert_eq!(hosts(&[Word::Nochg, Word::Nohost, Word::Good]).summary(), Word::Nohost);
        assert_eq!(hosts(&[Word::Nochg, Word::Nochg]).summary(), Word::Nochg);
    }

    #[test]
    fn a_list_changed_something_wherever_good_stands_in_it() {
        assert!(hosts(&[Word::Nochg, Word::Nohost, Word::Good]).has_changed_any());
        assert!(!hosts(&[Word::Nochg, Word::Dnserr]).has_changed_any());
    }
}
