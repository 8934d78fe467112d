//! The problems of a configuration with file, line and key, one a line:
//! `config.toml:14: dns_service.dns_timeout: must be at least 1, got 0`.

use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// Counted from 1; given for syntax errors.
    pub column: Option<usize>,
    /// The dotted key; empty if the problem is not about a key.
    pub key: String,
}

/// A problem, or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub location: Location,
    /// What is wrong and what was expected; never holds a secret.
    pub what: String,
}

impl Problem {
    /// The whole sentence, with the name of the file.
    pub(super) fn in_file(&self, file: &Path) -> String {
        let file = file.display();
        let Location { line, column, key } = &self.location;
        let location = match (line, column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
            (Some(line), None) => format!("{file}:{line}"),
            (None, _) => file.to_string(),
        };
        let colon = if key.is_empty() { "" } else { ": " };
        format!("{location}{colon}{key}: {}", self.what)
    }
}

/// All problems of a configuration that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Sorts the problems by line.
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.location.line);
        Self { file: file.to_owned(), problems }
    }

    /// The problems as whole sentences, one at least, by line.
    pub fn sentences(&self) -> Vec<String> {
        self.problems.iter().map(|each| each.in_file(&self.file)).collect()
    }

    /// The problems, one at least, by line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_print_one_a_line_in_the_order_of_the_file() {
        let at = |line, column, key: &str, what: &str| Problem {
            location: Location { line, column, key: key.to_owned() },
            what: what.to_owned(),
        };
        let problems = vec![
            at(Some(14), None, "dns_service.dns_timeout", "must be at least 1, got 0"),
            at(Some(2), None, "daemon.host", "must not be empty"),
            at(Some(14), Some(7), "", "not valid TOML"),
            at(None, None, "", "cannot be read"),
        ];
        let error = ConfigError::new(Path::new("etc/config.toml"), problems);
        assert_eq!(error.problems().len(), 4);
        let expected = "etc/config.toml: cannot be read\n\
                        etc/config.toml:2: daemon.host: must not be empty\n\
                        etc/config.toml:14: dns_service.dns_timeout: must be at least 1, got 0\n\
                        etc/config.toml:14:7: not valid TOML";
        assert_eq!(error.to_string(), expected);
    }
}
