//! What must hold for every file that is read as a TSIG key, driven by fuzzers (`tests/fuzz`) and,
//! with made-up texts, by the property tests below.

use super::tsig_key;

/// Reads a text as a key file: it is a key, or a problem with a line that the file has.
///
/// # Panics
/// When it does not hold.
pub fn key_file(text: &str) {
    match tsig_key::parse(text) {
        Ok(key) => {
            let shown = format!("{key:?}");
            assert!(shown.contains("***"), "a secret is shown: {shown}");
        }
        Err(problem) => {
            let lines = text.split('\n').count();
            assert!((1..=lines.max(1)).contains(&problem.line), "line {}", problem.line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_text_is_a_key_or_a_problem_with_a_line(text in "(?s).{0,200}") {
            super::key_file(&text);
        }

        #[test]
        fn shuffled_pieces_of_key_files_are_a_key_or_a_problem_with_a_line(pieces in proptest::collection::vec(prop::sample::select(vec![
            "key", " ", "\"", "name", "{", "}", ";", "algorithm", "hmac-sha256", "hmac-md5", "secret", "c2VjcmV0", "//",
            "#", "/*", "*/", "\n", "\\", "\t", "key \"k\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };",
        ]), 0..24)) {
            super::key_file(&pieces.concat());
        }
    }
}
