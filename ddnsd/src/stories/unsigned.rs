//! Zones with hosts and without a key, so that their updates go unsigned: an administrator is told their
//! names at the start, at a reload and when the first host is added to one.

use crate::config::ZoneKeys;
use crate::db::{Db, DbError};
use crate::model::name::Zone;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

/// Zones that are named one by one; of those beyond it is only told that they are.
const NAMED: usize = 20;
/// Zones that are looked at: a start must not wait for more.
const LOOKED_AT: usize = 10_000;

/// Zones whose updates go unsigned.
#[derive(Debug, Default)]
pub(super) struct Unsigned {
    zones: Vec<Zone>,
    and_others: bool,
    keys: ZoneKeys,
}

/// What was told since the start or since there were other keys: a reload, as logrotate asks for each night,
/// is no reason to tell it again. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    zones: HashSet<Zone>,
    and_others: bool,
    keys: ZoneKeys,
}

impl Unsigned {
    /// The zones with hosts for which there is none of these keys. A database that does not tell keeps
    /// nobody from publishing.
    pub(super) async fn of(keys: &ZoneKeys, db: &Db) -> Self {
        Self::find(keys, db).await.unwrap_or_else(|problem| {
            warn!("zones whose updates go unsigned cannot be told: {problem}");
            Self::default()
        })
    }

    async fn find(keys: &ZoneKeys, db: &Db) -> Result<Self, DbError> {
        let mut found = Self { keys: keys.clone(), ..Self::default() };
        if keys.default.is_some() {
            return Ok(found);
        }
        let mut after = String::new();
        for _ in 0..LOOKED_AT {
            let Some(zone) = db.zone_after(&after).await? else { break };
            after.clone_from(&zone);
            let Ok(zone) = Zone::parse(&zone) else { continue };
            if keys.of(&zone).is_some() {
                continue;
            }
            if found.zones.len() == NAMED {
                found.and_others = true;
                break;
            }
            found.zones.push(zone);
        }
        Ok(found)
    }

    /// Tells what is not told yet.
    pub(super) fn warn(self, told: &Told) {
        let mut memory = told.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys != self.keys {
            *memory = Memory { keys: self.keys, ..Memory::default() };
        }
        self.zones.iter().for_each(|zone| memory.warn_of(zone));
        if self.and_others && !memory.and_others {
            memory.and_others = true;
            warn!("and updates of other zones without a key");
        }
    }
}

impl Told {
    /// Tells of one zone, if that is not done yet.
    pub(super) fn warn_of(&self, zone: &Zone) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).warn_of(zone);
    }
}

impl Memory {
    fn warn_of(&mut self, zone: &Zone) {
        if !self.zones.insert(zone.clone()) {
            return;
        }
        warn!(
            %zone,
            "updates of this zone go unsigned, because neither dns_service.zone_keys nor \
             ddns_default_key_file has a key for it"
        );
    }
}
