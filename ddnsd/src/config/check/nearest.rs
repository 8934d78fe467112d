//! A mistyped word in, the known word that was probably meant out.

/// The known word that is at most two edits away, if any; a swapped pair of letters is two.
pub(super) fn of<'k>(word: &str, known: &'k [String]) -> Option<&'k str> {
    const LONGEST: usize = 64;
    const MOST_EDITS: usize = 2;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let distances = known.iter().map(|known| (edits(&word, known), known.as_str()));
    let (distance, nearest) = distances.min()?;
    // of a short word two letters are nearly all of it
    (distance <= MOST_EDITS && distance <= nearest.len() / 2).then_some(nearest)
}

/// Levenshtein's distance in bytes, row by row.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (pair, b) in row.windows(2).zip(other.bytes()) {
            if let [diagonal, above] = pair {
                let left = next.last().copied().unwrap_or_default();
                let kept = diagonal + usize::from(a != b);
                next.push(kept.min(above + 1).min(left + 1));
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_the_word_that_was_meant() {
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
            assert_eq!(of(typed, &known), meant, "{typed}");
        }
        assert_eq!(of(&"x".repeat(100_000), &known), None);
        assert_eq!(of("port", &[]), None);
    }

    #[test]
    fn the_distance_counts_single_letters() {
        for (one, other, distance) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(edits(one, other), distance);
            assert_eq!(edits(other, one), distance);
        }
    }
}
