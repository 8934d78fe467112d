//! The zones of the built-in name server. At the start and at a reload, they are loaded from the
//! database before they are served. Hosts of zones that are not served stay in the database,
//! unpublished, and a warning counts them. The mark of the SOA serials is stored ahead.

use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::dns::builtin::{BuiltinServer, PreparedZones};
use crate::log_budget::log_repeated;
use crate::model::host::Defaults;
use crate::model::name::Fqdn;
use crate::model::time::Millis;
use std::time::Duration;
use tracing::{info, warn};

/// Rows that are read at a time.
const PAGE: u32 = 2_000;
/// `meta`: no SOA serial above it was served.
const SERIAL: &str = "serial";
/// Until the mark is stored again, after the database failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Zones that are named in a warning.
const MAX_NAMED: usize = 10;
/// A start must not wait for more zones than this.
const MAX_CHECKED: usize = 10_000;

/// Before anything is served: SOA serials above all of the previous run.
///
/// # Errors
/// The database failed.
pub async fn start_serials(server: &BuiltinServer, db: &Db, now: Millis) -> Result<(), DbError> {
    let stored = db.meta(SERIAL).await?.and_then(|mark| mark.parse().ok());
    let seconds = u64::try_from(now.0 / 1_000).unwrap_or_default();
    let mark = server.start_serials(stored, seconds);
    db.set_meta(SERIAL, mark.to_string()).await?;
    server.serials_are_covered(mark);
    Ok(())
}

/// Stores the next mark each time before the serials run out.
pub async fn keep_serials_covered(server: BuiltinServer, db: Db) {
    loop {
        let mark = server.serials_run_low().await;
        while let Err(problem) = db.set_meta(SERIAL, mark.to_string()).await {
            log_repeated!(warn, "SOA serials do not rise until their mark is stored: {problem}");
            tokio::time::sleep(PAUSE).await;
        }
        server.serials_are_covered(mark);
    }
}

/// At the stop, when nothing is published any more.
///
/// # Errors
/// The database failed: as after a kill, the next run starts above the stored mark.
pub async fn end_serials(server: &BuiltinServer, db: &Db) -> Result<(), DbError> {
    db.set_meta(SERIAL, server.end_serials().to_string()).await
}

/// Fills the zones that are not served yet with what the database says that DNS should hold.
///
/// # Errors
/// The database failed.
pub async fn load(zones: &PreparedZones, db: &Db, defaults: Defaults) -> Result<(), DbError> {
    for zone in zones.new_zones() {
        let mut after = String::new();
        let mut count = 0;
        loop {
            let (hosts, next) = db.served_hosts(zone, &after, PAGE).await?;
            count += hosts.len();
            for host in hosts {
                let ttl = host.ttl.unwrap_or(defaults.dns_ttl);
                zones.load(zone, &host.fqdn, host.addresses, ttl);
            }
            let Some(next) = next else { break };
            after = next;
        }
        info!(%zone, hosts = count, "zone loaded");
    }
    Ok(())
}

/// Marks the hosts of zones that are not served unpublished, so that an update of one is not taken
/// for done, and logs one warning. A database that fails stops neither a start nor a reload.
pub async fn mark_unserved(server: &BuiltinServer, db: &Db, clock: Clock) {
    if let Err(problem) = mark_displaced(server, db, clock.now().wall).await {
        warn!("cannot mark hosts whose names are taken: {problem}");
    }
    let (mut hosts, mut zones) = (0, Vec::new());
    let mut after = String::new();
    for _ in 0..MAX_CHECKED {
        match mark_next(server, db, &after, clock.now().wall).await {
            Ok(None) => break,
            Ok(Some((zone, unserved))) => {
                if unserved > 0 {
                    hosts += unserved;
                    zones.push(zone.clone());
                }
                after = zone;
            }
            Err(problem) => return warn!("cannot look for hosts of zones not served: {problem}"),
        }
    }
    if zones.is_empty() {
        return;
    }
    let more = if zones.len() > MAX_NAMED { ", …" } else { "" };
    let named = zones.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    warn!(
        hosts,
        zones = zones.len(),
        "the database has hosts in zones that dns_service.builtin.zones does not name: {named}{more} \
         (they are kept, and not in DNS; add the zones, or delete the hosts)"
    );
}

async fn mark_displaced(server: &BuiltinServer, db: &Db, now: Millis) -> Result<(), DbError> {
    let taken = server.take_displaced();
    for name in &taken {
        let host = db.readable_host(name).await?;
        if let Some(host) = host.filter(|host| host.unpublished_since.is_none()) {
            db.mark_unpublished(host, now).await?;
        }
    }
    if !taken.is_empty() {
        let more = if taken.len() > MAX_NAMED { ", …" } else { "" };
        let named = taken.iter().take(MAX_NAMED).map(Fqdn::as_str).collect::<Vec<_>>().join(", ");
        warn!(
            hosts = taken.len(),
            "hosts are not served, because their names are those of name servers, or lie in another \
             served zone: {named}{more} (they are kept; delete them, or change dns_service.builtin)"
        );
    }
    Ok(())
}

/// The next zone after this one, and how many of its hosts are not served.
async fn mark_next(
    server: &BuiltinServer,
    db: &Db,
    after: &str,
    now: Millis,
) -> Result<Option<(String, u64)>, DbError> {
    let Some(zone) = db.zone_after(after).await? else { return Ok(None) };
    if server.serves(&zone) {
        return Ok(Some((zone, 0)));
    }
    let hosts = db.hosts_of_zone(&zone).await?;
    db.mark_zone_unpublished(zone.clone(), now).await?;
    Ok(Some((zone, hosts)))
}
