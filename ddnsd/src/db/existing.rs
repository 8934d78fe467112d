//! Which hosts exist. In: those of rows that waited in memory. Out: those that were not deleted
//! meanwhile.

use super::connection::{Conn, ROWS_PER_STATEMENT};
use super::error::DbError;
use super::statement::{Arg, Statements, statements};
use crate::model::host::HostId;
use std::collections::HashSet;

pub(super) const STATEMENTS: Statements = &[READING];

statements! { READING;
    EXISTING_HOSTS: Indexed = "SELECT id FROM hosts WHERE id IN (?)";
}

pub(super) async fn existing_hosts(
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
