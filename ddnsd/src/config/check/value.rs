//! The types of values: each call names key, range and default in one line. A problem names what
//! was expected and what was found.

use super::section::Section;
use crate::config::error::{Location, Problem};
use crate::config::files::NamedFile;
use crate::config::text::{clipped, kind, printable, shown};
use crate::model::secret::Secret;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// The largest number of seconds that is accepted anywhere, and the largest TTL (RFC 2181, 8).
pub(super) const MAX_SECONDS: u32 = 2_147_483_647;

impl Section<'_> {
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let flag = self.take(key, "true or false", DeValue::as_bool).unwrap_or(default);
        self.record(key, flag);
        flag
    }

    pub(super) fn number<N>(&mut self, key: &str, range: RangeInclusive<N>, default: N) -> N
    where
        N: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let number = self.number_in(key, &range).unwrap_or(default);
        self.record(key, number);
        number
    }

    fn number_in<N>(&mut self, key: &str, range: &RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let integer = self.take(key, "an integer", DeValue::as_integer)?;
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| N::try_from(number).ok());
        match number {
            Some(number) if range.contains(&number) => return Some(number),
            Some(number) if number > *range.end() => self.too_large(key, range.end(), integer),
            None if !integer.as_str().starts_with('-') => self.too_large(key, range.end(), integer),
            _ => {
                let got = clipped(&integer.to_string());
                self.problem(key, format!("must be at least {}, got {got}", range.start()));
            }
        }
        None
    }

    fn too_large(&mut self, key: &str, end: &impl Display, got: &impl ToString) {
        let got = clipped(&got.to_string());
        self.problem(key, format!("must be at most {end}, got {got}"));
    }

    /// Whole seconds in a range.
    pub(super) fn seconds(
        &mut self,
        key: &str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> Duration {
        Duration::from_secs(self.number(key, range, default).into())
    }

    /// May be empty.
    pub(super) fn text(&mut self, key: &str, default: &str) -> String {
        self.parsed(key, default, default.to_owned(), |text| Ok(text.to_owned()))
    }

    /// A text that must not be empty if `when` is given, which ends the message.
    pub(super) fn required(&mut self, key: &str, when: Option<&str>) -> String {
        let text = self.text(key, "");
        if let Some(when) = when
            && text.is_empty()
            && self.is_sound(&self.location(key).key)
        {
            self.problem(key, format!("is required {when}"));
        }
        text
    }

    pub(super) fn not_empty(&mut self, texts: &[(&str, &str)]) {
        for (key, text) in texts {
            if text.is_empty() {
                self.problem(key, "must not be empty");
            }
        }
    }

    /// A secret: its text is neither checked nor repeated.
    pub(super) fn secret(&mut self, key: &str) -> Secret {
        let text = self.take(key, "a string", DeValue::as_str).unwrap_or_default();
        if !text.is_empty() {
            self.record(key, "***");
            let dotted = self.location(key).key;
            self.findings.values.record_content(&dotted, text.as_bytes());
        }
        Secret::new(text.to_owned())
    }

    /// A text in a form of its own. `written` is the default as the file would write it.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        written: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let given = self.take(key, "a string", DeValue::as_str);
        self.record(key, given.unwrap_or(written));
        match given.map(|text| printable(text).and_then(parse)) {
            Some(Ok(value)) => value,
            Some(Err(what)) => {
                self.problem(key, what);
                default
            }
            None => default,
        }
    }

    /// One of a few words, in any case.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        let chosen = self.parsed(key, "", default, |text| {
            let chosen = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            chosen.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("must be one of {}, got {}", words.join(", "), shown(text))
            })
        });
        if let Some((word, _)) = words.iter().find(|(_, value)| *value == chosen) {
            self.record(key, word);
        }
        chosen
    }

    /// A text that has two names; only one of them may be given.
    pub(super) fn alias(&mut self, key: &str, other: &str, default: &str) -> String {
        let text = self.text(key, default);
        let text = self.text(other, &text);
        if self.is_given(key) && self.is_given(other) {
            self.problem(other, format!("is another name of `{key}`, give one of the two"));
        }
        self.findings.values.remove(&self.location(other).key);
        self.record(key, &text);
        text
    }

    /// An empty path is none.
    pub(super) fn file(&mut self, key: &str) -> Option<NamedFile> {
        self.required_file(key, None)
    }

    /// A file that must be named if `when` is given, which ends the message.
    pub(super) fn required_file(&mut self, key: &str, when: Option<&str>) -> Option<NamedFile> {
        let path = self.required(key, when);
        (!path.is_empty()).then(|| NamedFile { location: self.location(key), path: path.into() })
    }

    pub(super) fn list<T: Display>(
        &mut self,
        key: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let list = self.items(key, parse).unwrap_or(default);
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        self.record(key, shown.join(", "));
        list
    }

    fn items<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let array = self.take(key, "a list of strings", DeValue::as_array)?;
        let mut list = Vec::new();
        for item in array {
            let text = item.get_ref().as_str().ok_or_else(|| {
                format!("must be a list of strings, got {} in it", kind(item.get_ref()))
            });
            match text.and_then(printable).and_then(&parse) {
                Ok(value) => list.push(value),
                Err(what) => {
                    let line = Some(self.lines.line(item.span().start));
                    let location = Location { line, ..self.location(key) };
                    self.findings.problems.push(Problem { location, what });
                }
            }
        }
        Some(list)
    }
}
