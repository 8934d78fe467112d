//! Text of the file for messages: shortened, quoted, its TOML type named; the known word nearest to
//! a typo.

use crate::model::text::first_chars;
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
    let shown = first_chars(text, MAX_CHARS);
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown}{ellipsis}")
}

pub(super) fn printable(text: &str) -> Result<&str, String> {
    if text.chars().any(char::is_control) {
        Err(format!("must not hold control characters, got {}", shown(text)))
    } else {
        Ok(text)
    }
}

/// The known word that is at most two edits away, if any; a swapped pair of letters is two.
pub(super) fn nearest<'k>(word: &str, known: &'k [String]) -> Option<&'k str> {
    const MAX_BYTES: usize = 64;
    const MAX_EDITS: usize = 2;
    if word.len() > MAX_BYTES {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let distances = known.iter().map(|known| (strsim::levenshtein(&word, known), known.as_str()));
    let (distance, nearest) = distances.min()?;
    // two letters are most of a short word
    (distance <= MAX_EDITS && distance <= nearest.len() / 2).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_intended_one() {
        let known = ["dns_timeout", "dns_server", "port", "ssl"].map(str::to_owned);
        for (typed, meant) in [
            ("dns_timout", Some("dns_timeout")),
            ("dns_timeuot", Some("dns_timeout")),
            ("DNS_Server", Some("dns_server")),
            ("prt", Some("port")),
            ("prot", Some("port")),
            ("sll", Some("ssl")),
            ("xxl", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
        assert_eq!(nearest("port", &[]), None);
    }
}
