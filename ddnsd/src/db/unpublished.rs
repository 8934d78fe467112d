//! Lists the hosts whose wanted records DNS is not known to hold.

use super::error::DbError;
use super::handle::Db;
use super::leases;
use super::row::row;
use super::rows::{Page, RowOf, readable};
use super::statement::{Statements, args, statements};
use crate::model::host::HostId;
use crate::model::lease::Lease;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;

pub(super) const STATEMENTS: Statements = &[LISTING];

/// Which unpublished hosts to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpublishedKind {
    /// Hosts that should have a record.
    WithAddress,
    /// Hosts whose records are only to be removed.
    WithoutAddress,
}

/// A host whose wanted records DNS is not known to hold.
#[derive(Clone, Debug)]
pub struct UnpublishedHost {
    pub host: HostId,
    pub fqdn: Fqdn,
    pub zone: Zone,
    /// How often publishing it failed.
    pub attempts: u32,
    pub since: Millis,
    pub version: i64,
    /// Whether the last attempt failed.
    pub has_failed: bool,
    /// The daemon that has to publish it.
    pub lease: Option<Lease>,
}

row! {
    struct UnpublishedRow {
        unpublished_since: i64,
        id: i64,
        fqdn: String,
        zone: String,
        attempts: i64,
        version: i64,
        has_failed: i64,
        leased_by: Option<String>,
        leased_until: Option<i64>,
    }
}

statements! { LISTING;
    UNPUBLISHED_REMOVALS: Indexed =
        "SELECT unpublished_since, id, fqdn, zone, version, attempts,
             last_error IS NOT NULL AS has_failed, leased_by, leased_until
         FROM hosts
         WHERE unpublished_since >= ? AND (unpublished_since > ? OR id > ?)
             AND state4 <> 1 AND state6 <> 1
         ORDER BY unpublished_since, id LIMIT ?";
    UNPUBLISHED_ADDRESSES: Indexed =
        "SELECT unpublished_since, id, fqdn, zone, version, attempts,
             last_error IS NOT NULL AS has_failed, leased_by, leased_until
         FROM hosts
         WHERE unpublished_since >= ? AND (unpublished_since > ? OR id > ?)
             AND (state4 = 1 OR state6 = 1)
         ORDER BY unpublished_since, id LIMIT ?";
}

impl Db {
    /// A page of unpublished hosts after a position, longest waiting first.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn unpublished(
        &self,
        kind: UnpublishedKind,
        after: (Millis, HostId),
        limit: u32,
    ) -> Result<Page<UnpublishedHost>, DbError> {
        let sql = match kind {
            UnpublishedKind::WithAddress => &UNPUBLISHED_ADDRESSES,
            UnpublishedKind::WithoutAddress => &UNPUBLISHED_REMOVALS,
        };
        let (Millis(since), HostId(id)) = after;
        let rows: Vec<UnpublishedRow> =
            self.0.readers.all(sql, args![since, since, id, limit]).await?;
        let last = rows.last().map(|row| (Millis(row.unpublished_since), HostId(row.id)));
        let rows = rows.into_iter().map(UnpublishedRow::unpublished).filter_map(readable).collect();
        Ok(Page { rows, last })
    }
}

impl UnpublishedRow {
    fn unpublished(self) -> Result<UnpublishedHost, DbError> {
        let row = RowOf { table: "hosts", row: self.id };
        Ok(UnpublishedHost {
            host: HostId(self.id),
            fqdn: row.parsed("fqdn", "not a host name", Fqdn::parse(&self.fqdn))?,
            zone: row.parsed("zone", "not a zone name", Zone::parse(&self.zone))?,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            since: Millis(self.unpublished_since),
            version: self.version,
            has_failed: self.has_failed != 0,
            lease: leases::lease(self.leased_by, self.leased_until),
        })
    }
}
