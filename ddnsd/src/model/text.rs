//! Shortens and quotes foreign text for messages.

use std::fmt::Display;

/// Characters of a text that a message shows: as many as the longest name has.
const MAX_EXCERPT: usize = 253;

/// The first characters of a text, at most `max`.
pub fn first_chars(text: &str, max: usize) -> &str {
    let end = text.char_indices().nth(max).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

/// The text in quotes and escaped; only its beginning if it is longer than any name.
pub fn excerpt(text: &str) -> String {
    let shown = first_chars(text, MAX_EXCERPT);
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{ellipsis}")
}

/// Why a value was not accepted.
pub fn cannot_take(what: &str, value: &str, why: &dyn Display) -> String {
    format!("cannot take {what} {}: {why}", excerpt(value))
}

/// The text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_of_a_text_that_is_no_name_shows_its_beginning() {
        assert_eq!(excerpt("a\nb"), r#""a\nb""#);
        let long = excerpt(&"ü".repeat(100_000));
        assert_eq!(long, format!("\"{}\"…", "ü".repeat(253)));
    }
}
