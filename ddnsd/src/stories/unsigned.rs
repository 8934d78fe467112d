//! In: the zones that have hosts, and the configured keys. Out: one warning that counts the zones
//! without a key and names the first ten: their updates go unsigned.

use crate::config::ZoneKeys;
use crate::db::{Db, DbError};
use crate::model::name::Zone;
use tracing::warn;

const MAX_NAMED: usize = 10;
/// A start must not wait for more zones than this.
const MAX_CHECKED: usize = 10_000;

/// Logs the warning, if there is such a zone. A database that fails stops neither a start nor a
/// reload.
pub async fn warn_of_zones_without_key(keys: &ZoneKeys, db: &Db) {
    let zones = match zones_without_key(keys, db).await {
        Ok(zones) if zones.is_empty() => return,
        Ok(zones) => zones,
        Err(problem) => return warn!("cannot look for zones without a key: {problem}"),
    };
    let named: Vec<_> = zones.iter().take(MAX_NAMED).map(Zone::as_str).collect();
    let more = if zones.len() > MAX_NAMED { ", …" } else { "" };
    warn!(
        zones = zones.len(),
        "updates of these zones go unsigned, because neither dns_service.zone_keys nor \
         ddns_default_key_file has a key for them: {}{more}",
        named.join(", ")
    );
}

async fn zones_without_key(keys: &ZoneKeys, db: &Db) -> Result<Vec<Zone>, DbError> {
    let mut found = Vec::new();
    if keys.default.is_some() {
        return Ok(found);
    }
    let mut after = String::new();
    for _ in 0..MAX_CHECKED {
        let Some(name) = db.zone_after(&after).await? else { break };
        if let Ok(zone) = Zone::parse(&name)
            && keys.of(&zone).is_none()
        {
            found.push(zone);
        }
        after = name;
    }
    Ok(found)
}
