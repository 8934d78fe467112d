//! Statements in the words of both databases, and the values bound to them. Nearly every text is one for
//! both; where they differ the two stand side by side. A statement exists only through [`statements!`],
//! so that a test can explain every one of them.

/// How much of a table a statement may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Finds its rows by an index: on the update path, in a sweep, of each page of a list.
    Indexed,
    /// May go through a whole table, or change most of it: at start, after a jump of the clock, or when an
    /// administrator asks.
    FullScan,
}

/// One statement, with `?` for each value.
#[derive(Debug)]
pub struct Statement {
    /// What the code calls it.
    pub name: &'static str,
    /// How much it may look at.
    pub access: Access,
    /// For SQLite.
    pub sqlite: &'static str,
    /// For MariaDB.
    pub mariadb: &'static str,
}

/// Declares statements: `NAME: Access = "text";`, or `NAME: Access = "for SQLite", mariadb "for MariaDB";`,
/// and `ALL`, the list of them.
macro_rules! statements {
    (@mariadb $both:expr) => { $both };
    (@mariadb $sqlite:expr, $mariadb:expr) => { $mariadb };
    ($($name:ident: $access:ident = $sqlite:expr $(, mariadb $mariadb:expr)?;)*) => {
        $(static $name: $crate::db::statement::Statement = $crate::db::statement::Statement {
            name: stringify!($name),
            access: $crate::db::statement::Access::$access,
            sqlite: $sqlite,
            mariadb: statements!(@mariadb $sqlite $(, $mariadb)?),
        };)*
        pub(super) static ALL: &[&$crate::db::statement::Statement] = &[$(&$name),*];
    };
}
pub(super) use statements;

/// A value to bind: all that is stored is a number or a text, or not there.
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

/// Values of any of these kinds, in the order of the statement's `?`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { [$($crate::db::statement::Arg::from($value)),*] };
}
pub(super) use args;

/// The text of a statement with the row of values that follows VALUES as often as there are rows.
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

/// The text of a question that ends in `(?)` with as many `?` as there are items.
pub(super) fn with_items(text: &str, count: usize) -> String {
    let statement = text.strip_suffix("(?)").unwrap_or(text);
    format!("{statement}({})", vec!["?"; count].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rows_text_grows_to_several() {
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
