//! Rows as the driver returns them, and their conversion into model types. A row that does not
//! convert is an error that names table, column and key.

use super::error::DbError;
use super::leases::lease;
use super::row::row;
use crate::log_budget::log_repeated;
use crate::model::address::Addresses;
use crate::model::host::{Acked, Host, HostDetails, HostId, Lan, Leader, Seen};
use crate::model::name::{Fqdn, UserName, ZoneStart};
use crate::model::notice::PendingNotices;
use crate::model::record::{Wanted, WantedRecords};
use crate::model::time::Millis;
use crate::model::user::UserId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::sync::Arc;

/// A page of a list, and where the next page begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// The position of the last row, whether it converted or not; `None` if there was none.
    pub last: Option<(Millis, HostId)>,
}

/// Logs a row that does not convert and leaves it out, so that it does not stop the others.
pub(super) fn readable<T>(row: Result<T, DbError>) -> Option<T> {
    row.inspect_err(|problem| log_repeated!(error, "skipped: {problem}")).ok()
}

/// The columns of [`HostRow`], for every SELECT that fills one: as columns, or as one JSON array.
macro_rules! host_columns {
    () => {
        concat!(host_columns!(@own), ", ", host_columns!(@lan), " AS is_followed")
    };
    (json) => {
        concat!("json_array(", host_columns!(@own), ", json_array(", host_columns!(@lan), "))")
    };
    (@own) => {
        "h.id, h.user_id, h.label, h.zone, h.fqdn, h.dns_ttl, h.expiry_ttl, h.state4, h.ipv4,
         h.state6, h.ipv6, h.acked_ipv4, h.acked_ipv6, h.acked_ttl, h.unpublished_since,
         h.unserved_since, h.suspended_at, h.notice, h.leased_by, h.leased_until, h.version"
    };
    (@lan) => {
        "h.ipv6_suffix, h.follows, h.ipv6_prefix, h.is_offline,
         CASE WHEN EXISTS (SELECT 1 FROM hosts f WHERE f.follows = h.id) THEN 1 ELSE 0 END"
    };
}
pub(super) use host_columns;

row! {
    #[derive(Deserialize)]
    pub(super) struct HostRow {
        id: i64,
        user_id: i64,
        label: String,
        zone: String,
        fqdn: String,
        dns_ttl: Option<i64>,
        expiry_ttl: Option<i64>,
        state4: i64,
        ipv4: Option<String>,
        state6: i64,
        ipv6: Option<String>,
        acked_ipv4: Option<String>,
        acked_ipv6: Option<String>,
        acked_ttl: Option<i64>,
        unpublished_since: Option<i64>,
        unserved_since: Option<i64>,
        suspended_at: Option<i64>,
        notice: Option<String>,
        leased_by: Option<String>,
        leased_until: Option<i64>,
        version: i64,
        ;
        lan: LanRow,
    }
}

impl HostRow {
    /// Since when it is unserved, and its key.
    pub(super) fn position(&self) -> (Millis, HostId) {
        (Millis(self.unserved_since.unwrap_or(0)), HostId(self.id))
    }

    pub(super) fn fqdn(&self) -> &str {
        &self.fqdn
    }

    pub(super) fn host(self) -> Result<Host, DbError> {
        let row = RowOf { table: "hosts", row: self.id };
        let fqdn = row.parsed("fqdn", "not a host name", Fqdn::parse(&self.fqdn))?;
        self.host_of(fqdn)
    }

    /// The host of this name. It shares the text of the name, as does its key in the cache.
    pub(super) fn host_of(self, fqdn: Fqdn) -> Result<Host, DbError> {
        let row = RowOf { table: "hosts", row: self.id };
        let wanted = WantedRecords {
            v4: row.wanted("ipv4", self.state4, self.ipv4.as_deref())?,
            v6: row.wanted("ipv6", self.state6, self.ipv6.as_deref())?,
        };
        let acked = Acked {
            addresses: Addresses {
                v4: row.address("acked_ipv4", self.acked_ipv4.as_deref())?,
                v6: row.address("acked_ipv6", self.acked_ipv6.as_deref())?,
            },
            ttl: row.ttl("acked_ttl", self.acked_ttl)?,
        };
        let zone = ZoneStart::find(&fqdn, &self.label, &self.zone);
        Ok(Host {
            id: HostId(self.id),
            user: UserId(self.user_id),
            fqdn,
            zone_start: row.parsed(
                "zone",
                "label and zone do not make the name",
                zone.ok_or(()),
            )?,
            dns_ttl: row.ttl("dns_ttl", self.dns_ttl)?,
            expiry_ttl: row.ttl("expiry_ttl", self.expiry_ttl)?,
            wanted,
            acked,
            unpublished_since: self.unpublished_since.map(Millis),
            unserved_since: self.unserved_since.map(Millis),
            suspended_at: self.suspended_at.map(Millis),
            notices: row.notices(self.notice.as_deref())?.map(Box::new),
            lan: self.lan.lan(&row)?.into(),
            lease: lease(self.leased_by, self.leased_until).map(Box::new),
            version: self.version,
        })
    }
}

row! {
    #[derive(Deserialize)]
    struct LanRow {
        ipv6_suffix: Option<String>,
        follows: Option<i64>,
        ipv6_prefix: Option<String>,
        is_offline: i64,
        is_followed: i64,
    }
}

impl LanRow {
    fn lan(self, row: &RowOf) -> Result<Lan, DbError> {
        Ok(Lan {
            suffix: row.optional("ipv6_suffix", "not a suffix", self.ipv6_suffix.as_deref())?,
            follows: self.follows.map(HostId),
            is_followed: self.is_followed != 0,
            prefix: row.optional("ipv6_prefix", "not a prefix", self.ipv6_prefix.as_deref())?,
            is_offline: self.is_offline != 0,
        })
    }
}

row! {
    #[derive(Deserialize)]
    #[expect(clippy::struct_field_names, reason = "they are the columns' names")]
    pub(super) struct SeenRow {
        set4_at: Option<i64>,
        set6_at: Option<i64>,
        ipv4_at: Option<i64>,
        ipv6_at: Option<i64>,
    }
}

impl SeenRow {
    pub(super) fn seen(&self) -> Seen {
        Seen {
            v4: self.set4_at.max(self.ipv4_at).map(Millis),
            v6: self.set6_at.max(self.ipv6_at).map(Millis),
        }
    }
}

row! {
    #[derive(Deserialize)]
    pub(super) struct LastRow {
        last_ipv4: Option<String>,
        last_ipv6: Option<String>,
    }
}

impl LastRow {
    pub(super) fn addresses(&self, host: HostId) -> Result<Addresses, DbError> {
        let row = RowOf { table: "hosts", row: host.0 };
        Ok(Addresses {
            v4: row.address("last_ipv4", self.last_ipv4.as_deref())?,
            v6: row.address("last_ipv6", self.last_ipv6.as_deref())?,
        })
    }
}

/// A row of a list, read from a JSON array in the order of the fields: sqlx copies each value of a
/// row by itself, which takes longer than to find the row.
#[derive(Deserialize)]
pub(super) struct DetailsRow {
    host: HostRow,
    seen: SeenRow,
    last: LastRow,
    owner: String,
    owner_suspended_at: Option<i64>,
    expired_at: Option<i64>,
    created_at: i64,
    attempts: i64,
    last_error: Option<String>,
    unserved: Option<String>,
    served_ttl: Option<i64>,
    leader: Option<String>,
    leader_prefix: Option<String>,
}

/// Reads rows that are one JSON text.
pub(super) fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, DbError> {
    serde_json::from_str(json)
        .map_err(|why| DbError::Failed(format!("a row of `hosts` is not as expected: {why}")))
}

impl DetailsRow {
    /// `unwritten`: the host's updates that are not in the database yet.
    pub(super) fn details(
        self,
        unwritten: impl Fn(HostId) -> Seen,
    ) -> Result<HostDetails, DbError> {
        let row = RowOf { table: "hosts", row: self.host.id };
        let last_addresses = self.last.addresses(HostId(self.host.id))?;
        let owner = row.parsed("user_id", "not a user name", UserName::parse(&self.owner))?;
        let host = Arc::new(self.host.host()?);
        let leader = self.leader.map(|fqdn| -> Result<Leader, DbError> {
            let fqdn = row.parsed("follows", "not a host name", Fqdn::parse(&fqdn))?;
            let prefix = self.leader_prefix.as_deref();
            let prefix = row.optional("ipv6_prefix", "not a prefix", prefix)?;
            Ok(Leader { fqdn, prefix })
        });
        Ok(HostDetails {
            seen: unwritten(host.id).or(self.seen.seen()),
            host,
            owner,
            owner_suspended_at: self.owner_suspended_at.map(Millis),
            expired_at: self.expired_at.map(Millis),
            created_at: Millis(self.created_at),
            last_addresses,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            last_error: self.last_error,
            unserved: self.unserved,
            served_ttl: row.ttl("served_ttl", self.served_ttl)?,
            leader: leader.transpose()?,
        })
    }
}

/// The row that is converted, for the error.
pub(super) struct RowOf {
    pub(super) table: &'static str,
    pub(super) row: i64,
}

impl RowOf {
    pub(super) fn parsed<T, E>(
        &self,
        column: &'static str,
        problem: &'static str,
        parsed: Result<T, E>,
    ) -> Result<T, DbError> {
        parsed.map_err(|_| DbError::Row { table: self.table, column, row: self.row, problem })
    }

    pub(super) fn address<A: FromStr>(
        &self,
        column: &'static str,
        text: Option<&str>,
    ) -> Result<Option<A>, DbError> {
        self.optional(column, "not an address", text)
    }

    fn optional<T: FromStr>(
        &self,
        column: &'static str,
        problem: &'static str,
        text: Option<&str>,
    ) -> Result<Option<T>, DbError> {
        text.map(|text| self.parsed(column, problem, text.parse())).transpose()
    }

    pub(super) fn ttl(
        &self,
        column: &'static str,
        seconds: Option<i64>,
    ) -> Result<Option<u32>, DbError> {
        seconds.map(|seconds| self.parsed(column, "not a TTL", u32::try_from(seconds))).transpose()
    }

    fn notices(&self, text: Option<&str>) -> Result<Option<PendingNotices>, DbError> {
        let Some(text) = text else { return Ok(None) };
        let parsed = serde_json::from_str::<PendingNotices>(text);
        Ok(self.parsed("notice", "not a notice", parsed)?.if_any())
    }

    fn wanted<A: FromStr>(
        &self,
        column: &'static str,
        state: i64,
        text: Option<&str>,
    ) -> Result<Wanted<A>, DbError> {
        match (state, self.address(column, text)?) {
            (0, None) => Ok(Wanted::Untouched),
            (1, Some(address)) => Ok(Wanted::Present(address)),
            (2, None) => Ok(Wanted::Absent),
            _ => self.parsed(column, "state and address do not match", Err(())),
        }
    }
}

/// A family's state and address as the columns hold them.
pub(super) fn wanted_columns<A: ToString + Copy>(wanted: Wanted<A>) -> (i64, Option<String>) {
    match wanted {
        Wanted::Untouched => (0, None),
        Wanted::Present(address) => (1, Some(address.to_string())),
        Wanted::Absent => (2, None),
    }
}
