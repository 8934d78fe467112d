//! The SQLite driver: opening a file.

pub(super) mod file;
pub(super) mod open;
