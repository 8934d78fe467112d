//! SQL statements and the values bound to them. Most texts serve both databases; where they differ,
//! both stand side by side. A statement is declared by [`statements!`] only, so that a test can
//! explain every one of them.

use std::time::Duration;

/// Longest wait for one statement of a MariaDB server, lock waits included. SQLite has none,
/// because it answers from this machine's disk.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Longest wait for a statement that changes every row of a table, and for the commit of many rows.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_mins(5);

/// How much of a table a statement may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Finds its rows by an index. Required on the update path, in a sweep and for pages of a list.
    Indexed,
    /// May read a whole table, or change most of it. Allowed at start, after a jump of the clock
    /// and for administrators.
    FullScan,
}

impl Access {
    pub(super) fn timeout(self) -> Duration {
        match self {
            Access::Indexed => STATEMENT_TIMEOUT,
            Access::FullScan => LONG_TIMEOUT,
        }
    }
}

/// One statement, with `?` for each value.
#[derive(Debug)]
pub struct Statement {
    pub name: &'static str,
    pub access: Access,
    pub sqlite: &'static str,
    pub mariadb: &'static str,
}

/// Declares a list of statements: `LIST; NAME: Access = "text";`, or with two texts
/// `LIST; NAME: Access = "for SQLite", mariadb "for MariaDB";`. The compiler finds a list that is
/// in no file's `STATEMENTS`, because it is unused.
macro_rules! statements {
    (@mariadb $both:expr) => { $both };
    (@mariadb $sqlite:expr, $mariadb:expr) => { $mariadb };
    ($list:ident; $($name:ident: $access:ident = $sqlite:expr $(, mariadb $mariadb:expr)?;)*) => {
        $(static $name: $crate::db::statement::Statement = $crate::db::statement::Statement {
            name: stringify!($name),
            access: $crate::db::statement::Access::$access,
            sqlite: $sqlite,
            mariadb: statements!(@mariadb $sqlite $(, $mariadb)?),
        };)*
        const $list: &[&$crate::db::statement::Statement] = &[$(&$name),*];
    };
}
pub(super) use statements;

/// The statements of a file, one list per operation.
pub(super) type Statements = &'static [&'static [&'static Statement]];

/// A value to bind; every column holds a number, a text or NULL.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Number(Option<i64>),
    Text(Option<String>),
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Arg::Number(Some(number))
    }
}

impl From<Option<i64>> for Arg {
    fn from(number: Option<i64>) -> Self {
        Arg::Number(number)
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Arg::Number(Some(i64::from(number)))
    }
}

impl From<Option<u32>> for Arg {
    fn from(number: Option<u32>) -> Self {
        Arg::Number(number.map(i64::from))
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::Text(Some(text.to_owned()))
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Arg::Text(Some(text))
    }
}

impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Self {
        Arg::Text(text)
    }
}

/// A statement and its values.
pub(super) struct BoundStatement {
    pub(super) sql: &'static Statement,
    pub(super) args: Vec<Arg>,
}

/// The values of a statement, in the order of its `?`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { [$($crate::db::statement::Arg::from($value)),*] };
}
pub(super) use args;

/// Repeats the row of values after VALUES `count` times.
pub(super) fn with_rows(text: &str, count: usize) -> String {
    const VALUES: &str = "VALUES ";
    let start = text.find("VALUES (").map_or(text.len(), |at| at + VALUES.len());
    let (statement, rest) = text.split_at(start);
    let mut depth = 0;
    let ends = |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && depth == 0
    };
    let (row, rest) = rest.split_at(rest.find(ends).map_or(rest.len(), |end| end + 1));
    format!("{statement}{}{rest}", vec![row; count].join(", "))
}

/// Puts `count` times `?` into the `(?)` at the end of a query.
pub(super) fn with_items(text: &str, count: usize) -> String {
    let statement = text.strip_suffix("(?)").unwrap_or(text);
    format!("{statement}({})", vec!["?"; count].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_one_row_becomes_the_text_for_several() {
        let insert = "INSERT INTO t (a, b) VALUES (?, ?)";
        assert_eq!(with_rows(insert, 1), insert);
        assert_eq!(with_rows(insert, 2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
        assert_eq!(with_rows("VALUES (f(?), ?)) x", 2), "VALUES (f(?), ?), (f(?), ?)) x");
        assert_eq!(
            with_rows("INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a)", 2),
            "INSERT INTO t VALUES (?), (?) ON DUPLICATE KEY UPDATE a = VALUES(a)"
        );
        assert_eq!(
            with_items("SELECT a FROM t WHERE b IN (?)", 3),
            "SELECT a FROM t WHERE b IN (?, ?, ?)"
        );
    }
}
