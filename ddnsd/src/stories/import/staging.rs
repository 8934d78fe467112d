//! One import in progress: lines are read, checked against each other and kept. In: lines. Out:
//! what the database must store, and the problems found so far.

use crate::db::{Existing, Import};
use crate::model::host::{ImportedHost, MAX_FOLLOWERS};
use crate::model::name::{Fqdn, UserName};
use crate::model::time::{Millis, Uptime};
use crate::model::user::ImportedUser;
use crate::passwords;
use crate::rules::import::{ImportEntry, entry, user_of_faulty_line};
use crate::stories::error::{AdminError, AdminErrorKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Lines of an import.
const MAX_LINES: usize = 1_000_000;
/// Bytes of all its lines; what is kept of them takes about as much memory.
const MAX_BYTES: usize = 512 << 20;
/// Bytes of a line.
const MAX_LINE: usize = 64 << 10;
/// Problems that are shown; the others are counted.
const MAX_PROBLEMS: usize = 20;

/// A line as it was in the file.
pub struct StagedLine {
    /// From 1.
    pub number: u64,
    /// It may hold a password hash.
    pub text: String,
    /// Why there is no text.
    pub fault: Option<String>,
}

impl fmt::Debug for StagedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ***", self.number)
    }
}

/// The lines so far.
pub(super) struct Staged {
    existing: Existing,
    users: Vec<(u64, ImportedUser)>,
    hosts: Vec<(u64, ImportedHost)>,
    /// The line of each name, to find those that are in the file twice.
    lines_of_users: HashMap<UserName, u64>,
    lines_of_hosts: HashMap<Fqdn, u64>,
    faulty_users: HashSet<UserName>,
    /// How many hosts follow a host.
    followers: HashMap<Fqdn, usize>,
    problems: Problems,
    lines: usize,
    bytes: usize,
}

impl Staged {
    pub(super) fn new(existing: Existing) -> Self {
        Self {
            existing,
            users: Vec::new(),
            hosts: Vec::new(),
            lines_of_users: HashMap::new(),
            lines_of_hosts: HashMap::new(),
            faulty_users: HashSet::new(),
            followers: HashMap::new(),
            problems: Problems::default(),
            lines: 0,
            bytes: 0,
        }
    }

    /// `check` says why a host cannot be published.
    ///
    /// # Errors
    /// There are too many lines or bytes.
    pub(super) fn take(
        &mut self,
        lines: Vec<StagedLine>,
        check: &impl Fn(&ImportedHost) -> Result<(), String>,
    ) -> Result<(), AdminError> {
        for line in lines {
            self.lines += 1;
            self.bytes = self.bytes.saturating_add(line.text.len());
            if self.lines > MAX_LINES || self.bytes > MAX_BYTES {
                let message = format!(
                    "an import is at most {MAX_LINES} lines and {} MiB long; nothing is stored, divide the file",
                    MAX_BYTES >> 20
                );
                return Err(AdminError::new(AdminErrorKind::Invalid, message));
            }
            let number = line.number;
            if let Err(problem) = self.keep(line, check) {
                self.problems.add(number, problem);
            }
        }
        Ok(())
    }

    fn keep(
        &mut self,
        line: StagedLine,
        check: &impl Fn(&ImportedHost) -> Result<(), String>,
    ) -> Result<(), String> {
        let StagedLine { number, text, fault } = line;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if text.len() > MAX_LINE {
            return Err(format!("it is longer than {MAX_LINE} bytes"));
        }
        let entry =
            entry(&text).inspect_err(|_| self.faulty_users.extend(user_of_faulty_line(&text)))?;
        match entry {
            ImportEntry::User(user) => {
                if let Some(first) = self.lines_of_users.get(&user.name) {
                    return Err(format!("user {} is in line {first} already", user.name));
                }
                self.lines_of_users.insert(user.name.clone(), number);
                if let Err(why) = passwords::check(&user.hash) {
                    self.faulty_users.insert(user.name.clone());
                    return Err(format!("cannot take the password_hash of {}: {why}", user.name));
                }
                self.users.push((number, user));
            }
            ImportEntry::Host(host) => {
                check(&host)?;
                if let Some(first) = self.lines_of_hosts.get(&host.fqdn) {
                    return Err(format!("hostname {} is in line {first} already", host.fqdn));
                }
                self.check_leader(&host)?;
                self.lines_of_hosts.insert(host.fqdn.clone(), number);
                self.hosts.push((number, *host));
            }
        }
        Ok(())
    }

    /// Checks the leader of a host, as far as it is in the file.
    fn check_leader(&mut self, host: &ImportedHost) -> Result<(), String> {
        let Some(fqdn) = &host.leader else { return Ok(()) };
        let followers = self.followers.entry(fqdn.clone()).or_default();
        *followers += 1;
        if *followers > MAX_FOLLOWERS {
            return Err(format!("more than {MAX_FOLLOWERS} hosts follow {fqdn}"));
        }
        let Some(line) = self.lines_of_hosts.get(fqdn) else { return Ok(()) };
        let at = self.hosts.binary_search_by_key(line, |(number, _)| *number);
        let Some((_, leader)) = at.ok().and_then(|at| self.hosts.get(at)) else { return Ok(()) };
        if leader.user != host.user {
            Err(format!("{fqdn}, which it follows, belongs to user {}", leader.user))
        } else if leader.leader.is_some() {
            Err(format!("{fqdn}, which it follows, follows a host itself"))
        } else {
            Ok(())
        }
    }

    /// Finds hosts whose leader stands behind them.
    fn check_order(&mut self) {
        for (line, host) in &self.hosts {
            let leader = host.leader.as_ref();
            let of_leader = leader.and_then(|fqdn| Some((fqdn, self.lines_of_hosts.get(fqdn)?)));
            if let Some((fqdn, of_leader)) = of_leader
                && of_leader > line
            {
                let problem = format!(
                    "it follows {fqdn}, which is in line {of_leader}: put that line before this one"
                );
                self.problems.add(*line, problem);
            }
        }
    }

    /// What the database must store, and the problems so far. With problems it only looks for more.
    pub(super) fn into_import(mut self, at: Millis, uptime: Uptime) -> (Import, Problems) {
        self.check_order();
        let import = Import {
            users: self.users,
            hosts: self.hosts,
            names: self.lines_of_hosts.into_keys().collect(),
            faulty_users: self.faulty_users,
            existing: self.existing,
            store: self.problems.count == 0,
            at,
            uptime,
        };
        (import, self.problems)
    }
}

/// The first problems by line, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: BTreeMap<u64, String>,
    count: u64,
}

impl Problems {
    /// A line has one problem at most.
    pub(super) fn add(&mut self, line: u64, problem: String) {
        self.count += 1;
        self.first.insert(line, problem);
        if self.first.len() > MAX_PROBLEMS {
            self.first.pop_last();
        }
    }

    pub(super) fn into_first(self) -> (Vec<(u64, String)>, u64) {
        (self.first.into_iter().collect(), self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2i$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$jZhab/11I2+caaKeWdIG1g";

    fn line(number: u64, text: &str) -> StagedLine {
        StagedLine { number, text: text.replace("HASH", HASH), fault: None }
    }

    fn problems(lines: &[&str]) -> Vec<(u64, String)> {
        let mut staged = Staged::new(Existing::Refuse);
        let lines = (1..).zip(lines).map(|(number, text)| line(number, text)).collect();
        staged.take(lines, &|_| Ok(())).unwrap();
        let (import, problems) = staged.into_import(Millis(0), Uptime(0));
        let (first, count) = problems.into_first();
        assert_eq!((count == 0, first.len() as u64), (import.store, count.min(20)));
        first
    }

    #[test]
    fn users_and_hosts_are_kept() {
        let user = r#"{"user":"a","email":"a@example.org","password_hash":"HASH"}"#;
        let host = r#"{"hostname":"pc","zone":"example.org","user":"a"}"#;
        assert_eq!(problems(&[user, host]), []);
    }

    #[test]
    fn a_repeated_entry_is_reported_with_both_lines() {
        let user = r#"{"user":"a","email":"a@example.org","password_hash":"HASH"}"#;
        let (host, same) = (
            r#"{"hostname":"a.b","zone":"example.org","user":"a"}"#,
            r#"{"hostname":"A","zone":"b.example.org.","user":"a"}"#,
        );
        let found = problems(&[user, user, host, same]);
        assert_eq!(found[0], (2, "user a is in line 1 already".to_owned()));
        assert_eq!(found[1], (4, "hostname a.b.example.org is in line 3 already".to_owned()));
    }

    #[test]
    fn a_hash_that_cannot_be_verified_is_rejected_without_showing_it() {
        let hash = "$2b$12$abcdefghijklmnopqrstuv";
        let user = format!(r#"{{"user":"a","email":"a@example.org","password_hash":"{hash}"}}"#);
        let found = problems(&[&user]);
        assert!(found[0].1.contains("Argon2") && !found[0].1.contains("$2b$"), "{found:?}");
    }

    #[test]
    fn the_first_twenty_problems_are_kept_and_all_are_counted() {
        let mut found = Problems::default();
        for number in (1..=30).rev() {
            found.add(number, String::new());
        }
        let (first, count) = found.into_first();
        assert_eq!((first.first().unwrap().0, first.last().unwrap().0, count), (1, 20, 30));
    }

    #[test]
    fn a_host_stands_before_those_that_follow_it() {
        let user = r#"{"user":"alice","email":"a@example.org","password_hash":"HASH"}"#;
        let host = |name: &str, user: &str, rest: &str| {
            format!(r#"{{"hostname":"{name}","zone":"example.org","user":"{user}"{rest}}}"#)
        };
        let router = host("router", "alice", r#","ipv6_suffix":"::1","ipv6_prefix":"fd00::/64""#);
        let follows = |name: &str, user: &str, leader: &str| {
            let rest = format!(r#","ipv6_suffix":"::5","follows":"{leader}.example.org""#);
            host(name, user, &rest)
        };
        let nas = follows("nas", "alice", "router");
        assert_eq!(problems(&[user, &router, &nas]), []);
        let first = |lines: &[&str]| problems(lines).remove(0);
        let (line, why) = first(&[user, &nas, &router]);
        assert_eq!(line, 2);
        assert!(why.contains("which is in line 3"), "{why}");
        for (last, why) in [
            (follows("x", "bob", "router"), "belongs to user alice"),
            (follows("x", "alice", "nas"), "follows a host itself"),
            (follows("x", "alice", "x"), "cannot follow itself"),
            (host("x", "alice", r#","follows":"router.example.org""#), "needs an ipv6_suffix"),
            (host("x", "alice", r#","ipv6_suffix":"fe80::1%eth0""#), "zone index"),
            (host("x", "alice", r#","ipv6_prefix":"fd00::/65""#), "length of a prefix"),
        ] {
            let (line, problem) = first(&[user, &router, &nas, &last]);
            assert_eq!(line, 4, "{problem}");
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn an_import_has_bounds() {
        let mut staged = Staged::new(Existing::Refuse);
        staged.bytes = MAX_BYTES;
        assert!(staged.take(vec![line(1, "{}")], &|_| Ok(())).is_err());
        let mut staged = Staged::new(Existing::Refuse);
        staged.lines = MAX_LINES;
        assert!(staged.take(vec![line(1, "{}")], &|_| Ok(())).is_err());
        let long = format!("{{\"user\":\"{}\"}}", "x".repeat(MAX_LINE));
        assert!(problems(&[&long])[0].1.contains("longer than 65536 bytes"));
    }

    #[test]
    fn a_staged_line_is_not_printed() {
        assert_eq!(format!("{:?}", line(7, "HASH")), "line 7: ***");
    }
}
