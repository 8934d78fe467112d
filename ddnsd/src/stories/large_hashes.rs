//! In: the users. Out: a warning that names those whose password hash needs much memory.

use crate::db::Db;
use crate::passwords::LARGE_KIB;
use tracing::warn;

const MAX_NAMED: u32 = 10;

/// Logs the warning and returns it, if there is such a user. A database that fails stops neither a
/// start nor an import.
pub async fn warn_of_large_hashes(db: &Db) -> Option<String> {
    let users = db.users_with_large_hashes(LARGE_KIB, MAX_NAMED + 1).await;
    let users = users.inspect_err(|problem| warn!("cannot look for large hashes: {problem}"));
    let mut users = users.ok().filter(|users| !users.is_empty())?;
    let is_cut = users.len() > MAX_NAMED as usize;
    users.truncate(MAX_NAMED as usize);
    let warning = format!(
        "each login attempt of these users needs more than {} MiB of memory, until the first good one or a new password: {}{}",
        LARGE_KIB / 1024,
        users.join(", "),
        if is_cut { ", …" } else { "" }
    );
    warn!("{warning}");
    Some(warning)
}
