//! Mails to send. A notice waits in the host's row until DNS holds the change it reports. The
//! transaction that records the acknowledgement moves it to the outbox.

use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::rows::LastRow;
use super::statement::{Statements, args, statements};
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::model::notice::PendingNotices;
use crate::model::time::Millis;

pub(super) const STATEMENTS: Statements = &[QUEUEING, READING];

statements! { QUEUEING;
    // only while the row still holds the notice
    QUEUE: Indexed =
        "INSERT INTO outbox (kind, recipient, variables, message_id, created_at, next_at)
         SELECT ?, u.email, ?, ?, ?, ? FROM hosts h JOIN users u ON u.id = h.user_id
         WHERE h.id = ? AND h.version = ? AND h.notice IS NOT NULL";
}

/// Queues the mails about a host that DNS acknowledged.
pub(super) async fn queue(host: &Host, at: Millis, conn: &mut Conn) -> Result<(), DbError> {
    for (kind, notice) in host.notices.as_deref().into_iter().flat_map(PendingNotices::mails) {
        let variables = notice.variables(kind, &host.names()).to_string();
        let id = host.id.0;
        // the time keeps it unique in a database that was restored from an old copy
        let message_id = format!("{}.{id}.{}.{}", kind.as_str(), host.version, at.0);
        let args = args![kind.as_str(), variables, message_id, at.0, at.0, id, host.version];
        conn.run(&QUEUE, args).await?;
    }
    Ok(())
}

/// The notices as the host's row holds them.
pub(super) fn column(notices: Option<&PendingNotices>) -> Option<String> {
    // numbers, flags and addresses: it cannot fail
    notices.and_then(|notices| serde_json::to_string(notices).ok())
}

statements! { READING;
    LAST: Indexed = "SELECT last_ipv4, last_ipv6 FROM hosts WHERE id = ?";
}

impl Db {
    /// The addresses that a host has, or had before its records were removed; none for a deleted
    /// host.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn last_addresses(&self, host: HostId) -> Result<Addresses, DbError> {
        let row: Option<LastRow> = self.0.readers.optional(&LAST, args![host.0]).await?;
        row.map_or(Ok(Addresses::default()), |row| row.addresses(host))
    }
}
