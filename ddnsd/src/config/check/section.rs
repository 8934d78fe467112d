//! In: a table of the file. Out: its values, with every problem by key and line. `value.rs` adds
//! the types. A wrong value yields the default, so that one pass finds every problem. A key that
//! `check/` did not read is unknown.

use super::line_index::LineIndex;
use crate::config::diff::Values;
use crate::config::error::{Location, Problem};
use crate::config::text::{clipped, kind, nearest};
use std::collections::BTreeMap;
use std::fmt::Display;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) values: Values,
}

struct KeyEntry<'t> {
    line: usize,
    value: &'t DeValue<'t>,
    read: bool,
}

/// One table of the file, the file itself included.
pub(super) struct Section<'t> {
    name: String,
    line: usize,
    pub(super) lines: &'t LineIndex<'t>,
    entries: BTreeMap<&'t str, KeyEntry<'t>>,
    known: Vec<String>,
    pub(super) findings: Findings,
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t DeTable<'t>, lines: &'t LineIndex<'t>) -> Self {
        Self::new(String::new(), 1, Some(table), lines)
    }

    fn new(
        name: String,
        line: usize,
        table: Option<&'t DeTable<'t>>,
        lines: &'t LineIndex<'t>,
    ) -> Self {
        let entry = |value: &'t Spanned<DeValue<'t>>, key_at| {
            // the line of a table is that of its header; its key may stand elsewhere
            let at = if value.get_ref().is_table() { value.span().start } else { key_at };
            KeyEntry { line: lines.line(at), value: value.get_ref(), read: false }
        };
        let entries = table
            .into_iter()
            .flat_map(DeTable::iter)
            .map(|(key, value)| (key.get_ref().as_ref(), entry(value, key.span().start)))
            .collect();
        Self { name, line, lines, entries, known: Vec::new(), findings: Findings::default() }
    }

    /// All findings of this section and its subsections; adds a problem for each unknown key.
    pub(super) fn finish(mut self) -> Findings {
        let unknown: Vec<_> =
            self.entries.iter().filter(|(_, entry)| !entry.read).map(|(key, _)| *key).collect();
        for key in unknown {
            let is_section = self.entries.get(key).is_some_and(|entry| is_section(entry.value));
            let kind = if is_section { "section" } else { "key" };
            let hint = match nearest(key, &self.known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.problem(key, format!("unknown {kind}, {hint}"));
        }
        self.findings
    }

    //----- Locations and problems -----

    /// The line of the key, or of the section's header if the key is not given.
    pub(super) fn location(&self, key: &str) -> Location {
        let line = self.entries.get(key).map_or(self.line, |entry| entry.line);
        Location { line: Some(line), column: None, key: self.dotted(key) }
    }

    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let problem = Problem { location: self.location(key), what: what.into() };
        self.findings.problems.push(problem);
    }

    pub(super) fn warn(&mut self, key: &str, what: impl Into<String>) {
        let warning = Problem { location: self.location(key), what: what.into() };
        self.findings.warnings.push(warning);
    }

    /// Records the key's value in force, for the comparison at a reload.
    pub(super) fn record(&mut self, key: &str, value: impl Display) {
        let key = self.dotted(key);
        self.findings.values.record(key, value);
    }

    /// Whether the key of that dotted name has no problem so far.
    pub(super) fn is_sound(&self, dotted: &str) -> bool {
        self.findings.problems.iter().all(|problem| problem.location.key != dotted)
    }

    pub(super) fn is_given(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Of two names of one key, the one that is given.
    pub(super) fn either<'k>(&self, key: &'k str, other: &'k str) -> &'k str {
        if self.is_given(other) { other } else { key }
    }

    /// The keys of a section where the operator chooses them, such as zones.
    pub(super) fn keys(&self) -> Vec<&'t str> {
        self.entries.keys().copied().collect()
    }

    fn dotted(&self, key: &str) -> String {
        /// A DNS name, the longest key that is legal.
        const MAX_BYTES: usize = 253;
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_bare = !key.is_empty() && key.chars().all(bare);
        let key = if key.len() > MAX_BYTES { clipped(key) } else { key.to_owned() };
        let key = if is_bare { key } else { format!("{key:?}") };
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// The key's value if it is given and `of_type` accepts its type; a wrong type is a problem.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        of_type: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key.to_owned());
        let entry = self.entries.get_mut(key)?;
        entry.read = true;
        let value = entry.value;
        let typed = of_type(value);
        if typed.is_none() {
            self.problem(key, format!("must be {expected}, got {}", kind(value)));
        }
        typed
    }

    //----- Subsections -----

    /// Reads a subsection; a missing one reads as empty.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let Location { line, key: name, .. } = self.location(key);
        let table = self.take(key, &format!("a section, [{name}]"), DeValue::as_table);
        let mut section = Self::new(name, line.unwrap_or(1), table, self.lines);
        let value = read(&mut section);
        if table.is_some() || !self.is_given(key) {
            self.absorb(section);
        }
        value
    }

    /// Reads each `[[key]]` table; `None` if there is none. The caller records their values.
    pub(super) fn each<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let name = self.dotted(key);
        let expected = format!("sections, [[{name}]]");
        let located = |item: &'t Spanned<DeValue<'t>>| {
            item.get_ref().as_table().map(|table| (item.span().start, table))
        };
        let tables = self.take(key, &expected, |value| {
            value.as_array()?.iter().map(located).collect::<Option<Vec<_>>>()
        })?;
        let mut values = Vec::new();
        for (offset, table) in tables {
            let line = self.lines.line(offset);
            let mut section = Self::new(name.clone(), line, Some(table), self.lines);
            values.push(read(&mut section));
            // the tables of one array have the same dotted keys
            section.findings.values = Values::default();
            self.absorb(section);
        }
        (!values.is_empty()).then_some(values)
    }

    fn absorb(&mut self, section: Self) {
        let findings = section.finish();
        self.findings.problems.extend(findings.problems);
        self.findings.warnings.extend(findings.warnings);
        self.findings.values.absorb(findings.values);
    }
}

/// Whether a header in brackets made this value.
fn is_section(value: &DeValue<'_>) -> bool {
    let of_tables = |array: &toml::de::DeArray<'_>| {
        array.iter().next().is_some_and(|item| item.get_ref().is_table())
    };
    value.is_table() || value.as_array().is_some_and(of_tables)
}
