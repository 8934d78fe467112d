//! Tables and JSON; pure. In: replies of the daemon. Out: text for stdout. Tables escape characters
//! that would control a terminal; JSON has its own escapes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use unicode_width::UnicodeWidthStr;

#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// Aligned tables, times in this zone.
    Table(TimeZone),
    /// JSON, times in UTC.
    Json,
}

/// Rows below a header; columns are separated by two spaces.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut lines = vec![header.map(Cow::Borrowed)];
    lines.extend(rows.iter().map(|row| row.each_ref().map(|cell| filled(cell))));
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        push_aligned(&mut text, line, &widths);
    }
    text
}

/// One pair of a name and a value per line.
pub(crate) fn pairs(pairs: &[(impl AsRef<str>, String)]) -> String {
    let lines: Vec<_> =
        pairs.iter().map(|(name, value)| [clean(name.as_ref()), filled(value)]).collect();
    let longest = lines.iter().map(|[name, _]| name.width()).max().unwrap_or_default();
    let mut text = String::new();
    for line in &lines {
        push_aligned(&mut text, line, &[longest, 0]);
    }
    text
}

fn push_aligned(text: &mut String, cells: &[Cow<'_, str>], widths: &[usize]) {
    for (cell, column) in cells.iter().zip(widths) {
        text.push_str(cell);
        let padding = column.saturating_sub(cell.width()) + 2;
        text.extend(std::iter::repeat_n(' ', padding));
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// An empty cell is a `-`, so that columns can be counted.
fn filled(cell: &str) -> Cow<'_, str> {
    if cell.is_empty() { Cow::Borrowed("-") } else { clean(cell) }
}

/// The value's text; empty for `None`, which a table shows as `-`.
pub(crate) fn text_or_empty(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Quotes a word for a shell, if necessary.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn controls_terminal(c: char) -> bool {
    let changes_direction = matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || changes_direction
}

/// Escapes characters that would move a terminal's cursor or change its writing direction.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(controls_terminal) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if controls_terminal(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Indented JSON with a final line feed.
pub(crate) fn json(value: &impl Serialize) -> String {
    // fails only for maps whose keys are no strings, which no view has
    let json = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    escaped(json)
}

/// `serde_json` escapes only the first 32 control characters. All that controls a terminal is in
/// strings, except line feeds.
fn escaped(json: String) -> String {
    let is_escaped = |c| c != '\n' && controls_terminal(c);
    if !json.chars().any(is_escaped) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_escaped(c) {
            // writing to a String cannot fail
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A time as `2026-11-23 10:00:00` in the time zone.
pub(crate) fn local(millis: i64, zone: &TimeZone) -> String {
    let point = Timestamp::from_millisecond(millis);
    point
        .map(|point| point.to_zoned(zone.clone()).strftime("%F %T").to_string())
        .unwrap_or_default()
}

/// A time in UTC by RFC 3339, always with milliseconds.
pub(crate) fn utc(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map(|point| format!("{point:.3}")).unwrap_or_default()
}

/// JSON in one line with a final line feed.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    // fails as little as `json`
    escaped(serde_json::to_string(value).unwrap_or_default() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn json_escapes_what_controls_a_terminal_and_stays_the_same_value() {
        let text = "a\u{9b}2J\u{202e}\u{7f}\u{1b}ü\n";
        let (line, pretty) = (json_line(&[text]), json(&[text]));
        assert_eq!(line, "[\"a\\u009b2J\\u202e\\u007f\\u001bü\\n\"]\n");
        assert!(pretty.contains("\\u009b2J"), "{pretty}");
        for json in [line, pretty] {
            assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
        }
    }

    #[test]
    fn columns_are_aligned_and_empty_cells_are_dashes() {
        let rows = [row(["alice", "", "3"]), row(["bo", "bo@example.org", ""])];
        assert_eq!(
            table(["NAME", "E-MAIL", "HOSTS"], &rows),
            "NAME   E-MAIL          HOSTS\n\
             alice  -               3\n\
             bo     bo@example.org  -\n"
        );
        assert_eq!(table(["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn wide_and_combining_characters_keep_the_columns() {
        let rows = [row(["日本", "x"]), row(["Zoe\u{308}", "x"])];
        assert_eq!(table(["NAME", "X"], &rows), "NAME  X\n日本  x\nZoe\u{308}   x\n");
    }

    #[test]
    fn pairs_are_aligned() {
        let lines = pairs(&[("version", "1.0".into()), ("last error", String::new())]);
        assert_eq!(lines, "version     1.0\nlast error  -\n");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(clean("a\x1b[31m\r\nb\u{9b}\u{202e}ü"), "a\\u{1b}[31m\\r\\nb\\u{9b}\\u{202e}ü");
        assert!(!table(["X"], &[row(["\x07"])]).contains('\x07'));
    }

    #[test]
    fn a_word_that_a_shell_would_split_or_expand_is_quoted() {
        let words = ["alice", "Old Router", "o'x;$(y)", "Жанна"].map(quoted);
        assert_eq!(words, ["alice", "'Old Router'", r"'o'\''x;$(y)'", "Жанна"]);
    }

    #[test]
    fn times_are_local_in_tables_and_utc_in_json() {
        let millis = 1_795_428_000_123;
        assert_eq!(utc(millis), "2026-11-23T10:00:00.123Z");
        assert_eq!(utc(millis - 123), "2026-11-23T10:00:00.000Z");
        assert_eq!(utc(1), "1970-01-01T00:00:00.001Z");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(local(millis, &zone), "2026-11-23 11:00:00");
        assert_eq!(local(i64::MAX, &zone), "");
    }
}
