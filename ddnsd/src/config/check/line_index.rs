//! In: byte offsets of the file. Out: line and column numbers.

use crate::config::error::{Location, Problem};
use crate::config::text::clipped;

/// The offsets at which the lines of a text begin.
pub(super) struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The line that holds an offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// A syntax error of TOML. Uses its message only: its display quotes the line, which may hold a
    /// password. Names a duplicate key.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> Problem {
        let offset = error.span().map_or(0, |span| span.start);
        let line = self.line(offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        let mut what = format!("not valid TOML: {}", error.message());
        if error.message() == "duplicate key"
            && let Some(key) = error.span().and_then(|span| self.text.get(span))
        {
            what = format!("{what} `{}`", clipped(key));
        }
        let location = Location { line: Some(line), column: Some(column), key: String::new() };
        Problem { location, what }
    }
}
