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

/// How many statements of a kind a text can hold. Each text stays prepared, so there are few.
const COUNTS: [usize; 5] = [1, 2, 6, 12, MAX_OF_KIND];
const MAX_OF_KIND: usize = 24;
/// Most statements in one text.
const MAX_STATEMENTS: usize = 48;
/// What stands before the first statement.
const BEGIN: &str = "BEGIN IMMEDIATE;\n";
/// What stands after the last one.
const COMMIT: &str = ";\nCOMMIT";

/// One text.
#[derive(Default)]
struct Part {
    statements: Vec<&'static Statement>,
    args: Vec<Arg>,
    /// Which statements of the transaction they are; `None` for one that changes nothing.
    places: Vec<Option<usize>>,
}

impl Part {
    fn len(&self) -> usize {
        self.statements.len()
    }

    /// Adds statements of one kind, and fills up with some that change nothing: their values are
    /// NULL.
    fn extend(&mut self, statements: impl Iterator<Item = (usize, BoundStatement)>) {
        let before = self.len();
        let mut values = 0;
        for (place, BoundStatement { sql, args }) in statements {
            self.statements.push(sql);
            values = args.len();
            self.args.extend(args);
            self.places.push(Some(place));
        }
        let Some(last) = self.statements.last().copied() else { return };
        for _ in self.len() - before..padded(self.len() - before) {
            self.statements.push(last);
            self.args.extend(std::iter::repeat_n(Arg::Number(None), values));
            self.places.push(None);
        }
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

/// Groups the statements into few texts, because each wakes the thread, and into few different
/// ones, because each stays prepared. A kind fills the earliest texts that have space for it.
fn parts(statements: Vec<BoundStatement>) -> Vec<Part> {
    let mut statements: Vec<_> = statements.into_iter().enumerate().collect();
    // in one order of kinds
    statements.sort_by_key(|(_, statement)| statement.sql.name);
    let mut parts: Vec<Part> = Vec::new();
    let mut statements = statements.into_iter().peekable();
    while let Some((_, first)) = statements.peek() {
        let kind = first.sql.name;
        let mut same = Vec::new();
        while let Some(next) = statements.next_if(|(_, next)| next.sql.name == kind) {
            same.push(next);
        }
        let mut same = same.into_iter();
        // the first texts that have space take a part each
        let mut at = 0;
        while same.len() > 0 {
            let count = same.len().min(MAX_OF_KIND);
            if at == parts.len() {
                parts.push(Part::default());
            }
            if let Some(part) = parts.get_mut(at)
                && part.len() + padded(count) <= MAX_STATEMENTS
            {
                part.extend(same.by_ref().take(count));
            }
            at += 1;
        }
    }
    parts
}

/// The number of statements in a text that has space for `count` of a kind.
fn padded(count: usize) -> usize {
    COUNTS.into_iter().find(|it| *it >= count).unwrap_or(count)
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
    // not to the end of the stream, which is one more wake
    while left > 0 {
        let result = match ended.try_next().await.map_err(DbError::from) {
            Ok(Some(Either::Left(result))) => result,
            Ok(Some(Either::Right(_))) => continue,
            // SQLite's thread ended
            Ok(None) => return Err(WriteFailure::End(DbError::Closed)),
            Err(error) if begins => return Err(WriteFailure::Begin(error)),
            Err(error) if places.len() > 0 => return Err(WriteFailure::Statement(error)),
            Err(error) => return Err(WriteFailure::End(error)),
        };
        left -= 1;
        if begins {
            begins = false;
        } else if let Some(matched) = places.next().flatten().and_then(|at| matched.get_mut(at)) {
            *matched = result.rows_affected();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::all_statements;

    /// Of two kinds, each with its place in the transaction as both of its values.
    fn parts_of(counts: [i64; 2]) -> Vec<Part> {
        let [one, other] = [0, 1].map(|n| all_statements().nth(n).unwrap());
        let total = counts[0] + counts[1];
        let bound = |n: i64| {
            // alternately, as long as both last
            let is_other = counts[0] <= n / 2 || (n % 2 == 1 && n / 2 < counts[1]);
            let sql = if is_other { other } else { one };
            BoundStatement { sql, args: vec![n.into(), n.into()] }
        };
        parts((0..total).map(bound).collect())
    }

    #[test]
    fn every_statement_keeps_its_values_and_what_fills_a_text_has_none() {
        let mut seen = [false; 70];
        for Part { statements, args, places } in parts_of([40, 30]) {
            assert_eq!((statements.len(), args.len()), (places.len(), 2 * places.len()));
            for (place, args) in places.iter().zip(args.chunks(2)) {
                let expected = place.map(|place| i64::try_from(place).unwrap());
                let is_own = |arg: &Arg| matches!(arg, Arg::Number(n) if *n == expected);
                assert!(args.iter().all(is_own));
                if let Some(place) = place {
                    assert!(!std::mem::replace(&mut seen[*place], true));
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn a_transaction_is_few_texts_and_there_are_few_different_ones() {
        let lengths = |counts| parts_of(counts).iter().map(Part::len).collect::<Vec<_>>();
        assert!(lengths([0, 0]).is_empty());
        assert_eq!(lengths([1, 1]), [2]);
        assert_eq!(lengths([3, 9]), [18]);
        assert_eq!(lengths([24, 24]), [48]);
        assert_eq!(lengths([40, 30]), [48, 30]);
        let mut texts = std::collections::HashSet::new();
        for one in 0..30 {
            for other in 0..30 {
                texts.extend(parts_of([one, other]).iter().map(|part| part.text("", "")));
            }
        }
        assert_eq!(texts.len(), 6 * 6 - 1);
    }
}
