//! Type names that stand for several things. In: parsed sources. Out: each such name and its files.

use crate::source::Source;
use std::collections::BTreeMap;
use std::fmt;

/// A name that more than one struct, enum or trait has.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedName {
    pub name: String,
    /// One entry for each definition.
    pub files: Vec<String>,
}

impl fmt::Display for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stands for {} things: {}", self.name, self.files.len(), self.files.join(", "))
    }
}

/// The shared names of a crate. Associated types and type aliases do not count.
pub fn shared(sources: &[Source]) -> Vec<SharedName> {
    let mut files_of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        for two in source.tokens().windows(2) {
            let is_definition = ["struct", "enum", "trait"].contains(&two[0].as_str());
            if is_definition && two[1].starts_with(|c: char| c.is_ascii_uppercase()) {
                files_of.entry(&two[1]).or_default().push(source.path.clone());
            }
        }
    }
    let several = files_of.into_iter().filter(|(_, files)| files.len() > 1);
    several.map(|(name, files)| SharedName { name: name.to_owned(), files }).collect()
}
