//! Every part's counters by name, in one list for `ddnsctl status` and for `/metrics`: a row here
//! shows in both.

use super::Status;
use crate::counters::{
    ConnectionCounters, Counter, DatabaseCounters, DnsCounters, Histogram, HttpCounters,
    LimitCounters, MailCounters, PasswordCounters, Reading, ReloadCounters,
};
use crate::db::Counts;
use crate::stories::update::UpdateCounters;
use std::sync::Arc;

/// Every part's counters.
#[derive(Clone, Default)]
pub struct Counters {
    pub updates: Arc<UpdateCounters>,
    pub http: Arc<HttpCounters>,
    pub connections: Arc<ConnectionCounters>,
    pub dns: Arc<DnsCounters>,
    pub passwords: Arc<PasswordCounters>,
    pub limits: Arc<LimitCounters>,
    pub mail: Arc<MailCounters>,
    pub database: Arc<DatabaseCounters>,
    pub reloads: Arc<ReloadCounters>,
}

/// A number with its name and meaning.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Group and name: `dns.messages`. For a queue, its name.
    pub name: String,
    /// One sentence without a full stop, the same for every figure of the group `updates`.
    pub help: &'static str,
    pub value: u64,
}

/// How long something took, each time since the start.
#[derive(Clone, Debug)]
pub struct Durations {
    /// Group and name: `http.updates`.
    pub name: &'static str,
    pub help: &'static str,
    pub reading: Reading,
}

impl Counters {
    /// Counters in display order.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let Counters {
            updates, connections, dns, passwords, limits, mail, database, reloads, ..
        } = self;
        let checks = &dns.checks;
        let updates = updates.by_code().map(|(code, counter)| Figure {
            name: format!("updates.{}", code.as_str()),
            help: "Hosts in updates by return code",
            value: counter.get(),
        });
        let others: [(&str, &str, &Counter); 33] = [
            ("connections.accepted", "Connections accepted", &connections.accepted),
            (
                "connections.refused",
                "Connections closed at once because their client had too many",
                &connections.refused,
            ),
            ("connections.evicted", "Connections closed to make room", &connections.evicted),
            ("http.overloaded", "Requests 911 at once: too many", &self.http.overloaded),
            ("dns.messages", "Messages sent to the name server, retries included", &dns.messages),
            ("dns.hosts", "Hosts in these messages", &dns.hosts),
            ("dns.tcp", "Messages sent by TCP", &dns.tcp),
            ("dns.refused", "Messages refused with an RCODE", &dns.refused),
            ("dns.unanswered", "Messages without a valid answer", &dns.unanswered),
            ("dns.dropped", "Answers that do not count", &dns.dropped),
            ("checks.messages", "Messages that checked what DNS serves", &checks.messages),
            ("checks.hosts", "Hosts in these messages", &checks.hosts),
            ("checks.queries", "Queries for what hides a host", &checks.queries),
            ("checks.differed", "Checks that found something else", &checks.differed),
            ("checks.unknown", "Checks without an answer that counts", &checks.unknown),
            ("checks.repaired", "Hosts published again after a check", &checks.repaired),
            ("checks.unserved", "Hosts that became unserved", &checks.unserved),
            ("passwords.hashed", "Runs of Argon2", &passwords.hashed),
            ("passwords.cached_right", "Correct passwords in the cache", &passwords.cached_right),
            ("passwords.cached_wrong", "Wrong passwords in the cache", &passwords.cached_wrong),
            ("passwords.busy", "Logins refused because too many waited", &passwords.busy),
            ("limits.bad_refused", "Requests over the limit of bad ones", &limits.bad_refused),
            ("limits.good_refused", "Requests over the limit of good ones", &limits.good_refused),
            ("mail.sent", "Mails that the mail server accepted", &mail.sent),
            ("mail.retried", "Failed attempts that are repeated", &mail.retried),
            ("mail.failed", "Mails that are not tried any more", &mail.failed),
            ("database.commits", "Committed transactions", &database.commits),
            ("database.writes", "Writes in transactions", &database.writes),
            ("database.failed", "Failed transactions", &database.failed),
            ("database.reads", "Queries of readers", &database.reads),
            ("database.failed_reads", "Failed queries of readers", &database.failed_reads),
            ("reloads.succeeded", "Reloads of the configuration", &reloads.succeeded),
            ("reloads.failed", "Reloads that failed", &reloads.failed),
        ];
        let others = others.map(|(name, help, counter)| figure(name, help, counter.get()));
        updates.chain(others).collect()
    }

    pub(super) fn durations(&self) -> Vec<Durations> {
        let of =
            |name, help, histogram: &Histogram| Durations { name, help, reading: histogram.read() };
        let Counters { http, passwords, database, .. } = self;
        vec![
            of("http.update", "Updates from the end of the head to the reply", &http.updates),
            of("passwords.argon2", "Runs of Argon2", &passwords.runs),
            of("database.transaction", "Transactions of the writer", &database.transactions),
            of("database.query", "Queries of readers", &database.queries),
        ]
    }
}

impl Status {
    /// Those of the name server in ddnsd itself, if it serves.
    pub(super) fn server_figures(&self) -> Vec<Figure> {
        let Some(server) = self.dns.own_server() else { return Vec::new() };
        let counters = server.counters();
        let named: [(&str, &str, &Counter); 13] = [
            ("server.udp", "Queries received by UDP", &counters.udp),
            ("server.tcp", "Queries received by TCP", &counters.tcp),
            ("server.noerror", "Answers with NOERROR", &counters.noerror),
            ("server.nxdomain", "Answers with NXDOMAIN", &counters.nxdomain),
            ("server.refused", "Answers with REFUSED", &counters.refused),
            ("server.other_errors", "Answers with another RCODE", &counters.other_errors),
            ("server.truncated", "Answers too long for UDP", &counters.truncated),
            ("server.limited", "Answers withheld from networks with too many", &counters.limited),
            ("server.dropped", "Messages without an answer", &counters.dropped),
            (
                "server.connections_refused",
                "TCP connections of clients with too many",
                &counters.connections_refused,
            ),
            ("server.transfers", "Zone transfers begun", &counters.transfers),
            ("server.notifies", "NOTIFY messages sent, retries included", &counters.notifies),
            (
                "server.notifies_failed",
                "Changes that a secondary acknowledged no NOTIFY about",
                &counters.notifies_failed,
            ),
        ];
        named.into_iter().map(|(name, help, counter)| figure(name, help, counter.get())).collect()
    }

    /// What waits, in display order.
    pub(super) fn queues(&self, changes: usize, rows: Option<&Counts>) -> Vec<Figure> {
        let (jobs, touches) = self.db.waiting();
        let mut queues = vec![
            figure("database", "", jobs as u64),
            figure("keepalives", "", touches as u64),
            figure("dns", "", changes as u64),
            figure("checks", "", self.counters.dns.checks.waiting.get()),
            figure("passwords", "", self.passwords.waiting() as u64),
        ];
        // without an answer of the database they are unknown
        if let Some(rows) = rows {
            queues.push(figure("mail", "", rows.mails_waiting));
            queues.push(figure("mail_failed", "", rows.mails_failed));
        }
        queues
    }
}

fn figure(name: &str, help: &'static str, value: u64) -> Figure {
    Figure { name: name.to_owned(), help, value }
}
