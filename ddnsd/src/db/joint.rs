//! A transaction on SQLite of which every statement is known before it begins. In: joint writes.
//! Out: how many rows each statement matched, after the commit. BEGIN, the statements and COMMIT go
//! to the connection's thread together: to wake it costs more than a statement.

use super::driver;
use super::error::DbError;
use super::statement::{Arg, BoundStatement, Statement};
use super::write::{ErasedWrite, WriteFailure};
use futures::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Either, Executor as _, SqlSafeStr as _};

/// Most statements in one text. All of them stay prepared.
const MAX_STATEMENTS: usize = 16;
/// Up to so many share a text whatever they are: a change and a result, say.
const MAX_MIXED: usize = 2;
/// What stands before the first statement.
const BEGIN: &str = "BEGIN IMMEDIATE;\n";
/// What stands after the last one.
const COMMIT: &str = ";\nCOMMIT";

/// One text.
struct Part {
    statements: Vec<&'static Statement>,
    args: Vec<Arg>,
    /// Which statements of the transaction they are.
    places: Vec<usize>,
}

impl Part {
    fn new(statements: Vec<(usize, BoundStatement)>) -> Self {
        let count = statements.len();
        let mut part = Self {
            statements: Vec::with_capacity(count),
            args: Vec::new(),
            places: Vec::with_capacity(count),
        };
        for (place, BoundStatement { sql, args }) in statements {
            part.statements.push(sql);
            part.args.extend(args);
            part.places.push(place);
        }
        part
    }

    fn text(&self, begin: &str, commit: &str) -> String {
        let texts: Vec<_> = self.statements.iter().map(|sql| sql.sqlite).collect();
        format!("{begin}{}{commit}", texts.join(";\n"))
    }
}

/// Runs the writes and gives them the numbers of rows.
///
/// # Errors
/// It is to be rolled back.
pub(super) async fn transaction(
    conn: &mut SqliteConnection,
    writes: &mut [Box<dyn ErasedWrite>],
) -> Result<(), WriteFailure> {
    let mut statements = Vec::with_capacity(writes.len());
    let mut counts = Vec::with_capacity(writes.len());
    for write in writes.iter() {
        let of_write = write.statements();
        counts.push(of_write.len());
        statements.extend(of_write);
    }
    let mut matched = vec![0; statements.len()];
    let mut begin = BEGIN;
    let mut parts = parts(statements).into_iter().peekable();
    while let Some(part) = parts.next() {
        let commit = if parts.peek().is_none() { COMMIT } else { "" };
        run(conn, part, [begin, commit], &mut matched).await?;
        begin = "";
    }
    let mut rest = matched.as_slice();
    for (write, count) in writes.iter_mut().zip(counts) {
        let (own, later) = rest.split_at_checked(count).unwrap_or_default();
        write.matched(own);
        rest = later;
    }
    Ok(())
}

/// Puts the same statements together, by powers of two, so that few different texts are prepared.
fn parts(statements: Vec<BoundStatement>) -> Vec<Part> {
    let mut statements: Vec<_> = statements.into_iter().enumerate().collect();
    // in one order of kinds, because the first and the last text of a transaction are others
    statements.sort_by_key(|(_, statement)| statement.sql.name);
    if (1..=MAX_MIXED).contains(&statements.len()) {
        return vec![Part::new(statements)];
    }
    let mut parts = Vec::new();
    while let Some((_, BoundStatement { sql, .. })) = statements.last() {
        let same = statements.iter().rev().take_while(|(_, other)| other.sql.name == sql.name);
        let count = 1 << same.count().min(MAX_STATEMENTS).ilog2();
        parts.push(Part::new(statements.split_off(statements.len() - count)));
    }
    parts
}

async fn run(
    conn: &mut SqliteConnection,
    part: Part,
    [begin, commit]: [&str; 2],
    matched: &mut [u64],
) -> Result<(), WriteFailure> {
    let text = AssertSqlSafe(part.text(begin, commit)).into_sql_str();
    let mut ended = conn.fetch_many(driver::sqlite(text, part.args));
    let mut begins = !begin.is_empty();
    let mut places = part.places.into_iter();
    let mut left = places.len() + usize::from(begins) + usize::from(!commit.is_empty());
    loop {
        let result = match ended.try_next().await.map_err(DbError::from) {
            Ok(Some(Either::Left(result))) => result,
            Ok(Some(Either::Right(_))) => continue,
            Ok(None) if left == 0 => return Ok(()),
            // SQLite's thread ended
            Ok(None) => return Err(WriteFailure::End(DbError::Closed)),
            Err(error) if begins => return Err(WriteFailure::Begin(error)),
            Err(error) if places.len() > 0 => return Err(WriteFailure::Statement(error)),
            Err(error) => return Err(WriteFailure::End(error)),
        };
        left = left.saturating_sub(1);
        if begins {
            begins = false;
        } else if let Some(matched) = places.next().and_then(|at| matched.get_mut(at)) {
            *matched = result.rows_affected();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::all_statements;

    #[test]
    fn the_same_statements_share_texts_by_powers_of_two() {
        let [one, other] = [0, 1].map(|n| all_statements().nth(n).unwrap());
        let statements = |count: i64| {
            let bound = |n: i64| {
                let sql = if n % 10 == 3 { other } else { one };
                BoundStatement { sql, args: vec![n.into(), n.into()] }
            };
            parts((0..count).map(bound).collect())
        };
        let mut seen = [false; 30];
        let mut counts = [Vec::new(), Vec::new()];
        for Part { statements, args, places } in statements(30) {
            let is_other = statements[0].name == other.name;
            assert!(statements.iter().all(|it| it.name == statements[0].name));
            counts[usize::from(is_other)].push(places.len());
            assert_eq!((statements.len(), args.len()), (places.len(), 2 * places.len()));
            for (place, args) in places.iter().zip(args.chunks(2)) {
                assert_eq!(*place % 10 == 3, is_other);
                let is_own = |arg: &Arg| matches!(arg, Arg::Number(Some(n)) if usize::try_from(*n) == Ok(*place));
                assert!(args.iter().all(is_own));
                assert!(!std::mem::replace(&mut seen[*place], true));
            }
        }
        assert_eq!(counts, [vec![16, 8, 2, 1], vec![2, 1]]);
        assert!(seen.iter().all(|seen| *seen));
        assert!(statements(0).is_empty());
        let [one, two] = [1, 2].map(|count| statements(count).len());
        assert_eq!((one, two), (1, 1));
    }

    #[test]
    fn a_change_and_a_result_share_a_text() {
        let statements =
            all_statements().take(2).map(|sql| BoundStatement { sql, args: Vec::new() });
        let parts = parts(statements.collect());
        assert_eq!(parts.iter().map(|part| part.places.len()).collect::<Vec<_>>(), [2]);
    }
}
