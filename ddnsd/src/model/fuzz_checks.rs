//! What must hold for every text that is read as a name, driven by fuzzers (`tests/fuzz`) and, with
//! made-up texts, by the property tests below.

use super::name::{Email, Fqdn, Label, UserName, Zone};

/// Reads a text as every kind of name: what is read is legal, and reading it again gives the same.
///
/// # Panics
/// When it does not hold.
pub fn names(text: &str) {
    if let Ok(name) = Fqdn::parse(text) {
        let ascii = name.as_str();
        assert!(ascii.len() <= 253 && ascii.is_ascii() && !ascii.ends_with('.'), "{ascii:?}");
        assert!(ascii.split('.').count() >= 2, "{ascii:?}");
        for label in ascii.split('.') {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!((1..=63).contains(&label.len()) && label.bytes().all(legal), "{ascii:?}");
        }
        assert_eq!(Fqdn::parse(ascii).ok(), Some(name.clone()));
        assert_eq!(Fqdn::parse(&name.to_unicode()).ok(), Some(name.clone()), "{ascii:?}");
    }
    if let Ok(zone) = Zone::parse(text) {
        assert_eq!(Zone::parse(zone.as_str()).ok(), Some(zone.clone()));
        if let Some((first, rest)) = text.split_once('.')
            && let (Ok(label), Ok(parent)) = (Label::parse(first), Zone::parse(rest))
        {
            // refused where the whole would read as an address
            let name = label.in_zone(&parent);
            assert!(
                name.is_ok_and(|name| name.as_str() == zone.as_str()) || Fqdn::parse(text).is_err()
            );
        }
    }
    if let Ok(user) = UserName::parse(text) {
        let name = user.as_str();
        assert!((1..=64).contains(&name.chars().count()), "{name:?}");
        assert!(!name.chars().any(|c| c.is_control() || c == ':') && name.trim() == name);
        assert_eq!(UserName::parse(name).ok(), Some(user.clone()));
    }
    if let Ok(email) = Email::parse(text) {
        assert!(!email.as_str().chars().any(|c| c.is_control() || c.is_whitespace()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_text_is_refused_or_read_as_a_legal_name(text in ".{0,80}") {
            super::names(&text);
        }

        #[test]
        fn text_that_resembles_a_name_is_refused_or_read_as_a_legal_name(
            text in "[a-zA-Z0-9._üßäéαб中\u{e0061}\u{200d}。@ -]{1,40}(\\.[a-z\u{300}-]{1,8}){0,3}\\.?"
        ) {
            super::names(&text);
        }

        #[test]
        fn labels_and_names_at_their_limits_are_refused_or_read_as_legal_names(label in "x{60,66}", count in 1..6_usize) {
            super::names(&vec![label; count].join("."));
        }
    }
}
