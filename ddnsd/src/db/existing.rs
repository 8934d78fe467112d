//! Writes rows that waited in memory, without those of hosts that were deleted meanwhile.

use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::statement::{Arg, Statement, Statements, statements};
use crate::model::host::HostId;
use std::collections::HashSet;

pub(super) const STATEMENTS: Statements = &[READING];

statements! { READING;
    EXISTING_HOSTS: Indexed = "SELECT id FROM hosts WHERE id IN (?)";
}

/// Runs an INSERT for each row whose host exists. Which do is read only if one does not: among many
/// hosts that takes longer than to write.
pub(super) async fn run_for_existing<V: Sync>(
    sql: &'static Statement,
    batch: &[(HostId, V)],
    row: impl Fn(&(HostId, V)) -> Vec<Arg> + Send,
    conn: &mut Conn,
) -> Result<(), DbError> {
    let written = conn.run_each(sql, batch.iter().map(&row).collect()).await;
    if written != Err(DbError::Referenced) {
        return written;
    }
    let existing = existing_hosts(batch.iter().map(|(host, _)| *host), conn).await?;
    let rows = batch.iter().filter(|(host, _)| existing.contains(host)).map(row);
    conn.run_each(sql, rows.collect()).await
}

async fn existing_hosts(
    hosts: impl Iterator<Item = HostId>,
    conn: &mut Conn,
) -> Result<HashSet<HostId>, DbError> {
    let ids: Vec<_> = hosts.map(|host| Arg::from(host.0)).collect();
    let mut existing = HashSet::with_capacity(ids.len());
    for some in ids.chunks(ROWS_PER_STATEMENT) {
        let full = some.len().next_power_of_two();
        let rows: Vec<(i64,)> = conn.all_of(&EXISTING_HOSTS, some.to_vec(), full).await?;
        existing.extend(rows.into_iter().map(|(id,)| HostId(id)));
    }
    Ok(existing)
}
