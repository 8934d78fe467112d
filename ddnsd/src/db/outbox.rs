//! Mails from the moment they are owed: in the host's row until DNS holds what they are about, then a row
//! of the outbox, written by the transaction that says so.

use super::Db;
use super::connection::Conn;
use super::error::DbError;
use super::rows::LastRow;
use super::statement::{args, statements};
use super::write::Write;
use crate::model::address::Addresses;
use crate::model::host::{Host, HostId};
use crate::model::notice::PendingNotices;
use crate::model::time::Millis;

statements! {
    // only while the row still owes it
    QUEUE: Indexed =
        "INSERT INTO outbox (kind, recipient, variables, message_id, created_at, next_at)
         SELECT ?, u.email, ?, ?, ?, ? FROM hosts h JOIN users u ON u.id = h.user_id
         WHERE h.id = ? AND h.version = ? AND h.notice IS NOT NULL";
    LAST: Indexed = "SELECT last_ipv4, last_ipv6 FROM hosts WHERE id = ?";
    GIVE_UP: Indexed = "DELETE FROM outbox WHERE failed_at IS NULL AND next_at < ? AND created_at < ?";
}

impl Db {
    /// The addresses a host has, or had before its records were taken down; none for one that is gone.
    ///
    /// # Errors
    /// The database failed, or the row does not convert.
    pub async fn last_addresses(&self, host: HostId) -> Result<Addresses, DbError> {
        let row: Option<LastRow> = self.0.readers.optional(&LAST, args![host.0]).await?;
        row.map_or(Ok(Addresses::default()), |row| row.addresses(host))
    }

    /// Drops mails that were queued before this time and never sent. Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn give_up_mails(&self, before: Millis) -> Result<u64, DbError> {
        self.0.writer.run(GiveUp(before)).await
    }
}

/// What the host's row holds of what is owed.
pub(super) fn column(notices: Option<&PendingNotices>) -> Option<String> {
    // numbers, flags and addresses: it cannot fail
    notices.and_then(|notices| serde_json::to_string(notices).ok())
}

/// Queues what a published host owes to its owner.
pub(super) async fn queue(host: &Host, at: Millis, conn: &mut Conn) -> Result<(), DbError> {
    for (kind, notice) in host.notices.iter().flat_map(PendingNotices::mails) {
        let variables = notice.variables(kind, host.notice_names()).to_string();
        let (kind, id, version) = (kind.as_str(), host.id.0, host.version);
        // never used twice, not even with a database that was restored from an old copy
        let message_id = format!("{kind}.{id}.{version}.{}", at.0);
        let args = args![kind, variables, message_id, at.0, at.0, id, version];
        conn.run(&QUEUE, args).await?;
    }
    Ok(())
}

struct GiveUp(Millis);

impl Write for GiveUp {
    type Output = u64;
    const DURABLE: bool = false;

    async fn run(&self, conn: &mut Conn) -> Result<u64, DbError> {
        conn.run(&GIVE_UP, args![self.0.0, self.0.0]).await
    }
}
