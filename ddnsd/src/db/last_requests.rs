//! The last request for each host: kept in memory, laid over what is read, written in batches, so that
//! a request costs no SQL. What a crash loses of them is only missing from what administrators see.

use super::connection::Conn;
use super::error::DbError;
use super::rows::RequestRow;
use super::statement::{args, statements};
use super::write::Write;
use super::{Db, hosts};
use crate::model::host::HostId;
use crate::model::last_request::LastRequest;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

statements! {
    ONE: Indexed =
        "SELECT host_id, received_at, client, user_agent, return_code, reason
         FROM last_requests WHERE host_id = ?";
    // A request recorded late must not replace a newer one. A row that is more than ten minutes newer was
    // written before the clock was set back: it is replaced.
    WRITE: Indexed =
        "INSERT INTO last_requests (host_id, received_at, client, user_agent, return_code, reason)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (host_id) DO UPDATE SET
             received_at = excluded.received_at, client = excluded.client,
             user_agent = excluded.user_agent, return_code = excluded.return_code,
             reason = excluded.reason
         WHERE received_at - excluded.received_at NOT BETWEEN 1 AND 600000",
        mariadb
        // received_at is assigned last, because MariaDB compares with the value already assigned
        "INSERT INTO last_requests (host_id, received_at, client, user_agent, return_code, reason)
         VALUES (?, ?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE
             client = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 client, VALUES(client)),
             user_agent = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 user_agent, VALUES(user_agent)),
             return_code = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 return_code, VALUES(return_code)),
             reason = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 reason, VALUES(reason)),
             received_at = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 received_at, VALUES(received_at))";
}

/// Hosts in one job, so that other writes are not held up for long.
const SLICE: usize = 1_000;
/// Hosts whose last request is kept in memory; beyond, a host's first is not noted until the next write.
const MOST: usize = 500_000;
/// From so many on they should be written soon.
const MANY: usize = 50_000;

/// What is not yet written, one at most for each host.
#[derive(Default)]
pub(super) struct UnwrittenRequests {
    noted: DashMap<HostId, LastRequest>,
    count: AtomicUsize,
}

impl UnwrittenRequests {
    fn note(&self, host: HostId, request: LastRequest) {
        match self.noted.entry(host) {
            // one that was refused, or waited for the name server, may be noted after one that came later
            Entry::Occupied(mut known) => {
                if known.get().at <= request.at {
                    known.insert(request);
                }
            }
            Entry::Vacant(new) => {
                if self.count.fetch_add(1, Ordering::Relaxed) < MOST {
                    new.insert(request);
                } else {
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Forgets what was written, unless another one came since.
    fn written(&self, host: HostId, request: &LastRequest) {
        if self.noted.remove_if(&host, |_, now| now == request).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Db {
    /// Notes the last request for a host.
    pub fn record_request(&self, host: HostId, request: LastRequest) {
        self.0.requests.note(host, request);
    }

    /// Whether so many requests are noted that they should be written soon.
    pub fn should_flush_requests(&self) -> bool {
        self.0.requests.count.load(Ordering::Relaxed) >= MANY
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// The database failed; the rest stays noted.
    pub async fn flush_requests(&self) -> Result<(), DbError> {
        let requests = &self.0.requests;
        let noted: Vec<HostId> = requests.noted.iter().map(|entry| *entry.key()).collect();
        for hosts in noted.chunks(SLICE) {
            let current = |host: &HostId| Some((*host, requests.noted.get(host)?.clone()));
            let slice: Arc<[_]> = hosts.iter().filter_map(current).collect();
            self.0.writer.run(Flush(Arc::clone(&slice))).await?;
            for (host, written) in slice.iter() {
                requests.written(*host, written);
            }
        }
        Ok(())
    }

    /// The last request for a host; `None` if none was ever seen.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn last_request(&self, host: HostId) -> Result<Option<LastRequest>, DbError> {
        // memory first: a flush in between would otherwise hide it from both
        if let Some(noted) = self.0.requests.noted.get(&host) {
            return Ok(Some(noted.clone()));
        }
        let row: Option<RequestRow> = self.0.readers.optional(&ONE, args![host.0]).await?;
        row.map(RequestRow::request).transpose()
    }
}

struct Flush(Arc<[(HostId, LastRequest)]>);

impl Write for Flush {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let row = |(host, request): &(HostId, LastRequest)| {
            let LastRequest { at, client, user_agent: agent, return_code: word, reason } = request;
            let (agent, reason) =
                (agent.as_deref().map(str::to_owned), reason.as_deref().map(str::to_owned));
            args![host.0, at.0, client.to_string(), agent, &**word, reason].into()
        };
        let there = hosts::there(self.0.iter().map(|(host, _)| *host), conn).await?;
        let rows = self.0.iter().filter(|(host, _)| there.contains(host)).map(row);
        conn.run_each(&WRITE, rows.collect()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Millis;
    use std::borrow::Cow;

    #[test]
    fn a_request_that_ends_late_does_not_hide_one_that_came_after_it() {
        let requests = UnwrittenRequests::default();
        for at in [1, 3, 2] {
            let client = [192, 0, 2, 1].into();
            let (word, at) = (Cow::Borrowed("good"), Millis(at));
            requests.note(
                HostId(7),
                LastRequest { at, client, user_agent: None, return_code: word, reason: None },
            );
        }
        let noted = requests.noted.get(&HostId(7)).map(|request| request.at);
        assert_eq!((noted, requests.count.load(Ordering::Relaxed)), (Some(Millis(3)), 1));
    }
}
