//! Bounds of replies. Every reply is cut to what fits a frame, because a longer reply closes the
//! connection.

use crate::model::text::first_chars;
use ddnsd_proto::transport::MAX_FRAME;
use ddnsd_proto::{MAX_PAGE, Page};
use serde::Serialize;

/// Characters of an error text.
pub(super) const MAX_TEXT: usize = 500;

/// Bytes of one list without a bound on its length; a reply has at most three such lists.
const MAX_LIST: usize = MAX_FRAME / 4;

pub(super) fn cut(mut text: String) -> String {
    text.truncate(first_chars(&text, MAX_TEXT).len());
    text
}

/// The page size for a client that requested `rows`; 0 means no limit of its own.
pub(in crate::admin) fn page_size(rows: u32) -> u32 {
    if rows == 0 { MAX_PAGE } else { rows.min(MAX_PAGE) }
}

/// A page of `rows`, which were read with `limit`. After a full page there may be another.
pub(in crate::admin) fn page<T>(
    rows: impl Iterator<Item = T>,
    limit: u32,
    key: impl Fn(&T) -> &String,
) -> Page<T> {
    let rows: Vec<T> = rows.collect();
    let full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next = rows.last().filter(|_| full).map(|last| key(last).clone());
    Page { rows, next }
}

/// The first items, as many as fit a list. Their sizes differ: a name in U-labels has up to four
/// times the bytes of its A-labels.
pub(super) fn fitting<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut left = MAX_LIST;
    let mut fits = |item: &T| {
        let bytes = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len());
        let rest = left.checked_sub(bytes.saturating_add(1));
        rest.is_some_and(|rest| {
            left = rest;
            true
        })
    };
    items.take_while(|item| fits(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_names_its_next_and_a_short_one_ends_the_list() {
        let rows = || ["a", "b"].into_iter().map(str::to_owned);
        assert_eq!(page(rows(), 2, |row| row).next.as_deref(), Some("b"));
        assert_eq!(page(rows(), 3, |row| row).next, None);
        assert_eq!((page_size(0), page_size(7), page_size(u32::MAX)), (MAX_PAGE, 7, MAX_PAGE));
    }
}
