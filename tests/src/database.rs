//! Where a daemon keeps everything, and a way to look into it behind the daemon's back. Which of
//! the two backends the tests use is set in the environment: `DDNSD_TEST_DATABASE=mariadb`.

use crate::mariadb::Account;
use crate::process::{program, run};
use std::path::PathBuf;
use std::process::Command;
use toml::{Table, Value};

/// What the tests are run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in the daemon's folder; the default.
    Sqlite,
    /// A database of the server that all tests of the process share.
    Mariadb,
}

impl Backend {
    /// What `DDNSD_TEST_DATABASE` says.
    ///
    /// # Panics
    /// When it says something else than `sqlite` and `mariadb`.
    pub fn under_test() -> Self {
        match std::env::var("DDNSD_TEST_DATABASE").as_deref() {
            Err(_) | Ok("" | "sqlite") => Self::Sqlite,
            Ok("mariadb") => Self::Mariadb,
            Ok(other) => panic!("DDNSD_TEST_DATABASE is {other:?}, not sqlite or mariadb"),
        }
    }
}

/// A daemon's database.
#[derive(Clone, Debug)]
pub enum Database {
    /// The file.
    Sqlite(PathBuf),
    /// A database of a server.
    Mariadb(Account),
}

impl Database {
    /// `[database]` of the configuration.
    pub fn settings(&self) -> Table {
        match self {
            Self::Sqlite(path) => {
                let path = path.to_str().expect("a UTF-8 path");
                Table::from_iter([("path".to_owned(), Value::from(path))])
            }
            Self::Mariadb(account) => {
                account.settings().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }
        }
    }

    /// How an error names it.
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.to_str().expect("a UTF-8 path").to_owned(),
            Self::Mariadb(account) => account.database.clone(),
        }
    }

    /// Runs statements. Out: a line per row; columns are parted by `|` (SQLite) or tabs (MariaDB).
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        match self {
            Self::Sqlite(path) => {
                run(Command::new(program("sqlite3")).arg("-bail").arg(path), statements).ok().stdout
            }
            Self::Mariadb(account) => account.sql(statements),
        }
    }

    /// The statements that make it again, a line per row.
    #[track_caller]
    pub fn dump(&self) -> String {
        match self {
            Self::Sqlite(_) => self.sql(".dump"),
            Self::Mariadb(account) => account.dump(),
        }
    }
}
