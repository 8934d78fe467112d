//! Rows of a result that either driver fills.

use sqlx::FromRow;
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;

/// A row that both drivers can fill.
pub(super) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin + 'static
{
}

impl<R> Row for R where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin + 'static
{
}

/// Declares a struct that both drivers can fill: its fields are the columns of the same names.
/// Fields after a `;` are such structs themselves, filled from the same row.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($column:ident: $type:ty,)* $(; $($part:ident: $part_type:ty,)*)?
    }) => {
        $(#[$meta])*
        $vis struct $name { $($column: $type,)* $($($part: $part_type,)*)? }
        row! { @for sqlx::sqlite::SqliteRow, $name, $($column)*, $($($part)*)? }
        row! { @for sqlx::mysql::MySqlRow, $name, $($column)*, $($($part)*)? }
    };
    (@for $row:ty, $name:ident, $($column:ident)*, $($part:ident)*) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> sqlx::Result<Self> {
                Ok(Self {
                    $($column: sqlx::Row::try_get(row, stringify!($column))?,)*
                    $($part: sqlx::FromRow::from_row(row)?,)*
                })
            }
        }
    };
}
pub(super) use row;
