//! Single values about the database: the name server that was published to, the service clock.

use super::connection::Conn;
use super::error::DbError;
use super::handle::Db;
use super::statement::{Statements, args, statements};
use super::write::Write;

pub(super) const STATEMENTS: Statements = &[READING, WRITING];

statements! { READING;
    META: Indexed = "SELECT value FROM meta WHERE name = ?";
}

impl Db {
    /// A value of `meta`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn meta(&self, name: &'static str) -> Result<Option<String>, DbError> {
        let row: Option<(String,)> = self.0.readers.optional(&META, args![name]).await?;
        Ok(row.map(|(value,)| value))
    }
}

statements! { WRITING;
    SET_META: Indexed =
        "INSERT INTO meta (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        mariadb
        "INSERT INTO meta (name, value) VALUES (?, ?)
         ON DUPLICATE KEY UPDATE value = VALUES(value)";
}

impl Db {
    /// Sets a value of `meta`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_meta(&self, name: &'static str, value: String) -> Result<(), DbError> {
        self.0.writer.run(SetMeta { name, value }).await
    }
}

/// As part of another write, too.
pub(super) struct SetMeta {
    pub(super) name: &'static str,
    pub(super) value: String,
}

impl Write for SetMeta {
    type Output = ();
    const DURABLE: bool = true;

    async fn run(&self, conn: &mut Conn) -> Result<(), DbError> {
        conn.run(&SET_META, args![self.name, self.value.as_str()]).await?;
        Ok(())
    }
}
