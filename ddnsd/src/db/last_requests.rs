//! The last request for each host, for administrators. A request costs no SQL: it is recorded in
//! memory, and batches are written. A crash loses one flush interval at most.

use super::connection::Conn;
use super::error::DbError;
use super::existing::run_for_existing;
use super::handle::Db;
use super::row::row;
use super::rows::RowOf;
use super::statement::{Statements, args, statements};
use super::unwritten::Batch;
use super::write::Write;
use crate::model::client::ClientKey;
use crate::model::host::HostId;
use crate::model::last_request::LastRequest;
use crate::model::time::Millis;
use crate::model::user::UserId;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const STATEMENTS: Statements = &[READING, WRITING];

/// Hosts whose last request is kept in memory. Beyond it, requests for further hosts are not
/// recorded until the next flush.
const MAX_UNWRITTEN: usize = 500_000;
/// From this number on they should be flushed soon.
const FLUSH_SOON: usize = 50_000;

statements! { READING;
    ONE: Indexed =
        "SELECT host_id, received_at, client, updated_from, user_agent, return_code, reason
         FROM last_requests WHERE host_id = ?";
    // a bound, because a wrong password may cause it
    OF_USER: Indexed =
        "SELECT h.id AS host_id, r.updated_from
         FROM hosts h LEFT JOIN last_requests r ON r.host_id = h.id
         WHERE h.user_id = ? ORDER BY h.fqdn LIMIT 100";
}

row! {
    struct RequestRow {
        host_id: i64,
        received_at: i64,
        client: String,
        updated_from: Option<String>,
        user_agent: Option<String>,
        return_code: String,
        reason: Option<String>,
    }
}

impl RequestRow {
    fn request(self) -> Result<LastRequest, DbError> {
        let row = RowOf { table: "last_requests", row: self.host_id };
        Ok(LastRequest {
            at: Millis(self.received_at),
            client: row.parsed("client", "not an address", self.client.parse())?,
            updated_from: updated_from(&row, self.updated_from)?,
            user_agent: self.user_agent.map(Arc::from),
            return_code: self.return_code.into(),
            reason: self.reason.map(String::into_boxed_str),
        })
    }
}

fn updated_from(row: &RowOf, text: Option<String>) -> Result<Option<IpAddr>, DbError> {
    text.map(|text| row.parsed("updated_from", "not an address", text.parse())).transpose()
}

row! {
    /// Where a host was last updated from.
    struct UpdatedFromRow {
        host_id: i64,
        updated_from: Option<String>,
    }
}

impl UpdatedFromRow {
    fn host(&self) -> HostId {
        HostId(self.host_id)
    }

    fn client(self) -> Result<Option<IpAddr>, DbError> {
        updated_from(&RowOf { table: "last_requests", row: self.host_id }, self.updated_from)
    }
}

impl Db {
    /// The last request for a host.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn last_request(&self, host: HostId) -> Result<Option<LastRequest>, DbError> {
        // memory is read first: a flush between the two reads would hide the request from both
        if let Some(unwritten) = self.0.last_requests.get(host) {
            return Ok(Some(unwritten));
        }
        let row: Option<RequestRow> = self.0.readers.optional(&ONE, args![host.0]).await?;
        row.map(RequestRow::request).transpose()
    }

    /// Whether one of the user's first 100 hosts was last updated from this client.
    ///
    /// # Errors
    /// The database failed, or a row does not convert.
    pub async fn is_updated_from(&self, user: UserId, client: ClientKey) -> Result<bool, DbError> {
        let rows: Vec<UpdatedFromRow> = self.0.readers.all(&OF_USER, args![user.0]).await?;
        for row in rows {
            let unwritten = self.0.last_requests.get(row.host());
            let address = match unwritten.and_then(|request| request.updated_from) {
                Some(address) => Some(address),
                None => row.client()?,
            };
            if address.is_some_and(|address| ClientKey::from(address) == client) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn record_request(&self, host: HostId, request: LastRequest) {
        let unwritten = &self.0.last_requests;
        if unwritten.len() < MAX_UNWRITTEN || unwritten.get(host).is_some() {
            unwritten.record(host, request, keep_later);
        }
    }

    pub fn should_flush_requests(&self) -> bool {
        self.0.last_requests.len() >= FLUSH_SOON
    }
}

/// A request that waited for the name server is recorded after one that came later.
fn keep_later(waiting: &mut LastRequest, request: LastRequest) {
    let updated_from = if waiting.at <= request.at {
        let updated_from = request.updated_from.or(waiting.updated_from);
        *waiting = request;
        updated_from
    } else {
        waiting.updated_from.or(request.updated_from)
    };
    waiting.updated_from = updated_from;
}

statements! { WRITING;
    // A request recorded late must not replace a newer one. A row that is more than ten minutes
    // newer was written before the clock was set back: it is replaced.
    WRITE: Indexed =
        "INSERT INTO last_requests
             (host_id, received_at, client, updated_from, user_agent, return_code, reason)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (host_id) DO UPDATE SET
             received_at = excluded.received_at, client = excluded.client,
             updated_from = COALESCE(excluded.updated_from, updated_from),
             user_agent = excluded.user_agent, return_code = excluded.return_code,
             reason = excluded.reason
         WHERE received_at - excluded.received_at NOT BETWEEN 1 AND 600000",
        mariadb
        // received_at is assigned last, because MariaDB compares with the value already assigned
        "INSERT INTO last_requests
             (host_id, received_at, client, updated_from, user_agent, return_code, reason)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE
             client = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 client, VALUES(client)),
             updated_from = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 updated_from, COALESCE(VALUES(updated_from), updated_from)),
             user_agent = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 user_agent, VALUES(user_agent)),
             return_code = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 return_code, VALUES(return_code)),
             reason = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 reason, VALUES(reason)),
             received_at = IF(received_at - VALUES(received_at) BETWEEN 1 AND 600000,
                 received_at, VALUES(received_at))";
}

impl Db {
    /// Writes the recorded requests.
    ///
    /// # Errors
    /// The database failed; the requests stay recorded.
    pub async fn flush_requests(&self) -> Result<(), DbError> {
        self.0.last_requests.flush(|batch| self.0.writer.run(WriteRequests(batch))).await
    }
}

struct WriteRequests(Batch<LastRequest>);

impl Write for WriteRequests {
    type Output = ();
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        let row = |(host, request): &(HostId, LastRequest)| {
            let LastRequest { at, client, updated_from, user_agent, return_code, reason } = request;
            let updated_from = updated_from.map(|address| address.to_string());
            let user_agent = user_agent.as_deref().map(str::to_owned);
            let reason = reason.as_deref().map(str::to_owned);
            args![
                host.0,
                at.0,
                client.to_string(),
                updated_from,
                user_agent,
                &**return_code,
                reason
            ]
            .into()
        };
        run_for_existing(&WRITE, &self.0, row, conn).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::unwritten::Unwritten;
    use std::borrow::Cow;

    #[test]
    fn a_request_that_ends_late_does_not_hide_one_that_came_after_it() {
        let requests = Unwritten::default();
        for at in [1, 3, 2] {
            let client = [192, 0, 2, 1].into();
            let return_code = Cow::Borrowed("good");
            let request = LastRequest {
                at: Millis(at),
                client,
                updated_from: (at == 1).then_some(client),
                user_agent: None,
                return_code,
                reason: None,
            };
            requests.record(HostId(7), request, keep_later);
        }
        let last = requests.get(HostId(7)).unwrap();
        assert_eq!((last.at, requests.len()), (Millis(3), 1));
        assert!(last.updated_from.is_some(), "a request that was rejected keeps it");
    }
}
