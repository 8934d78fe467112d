//! Text of the file, prepared for messages: shortened, quoted, and with its TOML type named.

use toml::de::DeValue;

/// The value's type, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text of the file for a message: quoted, escaped and not too long.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", clipped(text))
}

pub(super) fn clipped(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn printable(text: &str) -> Result<&str, String> {
    if text.chars().any(char::is_control) {
        Err(format!("must not hold control characters, got {}", shown(text)))
    } else {
        Ok(text)
    }
}
