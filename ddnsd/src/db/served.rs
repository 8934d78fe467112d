//! Hosts of a zone that ddnsd serves itself, and of one that it does not serve.

use super::cache::Caches;
use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::row::row;
use super::rows::{RowOf, readable};
use super::statement::{Statements, args, statements};
use super::write::Write;
use crate::model::address::Addresses;
use crate::model::name::{Fqdn, Zone};
use crate::model::time::Millis;

pub(super) const STATEMENTS: Statements = &[READING, MARKING];

/// What DNS should hold for a host.
#[derive(Clone, Debug)]
pub struct ServedHost {
    pub fqdn: Fqdn,
    pub addresses: Addresses,
    /// The TTL that was last published, else the host's own; `None` is the default.
    pub ttl: Option<u32>,
}

row! {
    struct ServedRow {
        id: i64,
        fqdn: String,
        ttl: Option<i64>,
        ipv4: Option<String>,
        ipv6: Option<String>,
    }
}

statements! { READING;
    SERVED_HOSTS: Indexed =
        "SELECT id, fqdn, COALESCE(acked_ttl, dns_ttl) AS ttl, ipv4, ipv6 FROM hosts
         WHERE zone = ? AND fqdn > ? AND (state4 = 1 OR state6 = 1) ORDER BY fqdn LIMIT ?",
        mariadb
        "SELECT id, fqdn, COALESCE(acked_ttl, dns_ttl) AS ttl, ipv4, ipv6
         FROM hosts FORCE INDEX (hosts_by_zone)
         WHERE zone = ? AND fqdn > ? AND (state4 = 1 OR state6 = 1) ORDER BY fqdn LIMIT ?";
    COUNT_OF_ZONE: FullScan = "SELECT COUNT(*) FROM hosts WHERE zone = ?";
}

impl Db {
    /// A page of a zone's hosts with an address, in byte order of their names after this one.
    /// Returns where the next page begins, too; `None` at the end.
    ///
    /// # Errors
    /// The database failed. A row that does not convert is logged and left out.
    pub async fn served_hosts(
        &self,
        zone: &Zone,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<ServedHost>, Option<String>), DbError> {
        let args = args![zone.as_str(), after, limit];
        let rows: Vec<ServedRow> = self.0.readers.all(&SERVED_HOSTS, args).await?;
        let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
        let next = rows.last().filter(|_| is_full).map(|row| row.fqdn.clone());
        let hosts = rows.into_iter().map(ServedRow::host).filter_map(readable).collect();
        Ok((hosts, next))
    }

    /// How many hosts a zone has.
    ///
    /// # Errors
    /// The database failed.
    pub async fn hosts_of_zone(&self, zone: &str) -> Result<u64, DbError> {
        let row: Option<(i64,)> = self.0.readers.optional(&COUNT_OF_ZONE, args![zone]).await?;
        Ok(row.map_or(0, |(count,)| count.unsigned_abs()))
    }
}

impl ServedRow {
    fn host(self) -> Result<ServedHost, DbError> {
        let row = RowOf { table: "hosts", row: self.id };
        Ok(ServedHost {
            fqdn: row.parsed("fqdn", "not a host name", Fqdn::parse(&self.fqdn))?,
            addresses: Addresses {
                v4: row.address("ipv4", self.ipv4.as_deref())?,
                v6: row.address("ipv6", self.ipv6.as_deref())?,
            },
            ttl: row.ttl("ttl", self.ttl)?,
        })
    }
}

statements! { MARKING;
    // hosts without an address, too: their removal is not served either
    MARK_ZONE_UNPUBLISHED: FullScan =
        "UPDATE hosts SET unpublished_since = ?, version = version + 1
         WHERE zone = ? AND unpublished_since IS NULL AND (state4 <> 0 OR state6 <> 0)";
}

impl Db {
    /// Marks every host of a zone that ever had a record unpublished: DNS does not hold it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_zone_unpublished(&self, zone: String, at: Millis) -> Result<(), DbError> {
        self.0.writer.run(MarkZoneUnpublished { zone, at }).await
    }
}

struct MarkZoneUnpublished {
    zone: String,
    at: Millis,
}

impl Write for MarkZoneUnpublished {
    type Output = ();
    const DURABLE: bool = true;
    const OWN_TRANSACTION: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&MARK_ZONE_UNPUBLISHED, args![self.at.0, self.zone.as_str()]).await?;
        Ok(())
    }

    fn update_caches(&self, (): &(), caches: &Caches) {
        caches.hosts.clear();
    }
}
